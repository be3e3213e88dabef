"""What a span looks like in its passage: features that depend on no question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.lexicon import PLACES
from core.contradictions.slots.values import SlotValue, ValueType
from core.text import Word, stem

_PEOPLE_UNITS = frozenset(stem(word) for word in "people inhabitants residents persons population".split())
_BEFORE = ("in", "on", "by", "at", "from", "of", "the", "a", "an", "is", "was", "since", "as", "with", "to", "and")
_AFTER = ("is", "was", "and", "in", "of", "by", "who", "for", "band", "singer", "player", "film", "album")

_IN_PASSAGE = ("count", "first_sentence", "sentence", "early", "place_in_text", "words", "starts_sentence")
_FORM = (
    "capital",
    "all_capital",
    "ends_in_s",
    "is_date",
    "has_day",
    "has_month",
    "has_year",
    "is_number",
    "year_like",
    "with_comma",
    "is_name",
    "is_words",
    "is_category",
    "place_name",
    "two_parts",
)
_SIGNS = (
    "in_bracket",
    "behind_bracket_open",
    "before_bracket_close",
    "behind_dash",
    "before_dash",
    "behind_comma",
    "before_comma",
    "before_stop",
    "behind_quote",
    "behind_colon",
    "in_definition",
    "near_definition",
    "inside_date",
    "before_people",
    "before_percent",
    "behind_money",
)
STATIC_FEATURES = (
    *_IN_PASSAGE,
    *_FORM,
    *_SIGNS,
    *(f"behind_{word}" for word in _BEFORE),
    *(f"before_{word}" for word in _AFTER),
)
"""Names of the features, in the order of the columns."""

_DASHES = frozenset("–-—")
_QUOTES = frozenset('"“`')
_MONEY = frozenset("$£€")
_YEARS = (1000, 2050)
_BRACKET = re.compile(r"\([^()]{1,80}\)")
_DEFINES = re.compile(r"\b(?:is|was|are|were|as)\s+(?:an?|the|one of the)\s+", re.IGNORECASE)
_DEFINITION_END = re.compile(r"[.;()]|\b(?:who|which|that|by|from|in|for|released|directed|located|and played)\b")
_DEFINITION_CHARS = 90
_LATER_DEFINITION = 0.6
"""What a definition behind the first one of a passage counts."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the spans of a passage are: characters, and numbers of the first and last word."""

    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]


def static_features(
    text: str,
    in_order: Sequence[Word],
    sentence_of: NDArray[np.int32],
    values: Sequence[SlotValue],
    places: Places,
) -> NDArray[np.float32]:
    """Features of each span: a row a span, columns in the order of `STATIC_FEATURES`."""
    if not values:
        return np.zeros((0, len(STATIC_FEATURES)), np.float32)
    counts = Counter(values)
    regions = _Regions.of(text, values, places)
    lowers = ["", *(word.lower for word in in_order), ""]
    rows = []
    for number, value in enumerate(values):
        start, end = int(places.starts[number]), int(places.ends[number])
        first, last = int(places.first[number]), int(places.last[number])
        sentence = int(sentence_of[first])
        row = (
            math.log(counts[value]),
            sentence == 0,
            min(sentence, 6) / 6,
            math.exp(-first / 12),
            first / len(in_order),
            min(last - first + 1, 5) / 5,
            first == 0 or sentence_of[first - 1] != sentence,
            text[start].isupper(),
            all(word.text[0].isupper() for word in in_order[first : last + 1]),
            text[end - 1] == "s",
            *_form(value, text[start:end]),
            *_signs(text, start, end, lowers[last + 2], regions, is_date=value.type is ValueType.DATE),
            *_neighbours(text, start, end, lowers[first], lowers[last + 2]),
        )
        rows.append(row)
    return np.array(rows, np.float32)


@dataclass(frozen=True, slots=True)
class _Regions:
    """For each character of a text: in a bracket, in a definition (1 in the first one), in a written-out date."""

    brackets: NDArray[np.bool_]
    definitions: NDArray[np.float32]
    dates: NDArray[np.bool_]

    @staticmethod
    def of(text: str, values: Sequence[SlotValue], places: Places) -> _Regions:
        brackets, dates = np.zeros(len(text), bool), np.zeros(len(text), bool)
        for match in _BRACKET.finditer(text):
            brackets[match.start() : match.end()] = True
        definitions = np.zeros(len(text), np.float32)
        weight = 1.0
        for match in _DEFINES.finditer(text):
            limit = min(len(text), match.end() + _DEFINITION_CHARS)
            stop = _DEFINITION_END.search(text, match.end(), limit)
            inside = definitions[match.end() : stop.start() if stop else limit]
            np.maximum(inside, weight, out=inside)
            weight = _LATER_DEFINITION
        for value, start, end in zip(values, places.starts, places.ends, strict=True):
            if value.type is ValueType.DATE and end - start > len("2000"):
                dates[start:end] = True
        return _Regions(brackets, definitions, dates)


def _form(value: SlotValue, said: str) -> tuple[bool, ...]:
    is_date, is_number = value.type is ValueType.DATE, value.type is ValueType.NUMBER
    is_name = value.type is ValueType.NAME
    year, month, day = value.key if is_date else (0, 0, 0)
    return (
        is_date,
        bool(day),
        bool(month),
        bool(year),
        is_number,
        is_number and "," not in said and _YEARS[0] <= float(value.key[0]) <= _YEARS[1],
        "," in said,
        is_name,
        value.type is ValueType.WORDS,
        value.type is ValueType.CATEGORY,
        is_name and any(part in PLACES for part in value.key),
        is_name and len(value.key) == len(("first", "last")),
    )


def _signs(
    text: str, start: int, end: int, word_after: str, regions: _Regions, *, is_date: bool
) -> tuple[bool | float, ...]:
    before = text[max(0, start - 4) : start].rstrip()[-1:]
    after = text[end : end + 4].lstrip()[:1]
    definition = float(regions.definitions[start])
    return (
        bool(regions.brackets[start]),
        before == "(",
        after == ")",
        before in _DASHES,
        after in _DASHES,
        before == ",",
        after == ",",
        after == ".",
        before in _QUOTES,
        before == ":",
        definition == 1,
        definition,
        bool(regions.dates[start]) and not is_date,
        bool(word_after) and stem(word_after) in _PEOPLE_UNITS,
        after == "%" or word_after == "percent",
        before in _MONEY,
    )


def _neighbours(text: str, start: int, end: int, word_before: str, word_after: str) -> tuple[bool, ...]:
    """Whether the span stands right behind or before certain words, no sign between."""
    joined_before = text[max(0, start - 4) : start].rstrip()[-1:].isalnum()
    joined_after = text[end : end + 4].lstrip()[:1].isalnum()
    return (
        *(joined_before and word_before == word for word in _BEFORE),
        *(joined_after and word_after == word for word in _AFTER),
    )
