"""One patch: its three codes, what they draw, how common they are, and what the model expected instead."""

import html
import math
from typing import Any

import numpy as np

from cst.images import to_uint8
from cst.tokenizer.code_statistics import Statistics
from cst.tokenizer.codebooks import Codebooks
from space.generation.request import ANY
from space.tabs.inside.analysis import Look
from space.tabs.inside.codebook_tiles import common, contrast, one_in, tile_address, tiles

COUNTED = "How common a code is was counted in training photos."
UNCOUNTED = "How common a code is was never counted for this tokenizer (python -m cst count-codes counts it)."


def numbers(look: Look, column: int, row: int, statistics: Statistics | None, codebooks: Codebooks) -> dict[str, Any]:
    """All there is to say about a patch, by level; `column` and `row` are indices.

    one_in: patches of training photos for each that has this code, None where it never occurred or wasn't counted.
    probability, bits, rank and likeliest are the model's; None or empty without one. rank: from 1, None where the
    code is not among the likeliest.
    """
    levels = {}
    for index, level in enumerate(codebooks.levels):
        code = int(look.tokens[index, row, column])
        levels[level.name] = {"code": code, "of": level.size, "one_in": one_in(statistics, index, code)}
        if look.expected is not None:
            log_prob = float(look.expected.log_prob[index, row, column])
            codes = look.expected.codes[index, row, column].tolist()
            p = look.expected.p[index, row, column].tolist()
            levels[level.name] |= {
                "probability": math.exp(log_prob),
                "bits": -log_prob / math.log(2),
                "rank": codes.index(code) + 1 if code in codes else None,
                "likeliest": [{"code": c, "probability": q} for c, q in zip(codes, p, strict=True)],
            }
    return {
        "column": column + 1, "row": row + 1, "levels": levels, "model": look.model,
        "kind": look.kind if look.model else None,
    }  # fmt: skip


def card(look: Look, column: int, row: int, statistics: Statistics | None, codebooks: Codebooks) -> str:
    """The patch, its codebook entries, their sum and what is painted, as HTML; it also marks the patch in the photo."""
    said = numbers(look, column, row, statistics, codebooks)
    patch = codebooks.patch
    area = np.s_[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
    figures, raised = [], []
    for index, (name, level) in enumerate(said["levels"].items()):
        code = level["code"]
        lines = [f"{code:,} of {level['of']:,}", common(statistics, index, code)]
        figures.append(figure(tiles(codebooks, index)[code], name, *lines, sign="+" if index else ""))
        raised.append(f"{contrast(codebooks, index)[code]:.1f}")
    _, h, w = look.tokens.shape
    tokens = look.tokens[None, :, row : row + 1, column : column + 1]
    drawn = to_uint8(codebooks.draw(tokens)[0])
    figures.append(figure(drawn, "sum", "of these three", sign="="))
    figures.append(figure(look.painted[area], "painted", "in view of its neighbors", sign="→"))
    figures.append(figure(look.square[area], "photo", "what it was"))
    note = (
        "Shape and texture add light or take it away: gray is no change. They are drawn with "
        f"{raised[1]} and {raised[2]} times their contrast. {UNCOUNTED if statistics is None else COUNTED}"
    )
    return (
        f"<style>#patches {{ --column: {column}; --row: {row}; --columns: {w}; --rows: {h}; }}</style>"
        f'<p class="words" role="status">Column {column + 1}, row {row + 1}: three numbers</p>'
        f'<div class="sum">{"".join(figures)}</div><p class="note">{note}</p>'
    )


def figure(pixels: np.ndarray, name: str, *lines: str, sign: str = "") -> str:
    """A few pixels drawn large, and what they are."""
    said = "".join(f"<span>{line}</span>" for line in lines if line)
    return (
        f'<figure data-sign="{sign}"><img src="{tile_address(pixels)}" alt="">'
        f"<figcaption><b>{name}</b>{said}</figcaption></figure>"
    )


def expectations(look: Look, column: int, row: int, codebooks: Codebooks) -> str:
    """The likeliest codes of every level here by the model, and where the true one is among them, as HTML."""
    said = numbers(look, column, row, None, codebooks)
    lists = []
    for index, (name, level) in enumerate(said["levels"].items()):
        entries = tiles(codebooks, index)
        most = max(level["likeliest"][0]["probability"], level["probability"])
        rows = [
            bar(entries[each["code"]], each["code"], each["probability"], most, true=each["code"] == level["code"])
            for each in level["likeliest"]
        ]
        if level["rank"] is None:
            rows.append(bar(entries[level["code"]], level["code"], level["probability"], most, true=True, apart=True))
            rank = f"not among its first {len(level['likeliest'])}"
        else:
            rank = "its first guess" if level["rank"] == 1 else f"its guess number {level['rank']}"
        lists.append(
            f"<section><h3>{name}</h3><p>{level['bits']:.1f} bits: {rank}</p>"
            f'<ol aria-label="likeliest codes of {name}">{"".join(rows)}</ol></section>'
        )
    told = "" if look.kind == ANY else f", told “{html.escape(look.kind)}”"
    return (
        f'<p class="words">What {look.model} expected here</p><p class="note">From the patches it had read '
        f"before{told}: the codes it thought likeliest. The one that came is marked.</p>"
        f'<div class="expected">{"".join(lists)}</div>'
    )


def bar(pixels: np.ndarray, code: int, p: float, most: float, *, true: bool, apart: bool = False) -> str:
    """One row of the list: the entry, a bar of its probability beside the largest of the list, and the number."""
    kinds = " ".join(kind for kind, is_so in (("true", true), ("apart", apart)) if is_so)
    return (
        f'<li class="{kinds}"><img src="{tile_address(pixels)}" alt="code {code}">'
        f'<i style="--p: {100 * p / most:.1f}%"></i><span>{percent(p)}</span></li>'
    )


def percent(p: float) -> str:
    """A probability rounded down, so that a list of them never passes 100%."""
    if p < 0.0001:
        return "&lt; 0.01%"
    digits = 0 if p >= 0.1 else 1 if p >= 0.01 else 2
    scale = 10**digits
    return f"{math.floor(100 * p * scale) / scale:.{digits}f}%"
