"""What two passages' answers have in common, and whether the passages are about one thing: features of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import AnswerTable
from core.contradictions.slots.question import Question, SlotKind
from core.contradictions.slots.spans import PassageSpans
from core.contradictions.slots.values import TEXTS, SlotValue, ValueType, alike
from core.contradictions.subject import different_meanings, meaning_of, subject_of

_AGREEMENT = (
    "joint",
    "cosine",
    "absent_most",
    "absent_least",
    "absent_product",
    "sure_least",
    "sure_most",
    "best_least",
    "best_most",
    "same_best",
    "similarity",
    "similar_but_absent",
    "names",
    "numbers",
    "other_meaning",
    "sure_but_absent",
    "overlap",
    "log_cosine",
    "near_copy",
    "copy_but_absent",
)
_BY_GROUP = ("joint", "cosine", "absent_most", "absent_least", "same_best", "log_cosine")
_GROUPS = (
    frozenset({SlotKind.DATE, SlotKind.NUMBER, SlotKind.VERSION}),
    frozenset({SlotKind.PERSON, SlotKind.PLACE}),
    frozenset({SlotKind.CATEGORY, SlotKind.OTHER, SlotKind.YES_NO}),
)
_GROUP_NAMES = ("values", "names", "words")
PAIR_FEATURES = (
    *_AGREEMENT,
    *(f"{group}:{name}" for group in _GROUP_NAMES for name in _BY_GROUP),
    *_GROUP_NAMES,
)
"""Names of the features of two passages' answers."""
SUBJECT_FEATURES = (
    "shared_names",
    "shared_name_count",
    "other_names",
    "similarity",
    "other_meaning",
    "beginnings",
    "subject_words_apart",
    "near_copy",
)
"""Names of the features that tell whether two passages are about one thing. Numbers and dates are left out: they are
answers too often."""
_COPY_FROM = 0.5
_BEGINNING_WORDS = 12


