"""`CST`: photos to tokens and back, for people who have a photo rather than an array."""

import os
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from PIL import Image

from cst.artifact import find_artifact
from cst.codec import container
from cst.codec.range_coder import STATIC, CodeModel, StaticModel, Told
from cst.images import ImageLike, load_image, pad_to_multiple, to_float, to_image
from cst.tokenizer.codebook_tokenizer import CodebookTokenizer
from cst.tokenizer.config import PRETRAINED
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.tokens import Tokens

STRIP = 1024  # patches that are encoded, or drawn, together: memory stays flat, and a caller can stop between


class CST:
    """Take a photo apart into color, shape and texture tokens, and paint it back."""

    def __init__(self, tokenizer: CodebookTokenizer):
        self.tokenizer = tokenizer
        self._code_models: dict[str, CodeModel] = {}

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
        """The packaged weights; or those of a folder; or of a Hub repository id ("owner/name"), downloaded once.

        See `OnnxTokenizer` for the options. Raises ValueError for what is neither a folder nor a repository.
        """
        folder = PRETRAINED if source is None else find_artifact(source)
        return cls(
            OnnxTokenizer(folder, target=target, precision=precision, threads=threads, beam=beam, npu_config=npu_config)
        )

    def encode(self, image: ImageLike) -> Tokens:
        """A PIL image, path, encoded bytes or array -> its tokens. Sides need not be multiples of the patch."""
        image = load_image(image)
        return join([self._encode(strip) for strip in strips(image, self.tokenizer.patch)], image.size)

    def _encode(self, strip: Image.Image) -> Tokens:
        padded = pad_to_multiple(to_float(strip), self.tokenizer.patch)
        codes = self.tokenizer.encode(padded[None])[0]  # (L, h, w)
        return Tokens(codes, strip.size, self.tokenizer.fingerprint)

    def decode(self, tokens: Tokens) -> Image.Image:
        """Tokens -> the picture, of the photo's size. Raises ValueError for tokens of another tokenizer."""
        *_, (picture, _) = self.iter_decode(tokens)
        return picture

    def iter_decode(self, tokens: Tokens) -> Iterator[tuple[Image.Image, float]]:
        """As `decode`, in steps at which a caller can stop: (the picture, black where nothing is yet, share done)."""
        self.check(tokens)
        picture, done = Image.new("RGB", tokens.size), 0
        for (rows, columns), piece in self.tokenizer.iter_decode(tokens.codes[None]):
            picture.paste(to_image(piece[0]), (columns.start, rows.start))  # Pillow drops what lies beyond the size
            done += piece[0, 0].size // self.tokenizer.patch**2
            yield picture, done / tokens.codes[0].size

    def draw(self, tokens: Tokens, *, levels: int = 3) -> Image.Image:
        """The centroid picture from the first `levels` levels alone: no network."""
        self.check(tokens)
        codebooks, picture = self.tokenizer.codebooks, Image.new("RGB", tokens.size)
        step = max(1, STRIP // tokens.codes.shape[2])
        for top in range(0, tokens.codes.shape[1], step):
            drawn = codebooks.draw(tokens.codes[None, :, top : top + step], levels=levels)
            picture.paste(to_image(drawn[0]), (0, top * codebooks.patch))
        return picture

    def compress(self, tokens: Tokens) -> bytes:
        """Tokens -> the bytes of a `.cst` file: the same tokens, in fewer bytes, each code as likely as in photos.

        Raises ValueError for tokens of another tokenizer, and where the statistics of its codes are not there.
        """
        self.check(tokens)
        return container.compress(tokens, self.code_model(STATIC), tokenizer=self.tokenizer.config)

    def decompress(self, data: bytes, *, told: Told | None = None) -> Tokens:
        """The bytes of a `.cst` file -> exactly the tokens it was made of.

        Raises ValueError for anything but a whole file that this tokenizer, and a model that is here, have written.
        """
        return container.decompress(data, self.code_model, tokenizer=self.tokenizer.config, told=told)

    def decompressing(self, data: bytes) -> Generator[int, None, Tokens]:
        """As `decompress`, in steps at which a caller can stop: yields how many more codes are done."""
        return container.decompressing(data, self.code_model, tokenizer=self.tokenizer.config)

    def code_model(self, name: str) -> CodeModel:
        """The model of a name in a `.cst` file, loaded when it is first asked for. Raises ValueError if not there."""
        if name not in container.MODELS:
            raise ValueError(f"no model '{name}'; accepted: {', '.join(container.MODELS)}")
        if name not in self._code_models:
            self._code_models[name] = StaticModel(self.tokenizer.statistics())
        return self._code_models[name]

    def check(self, tokens: Tokens) -> None:
        """Raise ValueError unless these tokens were written by this tokenizer and cover their size."""
        mine = self.tokenizer.fingerprint
        if tokens.fingerprint != mine:
            raise ValueError(
                f"these tokens were written by the tokenizer {tokens.fingerprint}, this one is {mine}; "
                "decode them with the tokenizer that wrote them"
            )
        self.tokenizer.codebooks.check_tokens(tokens.codes[None])
        width, height = tokens.size
        grid = (-(-height // self.tokenizer.patch), -(-width // self.tokenizer.patch))
        if min(tokens.size) < 1 or tokens.codes.shape[1:] != grid:
            raise ValueError(
                f"a grid of {tokens.codes.shape[1:]} patches does not cover {width}x{height} pixels; accepted: {grid}"
            )


def strips(image: Image.Image, patch: int) -> Iterator[Image.Image]:
    """Cut a picture, between rows of patches, into strips whose codes together are exactly the codes of the whole."""
    step = patch * max(1, STRIP * patch // image.width)
    for top in range(0, image.height, step):
        yield image.crop((0, top, image.width, min(top + step, image.height)))


def join(parts: Sequence[Tokens], size: tuple[int, int]) -> Tokens:
    """The tokens of a picture of `size` from those of its strips, top to bottom."""
    return Tokens(np.concatenate([part.codes for part in parts], axis=1), size, parts[0].fingerprint)
