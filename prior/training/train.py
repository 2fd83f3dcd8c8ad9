"""Train a prior to write the tokens of photos, given their class.

python -m prior train --images flowers/ --preset small --out runs/gpt
"""

import argparse
from pathlib import Path

from cst.flags import add_dataclass_flags, dataclass_from_flags
from cst.tokenizer.config import PRETRAINED
from prior.config import GPT_PARTS, PRESETS, TRAIN_SMOKE, GPTConfig, GPTTrainConfig, TrainConfig, smoke_part
from prior.training import train_gpt, train_pixelcnn


def main(arguments: list[str] | None = None) -> None:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--preset", default="small", help=f"default small; {', '.join(PRESETS)}")
    shared.add_argument("--smoke", action="store_true", help="a run of under a minute, to see that everything works")
    known, _ = shared.parse_known_args(arguments)
    if known.preset not in PRESETS:
        raise ValueError(f"no preset '{known.preset}'; accepted: {', '.join(PRESETS)}")
    is_gpt = isinstance(PRESETS[known.preset], GPTConfig)
    parser = argparse.ArgumentParser(
        prog="python -m prior train", description=__doc__.splitlines()[0], parents=[shared],
        epilog="The flags of training are those of the preset's kind, GPT or PixelCNN.",
    )  # fmt: skip
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips")
    parser.add_argument("--tokenizer", type=Path, default=PRETRAINED, help="folder of the tokenizer; default: packaged")
    parser.add_argument("--out", type=Path, required=True, help="folder of the prior; an interrupted run resumes")
    if is_gpt:
        parts = list(GPT_PARTS)
        parser.add_argument("--part", nargs="+", choices=parts, default=parts, help="default: all, one after another")
        add_dataclass_flags(parser, GPTTrainConfig)
    else:
        add_dataclass_flags(parser, TrainConfig, skip=("preset",))
    flags = parser.parse_args(arguments)
    if not is_gpt:
        config = dataclass_from_flags(TrainConfig, flags, start=TRAIN_SMOKE if flags.smoke else None)
        train_pixelcnn.train(
            train_pixelcnn.Trainer(config, tokenizer=flags.tokenizer, images=flags.images, out=flags.out)
        )
        return
    preset = "tiny" if flags.smoke else flags.preset
    for part in flags.part:
        start = smoke_part(part) if flags.smoke else GPT_PARTS[part]
        settings = dataclass_from_flags(GPTTrainConfig, flags, start=start)
        train_gpt.train(
            train_gpt.Trainer(
                part, settings, preset=preset, tokenizer=flags.tokenizer, images=flags.images, out=flags.out
            )
        )
