"""The commands of `python -m cst`: convert photos, train, and evaluate."""

import sys
from collections.abc import Sequence

from cst.flags import Verb, dispatch, run

ABOUT = "Photos as color, shape and texture tokens, and back."
VERBS = {
    "reconstruct": Verb("cst.convert", "photos to tokens and back to PNG", shared=True),
    "encode": Verb("cst.convert", "photos to tokens, one .npz file each", shared=True),
    "decode": Verb("cst.convert", "tokens to PNG pictures", shared=True),
    "compress": Verb("cst.convert", "photos to .cst files, entropy-coded tokens", shared=True),
    "decompress": Verb("cst.convert", ".cst files to PNG pictures", shared=True),
    "fit": Verb("cst.training.fit_codebooks", "fit the codebooks to photos"),
    "train": Verb("cst.training.train_rendernet", "train RenderNet"),
    "export": Verb("cst.training.export_rendernet", "export RenderNet to ONNX, in float and 8 bits"),
    "count-codes": Verb("cst.training.count_codes", "count how often each code occurs, for .cst files"),
    "retrain": Verb("cst.training.retrain", "the four commands above in one"),
    "train-learned": Verb("cst.training.train_learned", "train a learned tokenizer, to compare with"),
    "export-learned": Verb("cst.training.export_learned", "export a learned tokenizer to ONNX"),
    "evaluate": Verb("cst.evaluation.tokenizer_quality", "measure the quality of reconstructions"),
    "rate-distortion": Verb("cst.evaluation.rate_distortion", "compare bytes with JPEG, WebP and AVIF"),
    "benchmark": Verb("cst.evaluation.tokenizer_speed", "time encoding and rendering"),
    "benchmark-listing": Verb("cst.evaluation.listing_speed", "time listing a large collection of photos"),
    "fuzz": Verb("cst.evaluation.fuzz_codec", "read corrupted .cst files"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    dispatch("cst", ABOUT, VERBS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    run(main)
