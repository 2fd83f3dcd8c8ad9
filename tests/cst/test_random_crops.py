"""Training crops depend only on seed and step, so that a run can resume."""

import numpy as np
import pytest
from PIL import Image

from cst.photos import Photos, find_photos
from cst.training.random_crops import Crops


def make_crops(photos, *, seed: int = 0, size: int = 32, batch: int = 4, scales=(1.0, 0.5)) -> Crops:
    return Crops(Photos(find_photos([photos])), size=size, batch=batch, scales=scales, seed=seed)


def test_crops_depend_only_on_seed_and_step(photos):
    crops = make_crops(photos)
    first = crops[7]
    assert (first.shape, first.dtype) == ((4, 3, 32, 32), np.uint8)
    crops[3]
    assert np.array_equal(crops[7], first)
    assert np.array_equal(make_crops(photos)[7], first)
    assert not np.array_equal(crops[8], first)
    assert not np.array_equal(make_crops(photos, seed=1)[7], first)
    assert len({crop.tobytes() for crop in first}) == 4


def test_crops_come_in_order_from_any_step(photos):
    crops = make_crops(photos)
    steps = [batch.tobytes() for batch in crops.ahead(0, 5)]
    assert steps == [crops[step].tobytes() for step in range(5)]
    assert [batch.tobytes() for batch in crops.ahead(3, 5)] == steps[3:]
    assert list(crops.ahead(5, 5)) == []


def test_a_crop_is_a_piece_of_a_photo_flipped_half_of_the_time(tmp_path):
    ramp = np.zeros((40, 40, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(40), np.arange(40)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    crops = np.concatenate([make_crops(tmp_path, size=16, scales=(1.0,))[step] for step in range(50)])
    across = np.diff(crops[:, 0].astype(int), axis=2)
    flipped = (across == -1).all((1, 2))
    assert ((across == 1).all((1, 2)) | flipped).all()
    assert (np.diff(crops[:, 1].astype(int), axis=1) == 1).all()  # never upside down
    assert 0.35 < flipped.mean() < 0.65
    corners = {(int(crop[0].min()), int(crop[1].min())) for crop in crops}
    assert len(corners) > 100  # of 25 x 25 places
    assert {0, 24} <= {x for x, _ in corners}


def test_photos_smaller_than_a_crop_are_enlarged_to_it(photos):
    assert make_crops(photos, size=128)[0].shape == (4, 3, 128, 128)


def test_unreadable_photos_are_passed_over(photos, tmp_path):
    (tmp_path / "bad.png").write_text("no photo", encoding="utf-8")
    crops = make_crops(tmp_path)
    with pytest.raises(ValueError, match="100 photos in a row could not be read"):
        crops[0]
    Image.new("RGB", (50, 50), "red").save(tmp_path / "good.png")
    assert (make_crops(tmp_path, batch=8)[0] == np.array([255, 0, 0]).reshape(3, 1, 1)).all()
