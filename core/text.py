"""Reading text without a model: words, stems, sentences.

Offsets are characters of the text that was given. The same text gives the same result on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import Stemmer

WORD = re.compile(r"[^\W_]+(?:(?:['’.\-_]|,(?=\d{3}))[^\W_]+)*")
"""A run of letters and digits, joined by `'`, `.`, `-` or `_`, in numbers by commas too (`3.10`, `U.S`, `3,559`)."""

STOPWORDS = frozenset(
    """
    a about above after again all also although am an and any are as at be became because become been before being below
    between both but by can could did do does doing down during each else ever few for from further had has have having
    he her here hers him his how i if in into is it its itself just like made make many may me might more most much must
    my no nor not now of off often on once one only or other our out over own per same shall she should so some such
    than that the their them then there these they this those through to too under until up upon us use used very via
    was we were what when where whether which while who whom whose why will with within without would yet you your
    """.split()
)
"""Words that carry no topic. Short on purpose: a word left in costs little, a word wrongly out costs a match."""

_ABBREVIATIONS = frozenset(
    "al approx appt apr assn aug ave bros ca capt cf co col corp dec dept dr ed eds eg est etc feb fig figs gen gov "
    "hon inc jan jr jul jun lt ltd mar mr mrs ms mt nov oct op pp pres prof rep rev sen sep sept sgt sr st vol "
    "vs".split()
)
_BEFORE_NUMBERS = frozenset({"no", "nos"})
"""Abbreviations only where a number follows: `No. 5`, but `He said no.`"""
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"'”’)\]]*+(?=\s)|\n\s*\n|\n(?=\s*[-*•]\s)|(?<=\S)\s+•\s")
_SHORT_WORD = 3
"""Letters up to which a word before a full stop and a lower-case word is taken for an abbreviation."""
_LOOK_BACK_CHARS = 40
"""How far back an abbreviation is looked for. All of them are shorter; without a bound, time grows with the square."""
_MAX_SENTENCE_CHARS = 600
"""Longer stretches are tables or lists; they are cut at white space so that no step meets unbounded input."""

_LAST_SPACE = re.compile(r".*\S(?=\s)", re.DOTALL)

_stemmer = Stemmer.Stemmer("english")


class Word(NamedTuple):
    """One word of a text."""

    text: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        """The word in lower case."""
        return self.text.lower()


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The word's stem in lower case, by Snowball's English stemmer (Porter 2)."""
    return str(_stemmer.stemWord(word.lower().removesuffix("'s").removesuffix("’s")))


def words(text: str, start: int = 0, end: int | None = None) -> list[Word]:
    """The words of `text[start:end]`, with offsets into `text`."""
    stop = len(text) if end is None else end
    return [Word(match.group(), match.start(), match.end()) for match in WORD.finditer(text, start, stop)]


@lru_cache(maxsize=4096)
def content_stems(text: str) -> frozenset[str]:
    """Stems of the words that carry a topic."""
    return frozenset(map(stem, {word.lower() for word in WORD.findall(text)} - STOPWORDS))


_TOKEN = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=8192)
def count_tokens(text: str) -> int:
    """Length of a text in tokens: each run of letters and digits is one, each other sign is one.

    A stand-in for a language model's own tokenizer that needs no model and gives the same number everywhere.
    """
    return len(_TOKEN.findall(text))


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, without surrounding white space.

    A full stop ends a sentence where white space follows, unless it closes an initial, a known abbreviation or a short
    word that a lower-case word follows. Empty lines and bullets end one too.
    """
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.group()[0] == "." and not _ends_sentence(text, start, match):
            continue
        yield from _pieces(text, start, match.end())
        start = match.end()
    yield from _pieces(text, start, len(text))


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    before = text[max(start, match.start() - _LOOK_BACK_CHARS) : match.start()].rsplit(maxsplit=1)
    last = before[-1] if before else ""
    bare = last.strip("([\"'“‘").lower()
    following = text[match.end() : match.end() + 8].lstrip()
    if bare in _BEFORE_NUMBERS:
        return not following[:1].isdigit()
    if bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha()) or re.fullmatch(r"(?:[a-z]\.)+[a-z]", bare):
        return False
    return not (following and following[0].islower() and len(bare) <= _SHORT_WORD)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > _MAX_SENTENCE_CHARS:
        space = _LAST_SPACE.match(text, start, start + _MAX_SENTENCE_CHARS)
        cut = space.end() if space else start + _MAX_SENTENCE_CHARS
        yield start, cut
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
