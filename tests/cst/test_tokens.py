"""Tokens in memory and in their `.npz` file."""

import pickle

import numpy as np
import pytest

from cst import CST, Tokens

PRINT = "0123456789abcdef"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(np.random.default_rng(0).integers(16, size=(3, 5, 7)).astype(np.int32), (50, 39), PRINT)


def write(path, **arrays):
    good = {"codes": np.zeros((3, 2, 2), np.int32), "size": np.array([16, 16]), "fingerprint": np.array(PRINT)}
    np.savez(path, **{key: value for key, value in {**good, **arrays}.items() if value is not None})
    return path


def test_tokens_come_back_as_they_were_saved(tokens, tmp_path):
    path = tmp_path / "tokens.npz"
    tokens.save(path)
    loaded = Tokens.load(str(path))
    assert np.array_equal(loaded.codes, tokens.codes)
    assert loaded.codes.dtype == np.int32
    assert (loaded.size, loaded.fingerprint) == (tokens.size, tokens.fingerprint)
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.npz"]


def test_saving_is_atomic(tokens, tmp_path, monkeypatch):
    path = tmp_path / "tokens.npz"
    tokens.save(path)
    before = path.read_bytes()

    def half(file, **arrays):
        file.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", half)
    with pytest.raises(OSError, match="No space"):
        Tokens(tokens.codes, (1, 1), "other").save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.npz"]


def test_pickled_objects_are_never_loaded(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path / "harmed").mkdir, ()

    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(Harm()))
    hidden = write(tmp_path / "hidden.npz", codes=np.array([Harm()], object))
    for path in (bare, hidden):
        with pytest.raises(ValueError, match=f"'{path}' is not a file of tokens"):
            Tokens.load(path)
    assert not (tmp_path / "harmed").exists()


def test_damage_anywhere_gives_the_tokens_or_a_value_error(tokens, tmp_path):
    path = tmp_path / "tokens.npz"
    tokens.save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for attempt in range(300):
        data = bytearray(whole)
        if attempt % 2:
            del data[rng.integers(len(data)) :]
        else:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            Tokens.load(path)
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"codes": np.zeros((3, 4))}, "float64"),
        ({"codes": np.zeros((3, 4), int)}, r"\(3, 4\)"),
        ({"codes": np.zeros((3, 0, 4), int)}, r"\(3, 0, 4\)"),
        ({"size": np.array([16, 16, 3])}, "two integers"),
        ({"size": np.array([16.0, 16.0])}, "two integers"),
        ({"fingerprint": np.array(7)}, "a text"),
        ({"size": None}, "exactly codes, size, fingerprint"),
        ({"more": np.zeros(3)}, "exactly codes, size, fingerprint"),
    ],
)
def test_invalid_arrays_are_refused_with_a_description(arrays, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        Tokens.load(write(tmp_path / "tokens.npz", **arrays))


def test_a_file_that_holds_no_tokens_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"no such file: '.*none.npz'"):
        Tokens.load(tmp_path / "none.npz")
    array = tmp_path / "array.npz"
    with array.open("wb") as file:
        np.save(file, np.zeros((3, 4, 5), np.int32))
    for name, data in {"empty.npz": b"", "text.npz": b"words", "array.npz": array.read_bytes()}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}' is not a file of tokens"):
            Tokens.load(tmp_path / name)


def test_tokens_of_another_tokenizer_are_refused(tokens, artifact, photos, tmp_path):
    cst = CST.from_pretrained(artifact, target="cpu")
    for use in (cst.decode, cst.centroid_picture):
        with pytest.raises(ValueError, match=f"written by the tokenizer {PRINT}, this one is"):
            use(tokens)
    mine = cst.encode(photos / "photo-00.png")
    mine.save(tmp_path / "tokens.npz")
    assert np.array_equal(cst.decode(Tokens.load(tmp_path / "tokens.npz")), cst.decode(mine))


@pytest.mark.parametrize("size", [(0, 84), (100, 89), (96, 84), (10**9, 10**9)])
def test_a_grid_that_does_not_cover_its_size_is_refused(size, artifact, photos):
    cst = CST.from_pretrained(artifact, target="cpu")
    tokens = cst.encode(photos / "photo-00.png")
    assert (tokens.size, tokens.codes.shape) == ((100, 84), (3, 11, 13))
    with pytest.raises(ValueError, match="do not cover"):
        cst.decode(Tokens(tokens.codes, size, tokens.fingerprint))


def test_codes_out_of_range_are_refused(artifact, photos):
    cst = CST.from_pretrained(artifact, target="cpu")
    tokens = cst.encode(photos / "photo-00.png")
    codes = tokens.codes.copy()
    codes[2, 4, 5] = 64
    with pytest.raises(ValueError, match=r"texture codes span .* to 64; accepted: 0 to 63"):
        cst.decode(Tokens(codes, tokens.size, tokens.fingerprint))
