"""The folder of a tokenizer: strict about its settings, its files and what belongs together."""

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cst import CST
from cst.artifact import from_dict, replacing, sha256
from cst.tokenizer.codebooks import Codebooks
from cst.tokenizer.config import RenderNetConfig, TokenizerConfig
from cst.tokenizer.onnx_runtime import OnnxTokenizer
from cst.tokenizer.torch_runtime import TorchTokenizer


@pytest.fixture
def copy(artifact, tmp_path) -> Path:
    """A copy of the artifact, to be spoiled."""
    names = ["config.json", *TokenizerConfig.load(artifact).files]
    for name in names:
        shutil.copy(artifact / name, tmp_path / name)
    return tmp_path


def change_config(folder: Path, **changes: object) -> None:
    """Set keys of config.json; None removes one."""
    values = {**json.loads((folder / "config.json").read_text(encoding="utf-8")), **changes}
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in values.items() if v is not None}), encoding="utf-8"
    )


def change_tensors(folder: Path, name: str, **changes: np.ndarray | None) -> None:
    """Set tensors of a file, None removes one, and write the new checksum into config.json."""
    tensors = {**load_file(folder / name), **changes}
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / name)
    TokenizerConfig.load(folder).with_files(folder, name).save(folder)


def test_an_artifact_names_its_format(artifact):
    config = TokenizerConfig.load(artifact)
    assert config.levels == {"color": 16, "shape": 32, "texture": 64}
    assert (config.patch, config.beam) == (8, 4)
    assert config.rendernet == RenderNetConfig(width=192, hidden=256, blocks=2)
    files = {"codebooks.safetensors", "rendernet.safetensors", "rendernet.float.onnx", "rendernet.int8.onnx"}
    assert set(config.files) == files
    assert all(sha256(artifact / name) == digest for name, digest in config.files.items())
    assert not list(artifact.glob("*.part"))


def test_a_saved_configuration_comes_back_as_it_was(artifact, tmp_path):
    config = TokenizerConfig.load(artifact)
    config.save(tmp_path)
    assert TokenizerConfig.load(tmp_path) == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": 3}, r"unknown keys \['colour'\]"),
        ({"fingerprint": None}, r"missing keys \['fingerprint'\]"),
        ({"rendernet": {"width": 192, "depth": 3}}, r"RenderNetConfig: unknown keys \['depth'\]"),
        ({"version": 2}, r"format \('cst-tokenizer', 2\); accepted: \('cst-tokenizer', 1\)"),
        ({"format": "other"}, "format .'other', 1"),
        ({"version": None}, "format .'cst-tokenizer', None"),
    ],
)
def test_an_invalid_configuration_is_refused_with_the_reason(changes, said, copy):
    change_config(copy, **changes)
    for load in (TokenizerConfig.load, OnnxTokenizer, TorchTokenizer, CST.from_pretrained):
        with pytest.raises(ValueError, match=said):
            load(copy)


@pytest.mark.parametrize(("text", "said"), [("{", "not readable JSON"), ("[1]", "list"), ("\xff", "not readable")])
def test_a_configuration_that_is_no_json_object_is_refused(text, said, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=said):
        TokenizerConfig.load(tmp_path)


def test_a_damaged_configuration_is_refused_or_still_means_a_tokenizer(copy):
    whole, rng = (copy / "config.json").read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (copy / "config.json").write_bytes(data)
        with contextlib.suppress(ValueError):
            assert Codebooks.of_artifact(copy, TokenizerConfig.load(copy)).levels[0].size == 16


def test_a_folder_without_configuration_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=f"'{tmp_path}' is not a tokenizer: it has no config.json"):
        CST.from_pretrained(tmp_path)


def test_what_is_neither_a_folder_nor_a_repository_is_refused():
    for source in ("/nowhere/at/all", "./here", "name", "a/b/c"):
        with pytest.raises(ValueError, match=f"'{source}' is not a folder"):
            CST.from_pretrained(source)


def test_a_repository_that_can_not_be_reached_is_one_clear_error(run_python):
    code = "from cst import CST\ntry: CST.from_pretrained('nobody/nothing')\nexcept ValueError as error: print(error)"
    settings = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}
    for offline in ("0", "1"):
        done = run_python("-c", code, HF_HUB_OFFLINE=offline, **settings)
        assert done.stdout.startswith("'nobody/nothing' is neither a folder here nor a Hub repository"), done.stderr


def test_dataclasses_are_built_strictly():
    assert from_dict(RenderNetConfig, {"width": 5}) == RenderNetConfig(width=5)
    with pytest.raises(ValueError, match=r"unknown keys \['a', 'b'\]"):
        from_dict(RenderNetConfig, {"a": 1, "b": 2})
    with pytest.raises(dataclasses.FrozenInstanceError):
        RenderNetConfig().width = 3


@pytest.mark.parametrize("place", [0.1, 0.5, 0.99])
@pytest.mark.parametrize(
    "name", ["codebooks.safetensors", "rendernet.safetensors", "rendernet.float.onnx", "rendernet.int8.onnx"]
)
def test_one_flipped_bit_is_noticed(name, place, copy):
    data = bytearray((copy / name).read_bytes())
    data[int(len(data) * place)] ^= 1
    (copy / name).write_bytes(data)
    precision = "int8" if "int8" in name else "float"
    with pytest.raises(ValueError, match=f"{name}' is damaged: its checksum is not the one in config.json"):
        OnnxTokenizer(copy, precision=precision)


def test_a_missing_file_is_named(copy):
    (copy / "rendernet.int8.onnx").unlink()
    with pytest.raises(ValueError, match=r"has no rendernet.int8.onnx; it holds codebooks.safetensors"):
        OnnxTokenizer(copy)
    (copy / "rendernet.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no rendernet.safetensors"):
        OnnxTokenizer(copy, precision="float")


def test_codebooks_without_rendernet_are_not_a_tokenizer(codebooks_folder):
    with pytest.raises(ValueError, match=r"has no rendernet.int8.onnx"):
        CST.from_pretrained(codebooks_folder)
    with pytest.raises(ValueError, match="no RenderNet; train one"):
        TorchTokenizer(codebooks_folder)


@pytest.mark.parametrize("load", [OnnxTokenizer, TorchTokenizer])
def test_the_codebooks_of_another_tokenizer_are_refused(load, copy):
    texture = load_file(copy / "codebooks.safetensors")["texture"]
    change_tensors(copy, "codebooks.safetensors", texture=texture[::-1].copy())
    with pytest.raises(ValueError, match=r"its codebooks are \w{16}, its config.json names"):
        load(copy)


def test_weights_load_strictly_and_name_what_does_not_fit(copy):
    weight = load_file(copy / "rendernet.safetensors")["head.weight"]
    changes = {"head.bias": None, "head.weight": weight[:7], "tail.weight": weight}
    change_tensors(copy, "rendernet.safetensors", **changes)
    with pytest.raises(ValueError) as error:
        TorchTokenizer(copy)
    assert "missing ['head.bias'], unexpected ['tail.weight'], of another shape ['head.weight']" in str(error.value)


def test_weights_of_another_size_are_refused(copy):
    change_config(copy, rendernet={"width": 192, "hidden": 256, "blocks": 3})
    with pytest.raises(ValueError, match=r"missing \['blocks.2.gather.bias'"):
        TorchTokenizer(copy)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("ne", encoding="utf-8")
        raise RuntimeError
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("file", "old")]
    with replacing(path) as part:
        part.write_text("new", encoding="utf-8")
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("file", "new")]
