"""Learned tokenizers on torch: for training and export."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cst.artifact import replacing
from cst.learned.config import LearnedTokenizerConfig
from cst.learned.model import LearnedNet
from cst.learned.tokenizer import LearnedTokenizer
from cst.tokenizer.torch_runtime import load_weights

WEIGHTS = "weights.safetensors"
TRAINING_ONLY = ("quantizer.counts", "quantizer.sums")


def to_tokenizer(net: LearnedNet, config: LearnedTokenizerConfig, *, bf16: bool = False) -> LearnedTokenizer:
    """The network as it is now, without a copy, as a tokenizer on numpy arrays."""
    device = next(net.parameters()).device

    @torch.no_grad()
    def run(call, array: np.ndarray) -> np.ndarray:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return call(torch.from_numpy(array).to(device)).float().cpu().numpy()

    return LearnedTokenizer(
        config, lambda images: run(net.encode, images).astype(np.int32), lambda tokens: run(net.decode, tokens)
    )


def save_artifact(net: LearnedNet, config: LearnedTokenizerConfig, out: Path) -> LearnedTokenizerConfig:
    """Write the weights in float16, and `config.json` with the fingerprint of the codebook."""
    tensors = {name: value.contiguous() for name, value in net.state_dict().items() if name not in TRAINING_ONLY}
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    with replacing(out / WEIGHTS) as part:
        save_file(tensors, part)
    codebook = tensors["quantizer.table"].cpu().numpy().tobytes()
    config = dataclasses.replace(config, fingerprint=hashlib.sha256(codebook).hexdigest()[:16], files={})
    config = config.with_files(out, WEIGHTS)
    config.save(out)
    return config


def load_net(folder: Path) -> tuple[LearnedNet, LearnedTokenizerConfig]:
    """The float32 network of a folder, in eval mode. Strict; raises ValueError."""
    config = LearnedTokenizerConfig.load(folder)
    net = LearnedNet(config.model)
    del net.quantizer.counts, net.quantizer.sums
    load_weights(net, config.check_file(folder, WEIGHTS))
    return net.eval(), config
