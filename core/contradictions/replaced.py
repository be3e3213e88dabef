"""One replacement in a copied sentence: is it a change of what is said, and of what sort?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from core.contradictions.antonyms import exclusion
from core.contradictions.sentences import Sentence, is_negation
from core.contradictions.values import ValueKind, number_word
from core.model import ContradictionKind, Span
from core.similarity import word_set
from core.text import STOPWORDS, Word, stem

_MAX_COMMON_EDIT_WORDS = 3
_COMMON_EDIT_PASSAGE_WORDS = 24
"""Different words of a passage (stop words aside) from which on nobody says it anew with all but a word the same."""
_HEADING = re.compile(r"[^.!?:]{1,60}:(?=\s)")
_LABEL = re.compile(
    r"\b(?:appendix|case|chapter|episode|example|exercise|figure|fig|item|lesson|no|number|page|part|question|release"
    r"|section|step|table|version|versions|volume)\.?\s*$",
    re.IGNORECASE,
)
"""Before a number these make it the name of a thing, of which there are others: `step 2`, `version 1.4`."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*\d|\w*_|[^\W\d_]+[a-z][A-Z]")
"""How the name of a program, a file or a model begins: letters with a digit behind, an underscore, `camelCase`."""
_PARTS = re.compile(r"['’.\-_]")
_MISSPELT_LETTERS = 5
_HEDGE = re.compile(r"\b(?:about|almost|approximately|around|circa|nearly|roughly|some|c\.|ca\.|~)\s*$", re.IGNORECASE)
_BOUNDS = frozenset("above below exceeding fewer least less more most over than under".split())
"""Put into one of two copies, these make its number a bound: `55` and `over 50` are both right."""
_HEDGED = 0.1
"""Figures closer than this share of the larger one are the same where one of them is said to be rough."""
_BEFORE_CHARS = 16
_AUXILIARIES = frozenset(
    "a all always am an and any are at be been being both can could did do does ever every had has have is it longer "
    "may might must of once shall should some the to was were will with would yet".split()
)
"""Words that come and go with a negation: `is` and `is no longer`, `sold` and `did not sell`."""


class Edit(NamedTuple):
    """The words `gone` of one sentence, replaced by `come` in the other; one of the two may be empty."""

    gone: tuple[Word, ...]
    come: tuple[Word, ...]
    left: Sentence
    right: Sentence

    @property
    def sides(self) -> tuple[tuple[tuple[Word, ...], Sentence], tuple[tuple[Word, ...], Sentence]]:
        """Both sides, each with its sentence."""
        return (self.gone, self.left), (self.come, self.right)

    @property
    def spans(self) -> tuple[Span, Span]:
        """Where the words stand; the whole sentence where there are none."""
        return _span(self.gone, self.left), _span(self.come, self.right)


def names_another_thing(edit: Edit) -> bool:
    """Whether the edit changes what the sentence is about: its heading, a label, the name of a program, a pin."""
    headings = [_HEADING.match(sentence.passage_text, sentence.start, sentence.end) for _, sentence in edit.sides]
    ends = [heading.end() for heading in headings if heading is not None]
    if len(ends) == len(edit.sides) and any(
        words and words[0].start < end for (words, _), end in zip(edit.sides, ends, strict=True)
    ):
        return True
    if not edit.gone or not edit.come or letters(edit.gone) == letters(edit.come):
        return False
    return (
        all(any(_IDENTIFIER.match(word.text) for word in words) for words, _ in edit.sides)
        or all(_is_label(words[0], sentence) for words, sentence in edit.sides)
        or all(
            "==" in sentence.passage_text[span.start : span.end]
            for (_, sentence), span in zip(edit.sides, edit.spans, strict=True)
        )
    )


def _is_label(word: Word, sentence: Sentence) -> bool:
    return word.text[0].isdigit() and _LABEL.search(_before(word, sentence)) is not None


def _before(word: Word, sentence: Sentence) -> str:
    return sentence.passage_text[max(sentence.start, word.start - _BEFORE_CHARS) : word.start]


def denies(edit: Edit) -> bool:
    """Whether the edit puts one negation in, and nothing else that says something, into a sentence that has none.

    `but never finished` adds a statement, and `A over B` says the same as `A, not B`.
    """
    if edit.left.negated == edit.right.negated:
        return False
    words = {word.lower for word in (*edit.gone, *edit.come) if not is_negation(word)}
    return words <= _AUXILIARIES and sum(map(is_negation, (*edit.gone, *edit.come))) == 1


def is_alternative(edit: Edit) -> bool:
    """Whether the words are one of several that the sentence offers: `white or yellow`."""
    return any(
        sentence.passage_text[words[-1].end : sentence.end].lstrip(" ,").startswith("or ")
        or re.search(r"\bor\s+$", _before(words[0], sentence)) is not None
        for words, sentence in edit.sides
    )


def is_bound(edit: Edit) -> bool:
    """Whether the edit makes a bound of a figure: `55` and `over 50` are both right."""
    return any(word.lower in _BOUNDS for word in (*edit.gone, *edit.come))


