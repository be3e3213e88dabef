"""A passage read once for answers: the spans that could answer any question, with what can be told without one.

Nothing here depends on a question, so a passage is read once and kept (`read_spans` caches by text).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.lexicon import CATEGORY_WORDS, LONGEST_FORM
from core.contradictions.slots.marks import Places, static_features
from core.contradictions.slots.values import SlotValue, ValueType
from core.text import STOPWORDS, Word, sentence_spans, stem, words

_MAX_WORDS = 400
"""Words of a passage that are read; what is behind them cannot answer."""
_CACHED_PASSAGES = 2048
_MAX_PHRASE = 3
"""Words of a phrase."""
_MAX_PARTS = 3
"""Parts of a name that commas divide: `Oregon, Wisconsin, USA`."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sept sep|october oct|"
        "november nov|december dec".split("|"),
        start=1,
    )
    for name in names.split()
}
_MONTH = f"(?:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_DATE = re.compile(
    rf"\b(?:(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m1>{_MONTH})\b\.?(?:\s*,?\s*(?P<y1>[12]\d{{3}})\b)?"
    rf"|(?P<m2>{_MONTH})\b\.?\s+(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\b(?:\s*,?\s*(?P<y2>[12]\d{{3}})\b)?"
    rf"|(?P<y3>[12]\d{{3}})-(?P<m3>[01]\d)-(?P<d3>[0-3]\d)"
    rf"|(?P<m4>{_MONTH})\b\.?\s*,?\s+(?P<y4>[12]\d{{3}})"
    r"|(?P<y5>1[0-9]\d\d|20[0-4]\d)(?=s?\b)(?![\d,.]*\d|\s*%))",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\d]|[.,]\d)"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion)\b)?",
    re.IGNORECASE,
)
_VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+){1,3})(?!\.?\w)")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SPELLED = {
    word: number
    for number, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split(),
        start=2,
    )
}
_JOINERS = frozenset("of the de la le van von and & del di da du der al bin ibn for".split())


@dataclass(frozen=True)
class PassageSpans:
    """The spans of a passage that could answer a question.

    Attributes:
        text: the passage.
        places: where each span is.
        values: what each span states, in one form.
        types: the values' types, as numbers.
        static: features of each span that depend on no question, in the order of `STATIC_FEATURES`.
        stems: stem of each word of the passage, in order.
        sentence_of: number of each word's sentence.
        has: stems of all words, as a set.
        names: stems of the words of its names.
        numbers: the numbers it states.
        dates: the dates it states.
        categories: the categories' values it states, with their category.
    """

    text: str
    places: Places
    values: tuple[SlotValue, ...]
    types: NDArray[np.int8]
    static: NDArray[np.float32]
    stems: tuple[str, ...]
    sentence_of: NDArray[np.int32]
    has: frozenset[str]
    names: frozenset[str]
    numbers: frozenset[float]
    dates: tuple[SlotValue, ...]
    categories: frozenset[SlotValue]

    def __len__(self) -> int:
        return len(self.values)


@lru_cache(maxsize=_CACHED_PASSAGES)
def read_spans(text: str) -> PassageSpans:
    """Read the spans of a passage that could answer a question. Kept by text; treat the arrays as read-only."""
    in_order = words(text)[:_MAX_WORDS]
    stems = tuple(stem(word.text) for word in in_order)
    sentence_starts = np.array([start for start, _ in sentence_spans(text)], np.int32)
    word_starts = np.array([word.start for word in in_order], np.int32)
    sentence_of = (np.searchsorted(sentence_starts, word_starts, side="right") - 1).clip(0).astype(np.int32)
    found = list(_spans(text, in_order, stems))
    starts = np.array([start for start, _, _ in found], np.int32)
    ends = np.array([end for _, end, _ in found], np.int32)
    first = (np.searchsorted(word_starts, starts, side="right") - 1).clip(0).astype(np.int32)
    last = np.maximum(np.searchsorted(word_starts, ends, side="left") - 1, first).astype(np.int32)
    places = Places(starts, ends, first, last)
    values = tuple(value for _, _, value in found)
    return PassageSpans(
        text=text,
        places=places,
        values=values,
        types=np.array([value.type for value in values], np.int8),
        static=static_features(text, in_order, sentence_of, values, places),
        stems=stems,
        sentence_of=sentence_of,
        has=frozenset(stems),
        names=frozenset(str(part) for value in values if value.type is ValueType.NAME for part in value.key),
        numbers=frozenset(float(value.key[0]) for value in values if value.type is ValueType.NUMBER),
        dates=tuple(value for value in values if value.type is ValueType.DATE),
        categories=frozenset(value for value in values if value.type is ValueType.CATEGORY),
    )


