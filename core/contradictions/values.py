"""The values that a sentence states: quantities, dates, versions and names, each with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.text import STOPWORDS, Word, stem


class ValueKind(StrEnum):
    """What sort of value it is."""

    QUANTITY = "quantity"
    DATE = "date"
    VERSION = "version"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a sentence.

    Attributes:
        kind: what sort of value it is.
        key: what it counts or names: the unit of a quantity, the product of a version, empty for dates and names.
        number: the quantity's size; 0 for the other kinds.
        digits: a date's `(year, month, day)` as far as given, or a version's numbers; empty for the other kinds.
        stems: a name's stems; empty for the other kinds.
        bounded: whether a version is the lowest one of a range, as in `>=3.10` or `3.10+`.
        start, end: place in the passage's text.
    """

    kind: ValueKind
    key: str
    start: int
    end: int
    number: float = 0.0
    digits: tuple[int, ...] = ()
    stems: tuple[str, ...] = ()
    bounded: bool = False


_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sept", "sep"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_MONTH = f"(?a:{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"  # ignoring case, other letters than ASCII match too
_DATE = re.compile(
    rf"\b(?:(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m1>{_MONTH})\.?,?\s+(?P<y1>[12]\d{{3}})"
    rf"|(?P<m2>{_MONTH})\.?\s+(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+(?P<y2>[12]\d{{3}})"
    rf"|(?P<y3>[12]\d{{3}})-(?P<m3>[01]\d)-(?P<d3>[0-3]\d)"
    rf"|(?P<m4>{_MONTH})\.?,?\s+(?P<y4>[12]\d{{3}})"
    r"|(?P<y5>1[0-9]\d\d|20\d\d)(?![\d,.]*\d|\s*%))\b",
    re.IGNORECASE,
)
_SPELLED = {
    word: number
    for number, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve".split(),
        start=2,
    )
}
_CARDINALS = {
    **_SPELLED,
    **{
        word: number
        for number, word in enumerate("thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), start=13)
    },
    **{
        word: 10 * number
        for number, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety hundred".split(), start=2)
    },
}
_ORDINALS = {
    word: number
    for number, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), start=1
    )
}
_PLACE_IN_ORDER = re.compile(r"(\d{1,4})(?:st|nd|rd|th)")
_DIGIT = re.compile(r"\d")
_SHORT_UNIT = "km|cm|mm|m|mi|ft|feet|foot|inch|yard|acre|kg|g|lbs?|tons?|l|ml|men|page|days?|week|hour|min|year"
"""Units as short as a word that may stand before one (`12 new films`); behind them comes none (`12 feet tall`)."""
_NUMBER = re.compile(
    r"(?P<currency>[$€£¥]\s?)?(?<![\w.,])(?<!\w/)(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\d]|[.,]\d)"
    r"(?:\s?(?P<scale>thousand|million|billion|trillion)\b)?"
    r"(?:\s?(?P<percent>%|percent\b|per\s+cent\b))?"
    rf"(?P<unit>[\s-](?:(?!(?:{_SHORT_UNIT})\b)[a-z]{{1,4}}\b\s)?[^\W\d_]+)?",
    re.IGNORECASE,
)
_SPELLED_NUMBER = re.compile(rf"\b(?P<number>(?a:{'|'.join(_SPELLED)}))(?P<unit>[\s-][^\W\d_]{{3,}})", re.IGNORECASE)
_LABEL_BEFORE = re.compile(
    r"\b(?:versions?|sections?|chapter|figure|table|page|step|part|no\.|number)\s*$", re.IGNORECASE
)
"""Before a number these make it a label: `version 1` counts nothing."""
_LABEL_WINDOW_CHARS = 10
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_VERSION_NUMBER = re.compile(
    r"(?P<comparator>>=|=>|≥|>|~=|==)?\s*(?<![\w.])(?P<version>v?\d+(?:\.\d+)+)"
    r"(?P<more>\s*\+|,?\s+(?:or|and)\s+(?:later|newer|higher|above|greater|up)\b)?"
)
_PRODUCT_BEFORE = re.compile(r"([A-Za-z][\w.\-]*?)[\s,:]*(?:\(\s*)?(?:\bversions?|\bv\.?)?[\s:]*$", re.IGNORECASE)
_PRODUCT_WINDOW_CHARS = 40
_VERSION_JOINER = re.compile(r"\s*(?:,\s*(?:and\s|or\s)?|/|and\s|or\s|to\s|[-–])\s*")
_NAME_JOINERS = frozenset({"of", "the", "de", "la", "van", "von", "and", "&", "del", "di", "al", "bin"})


def values_in(text: str, start: int, end: int, words: Sequence[Word]) -> tuple[Value, ...]:
    """All values of the sentence `text[start:end]`, whose words are given, in the order of their places."""
    found: list[Value] = []
    taken: list[tuple[int, int]] = []
    for extract in _EXTRACTORS if _DIGIT.search(text, start, end) else (_spelled_quantities,):
        for value in extract(text, start, end):
            if all(value.end <= low or value.start >= high for low, high in taken):
                found.append(value)
                taken.append((value.start, value.end))
    found.extend(
        name for name in _names(words, start) if all(name.end <= low or name.start >= high for low, high in taken)
    )
    return tuple(sorted(found, key=lambda value: value.start))


