"""Quantities, dates, versions and names that a sentence states."""

from __future__ import annotations

from itertools import pairwise

import pytest

from core.contradictions.sentences import read_sentences
from core.contradictions.values import Value, ValueKind


def values(text: str, kind: ValueKind) -> list[Value]:
    """The values of one kind in a text of one sentence; where each lies is checked."""
    (sentence,) = read_sentences(text)
    found = sentence.values
    assert all(0 <= value.start < value.end <= len(text) for value in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    return [value for value in found if value.kind is kind]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It has 3,559 people", [("3,559", 3559.0, "peopl")]),
        ("It covers 12.5 km", [("12.5", 12.5, "km")]),
        ("Some 25% agree, 30 percent do not", [("25%", 25.0, "%"), ("30 percent", 30.0, "%")]),
        ("It costs $ 3.5 million today", [("$ 3.5 million", 3.5e6, "$")]),
        ("The €20 ticket", [("€20", 20.0, "€")]),
        ("about 2 billion stars", [("2 billion", 2e9, "star")]),
        ("a 300-page novel", [("300", 300.0, "page")]),
        ("a crew of 7 and more", [("7", 7.0, "")]),
        ("three films and twelve songs", [("three", 3.0, "film"), ("twelve", 12.0, "song")]),
        ("see version 1 and chapter 12 for page 7", []),
        ("the plane B52 and 1.2.3.4x", []),
        ("it is 12 feet tall", [("12", 12.0, "feet")]),
        ("it is 5 km long", [("5", 5.0, "km")]),
        ("with 12 new films", [("12", 12.0, "film")]),
        ("counted ٣ boats", [("٣", 3.0, "boat")]),
    ],
)
def test_quantities(text: str, expected: list[tuple[str, float, str]]) -> None:
    """A quantity has its size and its unit; labels, ordinals and parts of words are none."""
    found = values(text, ValueKind.QUANTITY)
    assert [(text[value.start : value.end], value.number, value.key) for value in found] == expected


def test_number_beyond_all_floats() -> None:
    """A number of 500 digits is read without an error."""
    (value,) = values(f"It has {'9' * 500} people", ValueKind.QUANTITY)
    assert value.number == float("inf")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("born on 3 May 1871", [(1871, 5, 3)]),
        ("born on the 3rd of may, 1871", [(1871, 5, 3)]),
        ("born May 3rd, 1871", [(1871, 5, 3)]),
        ("born Sept. 3 1871", [(1871, 9, 3)]),
        ("released 2020-10-05 and 2021-01-31", [(2020, 10, 5), (2021, 1, 31)]),
        ("since March 1999", [(1999, 3)]),
        ("born in 1871.", [(1871,)]),
        ("born in 1871, 1872 and 2003", [(1871,), (1872,), (2003,)]),
        ("ran from 1990-1995", [(1990,), (1995,)]),
        ("born in the 1870s", []),
        ("grew about 2000%", []),
        ("some 1871.5 units, 2,000 more", []),
        ("in the year 0999 or 3999", []),
    ],
)
def test_dates(text: str, expected: list[tuple[int, ...]]) -> None:
    """A date is read as far as it is given; decades, shares and plain numbers are none."""
    assert [value.digits for value in values(text, ValueKind.DATE)] == expected


@pytest.mark.parametrize(
    "text", ["on 1 Auguſt 1790", "on 1 Aprıl 2019", "on 1 APRİL 2019", "about ſix ships", "fıve men"]
)
def test_letters_that_only_look_alike(text: str) -> None:
    """Letters that a pattern takes for ASCII ones when it ignores case name no month and no number."""
    read_sentences.cache_clear()
    assert all(len(value.digits) < 3 for value in values(text, ValueKind.DATE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("requires Python >=3.10", [("python", (3, 10), True)]),
        ("Python 3.8 and newer", [("python", (3, 8), True)]),
        ("Python (version 3.8+)", [("python", (3, 8), True)]),
        ("pip 21.3.1 or later", [("pip", (21, 3, 1), True)]),
        ("Python 3.12", [("python", (3, 12), False)]),
        (
            "Python 3.8, 3.9 and 3.10",
            [("python", (3, 8), False), ("python", (3, 9), False), ("python", (3, 10), False)],
        ),
        ("Python 3.8 to 3.12", [("python", (3, 8), False), ("python", (3, 12), False)]),
        ("Python >=3.8,<3.12", [("python", (3, 8), True)]),
        ("Python v3.9.1.post2 works", [("python", (3, 9, 1), False)]),
        ("a rate of 3.10", []),
        ("3.10 or later", []),
        ("Django 4.2", []),
    ],
)
def test_versions(text: str, expected: list[tuple[str, tuple[int, ...], bool]]) -> None:
    """A version belongs to the product before it, through a list as well; without a bound only Python's count."""
    found = values(text, ValueKind.VERSION)
    assert [(value.key, value.digits, value.bounded) for value in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Tale of Two Cities was written by Charles Dickens", ["Tale of Two Cities", "Charles Dickens"]),
        ("It was J. R. R. Tolkien who wrote it", ["J. R. R. Tolkien"]),
        ("Paula Reis, John Carver and Ann Lee", ["Paula Reis", "John Carver and Ann Lee"]),
        ("Bank of and the", ["Bank"]),
        ("Seven Samurai is older than the two towers", ["Seven Samurai"]),
        ("nothing here", []),
    ],
)
def test_names(text: str, expected: list[str]) -> None:
    """Runs of capitalised words are names, over `of` and initials; a stop word that opens the sentence is not."""
    assert [text[value.start : value.end] for value in values(text, ValueKind.NAME)] == expected
