"""The address of a result restores the fields that made it."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import gradio as gr
import pytest

from prior.sampler import DEFAULTS
from space.generation.address import SETTINGS, restored_fields, result_address, setting_values
from space.generation.request import ANY, GenerationRequest
from space.widgets.photo_picker import brought

CLASSES = ["Rose", "Water Lily"]


@pytest.mark.parametrize("model", DEFAULTS)
def test_an_address_restores_the_request(model: str):
    color, *others = DEFAULTS[model].levels
    settings = replace(DEFAULTS[model], levels=(replace(color, temperature=0.8, top_k=40), *others), guidance=3.5)
    request = GenerationRequest("Water Lily", 2, 12345, settings)
    address = result_address(request, model)
    assert address.startswith("?") and "shape" not in address  # as short as it can be
    restored = restored_fields(dict(parse_qsl(address[1:])), CLASSES)
    assert restored == ("Water Lily", 2, 12345, model, setting_values(settings))
    assert len(SETTINGS) == len(setting_values(settings))


def test_what_an_address_names_wrongly_has_its_usual_value():
    assert restored_fields({"tab": "sketch", "kind": "Rose"}, CLASSES) is None
    wrong = {"tab": "sample", "kind": "cabbage", "count": "many", "seed": "-1", "model": "dalle", "guidance": "nan"}
    assert restored_fields(wrong, CLASSES) == (ANY, 4, 1, "gpt", setting_values(DEFAULTS["gpt"]))
    assert restored_fields({"tab": "sample", "kind": "water-lily"}, CLASSES)[0] == "Water Lily"


def test_a_photo_is_brought_once_and_only_while_it_is_there(tmp_path: Path):
    photo = tmp_path / "photo.jpg"
    photo.touch()
    assert brought(str(photo), None) == str(photo)
    for latest, own in ((None, None), (str(photo), str(photo)), (str(tmp_path / "deleted.jpg"), None)):
        assert brought(latest, own) == gr.skip()