def number_word(word: str) -> tuple[str, int] | None:
    """What a word counts, in lower case: `("count", 7)` of `seven` and `7`, `("order", 7)` of `seventh` and `7th`.

    Not of `one`, which mostly counts nothing.
    """
    if word in _CARDINALS:
        return "count", _CARDINALS[word]
    if word in _ORDINALS:
        return "order", _ORDINALS[word]
    if word.isascii() and word.isdigit():
        return "count", int(word)
    place = _PLACE_IN_ORDER.fullmatch(word)
    return ("order", int(place[1])) if place else None


def _versions(text: str, start: int, end: int) -> list[Value]:
    """Versions of a named product: `Python >=3.10`, `pip 21.3 or later`; without a bound, of Python only.

    In a list (`Python 3.8, 3.9 and 3.10`) the product of the first version is that of the others too.
    """
    found = []
    name, listed_from = "", start
    for match in _VERSION_NUMBER.finditer(text, start, end):
        if not (name and _VERSION_JOINER.fullmatch(text, listed_from, match.start("version"))):
            window = text[max(start, match.start() - _PRODUCT_WINDOW_CHARS) : match.start()]
            product = _PRODUCT_BEFORE.search(window)
            name = "" if product is None else product[1].lower()
        listed_from = match.end()
        if not name:
            continue
        bounded = bool(match["comparator"] or match["more"])
        if not bounded and name != "python":
            continue
        numbers = tuple(int(part) for part in match["version"].lstrip("v").split(".")[:3])
        found.append(
            Value(ValueKind.VERSION, name, match.start("version"), match.end(), digits=numbers, bounded=bounded)
        )
    return found


def _dates(text: str, start: int, end: int) -> list[Value]:
    found = []
    for match in _DATE.finditer(text, start, end):
        group = match.groupdict()
        year = next(int(group[f"y{form}"]) for form in range(1, 6) if group[f"y{form}"])
        month_text = next((group[f"m{form}"] for form in range(1, 5) if group[f"m{form}"]), None)
        day_text = next((group[f"d{form}"] for form in range(1, 4) if group[f"d{form}"]), None)
        parts = [year]
        if month_text:
            parts.append(int(month_text) if month_text.isdigit() else _MONTHS[month_text.lower()])
        if day_text:
            parts.append(int(day_text))
        found.append(Value(ValueKind.DATE, "", match.start(), match.end(), digits=tuple(parts)))
    return found


def _quantities(text: str, start: int, end: int) -> list[Value]:
    found = []
    for match in _NUMBER.finditer(text, start, end):
        if _LABEL_BEFORE.search(text, max(start, match.start() - _LABEL_WINDOW_CHARS), match.start()):
            continue
        number = float(match["number"].replace(",", "")) * _SCALES.get((match["scale"] or "").lower(), 1.0)
        value_end = match.start("unit") if match["unit"] else match.end()
        key = _unit(match["currency"], match["percent"], match["unit"])
        found.append(Value(ValueKind.QUANTITY, key, match.start(), value_end, number=number))
    return found


def _spelled_quantities(text: str, start: int, end: int) -> list[Value]:
    found = []
    for match in _SPELLED_NUMBER.finditer(text, start, end):
        if match["unit"][1].isupper():
            continue  # a name, such as `Seven Samurai`
        number = float(_SPELLED[match["number"].lower()])
        key = _unit(None, None, match["unit"])
        found.append(Value(ValueKind.QUANTITY, key, match.start("number"), match.end("number"), number=number))
    return found


def _unit(currency: str | None, percent: str | None, unit: str | None) -> str:
    if currency:
        return currency.strip()
    if percent:
        return "%"
    last = unit.split()[-1].strip("- ") if unit and unit.strip("- ") else ""
    return "" if last.lower() in STOPWORDS else stem(last) if last else ""


_EXTRACTORS = (_versions, _dates, _quantities, _spelled_quantities)


def _names(words: Sequence[Word], sentence_start: int) -> list[Value]:
    """Runs of capitalised words, joined over `of`, `the`, ...; a stop word that opens the sentence is no name."""
    found: list[Value] = []
    run: list[Word] = []

    def close() -> None:
        while run and (run[-1].lower in _NAME_JOINERS or not run[-1].text[0].isupper()):
            run.pop()
        while run and run[0].lower in STOPWORDS:
            run.pop(0)
        if run:
            stems = tuple(stem(word.text) for word in run if word.lower not in _NAME_JOINERS)
            found.append(Value(ValueKind.NAME, "", run[0].start, run[-1].end, stems=stems))
        run.clear()

    previous_end = sentence_start
    for word in words:
        capital = word.text[0].isupper()
        initial = bool(run) and len(run[-1].text) == 1
        if run and word.start - previous_end > 1 + initial:
            close()
        if capital or (run and word.lower in _NAME_JOINERS):
            run.append(word)
        else:
            close()
        previous_end = word.end
    close()
    return found
