"""Fit codebooks, train and export RenderNet, and count codes, in one command; run it again if interrupted.

python -m cst retrain --images photos/ --out runs/mine
"""

import argparse
from pathlib import Path

from cst.training import count_codes
from cst.training import export_rendernet as export
from cst.training import fit_codebooks as fit
from cst.training import train_rendernet as train


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst retrain", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact; an interrupted run resumes")
    parser.add_argument("--smoke", action="store_true", help="a test run of about a minute")
    flags = parser.parse_args(arguments)
    images, out, smoke = ["--images", *flags.images], str(flags.out), ["--smoke"] if flags.smoke else []
    fit.main([*images, "--out", out, *smoke])
    train.main([*images, "--codebooks", out, "--out", out, *smoke])
    export.main([*images, "--tokenizer", out])
    count_codes.main([*images, "--tokenizer", out, *(["--limit", "20"] if flags.smoke else [])])
