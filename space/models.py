"""The models behind the page, each loaded once, and the one queue they share."""

import os
import threading

from cst import CST

# Every event that runs a model takes these, so that two visitors never compete for the same processor.
MODEL_QUEUE = {"concurrency_limit": 1, "concurrency_id": "model"}


class Models:
    """One tokenizer in two precisions: int8 is loaded at once, float when somebody first asks for it.

    See `cst.CST.from_pretrained` for the arguments and errors.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        *,
        target: str = "auto",
        threads: int | None = None,
        npu_config: str | os.PathLike | None = None,
    ):
        self._folder = folder
        self._options = {"target": target, "threads": threads, "npu_config": npu_config}
        self._lock = threading.Lock()
        self._loaded: dict[str, CST] = {}
        self.cst("int8")

    def cst(self, quality: str) -> CST:
        """The tokenizer whose RenderNet runs in "int8" or "float"."""
        with self._lock:
            if quality not in self._loaded:
                self._loaded[quality] = CST.from_pretrained(self._folder, precision=quality, **self._options)
            return self._loaded[quality]