def is_one_figure(edit: Edit) -> bool:
    """Whether both numbers may be one: `39.2` and `39`, `3,559` and `about 3,600`."""
    numbers = [[word for word in words if word.text[0].isdigit()] for words, _ in edit.sides]
    if any(len(found) != 1 for found in numbers):
        return False
    try:
        one, other = (float(found[0].text.replace(",", "")) for found in numbers)
    except ValueError:
        return False
    if one == other:
        return True
    decimals = min(len(found[0].text.partition(".")[2]) for found in numbers)
    if one != round(one, decimals) or other != round(other, decimals):
        return round(one, decimals) == round(other, decimals)
    hedged = any(
        _HEDGE.search(sentence.passage_text[max(sentence.start, found[0].start - _BEFORE_CHARS) : found[0].start])
        for found, (_, sentence) in zip(numbers, edit.sides, strict=True)
    )
    return hedged and abs(one - other) <= _HEDGED * max(one, other)


def counts_differently(edit: Edit) -> bool:
    """Whether one number word is exchanged for another: `two` for `seven` or `7`, `third` for `5th`."""
    counted = [[number_word(word.lower) for word in words if word.lower not in STOPWORDS] for words, _ in edit.sides]
    if any(len(found) != 1 for found in counted):
        return False
    one, other = (found[0] for found in counted)
    return one is not None and other is not None and one[0] == other[0] and one[1] != other[1]


def excluded(edit: Edit) -> ContradictionKind | None:
    """What sort of words that exclude each other are exchanged, one for one, beside others that stay the same."""
    gone, come = (_stems(words) for words, _ in edit.sides)
    only_gone, only_come = gone - come, come - gone
    if len(only_gone) != 1 or len(only_come) != 1:
        return None
    return exclusion(*only_gone, *only_come)


def is_dated(edit: Edit) -> bool:
    """Whether the words of both sides belong to dates."""
    return all(_date_at(sentence, span) for (_, sentence), span in zip(edit.sides, edit.spans, strict=True))


def opens(edit: Edit) -> bool:
    """Whether the words open both sentences, or what stands behind their headings: an instruction, or a topic."""
    return all(_opens(words[0], sentence) for words, sentence in edit.sides)


def is_one_name(edit: Edit) -> bool:
    """Whether one side only says more than the other, abbreviates it, or spells it with a letter changed."""
    gone, come = (
        {part.lower() for word in words if word.lower not in STOPWORDS for part in _PARTS.split(word.text)} - {""}
        for words, _ in edit.sides
    )
    short, long = sorted((gone, come), key=len)
    if short <= long or any(_abbreviates(*pair) for pair in ((edit.gone, edit.come), (edit.come, edit.gone))):
        return True
    return all(any(_is_misspelling(word, known) for known in long) for word in short - long)


def _abbreviates(short: Sequence[Word], long: Sequence[Word]) -> bool:
    return len(letters(short)) > 1 and letters(short) == "".join(word.lower[0] for word in long)


def _is_misspelling(one: str, other: str) -> bool:
    """Whether two words of five letters or more differ by one letter, put in or replaced, that is not the first."""
    if min(len(one), len(other)) < _MISSPELT_LETTERS or abs(len(one) - len(other)) > 1 or one[0] != other[0]:
        return False
    same = next((at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), None)
    if same is None:
        return True
    return one[same + (len(one) >= len(other)) :] == other[same + (len(other) >= len(one)) :]


def replaces_common_word(edit: Edit) -> bool:
    """Whether other common words stand in a passage that was copied for the rest.

    In short passages that is a paraphrase; so is another form of the same word.
    """
    gone, come = (_stems(words) for words, _ in edit.sides)
    return (
        bool(gone and come)
        and not gone & come
        and max(len(edit.gone), len(edit.come)) <= _MAX_COMMON_EDIT_WORDS
        and all(len(word_set(sentence.passage_text)) >= _COMMON_EDIT_PASSAGE_WORDS for _, sentence in edit.sides)
    )


def _stems(group: Sequence[Word]) -> frozenset[str]:
    return frozenset(stem(word.text) for word in group if word.lower not in STOPWORDS)


def letters(group: Sequence[Word]) -> str:
    """Letters and digits of the words, in lower case: the same where only the punctuation differs."""
    return "".join(character for word in group for character in word.lower if character.isalnum())


def has_digit(group: Sequence[Word]) -> bool:
    """Whether a digit is in one of the words."""
    return any(character.isdigit() for word in group for character in word.text)


def is_name(group: Sequence[Word], sentence: Sentence) -> bool:
    """Whether a word is capitalised that would not be for its place alone."""
    return any(word.text[0].isupper() and word.lower not in STOPWORDS and not _opens(word, sentence) for word in group)


def _opens(word: Word, sentence: Sentence) -> bool:
    before = sentence.passage_text[sentence.start : word.start].rstrip("\"'“‘([*_` ")
    return not before or before[-1] in ":•-–—"


def _span(group: Sequence[Word], sentence: Sentence) -> Span:
    return Span(group[0].start, group[-1].end) if group else Span(sentence.start, sentence.end)


def _date_at(sentence: Sentence, span: Span) -> bool:
    return any(
        value.kind is ValueKind.DATE and value.start < span.end and span.start < value.end for value in sentence.values
    )
