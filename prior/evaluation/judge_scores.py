"""Scores of drawn pictures: distance to photos of the same classes, and accuracy of a linear probe on them."""

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from cst.artifact import replacing
from cst.evaluation.picture_features import DEPTHS, INPUT_SIZE, NETWORK, color_map, kid, kid_halves, network_features
from cst.images import center_crop
from cst.photos import Entry, Photos, find_photos, split

SHORTEST = 512  # pixels: photos are read at this size, larger than any prior draws
PROBE_PHOTOS = 12  # per class, to fit the linear probe and to standardize features
STRENGTH = 0.01  # inverse strength of the probe's regularization


@dataclass(frozen=True)
class Row:
    """The scores of a set of pictures.

    kid, color_kid: kernel distances to the held-out photos, times 1000, by network features (the mean of the two
    `depths`) and by 16x16 colors; each with its spread, the standard deviation over random halves. top1, top5: the
    accuracy of a linear probe on their class, in [0, 1].
    """

    name: str
    pictures: int
    kid: float
    kid_spread: float
    depths: dict[str, float]
    top1: float
    top5: float
    color_kid: float
    color_spread: float


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| pictures | KID x1000 | top-1 | top-5 | color KID x1000 |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        distances = [
            f"{value:.1f} ± {spread:.1f}"
            for value, spread in ((row.kid, row.kid_spread), (row.color_kid, row.color_spread))
        ]
        lines.append(f"| {row.name} | {distances[0]} | {row.top1:.1%} | {row.top5:.1%} | {distances[1]} |")
    return "\n".join(lines)


# Which photos --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """Photos with one mix of classes, held_out[i] of the class of others[i], and disjoint photos for the probe.

    All are ordered by a hash of their names, so that fewer pictures are the first of more.
    """

    held_out: list[Entry]
    others: list[Entry]
    probe: list[Entry]


def choose(entries: Sequence[Entry], *, pictures: int, classes: Sequence[str] | None = None) -> Choice:
    """Choose up to `pictures` held-out photos of `classes` (None: of all), and training photos to compare them with.

    Raises ValueError if there are too few.
    """
    training, held_out = split(entries)
    by_class: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(
        training, key=lambda entry: hashlib.sha256(entry.name.encode(errors="surrogateescape")).digest()
    ):
        by_class[entry.label].append(entry)
    probe, spare = [], {}
    for name, mine in sorted(by_class.items()):
        if classes is None or name in classes:
            count = min(PROBE_PHOTOS, -(-len(mine) // 2))
            probe += mine[:count]
            spare[name] = iter(mine[count:])
    chosen: list[Entry] = []
    others: list[Entry] = []
    for entry in held_out:
        if len(chosen) < pictures and (other := next(spare.get(entry.label, iter(())), None)) is not None:
            chosen.append(entry)
            others.append(other)
    if len(chosen) < 2 or len(spare) < 2:
        raise ValueError(
            f"{len(chosen)} of {len(held_out)} held-out photos have a training photo of their class to compare with; "
            "accepted: at least 2, and 2 classes, in folders named as the classes that the priors know"
        )
    return Choice(chosen, others, probe)


def read_squares(entries: Sequence[Entry]) -> list[Image.Image]:
    """The middle squares of photos as they are. Raises ValueError for one that can't be read."""
    photos, squares = Photos(entries, shortest=SHORTEST, memory_gib=0), []
    for index in tqdm(range(len(photos)), desc="photos", unit="photo", leave=False):
        if (photo := photos[index]) is None:
            raise ValueError("; ".join(f"{name}: {why}" for name, why in photos.unreadable.items()))
        picture = Image.fromarray(photo)
        squares.append(center_crop(picture, min(picture.size)))
    return squares


