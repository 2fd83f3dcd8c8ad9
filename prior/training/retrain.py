"""Train a tokenizer on your own photos, and a GPT for it, in one command; run it again if interrupted.

python -m prior retrain --images flowers/ --out runs/mine
"""

import argparse
from pathlib import Path

from cst.training import retrain
from prior.config import PRESETS, GPTConfig
from prior.training import export, train


def main(arguments: list[str] | None = None) -> None:
    gpts = [name for name, model in PRESETS.items() if isinstance(model, GPTConfig)]
    parser = argparse.ArgumentParser(prog="python -m prior retrain", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="a folder per class, or zips")
    parser.add_argument(
        "--out", type=Path, required=True, help="the tokenizer goes to OUT/tokenizer and the GPT to OUT/gpt"
    )
    parser.add_argument("--preset", default="small", choices=gpts, help="of the GPT (default small)")
    parser.add_argument("--smoke", action="store_true", help="a test run of about two minutes")
    flags = parser.parse_args(arguments)
    images, smoke = ["--images", *flags.images], ["--smoke"] if flags.smoke else []
    tokenizer, gpt = str(flags.out / "tokenizer"), str(flags.out / "gpt")
    retrain.main([*images, "--out", tokenizer, *smoke])
    train.main([*images, "--tokenizer", tokenizer, "--out", gpt, "--preset", flags.preset, *smoke])
    export.main(["--prior", gpt])
    print(f"\npython app.py --tokenizer {tokenizer} --prior {gpt}")
