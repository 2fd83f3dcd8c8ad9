"""The address of a result restores the fields that made it."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from prior.sampler import DEFAULTS
from space.generation.address import SETTINGS, folded, restored_fields, result_address, setting_values
from space.generation.request import ANY, GenerationRequest

CLASSES = ["Rose", "Water Lily", "Black-Eyed Susan"]


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
    for kind in ("water-lily", "Black-Eyed Susan", "black_eyed susan"):
        assert folded(restored_fields({"tab": "sample", "kind": kind}, CLASSES)[0]) == folded(kind)
    for name, value in (("guidance", "99"), ("color_temperature", "0"), ("texture_top_p", "7")):
        assert restored_fields({"tab": "sample", name: value}, CLASSES)[4] == setting_values(DEFAULTS["gpt"])


def test_no_handler_skips_a_component():
    """Gradio would forget the component's own `preprocess`, and with it the checks of the page."""
    files = (Path(__file__).parents[2] / "space").rglob("*.py")
    assert [path.name for path in files if re.search(r"(?<!`)gr\.skip", path.read_text("utf-8"))] == []
