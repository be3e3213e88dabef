"""Values that can answer a question, in one form however they are written, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ValueType(IntEnum):
    """What sort of value a span states."""

    DATE = 0
    NUMBER = 1
    NAME = 2
    WORDS = 3
    CATEGORY = 4
    VERSION = 5


TEXTS = frozenset({ValueType.NAME, ValueType.WORDS, ValueType.CATEGORY})
"""The types whose keys are stems."""


class SlotValue(NamedTuple):
    """A value in one form.

    Attributes:
        type: what sort of value.
        key: a date's `(year, month, day)` with 0 for what is not given; a number's `(number,)`; a version's parts; the
            stems of the others.
        category: for `CATEGORY`, which one; empty for the others.
    """

    type: ValueType
    key: tuple[str, ...] | tuple[float, ...]
    category: str = ""


_SAME_NUMBER = 0.004
"""Relative difference up to which two numbers are one, rounded differently."""
_CONTAINED = 0.8
"""How alike a name and a longer form of it are (`Mozart`, `Wolfgang Amadeus Mozart`)."""


def alike(values: Sequence[SlotValue]) -> NDArray[np.float32]:
    """How alike each pair of values is, 0 to 1: shape `(n, n)`.

    Dates are alike if the parts that both give are the same, versions if one goes on where the other ends, numbers if
    they differ by rounding only. Words by the share of stems that they have in common; a part of a longer form counts
    0.8. Values of different sorts are not alike, save names, words and categories.
    """
    count = len(values)
    result = np.zeros((count, count), np.float32)
    dates = [place for place, value in enumerate(values) if value.type is ValueType.DATE]
    if dates:
        parts = np.array([values[place].key for place in dates], np.float32)
        left, right = parts[:, None, :], parts[None, :, :]
        both = (left > 0) & (right > 0)
        same = ((left == right) | ~both).all(axis=2) & both.any(axis=2)
        result[np.ix_(dates, dates)] = same
    numbers = [place for place, value in enumerate(values) if value.type is ValueType.NUMBER]
    if numbers:
        sizes = np.array([float(values[place].key[0]) for place in numbers])
        larger = np.maximum(np.abs(sizes)[:, None], np.abs(sizes)[None, :])
        result[np.ix_(numbers, numbers)] = np.abs(sizes[:, None] - sizes[None, :]) <= _SAME_NUMBER * larger
    versions = [place for place, value in enumerate(values) if value.type is ValueType.VERSION]
    for one in versions:
        for other in versions:
            shorter = min(len(values[one].key), len(values[other].key))
            result[one, other] = values[one].key[:shorter] == values[other].key[:shorter]
    texts = [place for place, value in enumerate(values) if value.type in TEXTS]
    if texts:
        result[np.ix_(texts, texts)] = _alike_words([values[place] for place in texts])
    return result


def _alike_words(values: Sequence[SlotValue]) -> NDArray[np.float32]:
    vocabulary: dict[str, int] = {}
    sets = [
        sorted({vocabulary.setdefault(_canonical(str(part)), len(vocabulary)) for part in value.key})
        for value in values
    ]
    table = np.zeros((len(values), len(vocabulary)), np.float32)
    for row, columns in enumerate(sets):
        table[row, columns] = 1
    shared = table @ table.T
    sizes = table.sum(axis=1)
    union = sizes[:, None] + sizes[None, :] - shared
    smaller = np.minimum(sizes[:, None], sizes[None, :])
    larger = np.maximum(sizes[:, None], sizes[None, :])
    contained = np.where(larger > smaller, _CONTAINED, 1.0)
    return np.where(shared >= smaller, contained, shared / np.maximum(union, 1)).astype(np.float32)


def _canonical(part: str) -> str:
    return part.replace(".", "").replace("’", "'")
