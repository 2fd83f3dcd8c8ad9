"""Bits per token, zero-order entropy, kept token sets, and the search for copies."""

import dataclasses
import math
import shutil

import numpy as np
import pytest

from cst.photos import find_photos
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.protocol import Level
from prior.__main__ import main
from prior.config import PriorConfig
from prior.evaluation.likelihood import bits_by_level, bits_table, zero_order_bits
from prior.evaluation.nearest_photos import Index
from prior.onnx_runtime import OnnxPrior
from prior.sampling import log_prob
from prior.training.token_cache import TokenSet

LEVELS = (Level("color", 2), Level("shape", 4))


def of(*pictures: list) -> TokenSet:
    return TokenSet(np.array(pictures, np.uint16), np.zeros(len(pictures), np.int64))


def test_zero_order_bits_are_the_code_lengths_of_the_training_frequencies():
    training = of([[[0, 0]], [[0, 1]]], [[[0, 1]], [[2, 3]]])  # colors 0, 0, 0, 1; shapes 0, 1, 2, 3
    held_out = of([[[0, 1]], [[3, 3]]])
    color = -(math.log2(4 / 6) + math.log2(2 / 6)) / 2  # counts 3 and 1, and one more each
    assert zero_order_bits(training, held_out, LEVELS) == pytest.approx([color, 2.0])


def test_a_code_never_seen_in_training_has_a_finite_length():
    training, held_out = of([[[0]], [[0]]]), of([[[1]], [[3]]])
    assert np.isfinite(zero_order_bits(training, held_out, LEVELS)).all()


def test_bits_by_level_are_those_of_the_log_probabilities(prior_folder, artifact, kinds_of_photo):
    prior = OnnxPrior(prior_folder)
    photos = TokenSet.of(find_photos([kinds_of_photo]), prior.config, OnnxTokenizer(artifact).codebooks)
    exact = log_prob(prior, np.asarray(photos.tokens, np.int32), photos.labels)
    np.testing.assert_allclose(bits_by_level(prior, photos), -exact.mean((0, 2, 3)) / math.log(2), rtol=1e-5)


def test_table_adds_up_levels_and_divides_by_the_pixels_of_a_patch():
    rows = bits_table({"model": np.array([1.0, 3.0])}, LEVELS, patch=8).splitlines()
    assert rows[0] == "| bits | color | shape | per patch | per pixel |"
    assert rows[2] == "| model | 1.00 | 3.00 | 4.00 | 0.062 |"


# Kept tokens ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(gpt_folder):
    return PriorConfig.load(gpt_folder)


def test_a_kept_set_is_read_back_without_encoding(config, artifact, kinds_of_photo, tmp_path, monkeypatch):
    entries, codebooks = find_photos([kinds_of_photo]), OnnxTokenizer(artifact).codebooks
    made = TokenSet.of(entries, config, codebooks, cache=tmp_path)
    monkeypatch.setattr("prior.training.token_cache.encode_squares", lambda *_: pytest.fail("encoded again"))
    kept = TokenSet.of(entries, config, codebooks, cache=tmp_path)
    assert isinstance(kept.tokens, np.memmap)
    np.testing.assert_array_equal(kept.tokens, made.tokens)
    np.testing.assert_array_equal(kept.labels, made.labels)


def test_a_kept_set_is_found_again_wherever_the_photos_lie(config, artifact, kinds_of_photo, tmp_path):
    codebooks = OnnxTokenizer(artifact).codebooks
    TokenSet.of(find_photos([kinds_of_photo]), config, codebooks, cache=tmp_path / "kept")
    shutil.copytree(kinds_of_photo, tmp_path / "moved")
    moved = TokenSet.of(find_photos([tmp_path / "moved"]), config, codebooks, cache=tmp_path / "kept")
    assert isinstance(moved.tokens, np.memmap)


def test_a_kept_set_of_other_photos_or_settings_is_refused(config, artifact, kinds_of_photo, tmp_path):
    entries, codebooks = find_photos([kinds_of_photo]), OnnxTokenizer(artifact).codebooks
    TokenSet.of(entries, config, codebooks, cache=tmp_path)
    with pytest.raises(ValueError, match=r"another photos .*delete it"):
        TokenSet.of(entries[1:], config, codebooks, cache=tmp_path)
    with pytest.raises(ValueError, match=r"another beam \(1, not 2\)"):
        TokenSet.of(entries, dataclasses.replace(config, beam=2), codebooks, cache=tmp_path)