def subject_features(
    question: Question, passages: Sequence[PassageSpans], similarity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Features of each pair, shape `(n, n, len(SUBJECT_FEATURES))`: do they speak of one thing?"""
    names = [spans.names - question.topic for spans in passages]
    shared, fewest = _weighted_overlap(names)
    count, fewest_count = _overlap(names)
    beginnings = [frozenset(spans.stems[:_BEGINNING_WORDS]) - question.topic for spans in passages]
    begun = np.array(
        [[len(one & other.has) / max(1, len(one)) for other in passages] for one in beginnings], np.float32
    ).reshape(len(passages), len(passages))
    said = [spans.has & question.subject for spans in passages]
    apart = np.array([[len(one ^ other) for other in said] for one in said], np.float32)
    columns = (
        shared / (1 + fewest),
        np.minimum(count, 10) / 10,
        np.minimum(fewest_count - count, 10) / 10,
        similarity,
        _other_meaning(question, passages),
        begun + begun.T,
        apart.reshape(begun.shape) / max(1, len(question.subject)),
        np.maximum(0, similarity - _COPY_FROM),
    )
    return np.stack(columns, axis=-1).astype(np.float32)


def pair_features(
    question: Question,
    passages: Sequence[PassageSpans],
    table: AnswerTable,
    similarity: NDArray[np.float32],
    subjects: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Features of each pair, shape `(n, n, len(PAIR_FEATURES))`: do they answer the same?

    Args:
        question: what is asked.
        passages: the passages, read.
        table: what they answer.
        similarity: how much each two repeat each other.
        subjects: what `subject_features` gave for them.
    """
    count = len(passages)
    mass, same = table.mass, table.alike
    if not table.values:
        mass, same = np.zeros((count, 1), np.float32), np.ones((1, 1), np.float32)
        absent = np.zeros((count, count), np.float32)
    else:
        absent = mass @ (1 - _present(table.values, passages)).T
    joint = mass @ same @ mass.T
    sure = np.diag(joint)
    cosine = joint / np.sqrt(np.maximum(1e-6, np.outer(sure, sure)))
    covered = np.minimum(1, mass @ same)
    overlap = np.minimum(mass[:, None, :], covered[None, :, :]).sum(axis=2)
    first, best = mass.argmax(axis=1), mass.max(axis=1)
    most, least = np.maximum(absent, absent.T), np.minimum(absent, absent.T)
    sure_least = np.minimum.outer(sure, sure)
    shared_names, fewest_names = _overlap([spans.names - question.topic for spans in passages])
    shared_numbers, fewest_numbers = _overlap([spans.numbers for spans in passages])
    agreement = np.stack(
        (
            joint,
            cosine,
            most,
            least,
            most * least,
            sure_least,
            np.maximum.outer(sure, sure),
            np.minimum.outer(best, best),
            np.maximum.outer(best, best),
            same[np.ix_(first, first)] * (np.minimum.outer(best, best) > 0),
            similarity,
            similarity * most,
            shared_names / np.maximum(1, fewest_names),
            shared_numbers / np.maximum(1, fewest_numbers),
            subjects[..., SUBJECT_FEATURES.index("other_meaning")],
            most * sure_least,
            np.minimum(overlap, overlap.T),
            np.log(cosine + 0.02),
            np.maximum(0, similarity - 0.4),
            (similarity >= _COPY_FROM) * least,
        ),
        axis=-1,
    )
    by_group = agreement[..., [_AGREEMENT.index(name) for name in _BY_GROUP]]
    of_group = [question.kind in group for group in _GROUPS]
    parts = [agreement, *(by_group * inside for inside in of_group)]
    constants = np.broadcast_to(np.array(of_group, np.float32), (count, count, len(_GROUPS)))
    return np.concatenate([*parts, constants], axis=-1).astype(np.float32)


def _present(values: Sequence[SlotValue], passages: Sequence[PassageSpans]) -> NDArray[np.float32]:
    """How much of each value (column) each passage (row) says anywhere: 0 to 1."""
    result = np.zeros((len(passages), len(values)), np.float32)
    texts = [number for number, value in enumerate(values) if value.type in TEXTS]
    keys = [frozenset(map(str, values[number].key)) for number in texts]
    parts, stems = _table(keys), _items(keys)
    dates = [number for number, value in enumerate(values) if value.type is ValueType.DATE]
    for row, spans in enumerate(passages):
        if texts:
            said = np.array([stemmed in spans.has for stemmed in stems], np.float32)
            result[row, texts] = parts @ said / parts.sum(axis=1)
        if dates and spans.dates:
            all_dates = [*(values[number] for number in dates), *dict.fromkeys(spans.dates)]
            result[row, dates] = alike(all_dates)[: len(dates), len(dates) :].max(axis=1)
        for number, value in enumerate(values):
            if value.type is ValueType.CATEGORY:
                result[row, number] = value in spans.categories
            elif value.type is ValueType.NUMBER:
                result[row, number] = value.key[0] in spans.numbers
            elif value.type is ValueType.VERSION:
                result[row, number] = value in spans.values
    return result


def _other_meaning(question: Question, passages: Sequence[PassageSpans]) -> NDArray[np.float32]:
    """Whether each two passages add different things to the query's name (`Broken Bow, Nebraska`, `..., Oklahoma`)."""
    result = np.zeros((len(passages), len(passages)), np.float32)
    names = subject_of(question.text).names
    if not names:
        return result
    meanings = [meaning_of(spans.text, names) for spans in passages]
    for row, one in enumerate(passages):
        for column, other in enumerate(passages[:row]):
            different = different_meanings(meanings[row], meanings[column], one.text, other.text)
            result[row, column] = result[column, row] = different
    return result


def _overlap(sets: Sequence[frozenset[str]] | Sequence[frozenset[float]]) -> tuple[NDArray[np.float32], ...]:
    """Size of what each two sets share, and of the smaller one."""
    table = _table(sets)
    sizes = table.sum(axis=1)
    return table @ table.T, np.minimum.outer(sizes, sizes)


def _weighted_overlap(sets: Sequence[frozenset[str]]) -> tuple[NDArray[np.float32], ...]:
    """The same with rare items counting more: `log(1 + n / number of sets that have it)`."""
    table = _table(sets)
    weight = np.log(1 + len(sets) / np.maximum(1, table.sum(axis=0)))
    sizes = table @ weight
    return (table * weight) @ table.T, np.minimum.outer(sizes, sizes)


def _table(sets: Sequence[frozenset[str]] | Sequence[frozenset[float]]) -> NDArray[np.float32]:
    """Which set (row) has which of `_items` (column)."""
    column = {item: place for place, item in enumerate(_items(sets))}
    table = np.zeros((len(sets), max(1, len(column))), np.float32)
    for row, items in enumerate(sets):
        table[row, [column[item] for item in items]] = 1
    return table


def _items(sets: Sequence[frozenset[Any]]) -> list[Any]:
    """All items, sorted: each process orders sets anew, and sums over them must come out the same."""
    return sorted(frozenset[Any]().union(*sets))
