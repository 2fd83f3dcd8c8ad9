"""One patch: its three codes, what they draw, how common they are, and what the model predicted instead."""

import html
import math
from typing import Any

import numpy as np

from cst.images import to_uint8
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from space.generation.request import ANY
from space.tabs.inside.analysis import Analysis
from space.tabs.inside.codebook_tiles import contrast, frequency_text, patches_per_use, tile_url, tiles

COUNTED = "Code frequencies were counted in training photos."
UNCOUNTED = "Code frequencies were never counted for this tokenizer (python -m cst count-codes counts them)."


def patch_numbers(
    analysis: Analysis, column: int, row: int, statistics: Statistics | None, codebooks: Codebooks
) -> dict[str, Any]:
    """Everything about a patch, by level; `column` and `row` are indices.

    one_in: in how many patches of training photos the code occurs once, None if it never occurred or wasn't counted.
    probability, bits, rank and likeliest are the model's, and missing without one. rank: from 1, None if the code is
    not among the likeliest.
    """
    levels: dict[str, dict[str, Any]] = {}
    for index, level in enumerate(codebooks.levels):
        code = int(analysis.tokens[index, row, column])
        levels[level.name] = {"code": code, "of": level.size, "one_in": patches_per_use(statistics, index, code)}
        if analysis.scores is not None:
            log_prob = float(analysis.scores.log_prob[index, row, column])
            codes = analysis.scores.codes[index, row, column].tolist()
            p = analysis.scores.p[index, row, column].tolist()
            levels[level.name] |= {
                "probability": math.exp(log_prob),
                "bits": -log_prob / math.log(2),
                "rank": codes.index(code) + 1 if code in codes else None,
                "likeliest": [{"code": c, "probability": q} for c, q in zip(codes, p, strict=True)],
            }
    return {
        "column": column + 1, "row": row + 1, "levels": levels, "model": analysis.model,
        "kind": analysis.kind if analysis.model else None,
    }  # fmt: skip


def patch_card(analysis: Analysis, column: int, row: int, statistics: Statistics | None, codebooks: Codebooks) -> str:
    """The patch, its codebook entries, their sum and the rendering, as HTML; it also marks the patch in the photo."""
    numbers = patch_numbers(analysis, column, row, statistics, codebooks)
    patch = codebooks.patch
    area = np.s_[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
    figures, factors = [], []
    for index, (name, level) in enumerate(numbers["levels"].items()):
        code = level["code"]
        lines = [f"{code:,} of {level['of']:,}", frequency_text(statistics, index, code)]
        figures.append(figure(tiles(codebooks, index)[code], name, *lines, sign="+" if index else ""))
        factors.append(f"{contrast(codebooks, index)[code]:.1f}")
    _, h, w = analysis.tokens.shape
    tokens = analysis.tokens[None, :, row : row + 1, column : column + 1]
    centroids = to_uint8(codebooks.centroid_picture(tokens)[0])
    figures.append(figure(centroids, "sum", "of these three", sign="="))
    figures.append(figure(analysis.rendered[area], "rendered", "from its neighbors too", sign="→"))
    figures.append(figure(analysis.square[area], "photo", "the original"))
    note = (
        "Shape and texture add light or remove it: gray is no change. They are drawn with "
        f"{factors[1]} and {factors[2]} times their contrast. {UNCOUNTED if statistics is None else COUNTED}"
    )
    return (
        f"<style>#patches {{ --column: {column}; --row: {row}; --columns: {w}; --rows: {h}; }}</style>"
        f'<p class="words" role="status">Column {column + 1}, row {row + 1}: three numbers</p>'
        f'<div class="sum">{"".join(figures)}</div><p class="note">{note}</p>'
    )


def figure(pixels: np.ndarray, name: str, *lines: str, sign: str = "") -> str:
    """A few enlarged pixels and their caption."""
    caption = "".join(f"<span>{line}</span>" for line in lines if line)
    return (
        f'<figure data-sign="{sign}"><img src="{tile_url(pixels)}" alt="">'
        f"<figcaption><b>{name}</b>{caption}</figcaption></figure>"
    )


def predictions(analysis: Analysis, column: int, row: int, codebooks: Codebooks) -> str:
    """The model's likeliest codes of every level here, with the true one among them, as HTML."""
    lists = []
    for index, (name, level) in enumerate(patch_numbers(analysis, column, row, None, codebooks)["levels"].items()):
        entries = tiles(codebooks, index)
        top = max(level["likeliest"][0]["probability"], level["probability"])
        rows = [
            bar(entries[each["code"]], each["code"], each["probability"], top, true=each["code"] == level["code"])
            for each in level["likeliest"]
        ]
        if level["rank"] is None:
            rows.append(bar(entries[level["code"]], level["code"], level["probability"], top, true=True, apart=True))
            rank = f"not among its first {len(level['likeliest'])}"
        else:
            rank = "its first guess" if level["rank"] == 1 else f"its guess number {level['rank']}"
        lists.append(
            f"<section><h3>{name}</h3><p>{level['bits']:.1f} bits: {rank}</p>"
            f'<ol aria-label="likeliest codes of {name}">{"".join(rows)}</ol></section>'
        )
    kind = "" if analysis.kind == ANY else f" and the kind “{html.escape(analysis.kind)}”"
    return (
        f'<p class="words">What {analysis.model} predicted here</p><p class="note">Its most likely codes, given the '
        f"patches before this one{kind}. The actual code is marked.</p>"
        f'<div class="expected">{"".join(lists)}</div>'
    )


def bar(pixels: np.ndarray, code: int, p: float, top: float, *, true: bool, apart: bool = False) -> str:
    """One row of the list: the entry, a bar of its probability relative to `top`, and the number."""
    classes = " ".join(name for name, is_set in (("true", true), ("apart", apart)) if is_set)
    return (
        f'<li class="{classes}"><img src="{tile_url(pixels)}" alt="code {code}">'
        f'<i style="--p: {100 * p / top:.1f}%"></i><span>{percent(p)}</span></li>'
    )


def percent(p: float) -> str:
    """A probability rounded down, so that those of a list never add up to more than 100%."""
    if p < 0.0001:
        return "&lt; 0.01%"
    digits = 0 if p >= 0.1 else 1 if p >= 0.01 else 2
    scale = 10**digits
    return f"{math.floor(100 * p * scale) / scale:.{digits}f}%"
