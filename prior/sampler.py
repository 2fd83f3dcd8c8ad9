"""`Sampler`: new pictures of a named class, as images rather than tokens."""

import dataclasses
import difflib
import functools
import os
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from PIL import Image

from cst.images import center_crop, to_float, to_image
from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.codebooks import from_patches
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.tokens import Tokens
from prior.config import PRETRAINED
from prior.onnx_runtime import OnnxPrior
from prior.protocol import LevelSettings, SampleRequest, Settings, Step
from prior.sampling import check_request, sample

# Per kind of prior, chosen by the judge and by looking at samples of the shipped weights.
DETAIL = LevelSettings(0.95, top_p=0.98)
DEFAULTS = {
    "gpt": Settings((LevelSettings(), DETAIL, DETAIL), guidance=2.0),
    "pixelcnn": Settings((LevelSettings(0.95, top_p=0.97), DETAIL, DETAIL), guidance=2.5),
}
MAX_PICTURES = 16  # pictures at once


class Sampler:
    """Draws new pictures with a prior, and decodes them with its tokenizer."""

    def __init__(
        self,
        tokenizer: CodebookTokenizer,
        prior: OnnxPrior,
        *,
        draw: Callable[[SampleRequest], Generator[Step, None, None]] | None = None,
    ):
        """draw: replaces `sampling.sample`, on another device. Raises ValueError for another tokenizer's prior."""
        prior.config.check_tokenizer(tokenizer.fingerprint)
        self.tokenizer, self.prior = tokenizer, prior
        self.draw = draw or functools.partial(sample, prior)

    @classmethod
    def from_pretrained(
        cls,
        kind: str = "gpt",
        *,
        folder: str | os.PathLike | None = None,
        tokenizer: CodebookTokenizer | None = None,
        threads: int | None = None,
    ) -> "Sampler":
        """The packaged prior of a kind, "gpt" or "pixelcnn"; or that of a folder. Raises ValueError for another."""
        if folder is None and kind not in DEFAULTS:
            raise ValueError(f"no model '{kind}'; accepted: {', '.join(DEFAULTS)}")
        tokenizer = tokenizer or OnnxTokenizer(threads=threads)
        return cls(tokenizer, OnnxPrior(Path(folder) if folder else PRETRAINED / kind, threads=threads))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes."""
        return self.prior.classes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures, pixels."""
        h, w = self.prior.grid
        return w * self.tokenizer.patch, h * self.tokenizer.patch

    @property
    def defaults(self) -> Settings:
        """The recommended settings."""
        return DEFAULTS[self.prior.config.kind]

    def label(self, name: str | None) -> int:
        """The index of a class by its name, in any case and with _ for spaces; None for no class.

        Raises ValueError with the nearest names.
        """
        if name is None:
            return len(self.classes)
        if name in self.classes:
            return self.classes.index(name)
        wanted, *folded = (" ".join(each.replace("_", " ").split()).casefold() for each in (name, *self.classes))
        if wanted in folded:
            return folded.index(wanted)
        near = difflib.get_close_matches(wanted, folded, n=3, cutoff=0.5)
        near += [known for known in folded if wanted and wanted in known and known not in near][:3]
        meant = ", ".join(self.classes[folded.index(known)] for known in near)
        some = f"accepted: {', '.join(self.classes[:5])}" + (" and others" if len(self.classes) > 5 else "")
        raise ValueError(f"no class '{name}'; {f'did you mean {meant}?' if near else some}")

    def sample(
        self,
        name: str | None = None,
        *,
        count: int = 4,
        seed: int = 0,
        settings: Settings | None = None,
        known: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        sketch: np.ndarray | None = None,
        color_bias: np.ndarray | None = None,
    ) -> Generator[Step, None, None]:
        """Draw `count` pictures of a class (None: of no class in particular); yields after every few tokens.

        known: (L, h, w) int tokens, which every picture keeps where `mask`, (L, h, w) bool, is True; both or neither.
        sketch, color_bias: see `SampleRequest`. The same seed gives the same pictures on the same machine. Raises
        ValueError for an unknown class, a count outside 1 to 16, a negative seed, or tokens that don't fit the model.
        """
        if count not in range(1, MAX_PICTURES + 1):
            raise ValueError(f"{count} pictures; accepted: 1 to {MAX_PICTURES} at once")
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"the seed {seed}; accepted: a whole number from 0")
        if (known is None) != (mask is None):
            raise ValueError("known tokens without their mask, or the other way round; accepted: both or neither")
        request = SampleRequest.of_classes(
            self.prior, np.full(count, self.label(name)), settings or self.defaults, int(seed)
        )
        if known is not None and mask is not None:
            known, mask = (np.repeat(array[None], count, 0) for array in (known, mask))
            request = dataclasses.replace(request, known=known, mask=mask)
        request = dataclasses.replace(request, sketch=sketch, color_bias=color_bias)
        check_request(self.prior, request)
        return self.draw(request)

    def encode(self, photo: Image.Image) -> np.ndarray:
        """The middle square of a photo as this prior sees it -> (L, h, w) int32 tokens."""
        square = to_float(center_crop(photo, self.size[0]))
        return self.tokenizer.codebooks.encode(square[None], beam=self.prior.config.beam)[0]

    def preview(self, step: Step, *, blank: float = 0.5) -> list[Image.Image]:
        """The pictures so far, drawn from centroids without a network; `blank` gray where nothing is known.

        Where the picture at half its size has shapes and the picture itself has none yet, that one is shown, enlarged.
        """
        books = self.tokenizer.codebooks
        patches = self._add_detail(books.centroids(0, step.colors), step.tokens, step.known)
        patches = np.where(step.colors[..., None] >= 0, patches, np.float32(blank))
        pictures = from_patches(patches, books.patch)
        if step.half is not None and step.half_known is not None:
            half = self._add_detail(books.centroids(0, step.half[:, 0]), step.half, step.half_known)
            enlarged = from_patches(half, books.patch).repeat(2, 2).repeat(2, 3)
            has_half = step.half_known[:, 1].repeat(2, 1).repeat(2, 2)
            shown = (has_half & ~step.known[:, 1])[:, None].repeat(books.patch, 2).repeat(books.patch, 3)
            pictures = np.where(shown, enlarged, pictures)
        return [to_image(picture) for picture in pictures]

    def _add_detail(self, patches: np.ndarray, tokens: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(B, h, w, 192) colors, plus the centroids of those shapes and textures that are known."""
        for level in (1, 2):
            centroids = self.tokenizer.codebooks.centroids(level, tokens[:, level])
            patches = patches + np.where(known[:, level, ..., None], centroids, 0)
        return patches

    def decode(self, step: Step) -> list[Image.Image]:
        """The pictures by RenderNet where all three levels are known, and as in `preview` elsewhere."""
        complete = np.asarray(step.known.all(1))
        if not complete.any():
            return self.preview(step)
        painted = self.tokenizer.decode(step.tokens)
        if complete.all():
            return [to_image(picture) for picture in painted]
        complete = complete[:, None].repeat(self.tokenizer.patch, 2).repeat(self.tokenizer.patch, 3)
        drafts = np.stack([to_float(picture) for picture in self.preview(step)])
        return [to_image(picture) for picture in np.where(complete, painted, drafts)]

    def tokens(self, step: Step) -> list[Tokens]:
        """The pictures as tokens, ready to be saved."""
        h, w = (side * self.tokenizer.patch for side in step.tokens.shape[2:])
        return [Tokens(codes, (w, h), self.prior.config.fingerprint) for codes in step.tokens]
