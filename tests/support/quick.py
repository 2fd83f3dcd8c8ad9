"""Flags of commands that take seconds."""

FIT = ["--color", "16", "--shape", "32", "--texture", "64", "--passes", "2", "--patches-per-pass", "4096"]


TRAIN = ["--smoke", "--precision", "no", "--steps", "120", "--batch", "4", "--validate-every", "60"]


PRIOR = {
    "tiny": ["--smoke", "--precision", "no", "--steps", "4", "--validate-every", "4"],
    "pixelcnn-tiny": ["--smoke", "--precision", "no", "--size", "32", "--steps", "10", "--validate-every", "10"],
}
