"""Train RenderNet to paint photos back from their tokens.

python -m cst.train --codebooks runs/codebooks --images photos/ --out runs/tokenizer
"""

import argparse
import copy
import dataclasses
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from tqdm import tqdm

from cst import checkpoint
from cst.codebooks import Codebooks
from cst.command import add_dataclass_flags, dataclass_from_flags, run
from cst.config import PRESETS, SMOKE, LossConfig, TokenizerConfig, TrainConfig, replacing
from cst.crops import Crops
from cst.images import Photos, find_photos, pad_to_multiple, split, to_float, to_image
from cst.losses import Discriminator, discriminator_loss, painting_loss
from cst.metrics import psnr
from cst.rendernet import RenderNet
from cst.torch_runtime import TorchEncoder


def rate(step: int, config: TrainConfig) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to `final_rate`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def update_ema(ema: torch.nn.Module, net: torch.nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights, and BatchNorm's running statistics with them, toward the current ones."""
    decay = min(decay, (1 + step) / (10 + step))
    averaged, current = list(ema.state_dict().values()), list(net.state_dict().values())
    floats = [i for i, tensor in enumerate(averaged) if tensor.is_floating_point()]
    torch._foreach_lerp_([averaged[i] for i in floats], [current[i] for i in floats], 1 - decay)


class Validation:
    """Whole held-out photos, their tokens, and how well a network paints them back."""

    def __init__(self, entries: list, codebooks: Codebooks, config: TrainConfig, device: torch.device):
        photos = Photos(entries, shortest=256)
        self.originals = [
            to_float(Image.fromarray(photo)) for _, photo in zip(range(config.validate_on), photos, strict=False)
        ]
        if not self.originals:
            raise ValueError("none of the held-out photos can be read; check the --images")
        encoder, self.device = TorchEncoder(codebooks, device), device
        padded = [torch.from_numpy(pad_to_multiple(image, codebooks.patch))[None] for image in self.originals]
        self.tokens = [encoder(image.to(device), beam=config.beam) for image in padded]
        drawn = [codebooks.draw(tokens.cpu().numpy()) for tokens in self.tokens]
        self.centroids = [self._crop(picture, i) for i, picture in enumerate(drawn)]
        self.centroid_psnr = float(np.mean(list(map(psnr, self.centroids, self.originals))))

    def _crop(self, picture: np.ndarray, index: int) -> np.ndarray:
        height, width = self.originals[index].shape[1:]
        return picture[0, :, :height, :width]

    @torch.no_grad()
    def measure(self, net: RenderNet, accelerator: Accelerator, sheet: Path) -> float:
        """Mean PSNR in dB; saves a sheet of original | centroid | rendered pictures."""
        rows, values = [], []
        net.eval()
        for index, tokens in enumerate(self.tokens):
            with accelerator.autocast():
                picture = net(tokens)
            picture = self._crop(picture.float().clamp(0, 1).cpu().numpy(), index)
            values.append(psnr(picture, self.originals[index]))
            if index < 6:
                rows.append(np.concatenate([self.originals[index], self.centroids[index], picture], axis=2))
        height, width = sum(row.shape[1] for row in rows), max(row.shape[2] for row in rows)
        page, top = Image.new("RGB", (width, height), "white"), 0
        for row in rows:
            page.paste(to_image(row), (0, top))
            top += row.shape[1]
        page.save(sheet)
        return float(np.mean(values))


def save_artifact(net: RenderNet, config: TokenizerConfig, codebooks: Path, out: Path) -> None:
    """Write the averaged network in float16 beside its codebooks: a complete artifact."""
    if codebooks.resolve() != out.resolve():
        shutil.copyfile(codebooks / "codebooks.safetensors", out / "codebooks.safetensors")
    with replacing(out / "rendernet.safetensors") as part:
        tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
        save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}, part)
    config = dataclasses.replace(config, rendernet=net.config, files={})
    config.with_files(out, "codebooks.safetensors", "rendernet.safetensors").save(out)


