"""One text, edited: a sentence that is another one with few words replaced.

The scores are a judgement, made while reading what the rules found; docs/detection.md says how often all rules together
are right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from core.contradictions.finding import Finding
from core.contradictions.sentences import NEGATIONS, Sentence
from core.contradictions.values import ValueKind
from core.model import ContradictionKind, Span
from core.text import STOPWORDS, Word

_EDIT_RATIO = 0.7
"""Share of the words, in order, that two sentences must have in common to count as one sentence edited."""
_MAX_EDITS = 5
_MAX_EDIT_WORDS = 5
_MAX_COMMON_EDIT_WORDS = 3
_NAMED_EDIT_SCORE = 0.8
_HEADING = re.compile(r"[^:.!?]{1,60}:\s")
_COMMON_EDIT_SIMILARITY = 0.7
"""Passages must be this alike for a replaced common noun to be an edit: below, it is a paraphrase."""


def edited_copy(left: Sentence, right: Sentence, *, similarity: float) -> Finding | None:
    """One sentence is the other with few words replaced: the replaced words are what they disagree about.

    Args:
        left: a sentence of one passage.
        right: a sentence of the other.
        similarity: how much their passages repeat each other, 0 to 1.
    """
    in_left, in_right = left.words, right.words
    left_words = [_plain(word) for word in in_left]
    right_words = [_plain(word) for word in in_right]
    if min(len(left_words), len(right_words)) < _EDIT_RATIO * max(len(left_words), len(right_words)):
        return None
    matcher = SequenceMatcher(None, left_words, right_words, autojunk=False)
    if matcher.ratio() < _EDIT_RATIO:
        return None
    edits = [(in_left[a:b], in_right[c:d]) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]
    if not edits or len(edits) > _MAX_EDITS or _under_different_headings(edits, left, right):
        return None
    findings = [finding for edit in edits if (finding := _judge_edit(*edit, left=left, right=right)) is not None]
    best = max(findings, key=lambda finding: finding.score, default=None)
    if best is not None and best.score < _NAMED_EDIT_SCORE and similarity < _COMMON_EDIT_SIMILARITY:
        return None
    return best


def _under_different_headings(
    edits: Sequence[tuple[Sequence[Word], Sequence[Word]]], left: Sentence, right: Sentence
) -> bool:
    """Whether both sentences begin with a heading, and the headings differ: two sections written to one pattern."""
    heading_ends = [_HEADING.match(one.text) for one in (left, right)]
    if not all(heading_ends):
        return False
    left_end, right_end = (
        one.start + found.end() for one, found in zip((left, right), heading_ends, strict=True) if found is not None
    )
    return any((gone and gone[0].start < left_end) or (come and come[0].start < right_end) for gone, come in edits)


def _plain(word: Word) -> str:
    return word.lower.replace("’", "'").removesuffix("'s")


def _judge_edit(gone: Sequence[Word], come: Sequence[Word], *, left: Sentence, right: Sentence) -> Finding | None:
    """What the replacement of the words `gone` by `come` changes, if it changes what is said."""
    negation = next((word for word in (*gone, *come) if _is_negation(word)), None)
    if negation is not None and any(map(_is_negation, gone)) != any(map(_is_negation, come)):
        if sum(word.lower not in STOPWORDS for word in (*gone, *come)) > 1 + _is_negation(negation):
            return None
        return Finding(ContradictionKind.POLARITY, 0.8, _span(gone, left), _span(come, right))
    if not gone or not come or max(len(gone), len(come)) > _MAX_EDIT_WORDS:
        return None
    if _letters(gone) == _letters(come):
        return None
    spans = _span(gone, left), _span(come, right)
    if any("==" in one.passage_text[span.start : span.end] for one, span in zip((left, right), spans, strict=True)):
        return None  # what to install of one package and of another
    if _has_digit(gone) and _has_digit(come):
        dated = _date_at(left, spans[0]) and _date_at(right, spans[1])
        return Finding(ContradictionKind.DATE if dated else ContradictionKind.NUMERIC, 0.9, *spans)
    if _has_digit(gone) or _has_digit(come) or any("_" in word.text for word in (*gone, *come)):
        return None  # identifiers name different things
    if _capitalised(gone) and _capitalised(come):
        return Finding(ContradictionKind.ENTITY, 0.85, *spans)
    if max(len(gone), len(come)) > _MAX_COMMON_EDIT_WORDS or _only_stop_words(gone) or _only_stop_words(come):
        return None
    return Finding(ContradictionKind.ENTITY, 0.65, *spans)


def _is_negation(word: Word) -> bool:
    return word.lower in NEGATIONS or word.lower.endswith(("n't", "n’t"))


def _letters(group: Sequence[Word]) -> str:
    return "".join(character for word in group for character in word.lower if character.isalnum())


def _has_digit(group: Sequence[Word]) -> bool:
    return any(character.isdigit() for word in group for character in word.text)


def _capitalised(group: Sequence[Word]) -> bool:
    return any(word.text[0].isupper() and word.lower not in STOPWORDS for word in group)


def _only_stop_words(group: Sequence[Word]) -> bool:
    return all(word.lower in STOPWORDS for word in group)


def _span(group: Sequence[Word], sentence: Sentence) -> Span:
    return Span(group[0].start, group[-1].end) if group else Span(sentence.start, sentence.end)


def _date_at(sentence: Sentence, span: Span) -> bool:
    return any(
        value.kind is ValueKind.DATE and value.start < span.end and span.start < value.end for value in sentence.values
    )