def _spans(text: str, in_order: list[Word], stems: tuple[str, ...]) -> Iterator[tuple[int, int, SlotValue]]:
    end_of_text = in_order[-1].end if in_order else 0
    for match in _DATE.finditer(text, 0, end_of_text):
        yield match.start(), match.end(), _date(match)
    for match in _NUMBER.finditer(text, 0, end_of_text):
        size = float(match["number"].replace(",", "")) * _SCALES.get((match["scale"] or "").lower(), 1.0)
        yield match.start(), match.end(), SlotValue(ValueType.NUMBER, (size,))
    for match in _VERSION.finditer(text, 0, end_of_text):
        yield match.start(), match.end(), SlotValue(ValueType.VERSION, tuple(match[1].split(".")))
    for word in in_order:
        if (number := _SPELLED.get(word.lower)) is not None:
            yield word.start, word.end, SlotValue(ValueType.NUMBER, (float(number),))
    yield from _names(text, in_order, stems)
    yield from _categories(in_order, stems)
    yield from _phrases(text, in_order, stems)


def _date(match: re.Match[str]) -> SlotValue:
    group = match.groupdict()
    year = next((group[f"y{form}"] for form in range(1, 6) if group[f"y{form}"]), "0")
    month = next((group[f"m{form}"] for form in range(1, 5) if group[f"m{form}"]), None)
    day = next((group[f"d{form}"] for form in range(1, 4) if group[f"d{form}"]), "0")
    month_number = 0 if month is None else int(month) if month.isdigit() else _MONTHS[month.lower()]
    return SlotValue(ValueType.DATE, (float(year), float(month_number), float(day)))


def _names(text: str, in_order: list[Word], stems: tuple[str, ...]) -> Iterator[tuple[int, int, SlotValue]]:
    """Runs of capitalised words, with joiners between them; with commas too, for places, whole and each part."""
    for parts in _runs(text, in_order):
        for low in range(len(parts)):
            for high in range(low, len(parts)):
                run = [number for part in parts[low : high + 1] for number in part]
                while run and in_order[run[0]].lower in STOPWORDS:
                    run.pop(0)
                key = tuple(stems[number] for number in run if in_order[number].lower not in _JOINERS)
                if key:
                    yield in_order[run[0]].start, in_order[run[-1]].end, SlotValue(ValueType.NAME, key)


def _runs(text: str, in_order: list[Word]) -> Iterator[list[list[int]]]:
    """Numbers of the words of each run, in parts that commas divide."""
    place = 0
    while place < len(in_order):
        if not in_order[place].text[0].isupper():
            place += 1
            continue
        parts = [[place]]
        place += 1
        while place < len(in_order):
            before, word = in_order[place - 1], in_order[place]
            gap = text[before.end : word.start].strip()
            joined = gap in {"", "&"} or (gap == "." and len(before.text) == 1)
            if joined and (word.text[0].isupper() or (word.lower in _JOINERS and _goes_on(text, in_order, place))):
                parts[-1].append(place)
            elif gap == "," and word.text[0].isupper() and len(parts) < _MAX_PARTS:
                parts.append([place])
            else:
                break
            place += 1
        yield parts


def _goes_on(text: str, in_order: list[Word], place: int) -> bool:
    for number in (place + 1, place + 2):
        if number >= len(in_order) or text[in_order[number - 1].end : in_order[number].start].strip():
            return False
        if in_order[number].text[0].isupper():
            return True
        if in_order[number].lower not in _JOINERS:
            return False
    return False


def _categories(in_order: list[Word], stems: tuple[str, ...]) -> Iterator[tuple[int, int, SlotValue]]:
    """Words that the lexicon knows, the longest form at each place; other words of the same category inside it not."""
    taken: dict[str, int] = {}
    for place in range(len(in_order)):
        for length in range(min(LONGEST_FORM, len(in_order) - place), 0, -1):
            for category, key in CATEGORY_WORDS.get(stems[place : place + length], ()):
                if taken.get(category, -1) >= place:
                    continue
                taken[category] = place + length - 1
                value = SlotValue(ValueType.CATEGORY, key, category)
                yield in_order[place].start, in_order[place + length - 1].end, value


def _phrases(text: str, in_order: list[Word], stems: tuple[str, ...]) -> Iterator[tuple[int, int, SlotValue]]:
    """Up to three words in a row, not all capitalised, that neither begin nor end with a stop word."""
    for place, word in enumerate(in_order):
        if word.lower in STOPWORDS or word.text[0].isdigit():
            continue
        for length in range(1, _MAX_PHRASE + 1):
            last = place + length - 1
            if last >= len(in_order):
                break
            if length > 1 and text[in_order[last - 1].end : in_order[last].start].strip():
                break
            run = in_order[place : last + 1]
            if run[-1].lower in STOPWORDS or run[-1].text[0].isdigit() or all(item.text[0].isupper() for item in run):
                continue
            yield run[0].start, run[-1].end, SlotValue(ValueType.WORDS, stems[place : last + 1])
