"""Everything that `python -m prior` does: new pictures, training, and measurements."""

import sys
from collections.abc import Sequence

from cst.flags import Verb, dispatch, run

ABOUT = "Models that write the tokens of new pictures."
VERBS = {
    "sample": Verb("prior.draw", "new pictures of a kind, as PNG and tokens", shared=True),
    "sheet": Verb("prior.draw", "samples of several kinds by one or both models, side by side", shared=True),
    "classes": Verb("prior.draw", "the kinds of picture that a model knows", shared=True),
    "train": Verb("prior.training.train", "train a GPT or a PixelCNN"),
    "retrain": Verb("prior.training.retrain", "train a tokenizer and a GPT, and export both"),
    "export": Verb("prior.training.export", "export a prior to ONNX"),
    "evaluate": Verb("prior.evaluation.likelihood", "bits per token on held-out photos, or a search for copies"),
    "judge": Verb("prior.evaluation.judge", "how far drawn pictures are from photos of the same kinds"),
    "probe": Verb("prior.evaluation.probe", "how well a class can be read from the GPT's network of 16x16 colors"),
    "benchmark": Verb("prior.evaluation.speed", "speed of sampling, against transformers' generate()"),
    "benchmark-training": Verb(
        "prior.evaluation.training_speed", "speed of training a GPT, and operations per picture"
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    dispatch("prior", ABOUT, VERBS, sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    run(main)
