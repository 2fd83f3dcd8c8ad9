"""The models behind the page, each loaded once."""

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cst import CST
from cst.artifact import find_artifact
from cst.learned.onnx_runtime import OnnxLearnedTokenizer
from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.config import PRETRAINED as TOKENIZER
from prior.config import KINDS, PRETRAINED, PriorConfig
from prior.sampler import Sampler
from space.device import check_torch

NO_PRIOR = "This page has no model that can draw new pictures."  # for visitors; the console says why
NAMES = {"gpt": "GPT", "pixelcnn": "PixelCNN"}  # of the kinds of prior, on the page


class Models:
    """One tokenizer in two precisions, and a prior of each kind, loaded when they are first needed.

    folder: of the tokenizer; see `cst.CST.from_pretrained` for it, the options and the errors. priors: folders by kind,
    "gpt" and "pixelcnn", instead of the packaged ones. device: "cpu" uses onnxruntime and no torch; "cuda" renders and
    samples with torch, only in float32. The 8-bit tokenizer, the GPT and every folder of `priors` are loaded at once;
    with torch, all models are. Raises ValueError for a device or a folder of `priors` that can't be used. A packaged
    prior that can't be used is left out, and `refusals` holds the reason.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        *,
        priors: Mapping[str, str | os.PathLike] | None = None,
        target: str = "auto",
        threads: int | None = None,
        npu_config: str | os.PathLike | None = None,
        device: str = "cpu",
    ):
        self._folder, self._priors, self._device = folder, dict(priors or {}), device
        self._options: dict[str, Any] = {"target": target, "threads": threads, "npu_config": npu_config}
        self._lock = threading.RLock()
        self._loaded: dict[str, CST] = {}
        self._samplers: dict[str, Sampler] = {}
        self._learned: dict[Path, OnnxLearnedTokenizer] = {}
        self.refusals: dict[str, str] = {}  # kind of prior -> why it can't be used
        if device != "cpu":
            check_torch()
        self.cst("int8")
        for kind in KINDS:
            try:
                self._check(kind)
                # ZeroGPU's processes get only the weights that were loaded before the page is served.
                if kind == "gpt" or kind in self._priors or device != "cpu":
                    self.sampler(kind)
            except (ValueError, OSError) as error:
                if kind in self._priors:
                    raise
                self.refusals[kind] = without_folder(error, kind)

    def cst(self, quality: str) -> CST:
        """The tokenizer whose RenderNet runs in "int8" or "float"; with torch, both are the same."""
        quality = quality if self._device == "cpu" else "float"
        with self._lock:
            if quality not in self._loaded:
                self._loaded[quality] = self._load_cst(quality)
            return self._loaded[quality]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of prior that can be used."""
        return tuple(kind for kind in KINDS if kind not in self.refusals)

    def sampler(self, kind: str) -> Sampler:
        """The prior of a kind, "gpt" or "pixelcnn", with the 8-bit tokenizer, or that of the device."""
        with self._lock:
            if kind not in self._samplers:
                try:
                    self._samplers[kind] = self._load_sampler(kind, self.cst("int8").tokenizer)
                except ValueError as error:
                    if kind in self._priors:
                        raise
                    raise ValueError(without_folder(error, kind)) from None
            return self._samplers[kind]

    def learned(self, folder: Path) -> OnnxLearnedTokenizer:
        """A learned tokenizer, to compare with. Raises ValueError, without the folder of the server."""
        with self._lock:
            if folder not in self._learned:
                try:
                    self._learned[folder] = OnnxLearnedTokenizer(folder, threads=self._options["threads"])
                except ValueError as error:
                    raise ValueError(str(error).replace(str(folder), folder.name)) from None
            return self._learned[folder]

    def _load_cst(self, quality: str) -> CST:
        if self._device == "cpu":
            return CST.from_pretrained(self._folder, precision=quality, **self._options)
        from space.gpu import load_tokenizer

        folder = TOKENIZER if self._folder is None else find_artifact(self._folder)
        return CST(load_tokenizer(folder, device=self._device))

    def _load_sampler(self, kind: str, tokenizer: CodebookTokenizer) -> Sampler:
        folder, threads = self._priors.get(kind), self._options["threads"]
        if self._device == "cpu":
            return Sampler.from_pretrained(kind, folder=folder, tokenizer=tokenizer, threads=threads)
        from space.gpu import load_sampler

        return load_sampler(folder or PRETRAINED / kind, tokenizer, device=self._device, threads=threads)

    def _check(self, kind: str) -> None:
        """Raise ValueError unless the folder holds a prior of this kind and of this tokenizer."""
        folder = self._priors.get(kind, PRETRAINED / kind)
        config = PriorConfig.load(folder)
        if config.kind != kind:
            raise ValueError(f"'{folder}' is a prior of kind {config.kind}; accepted here: {kind}")
        config.check_tokenizer(self.cst("int8").tokenizer.fingerprint)


def by_kind(folders: Iterable[str | os.PathLike]) -> dict[str, str | os.PathLike]:
    """Folders of priors, by the kind in their configs. Raises ValueError for two of a kind."""
    by_kind: dict[str, str | os.PathLike] = {}
    for folder in folders:
        kind = PriorConfig.load(folder).kind
        if kind in by_kind:
            raise ValueError(f"'{by_kind[kind]}' and '{folder}' are both priors of kind {kind}; give one of each kind")
        by_kind[kind] = folder
    return by_kind


def without_folder(error: Exception, kind: str) -> str:
    """The message of an error of a packaged prior, without the folder of the server."""
    return str(error).replace(str(PRETRAINED / kind), kind)
