"""One text, edited: a sentence that is another one with few words replaced.

The scores are a judgement, made while reading what the rules found; docs/detection.md says how often all rules together
are right.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from core.contradictions.finding import Finding
from core.contradictions.replaced import (
    Edit,
    counts_differently,
    denies,
    excluded,
    has_digit,
    is_alternative,
    is_bound,
    is_dated,
    is_name,
    is_one_figure,
    is_one_name,
    letters,
    names_another_thing,
    opens,
    replaces_common_word,
)
from core.contradictions.sentences import Sentence, is_negation
from core.model import ContradictionKind
from core.text import Word

_FIGURES = (ContradictionKind.NUMERIC, ContradictionKind.DATE)
_OTHER_THING = (ContradictionKind.POLARITY, ContradictionKind.ENTITY)
_EDIT_RATIO = 0.7
"""Share of the words, in order, that two sentences must have in common to count as one sentence edited."""
_MAX_EDITS = 5
_MAX_EDIT_WORDS = 5
_COMMON_EDIT_SIMILARITY = 0.7
"""Passages must be this alike for a replaced common word to be an edit: below, it is a paraphrase."""
_POSSIBLE = re.compile(r"\b(?:can|could|may|might|you|your)\b", re.IGNORECASE)
"""With these a sentence says what is possible, or what to do: both words may hold."""


def edited_copy(left: Sentence, right: Sentence, *, similarity: float, same_source: bool = False) -> Finding | None:
    """One sentence is the other with few words replaced: the replaced words are what they disagree about.

    Nothing where an edit says that the sentences are about different things: another heading, another program.

    Args:
        left: a sentence of one passage.
        right: a sentence of the other.
        similarity: how much their passages repeat each other, 0 to 1.
        same_source: whether one source has both passages: then a common word makes another section, not an edit.
    """
    in_left, in_right = _said(left), _said(right)
    if min(len(in_left), len(in_right)) < _EDIT_RATIO * max(len(in_left), len(in_right)):
        return None
    matcher = SequenceMatcher(
        None, [_plain(word) for word in in_left], [_plain(word) for word in in_right], autojunk=False
    )
    if matcher.ratio() < _EDIT_RATIO:
        return None
    edits = [
        Edit(in_left[a:b], in_right[c:d], left, right) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"
    ]
    if not edits or len(edits) > _MAX_EDITS or any(map(names_another_thing, edits)):
        return None
    copied = similarity >= _COMMON_EDIT_SIMILARITY and not same_source
    findings = [
        finding for edit in edits if (finding := _judge(edit, copied=copied, same_source=same_source)) is not None
    ]
    if any(finding.kind in _FIGURES for finding in findings) and any(excluded(edit) in _OTHER_THING for edit in edits):
        return None  # `the lowest is 3`, `the highest is 9`
    return max(findings, key=lambda finding: finding.score, default=None)


def _said(sentence: Sentence) -> tuple[Word, ...]:
    """The words of a sentence, without an `s` that white space split from its word."""
    text = sentence.passage_text
    return tuple(word for word in sentence.words if word.text != "s" or text[word.start - 1 : word.start] not in "'’")


def _plain(word: Word) -> str:
    return word.lower.replace("’", "'").removesuffix("'s")


def _judge(edit: Edit, *, copied: bool, same_source: bool) -> Finding | None:
    """What the replacement changes, if it changes what is said; `copied`: the passages repeat each other closely."""
    if any(map(is_negation, (*edit.gone, *edit.come))):
        return Finding(ContradictionKind.POLARITY, 0.8, *edit.spans) if denies(edit) else None
    if not edit.gone or not edit.come or max(len(edit.gone), len(edit.come)) > _MAX_EDIT_WORDS:
        return None
    if letters(edit.gone) == letters(edit.come) or is_alternative(edit) or is_bound(edit):
        return None
    if counts_differently(edit) or any(has_digit(words) for words, _ in edit.sides):
        return _judge_numbers(edit)
    return _judge_words(edit, copied=copied, same_source=same_source)


def _judge_numbers(edit: Edit) -> Finding | None:
    if not all(has_digit(words) for words, _ in edit.sides):
        return Finding(ContradictionKind.NUMERIC, 0.85, *edit.spans) if counts_differently(edit) else None
    if is_one_figure(edit):
        return None
    return Finding(ContradictionKind.DATE if is_dated(edit) else ContradictionKind.NUMERIC, 0.9, *edit.spans)


def _judge_words(edit: Edit, *, copied: bool, same_source: bool) -> Finding | None:
    possible = any(_POSSIBLE.search(sentence.text) for _, sentence in edit.sides)
    kind = None if possible or same_source or opens(edit) else excluded(edit)
    if kind is not None:
        return Finding(kind, 0.85, *edit.spans)
    if all(is_name(words, sentence) for words, sentence in edit.sides):
        return None if is_one_name(edit) else Finding(ContradictionKind.ENTITY, 0.85, *edit.spans)
    if copied and not possible and replaces_common_word(edit):
        return Finding(ContradictionKind.ENTITY, 0.65, *edit.spans)
    return None
