"""The `.cst` file: valid ones are read exactly, invalid ones are refused with an error."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.code_models import NeighborModel, random_tokens

import cst.evaluation.fuzz_codec
from cst import CST, Tokens
from cst.codec import container
from cst.codec.container import CHECKSUM, HEADER, MAGIC, START, checksum, compress, decompress
from cst.codec.range_coder import StaticModel
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.config import PRETRAINED, TokenizerConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "cat.cst"
PRINT = "0123456789abcdef"
CONFIG = TokenizerConfig(levels={"color": 16, "shape": 32, "texture": 64}, fingerprint=PRINT, patch=8)
SIZES = tuple(CONFIG.levels.values())
STATISTICS = StaticModel(Statistics(tuple(np.arange(size, dtype=np.uint32) ** 2 for size in SIZES)))


def make(width: int, height: int, *, seed: int = 0, config: TokenizerConfig = CONFIG) -> Tokens:
    _, h, w = container.grid((width, height), config)
    return Tokens(random_tokens(tuple(config.levels.values()), h, w, seed), (width, height), config.fingerprint)


def written(tokens: Tokens | None = None, model: StaticModel | NeighborModel = STATISTICS) -> bytes:
    return compress(tokens or make(40, 30), model, tokenizer=CONFIG)


def read(data: bytes) -> Tokens:
    return decompress(data, STATISTICS, tokenizer=CONFIG)


def with_field(data: bytes, place: int, value: bytes) -> bytes:
    """A header field set to something else, and the checksum repaired."""
    data = data[:place] + value + data[place + len(value) :]
    return data[: HEADER.size] + checksum(data) + data[START:]


# Round trips ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 10**6))
@settings(deadline=None)
def test_tokens_come_back_as_they_were(width, height, seed):
    tokens = make(width, height, seed=seed)
    found = read(written(tokens))
    assert np.array_equal(found.codes, tokens.codes)
    assert found.codes.dtype == np.int32
    assert (found.size, found.fingerprint) == (tokens.size, tokens.fingerprint)


@pytest.mark.parametrize("patch", [1, 5, 16])
@pytest.mark.parametrize("levels", [{"only": 1}, {"a": 1, "b": 300}, {"a": 2, "b": 3, "c": 4, "d": 5}])
def test_the_grid_is_that_of_the_tokenizer(patch, levels):
    config = TokenizerConfig(levels=levels, fingerprint=PRINT, patch=patch)
    tokens, model = make(33, 16, config=config), NeighborModel(tuple(levels.values()))
    data = compress(tokens, model, tokenizer=config)
    found = decompress(data, model, tokenizer=config)
    assert np.array_equal(found.codes, tokens.codes)


def test_the_header_is_as_documented():
    data = written(make(40, 30))
    assert START == 38 and data[:6] == b"\x89CST\x01\x00"
    assert data[6:10] == bytes([40, 0, 30, 0])
    assert data[10:18].hex() == PRINT and data[18:26].hex() == STATISTICS.fingerprint
    assert data[30:38] == hashlib.sha256(data[:30] + data[38:]).digest()[:8]
    assert len(data[38:]) % 4 == 0


def test_the_longest_side_survives():
    for size in ((65_535, 1), (1, 65_535)):
        assert read(written(make(*size))).size == size


def test_frequent_codes_take_fewer_bytes():
    tokens = make(160, 160)
    likely = Tokens(np.stack([np.full((20, 20), size - 1) for size in SIZES]), tokens.size, PRINT)
    assert len(written(likely)) < 0.7 * len(written(tokens))


def test_a_file_is_written_atomically(tmp_path, monkeypatch):
    path, tokens = tmp_path / "photo.cst", make(40, 30)
    assert container.save(path, tokens, STATISTICS, tokenizer=CONFIG) == path.stat().st_size
    assert np.array_equal(container.load(path, STATISTICS, tokenizer=CONFIG).codes, tokens.codes)
    before = path.read_bytes()

    def half(part, data):
        with part.open("wb") as file:
            file.write(data[:10])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        container.save(path, make(8, 8), STATISTICS, tokenizer=CONFIG)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["photo.cst"]


def test_the_golden_file_is_read_and_written_unchanged():
    """A photo of a cat at 128 pixels, under the packaged statistics. If this fails, the format has changed."""
    data, packaged = GOLDEN.read_bytes(), CST.from_pretrained(target="cpu")
    tokens = packaged.decompress(data)
    assert (tokens.size, tokens.codes.shape) == ((128, 85), (3, 11, 16))
    assert hashlib.sha256(tokens.codes.astype("<i4").tobytes()).hexdigest()[:16] == "054402d60b950bfc"
    assert tokens.codes[:, 0, 0].tolist() == [434, 858, 196]
    assert packaged.compress(tokens) == data


def test_python_users_compress_and_decompress(photos, counted_artifact):
    cst = CST.from_pretrained(counted_artifact, target="cpu")
    tokens = cst.encode(photos / "photo-00.png")
    data = cst.compress(tokens)
    assert np.array_equal(cst.decompress(data).codes, tokens.codes)


# Errors --------------------------------------------------------------------------------------------------------------


def refusal(data: bytes) -> str:
    with pytest.raises(ValueError) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_flipped_bit_anywhere_is_detected():
    data = written(make(40, 30))
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        said = refusal(bytes(flipped))
        assert ("not a .cst file" if place < 32 else "version" if place < 40 else "damaged or cut short") in said


def test_a_file_cut_short_anywhere_is_refused():
    data = written()
    for end in range(len(data)):
        assert ("not a .cst file" if end < 4 else "damaged or cut short") in refusal(data[:end])


def test_anything_after_the_payload_is_refused():
    for more in (b"\0", b"\0\0\0\0", b"more of it"):
        assert "damaged or cut short" in refusal(written() + more)
    assert "continues after the last" in refusal(with_field(written() + b"sixteen bytes of", 0, MAGIC))


@pytest.mark.parametrize("name", ["chelsea.jpg", "blossom.webp", "CREDITS.md"])
def test_other_files_are_refused(name):
    data = (PRETRAINED.parents[1] / "space" / "examples" / name).read_bytes()
    assert refusal(data).startswith(f"not a .cst file: it begins with {data[:4]!r}")


def test_a_future_version_is_checked_first():
    said = refusal(written()[:4] + b"\x02" + b"of which we know nothing")
    assert said.startswith("a .cst file of version 2; accepted: 1; read it with")


def test_an_unknown_model_is_refused():
    said = refusal(with_field(written(), 5, b"\x07"))
    assert "coded under model 7; accepted: 0 (static)" in said


@pytest.mark.parametrize(("byte", "name"), [(1, "gpt"), (2, "pixelcnn")])
def test_a_file_under_a_prior_is_refused(byte, name):
    said = refusal(with_field(written(), 5, bytes([byte])))
    assert said.startswith(
        f"it is coded under the prior '{name}'; accepted: files under the static model; compress the"
    )


def test_a_file_of_another_tokenizer_is_refused_with_both_fingerprints():
    said = refusal(with_field(written(), 10, b"\xff" * 8))
    assert f"written by the tokenizer {'f' * 16}, this one is {PRINT}" in said


def test_a_file_under_another_model_is_refused_with_both_fingerprints():
    said = refusal(with_field(written(), 18, b"\xff" * 8))
    assert f"under the statistics {'f' * 16}, these are {STATISTICS.fingerprint}; open it with" in said


def test_a_machine_that_computes_other_probabilities_gives_an_error_and_no_wrong_picture():
    data = written(make(80, 80), NeighborModel(SIZES))
    stranger = NeighborModel(SIZES, reach=5)  # with the same fingerprint
    with pytest.raises(ValueError, match=r"this machine computes other probabilities|its payload"):
        decompress(data, stranger, tokenizer=CONFIG)
    assert "this machine computes other probabilities" in refusal(with_field(written(), 26, bytes(4)))


@pytest.mark.parametrize("size", [(0, 30), (40, 0), (0, 0), (65_535, 65_535), (8001, 8000)])
def test_invalid_sizes_are_refused(size):
    said = refusal(with_field(written(), 6, np.array(size, "<u2").tobytes()))
    assert f"{size[0]}x{size[1]} pixels; accepted: sides of 1 to 65535 and at most 64 million" in said


@pytest.mark.parametrize("size", [(8000, 8000), (65_535, 976), (8, 8), (41, 31)])
def test_a_right_checksum_around_a_wrong_size_is_refused(size):
    refusal(with_field(written(), 6, np.array(size, "<u2").tobytes()))


def test_a_file_without_payload_is_refused():
    assert "checksum" in refusal(with_field(written(), 0, MAGIC)[: HEADER.size] + bytes(CHECKSUM))
    refusal(with_field(written()[:START], 0, MAGIC))


def test_invalid_tokens_are_refused():
    tokens = make(40, 30)
    for wrong, said in (
        (Tokens(tokens.codes, (48, 33), PRINT), "do not cover 48x33 pixels"),
        (Tokens(tokens.codes[:2], (40, 30), PRINT), "do not cover 40x30 pixels"),
        (Tokens(tokens.codes, (40, 30), "f" * 16), f"tokenizer {'f' * 16}, this one is {PRINT}"),
        (Tokens(tokens.codes, (70_000, 30), PRINT), "70000x30 pixels; accepted: sides of 1 to 65535"),
        (Tokens(tokens.codes + 60, (40, 30), PRINT), "codes of level 0"),
    ):
        with pytest.raises(ValueError, match=said):
            written(wrong)


def test_a_file_is_named_when_it_is_refused(tmp_path):
    (tmp_path / "cut.cst").write_bytes(written()[:-1])
    with pytest.raises(ValueError, match=r"'.*cut.cst': damaged or cut short"):
        container.load(tmp_path / "cut.cst", STATISTICS, tokenizer=CONFIG)
    with pytest.raises(ValueError, match=r"no such file: '.*none.cst'"):
        container.load(tmp_path / "none.cst", STATISTICS, tokenizer=CONFIG)


def test_missing_statistics_are_an_error_that_names_the_command(artifact, photos):
    cst = CST.from_pretrained(artifact, target="cpu")
    with pytest.raises(ValueError, match=r"no statistics of its codes; count them with python -m cst count-codes"):
        cst.compress(cst.encode(photos / "photo-00.png"))


# Fuzzing --------------------------------------------------------------------------------------------------------------


def test_a_corrupted_file_is_refused_or_read_correctly(capsys):
    outcomes = cst.evaluation.fuzz_codec.fuzz(CONFIG, STATISTICS, files=1500, seed=1)
    assert outcomes.total() == 1500
    assert {name for name, _ in outcomes} == {
        f"{name}{end}" for name in cst.evaluation.fuzz_codec.CORRUPTIONS for end in ("", ", checksum repaired")
    }
    crafted = sum(count for (_, outcome), count in outcomes.items() if outcome == cst.evaluation.fuzz_codec.READ)
    assert 0 < crafted < 300


def test_fuzzing_raises_if_the_reader_misbehaves(monkeypatch):
    def careless(data, model, *, tokenizer):
        return make(8, 8)

    monkeypatch.setattr(container, "decompress", careless)
    with pytest.raises((AssertionError, ValueError)):
        cst.evaluation.fuzz_codec.fuzz(CONFIG, STATISTICS, files=10, seed=0)
