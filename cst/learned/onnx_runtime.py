"""Learned tokenizers on onnxruntime, for the page and the command line. Never imports torch."""

import os

import numpy as np

from cst.learned.config import LearnedTokenizerConfig
from cst.learned.tokenizer import LearnedTokenizer
from cst.tokenizer.onnx_runtime import load_onnxruntime, session_options

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


class OnnxLearnedTokenizer(LearnedTokenizer):
    """The learned tokenizer of a folder. Safe to call from several threads.

    threads: None leaves the choice to the library. Raises ValueError for a folder that is damaged or not exported.
    """

    def __init__(self, folder: str | os.PathLike, *, threads: int | None = None):
        config = LearnedTokenizerConfig.load(folder)
        if not {ENCODER, DECODER} <= set(config.files):
            raise ValueError(
                f"'{folder}' has no {ENCODER} and {DECODER}; make them with "
                f"python -m cst export-learned --tokenizer {folder} --images PHOTOS"
            )
        open_session = load_onnxruntime().InferenceSession
        encoder, decoder = (
            open_session(config.check_file(folder, name), session_options(threads), providers=["CPUExecutionProvider"])
            for name in (ENCODER, DECODER)
        )

        def encode(images: np.ndarray) -> np.ndarray:
            return encoder.run(None, {"images": images.astype(np.float32, copy=False)})[0]

        def decode(tokens: np.ndarray) -> np.ndarray:
            return decoder.run(None, {"tokens": tokens})[0]

        super().__init__(config, encode, decode)