def plot(history: list[dict], centroid_psnr: float, path: Path) -> None:
    """Draw the curve of validation PSNR."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([point["step"] for point in history], [point["psnr"] for point in history], marker=".", label="rendered")
    axes.axhline(centroid_psnr, color="gray", linestyle="--", label="centroid picture")
    axes.set(xlabel="step", ylabel="PSNR on held-out photos, dB")
    axes.legend()
    figure.savefig(path, dpi=120)


def supports_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.cpu.get_capabilities().get("avx512_bf16", False)


def train(config: TrainConfig, losses: LossConfig, *, codebooks: Path, images: list[str], out: Path) -> list[dict]:
    """Train to `out`, resuming what is there; returns the history of validations."""
    tokenizer = TokenizerConfig.load(codebooks)
    tables = Codebooks.load(tokenizer.check_file(codebooks, "codebooks.safetensors"), patch=tokenizer.patch)
    training, held_out = split(find_photos(images))
    if config.size % tables.patch:
        raise ValueError(f"crops of {config.size} pixels; accepted: multiples of the patch, {tables.patch}")
    if config.preset not in PRESETS:
        raise ValueError(f"no preset '{config.preset}'; accepted: {', '.join(PRESETS)}")

    cpu = not torch.cuda.is_available()
    bf16 = config.precision == "bf16" or (
        config.precision == "auto" and supports_bf16(torch.device("cpu" if cpu else "cuda"))
    )
    accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no", cpu=cpu)
    device, rank = accelerator.device, accelerator.process_index
    torch.manual_seed(config.seed)
    net = RenderNet(PRESETS[config.preset], tables.tables, patch=tables.patch).to(
        device, memory_format=torch.channels_last
    )
    ema = copy.deepcopy(net).requires_grad_(False)
    make = lambda parameters, lr: torch.optim.AdamW(  # noqa: E731
        parameters, lr=lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
    )
    modules, optimizers = {"net": net, "ema": ema}, {"net_optimizer": make(net.parameters(), config.learning_rate)}
    discriminator = None
    if losses.adversarial:
        modules["discriminator"] = discriminator = Discriminator().to(device)
        optimizers["discriminator_optimizer"] = make(discriminator.parameters(), config.learning_rate / 2)

    out.mkdir(parents=True, exist_ok=True)
    state, history, first = out / "state.safetensors", [], 0
    if state.exists():
        progress = checkpoint.load(state, modules=modules, optimizers=optimizers)
        history, first = progress["history"], progress["step"]
    painter, optimizer = accelerator.prepare(net, optimizers["net_optimizer"])
    if discriminator is not None:
        discriminator, critic_optimizer = accelerator.prepare(discriminator, optimizers["discriminator_optimizer"])
    encoder = TorchEncoder(tables, device)
    crops = Crops(
        Photos(training), size=config.size, batch=config.batch, scales=config.scales, seed=config.seed + 7919 * rank
    )
    validation = Validation(held_out, tables, config, device) if accelerator.is_main_process else None
    if validation:
        print(
            f"{len(training)} photos, {len(held_out)} held out; centroid picture {validation.centroid_psnr:.2f} dB; "
            f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f}M parameters on {device}, bf16 {bf16}, from step {first}"
        )

    def save(step: int) -> None:
        if accelerator.is_main_process:
            checkpoint.save(state, modules=modules, optimizers=optimizers, progress={"step": step, "history": history})

    saved, running = time.monotonic(), None
    bar = tqdm(total=config.steps, initial=first, disable=not accelerator.is_main_process, unit="step", mininterval=5)
    for step, batch in enumerate(crops.ahead(first, config.steps), first):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step, config)
        original = torch.from_numpy(batch).to(device).float() / 255
        greedy = np.random.default_rng([config.seed, step]).random() >= config.beam_share
        tokens = encoder(original, beam=1 if greedy else config.beam)
        net.train()
        with accelerator.autocast():
            picture, overflow = painter(tokens, with_overflow=True)
        picture = picture.float()
        loss = painting_loss(picture, original, overflow, losses, discriminator)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad()
        if discriminator is not None:
            critic_optimizer.zero_grad()
            accelerator.backward(discriminator_loss(discriminator, picture, original))
            critic_optimizer.step()
        update_ema(ema, net, step, config.ema)
        bar.update()
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(
                f"the loss became {value} at step {step + 1}; the last good checkpoint is '{state}': "
                "continue from it with a lower --learning-rate"
            )
        running = value if running is None else 0.99 * running + 0.01 * value
        bar.set_postfix(loss=f"{running:.4f}", overflow=f"{overflow.item():.4f}", refresh=False)
        if (step + 1) % config.validate_every == 0 or step + 1 == config.steps:
            if accelerator.is_main_process:
                reached = validation.measure(ema, accelerator, out / f"sheet-{step + 1:06d}.png")
                history.append({"step": step + 1, "psnr": reached, "loss": running})
                tqdm.write(
                    f"step {step + 1}: {reached:.3f} dB, centroid {validation.centroid_psnr:.3f}, "
                    f"gain {reached - validation.centroid_psnr:+.3f}, loss {running:.4f}"
                )
                save_artifact(ema, tokenizer, codebooks, out)
            accelerator.wait_for_everyone()
        if time.monotonic() - saved > 60 * config.checkpoint_minutes or step + 1 == config.steps:
            save(step + 1)
            saved = time.monotonic()
    if accelerator.is_main_process and history:
        plot(history, validation.centroid_psnr, out / "curve.png")
    return history


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cst.train", description=__doc__.splitlines()[0])
    parser.add_argument("--codebooks", type=Path, required=True, help="folder made by python -m cst.fit")
    parser.add_argument("--images", nargs="+", required=True, metavar="PATH", help="folders, zip archives or photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the artifact; an interrupted run resumes")
    parser.add_argument("--smoke", action="store_true", help="a run of under a minute, to see that everything works")
    add_dataclass_flags(parser, TrainConfig)
    add_dataclass_flags(parser, LossConfig)
    flags = parser.parse_args(arguments)
    config = dataclass_from_flags(TrainConfig, flags, start=SMOKE if flags.smoke else None)
    train(
        config, dataclass_from_flags(LossConfig, flags), codebooks=flags.codebooks, images=flags.images, out=flags.out
    )


if __name__ == "__main__":
    run(main)
