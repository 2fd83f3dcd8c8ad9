"""`CST`: photos to tokens and back, for callers who have a photo rather than an array."""

import os
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from PIL import Image

from cst.artifact import find_artifact
from cst.codec import container
from cst.codec.range_coder import StaticModel
from cst.images import ImageLike, load_image, pad_to_multiple, to_float, to_image
from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.tokens import Tokens

STRIP_PATCHES = 1024  # patches encoded together: bounds the memory and lets a caller stop in between


class CST:
    """Encode a photo to color, shape and texture tokens, and decode tokens to a picture."""

    def __init__(self, tokenizer: CodebookTokenizer):
        self.tokenizer = tokenizer
        self._code_model: StaticModel | None = None

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike | None = None,
        *,
        target: str = "auto",
        precision: str = "int8",
        threads: int | None = None,
        beam: int | None = None,
        npu_config: str | os.PathLike | None = None,
    ) -> "CST":
        """Open the packaged weights, a folder, or a Hub repository id ("owner/name") that is downloaded once.

        See `OnnxTokenizer` for the options. Raises ValueError if the source is neither a folder nor a repository.
        """
        folder = PRETRAINED if source is None else find_artifact(source)
        return cls(
            OnnxTokenizer(folder, target=target, precision=precision, threads=threads, beam=beam, npu_config=npu_config)
        )

    def encode(self, image: ImageLike) -> Tokens:
        """A PIL image, path, encoded bytes or array -> its tokens. Sides need not be multiples of the patch."""
        image = load_image(image)
        strips = split_into_strips(image, self.tokenizer.patch)
        return join_strips([self._encode_strip(strip) for strip in strips], image.size)

    def _encode_strip(self, strip: Image.Image) -> Tokens:
        padded = pad_to_multiple(to_float(strip), self.tokenizer.patch)
        codes = self.tokenizer.encode(padded[None])[0]  # (L, h, w)
        return Tokens(codes, strip.size, self.tokenizer.fingerprint)

    def decode(self, tokens: Tokens) -> Image.Image:
        """Tokens -> a picture of the photo's size. Raises ValueError for tokens of another tokenizer."""
        *_, (picture, _) = self.iter_decode(tokens)
        return picture

    def iter_decode(self, tokens: Tokens) -> Iterator[tuple[Image.Image, float]]:
        """As `decode`, in steps at which a caller can stop: yields (picture, black where not done yet; share done)."""
        self.check(tokens)
        picture, done = Image.new("RGB", tokens.size), 0
        for (rows, columns), piece in self.tokenizer.iter_decode(tokens.codes[None]):
            picture.paste(to_image(piece[0]), (columns.start, rows.start))  # Pillow crops at the picture's border
            done += piece[0, 0].size // self.tokenizer.patch**2
            yield picture, done / tokens.codes[0].size

    def centroid_picture(self, tokens: Tokens, *, levels: int = 3) -> Image.Image:
        """The sum of the centroids of the first `levels` levels, without the network."""
        self.check(tokens)
        codebooks, picture = self.tokenizer.codebooks, Image.new("RGB", tokens.size)
        step = max(1, STRIP_PATCHES // tokens.codes.shape[2])
        for top in range(0, tokens.codes.shape[1], step):
            strip = codebooks.centroid_picture(tokens.codes[None, :, top : top + step], levels=levels)
            picture.paste(to_image(strip[0]), (0, top * codebooks.patch))
        return picture

    def compress(self, tokens: Tokens) -> bytes:
        """Tokens -> the bytes of a `.cst` file: the same tokens, entropy-coded.

        Raises ValueError for tokens of another tokenizer, or if the tokenizer has no statistics of its codes.
        """
        self.check(tokens)
        return container.compress(tokens, self.code_model(), tokenizer=self.tokenizer.config)

    def decompress(self, data: bytes) -> Tokens:
        """The bytes of a `.cst` file -> exactly the tokens it was made from.

        Raises ValueError for anything but a complete file that was written with this tokenizer and its statistics.
        """
        return container.decompress(data, self.code_model(), tokenizer=self.tokenizer.config)

    def iter_decompress(self, data: bytes) -> Generator[int, None, Tokens]:
        """As `decompress`, in steps at which a caller can stop: yields how many more codes are done."""
        return container.iter_decompress(data, self.code_model(), tokenizer=self.tokenizer.config)

    def code_model(self) -> StaticModel:
        """The code model of `.cst` files. Raises ValueError if the tokenizer has no statistics of its codes."""
        if self._code_model is None:
            self._code_model = StaticModel(self.tokenizer.statistics())
        return self._code_model

    def check(self, tokens: Tokens) -> None:
        """Raise ValueError unless these tokens were written by this tokenizer and cover their size."""
        fingerprint = self.tokenizer.fingerprint
        if tokens.fingerprint != fingerprint:
            raise ValueError(
                f"these tokens were written by the tokenizer {tokens.fingerprint}, this one is {fingerprint}; "
                "decode them with the tokenizer that wrote them"
            )
        self.tokenizer.codebooks.check_tokens(tokens.codes[None])
        container.check_grid(tokens, self.tokenizer.config)


def split_into_strips(image: Image.Image, patch: int) -> Iterator[Image.Image]:
    """Cut a picture between rows of patches into strips that encode to exactly the codes of the whole picture."""
    step = patch * max(1, STRIP_PATCHES * patch // image.width)
    for top in range(0, image.height, step):
        yield image.crop((0, top, image.width, min(top + step, image.height)))


def join_strips(strips: Sequence[Tokens], size: tuple[int, int]) -> Tokens:
    """The tokens of a picture of `size` from those of its strips, top to bottom."""
    return Tokens(np.concatenate([strip.codes for strip in strips], axis=1), size, strips[0].fingerprint)
