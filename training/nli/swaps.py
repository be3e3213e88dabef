"""Pairs made here: a sentence of the training data beside itself with one thing changed.

A changed number, date, name, polarity or counterpart makes a contradiction. So that a near-copy alone does not mean
contradiction, as many pairs keep the meaning (the same sentence, another way to write a number or a date, a part left
out) or add to it (the part put back: neutral), and some set two sentences side by side that have nothing in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from training.nli.opposites import affirmed, negated, with_counterpart
from training.nli.pairs import Pair

_MONTHS = "January February March April May June July August September October November December".split()
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve".split()
_MONTH = "|".join(_MONTHS)
_YEAR = re.compile(r"(?<![\d,.$-])(1[5-9]\d\d|20[0-2]\d)(?![\d,]*\d|%|-\d|s\b)")
_NUMBER = re.compile(r"(?<![\w.,-])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w-])")
_SMALL_NUMBER = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE)
_DAY_LAST = re.compile(rf"\b({_MONTH}) (\d{{1,2}}), (\d{{4}})\b")
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}}) ({_MONTH}) (\d{{4}})\b")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}(?: [A-Z][a-z]+){0,2}\b")
_BRACKETS = re.compile(r" \([^()]{3,80}\)")
_CLAUSE = re.compile(r", (?:which|who|where|including|and|but|with|while|as|after|before) [^,.;]{8,90}(?=[,.]|$)")
_LEAST, _MOST = 5, 45
"""Words of a sentence that is used."""

Maker = Callable[[str, Random], str | None]


def changed_number(text: str, chance: Random) -> str | None:
    """Replace one number, in digits or as a word, by another of the same size."""
    found = [
        match
        for match in (*_NUMBER.finditer(text), *_SMALL_NUMBER.finditer(text))
        if not _YEAR.fullmatch(match.group())
    ]
    if not found:
        return None
    match = chance.choice(found)
    written = match.group()
    if written[0].isalpha():
        others = [word for word in _SMALL[1:] if word != written.lower()]
        return _with(text, match, chance.choice(others))
    value = int(match.group(1).replace(",", ""))
    other = chance.choice(
        [value + chance.randint(1, max(2, value)), max(0, value - chance.randint(1, max(1, value // 2))), value * 10]
    )
    if other == value:
        other += 1
    return _with(text, match, (f"{other:,}" if "," in written else str(other)) + (match.group(2) or ""))


def changed_date(text: str, chance: Random) -> str | None:
    """Replace one year by another of the neighbouring decades, or one month by another."""
    found = [
        *_YEAR.finditer(text),
        *re.finditer(rf"\b(?:{_MONTH})\b(?= \d)|(?<=\d )\b(?:{_MONTH})\b|(?<=in )\b(?:{_MONTH})\b", text),
    ]
    if not found:
        return None
    match = chance.choice(found)
    if match.group()[0].isalpha():
        return _with(text, match, chance.choice([month for month in _MONTHS if month != match.group()]))
    return _with(
        text,
        match,
        str(int(match.group()) + chance.choice([-1, 1]) * chance.choice([1, 2, 3, 4, 5, 7, 10, 13, 20, 30])),
    )


def rewritten(text: str, chance: Random) -> str | None:
    """Write one number or date in another way; the meaning stays."""
    if match := _DAY_LAST.search(text):
        return _with(text, match, f"{match.group(2)} {match.group(1)} {match.group(3)}")
    if match := _DAY_FIRST.search(text):
        return _with(text, match, f"{match.group(2)} {match.group(1)}, {match.group(3)}")
    if match := re.search(r"(?<=\d)( percent|%)", text):
        return _with(text, match, "%" if match.group() != "%" else " percent")
    if match := re.search(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w])", text):
        return _with(text, match, match.group().replace(",", ""))
    found = list(_SMALL_NUMBER.finditer(text))
    if found:
        match = chance.choice(found)
        return _with(text, match, str(_SMALL.index(match.group().lower())))
    if match := re.search(r"(?<![\w.,-])([2-9]|1[0-2])(?![\w.,%-])", text):
        return _with(text, match, _SMALL[int(match.group())])
    return None


def shortened(text: str, chance: Random) -> str | None:
    """Leave one bracket or one clause out; what remains follows from the whole."""
    found = [*_BRACKETS.finditer(text), *_CLAUSE.finditer(text)]
    return _with(text, chance.choice(found), "") if found else None


def reversed_polarity(text: str, _: Random) -> str | None:
    """Put a negation in or take it out."""
    return affirmed(text) or negated(text)


def made_pairs(sentences: Sequence[str], *, of_each: int, chance: Random) -> tuple[Pair, ...]:
    """Make up to `of_each` pairs of every kind from the sentences; the origin of each is `made_` and its kind."""
    usable = sorted({text.strip() for text in sentences if _LEAST <= len(text.split()) <= _MOST})
    names = sorted({match.group() for text in usable for match in _NAME.finditer(text)})

    def changed_name(text: str, chance: Random) -> str | None:
        found = list(_NAME.finditer(text))
        if not found:
            return None
        match = chance.choice(found)
        alike = [
            name
            for name in chance.sample(names, min(40, len(names)))
            if name.count(" ") == match.group().count(" ") and name not in text
        ]
        return _with(text, match, alike[0]) if alike else None

    def itself(text: str, _: Random) -> str | None:
        return text

    kinds: tuple[tuple[str, Maker, str, float], ...] = (
        ("number", changed_number, "c", 1.0),
        ("date", changed_date, "c", 1.0),
        ("name", changed_name, "c", 1.0),
        ("polarity", reversed_polarity, "c", 1.0),
        ("counterpart", with_counterpart, "c", 1.0),
        ("rewritten", rewritten, "e", 1.0),
        ("shortened", shortened, "e", 1.0),
        ("itself", itself, "e", 0.5),
    )
    pairs = []
    for kind, make, label, share in kinds:
        order = chance.sample(usable, len(usable))
        wanted = round(of_each * share)
        for text in order:
            if wanted == 0:
                break
            other = make(text, chance)
            if other is None or (other == text and kind != "itself"):
                continue
            wanted -= 1
            pairs.append(Pair(text, other, label, f"made_{kind}"))
            if kind == "shortened":
                pairs.append(Pair(other, text, "n", "made_lengthened"))
    count = min(of_each, len(usable))
    left, right = chance.sample(usable, count), chance.sample(usable, count)
    pairs.extend(Pair(one, two, "n", "made_unrelated") for one, two in zip(left, right, strict=True) if one != two)
    return tuple(pairs)


def opposed_claims(pairs: Sequence[Pair], chance: Random) -> tuple[Pair, ...]:
    """Turn claims of claim and evidence pairs into their opposites.

    Evidence for a claim contradicts the opposite, evidence against it supports the opposite (only where one word was
    replaced or a negation taken out: a denied claim need not be true), and evidence that decides nothing stays neutral.
    """
    made: list[Pair] = []
    for pair in pairs:
        options: list[str | None] = [with_counterpart(pair.hypothesis, chance), affirmed(pair.hypothesis)]
        if pair.label != "c":
            options.append(negated(pair.hypothesis))
        label = {"e": "c", "c": "e", "n": "n"}[pair.label]
        found = [option for option in options if option is not None]
        made.extend(Pair(pair.premise, option, label, "made_claim") for option in found)
    return tuple(made)


def _with(text: str, match: re.Match[str], replacement: str) -> str:
    cased = replacement.capitalize() if match.start() == 0 and replacement[:1].isalpha() else replacement
    return text[: match.start()] + cased + text[match.end() :]
