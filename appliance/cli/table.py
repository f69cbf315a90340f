"""Rows of text in aligned columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their head, columns two spaces apart, no spaces at the ends of lines."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(_width(row[number]) for row in cells) for number in range(len(head))]
    lines = ("  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines)


def _width(text: str) -> int:
    """Columns on a terminal: vowel signs that are written over or under their letter take none."""
    return sum(0 if unicodedata.category(character) in ("Mn", "Me", "Cf") else 1 for character in text)