def compute_features(pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """Pictures -> network features at each depth, and "color": (B, d) float32 each."""
    return network_features(pictures) | {"color": np.stack([color_map(picture) for picture in pictures])}


def photo_features(entries: Sequence[Entry], folder: Path) -> dict[str, np.ndarray]:
    """`compute_features` of photos' middle squares, cached in `folder` under a hash of their names."""
    names = "\n".join([f"{NETWORK} {INPUT_SIZE}", *(f"{entry.label}/{entry.name}" for entry in entries)])
    path = folder / f"features-{hashlib.sha256(names.encode(errors='surrogateescape')).hexdigest()[:16]}.npz"
    if path.exists():
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{path}' can't be read ({error}); delete it") from None
    values = compute_features(read_squares(entries))
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **values)
    return values


# The judge -----------------------------------------------------------------------------------------------------------


class Judge:
    """Held-out photos, their features and a linear probe, to score sets of pictures.

    photos: the middle squares of the held-out photos. names[i]: the class of photo i, and of picture i of every set to
    score. others: training photos of the same classes.
    """

    def __init__(self, choice: Choice, folder: Path):
        """Compute the features of the chosen photos, or read them from `folder`."""
        self.names = [entry.label for entry in choice.held_out]
        self.photos, self.others = read_squares(choice.held_out), read_squares(choice.others)
        training = photo_features(choice.probe, folder)
        self._statistics = {name: (values.mean(0), values.std(0) + 1e-6) for name, values in training.items()}
        self.reference = self._standardize(photo_features(choice.held_out, folder))
        self.floor = self._standardize(photo_features(choice.others, folder))
        self.probe = _fit_probe(self._standardize(training)[DEPTHS[-1]], [entry.label for entry in choice.probe])

    @classmethod
    def load(
        cls, images: Sequence[Path], out: Path, *, pictures: int = 256, classes: Sequence[str] | None = None
    ) -> "Judge":
        """A judge from the held-out photos of `images`, folders or zips; features are cached in the folder `out`.

        pictures: the most that are compared. classes: those of the priors; photos of other classes are left out.
        """
        return cls(choose(find_photos(images), pictures=pictures, classes=classes), Path(out))

    def score(self, pictures: list[Image.Image], name: str = "") -> Row:
        """Score pictures; picture i is of the class `names[i]`. Fewer pictures are compared with the first photos."""
        if not 2 <= len(pictures) <= len(self.names):
            raise ValueError(f"{len(pictures)} pictures; accepted: from 2 to {len(self.names)}, as there are photos")
        return self._row(name, self._standardize(compute_features(pictures)))

    def score_others(self, name: str) -> Row:
        """Score the training photos `others`: the best value a model could reach."""
        return self._row(name, self.floor)

    def _row(self, name: str, features: dict[str, np.ndarray]) -> Row:
        count = len(features["color"])
        pairs = {key: (values, self.reference[key][:count]) for key, values in features.items()}
        depths = {key: 1000 * kid(*pairs[key], paired=True) for key in DEPTHS}
        spread = 1000 * np.mean([kid_halves(*pairs[key], paired=True) for key in DEPTHS], axis=0).std()
        scores = self.probe.predict_proba(features[DEPTHS[-1]])  # (N, classes)
        order = self.probe.classes_[np.argsort(-scores, axis=1, kind="stable")]
        hits = order == np.array(self.names[:count])[:, None]
        return Row(
            name=name,
            pictures=count,
            kid=float(np.mean(list(depths.values()))),
            kid_spread=float(spread),
            depths=depths,
            top1=float(hits[:, 0].mean()),
            top5=float(hits[:, :5].any(1).mean()),
            color_kid=1000 * kid(*pairs["color"], paired=True),
            color_spread=float(1000 * kid_halves(*pairs["color"], paired=True).std()),
        )

    def _standardize(self, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            name: (values - self._statistics[name][0]) / self._statistics[name][1] for name, values in features.items()
        }


def _fit_probe(values: np.ndarray, names: list[str]) -> Any:
    """(N, d) standardized features and their classes -> a linear classifier of scikit-learn."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=STRENGTH, max_iter=1000).fit(values, names)
