"""The models behind the page, each loaded once, and the one queue they share."""

import os
import threading
from collections.abc import Mapping

from cst import CST
from prior.config import KINDS, PRETRAINED, PriorConfig
from prior.pipeline import Sampler

# Every event that runs a model takes these, so that two visitors never compete for the same processor.
MODEL_QUEUE = {"concurrency_limit": 1, "concurrency_id": "model"}


class Models:
    """One tokenizer in two precisions, and a prior of each kind, all loaded when they are first asked for.

    folder: of the tokenizer; see `cst.CST.from_pretrained` for it, the options and the errors. priors: folders by kind,
    "gpt" and "pixelcnn", instead of the packaged ones. The 8-bit tokenizer, the GPT and every folder of `priors` are
    loaded at once. Raises ValueError for a folder of `priors` that can't be used; a packaged prior that can't is left
    out, and `refusals` says why.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        *,
        priors: Mapping[str, str | os.PathLike] | None = None,
        target: str = "auto",
        threads: int | None = None,
        npu_config: str | os.PathLike | None = None,
    ):
        self._folder, self._priors = folder, dict(priors or {})
        self._options = {"target": target, "threads": threads, "npu_config": npu_config}
        self._lock = threading.RLock()
        self._loaded: dict[str, CST] = {}
        self._samplers: dict[str, Sampler] = {}
        self.refusals: dict[str, str] = {}  # kind of prior -> why it can't be used
        self.cst("int8")
        for kind in KINDS:
            try:
                self._check(kind)
                if kind == "gpt" or kind in self._priors:
                    self.sampler(kind)
            except (ValueError, OSError) as error:
                if kind in self._priors:
                    raise
                self.refusals[kind] = without_folder(error, kind)

    def cst(self, quality: str) -> CST:
        """The tokenizer whose RenderNet runs in "int8" or "float"."""
        with self._lock:
            if quality not in self._loaded:
                self._loaded[quality] = CST.from_pretrained(self._folder, precision=quality, **self._options)
            return self._loaded[quality]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of prior that can be used."""
        return tuple(kind for kind in KINDS if kind not in self.refusals)

    def sampler(self, kind: str) -> Sampler:
        """The prior of a kind, "gpt" or "pixelcnn", which paints in 8 bits."""
        with self._lock:
            if kind not in self._samplers:
                tokenizer = self.cst("int8").tokenizer
                folder, threads = self._priors.get(kind), self._options["threads"]
                try:
                    self._samplers[kind] = Sampler.from_pretrained(
                        kind, folder=folder, tokenizer=tokenizer, threads=threads
                    )
                except ValueError as error:
                    if folder is not None:
                        raise
                    raise ValueError(without_folder(error, kind)) from None
            return self._samplers[kind]

    def _check(self, kind: str) -> None:
        """Raise ValueError unless the folder holds a prior of this kind and of this tokenizer."""
        folder = self._priors.get(kind, PRETRAINED / kind)
        config = PriorConfig.load(folder)
        if config.kind != kind:
            raise ValueError(f"'{folder}' is a prior of kind {config.kind}; accepted here: {kind}")
        config.check_tokenizer(self.cst("int8").tokenizer.config.fingerprint)


def without_folder(error: Exception, kind: str) -> str:
    """What went wrong with a packaged prior, for visitors: no folder of the server in it."""
    return str(error).replace(str(PRETRAINED / kind), kind)