def test_a_kept_set_of_another_tokenizer_is_refused(config, artifact, kinds_of_photo, tmp_path):
    entries, codebooks = find_photos([kinds_of_photo]), OnnxTokenizer(artifact).codebooks
    TokenSet.of(entries, config, codebooks, cache=tmp_path)
    stated = (tmp_path / "set.json").read_text(encoding="utf-8")
    (tmp_path / "set.json").write_text(stated.replace(config.fingerprint, "0123456789abcdef"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"another fingerprint .*0123456789abcdef"):
        TokenSet.of(entries, config, codebooks, cache=tmp_path)


def test_a_damaged_kept_set_is_named(config, artifact, kinds_of_photo, tmp_path):
    entries, codebooks = find_photos([kinds_of_photo]), OnnxTokenizer(artifact).codebooks
    TokenSet.of(entries, config, codebooks, cache=tmp_path)
    (tmp_path / "tokens.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="is not a readable set of tokens"):
        TokenSet.of(entries, config, codebooks, cache=tmp_path)


# Copies ---------------------------------------------------------------------------------------------------------------


def test_a_copy_of_a_training_photo_is_found_and_so_is_its_mirror_image(config, artifact, kinds_of_photo):
    codebooks = OnnxTokenizer(artifact).codebooks
    training = TokenSet.of(find_photos([kinds_of_photo]), config, codebooks)
    index = Index(training, codebooks)
    copies = np.asarray(training.tokens[[3, 11]], np.int32)
    found = index.find(copies)
    assert found.by_tokens.tolist() == found.by_pixels.tolist() == [3, 11]
    assert found.agreement.tolist() == [1, 1]
    assert found.distance == pytest.approx([0, 0], abs=1e-3)
    # Mirrored patch by patch (not inside the patches), the picture is still far nearer to its source than to others.
    assert index.find(copies[..., ::-1]).by_pixels.tolist() == [3, 11]


# The command ----------------------------------------------------------------------------------------------------------


def test_evaluate_prints_every_reference_and_prior(
    gpt_folder, pixelcnn_folder, artifact, kinds_of_photo, tmp_path, capsys
):
    paths = ["--images", str(kinds_of_photo), "--tokenizer", str(artifact), "--cache", str(tmp_path / "kept")]
    main(["evaluate", *paths, "--prior", str(gpt_folder), str(pixelcnn_folder)])
    said = capsys.readouterr().out
    for name in ("fixed length", "zero-order entropy", gpt_folder.name, pixelcnn_folder.name):
        assert f"| {name} |" in said
    assert said.count("| fixed length | 4.00 | 5.00 | 6.00 | 15.00 | 0.234 |") == 2  # pictures of two sizes
    assert "at 64x64 pixels" in said and "at 32x32 pixels" in said
    assert (tmp_path / "kept" / "64-1-3" / "held-out" / "set.json").exists()


def test_nearest_saves_a_sheet_a_prior(gpt_folder, artifact, kinds_of_photo, tmp_path, capsys):
    paths = ["--images", str(kinds_of_photo), "--tokenizer", str(artifact), "--out", str(tmp_path)]
    main(["evaluate", *paths, "--prior", str(gpt_folder), "--nearest", "--count", "2"])
    said = capsys.readouterr().out
    assert f"| 2 samples of {gpt_folder.resolve().name} |" in said and "held-out photos |" in said
    assert (tmp_path / f"nearest-{gpt_folder.resolve().name}.png").stat().st_size > 0


def test_evaluate_refuses_a_prior_of_another_tokenizer(gpt_folder, artifact, kinds_of_photo, tmp_path):
    folder = tmp_path / "stranger"
    shutil.copytree(gpt_folder, folder)
    config = PriorConfig.load(folder)
    dataclasses.replace(config, fingerprint="0123456789abcdef").save(folder)
    paths = ["--images", str(kinds_of_photo), "--tokenizer", str(artifact)]
    with pytest.raises(ValueError, match="trained on the tokenizer 0123456789abcdef"):
        main(["evaluate", *paths, "--prior", str(folder)])
