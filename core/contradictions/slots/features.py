"""Features of a span as the answer to a question: where it stands, what it is, who else has it.

The last row of each passage is the chance that the passage does not answer the question at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.marks import STATIC_FEATURES
from core.contradictions.slots.question import Question, SlotKind
from core.contradictions.slots.spans import PassageSpans
from core.contradictions.slots.values import TEXTS, SlotValue, ValueType

_DISTANCES = (
    "subject_near",
    "subject_before",
    "trigger_near",
    "trigger_before",
    "trigger_just_before",
    "trigger_after",
    "trigger_just_after",
    "attribute_before",
    "attribute_just_before",
    "attribute_after",
)
_SENTENCE = (
    "subject_in_sentence",
    "trigger_in_sentence",
    "attribute_in_sentence",
    "both_in_sentence",
    "best_sentence",
)
_WHAT = (
    "asked_again",
    "only_asked",
    "first_category",
    "second_category",
    "in_category_words",
    "order",
    "first_of_kind",
)
_OTHERS = ("others_have", "log_others_have", "edited_away", "kept_in_copy")
_TOPICS = {
    "born": ("born", "birth"),
    "died": ("die", "death"),
    "established": ("establish", "found", "built", "open", "construct", "complet", "form", "creat", "launch", "start"),
    "released": ("releas", "publish", "debut"),
    "population": ("popul",),
    "by": ("artist", "author", "compos", "creator", "produc", "architect"),
    "directed": ("director", "direct"),
    "kin": ("father", "mother", "marri", "son"),
    "located": ("locat", "citi", "state", "countri"),
    "what": ("refer", "profess", "known", "type", "medium", "genr", "format", "function"),
    "sport": ("sport",),
}
"""Topics of questions, by the stems that tell them."""
_DATES = ("in_bracket", "behind_bracket_open", "before_dash", "behind_dash", "first_of_kind")
_WITH_TOPIC = {
    "born": (*_DATES, "trigger_just_before"),
    "died": (*_DATES, "trigger_before"),
    "established": ("behind_in", "trigger_before", "in_bracket", "first_of_kind", "behind_dash"),
    "released": ("behind_on", "trigger_before", "first_of_kind", "in_bracket"),
    "population": ("before_people", "with_comma", "year_like", "trigger_before", "trigger_after", "first_of_kind"),
    "by": ("behind_by", "first_of_kind", "in_bracket", "two_parts", "before_comma", "trigger_just_before"),
    "directed": ("behind_by", "trigger_just_before", "two_parts"),
    "kin": ("behind_of", "trigger_just_before", "trigger_just_after"),
    "located": ("behind_in", "with_comma", "place_name", "behind_at", "behind_comma", "first_of_kind"),
    "what": (
        "in_definition",
        "near_definition",
        "first_category",
        "second_category",
        "in_bracket",
        "early",
        "behind_a",
    ),
    "sport": ("first_category", "in_definition", "in_bracket", "early", "count"),
}
"""Features that count apart for a topic."""
_NOTHING = (
    "nothing",
    "nothing_subject",
    "nothing_triggers",
    "nothing_attribute",
    "nothing_subject_in_one_sentence",
    "nothing_whole_subject",
    "nothing_subject_count",
    "nothing_similarity",
)
FEATURES = (
    *STATIC_FEATURES,
    *_DISTANCES,
    *_SENTENCE,
    *_WHAT,
    *_OTHERS,
    *(f"{topic}:{name}" for topic, names in _WITH_TOPIC.items() for name in names),
    *_NOTHING,
)
"""Names of the features, in the order of the columns."""
_COLUMN = {name: number for number, name in enumerate(FEATURES)}
_FAR_WORDS = 99.0
_EDITED_FROM = 0.4
"""Similarity of two passages from which a value that only one of them has counts as edited."""
_INSIDE_DATE = STATIC_FEATURES.index("inside_date")
_ANSWERED_BY = {
    SlotKind.DATE: (ValueType.DATE,),
    SlotKind.NUMBER: (ValueType.NUMBER,),
    SlotKind.PERSON: (ValueType.NAME,),
    SlotKind.PLACE: (ValueType.NAME,),
    SlotKind.CATEGORY: (ValueType.NAME, ValueType.WORDS, ValueType.CATEGORY),
    SlotKind.OTHER: (ValueType.NAME, ValueType.WORDS),
    SlotKind.VERSION: (),
    SlotKind.YES_NO: (),
}
"""The types of values that can answer each kind of question. Nothing was trained to read versions, or a yes or no."""


def fitting(question: Question, spans: PassageSpans) -> NDArray[np.intp]:
    """Numbers of the spans that are of a sort that can answer the question."""
    fits = np.isin(spans.types, np.array(_ANSWERED_BY[question.kind], np.int8))
    if question.kind is SlotKind.NUMBER:
        fits &= spans.static[:, _INSIDE_DATE] == 0
        with_unit = fits & _with_unit(question, spans)
        fits = with_unit if with_unit.any() else fits
    if question.kind is SlotKind.CATEGORY:
        wrong = [
            number
            for number, value in enumerate(spans.values)
            if value.category and value.category not in question.categories
        ]
        fits[wrong] = False
    return np.flatnonzero(fits)


def _with_unit(question: Question, spans: PassageSpans) -> NDArray[np.bool_]:
    """Which spans have a unit behind them that the question asks for."""
    behind = (spans.places.last + 1).tolist()
    return np.array([place < len(spans.stems) and spans.stems[place] in question.units for place in behind], bool)


def features(
    question: Question,
    passages: Sequence[PassageSpans],
    chosen: Sequence[NDArray[np.intp]],
    similarity: NDArray[np.float32],
) -> list[NDArray[np.float32]]:
    """Features of the chosen spans of each passage, and of `nothing` in the last row; columns as in `FEATURES`.

    Args:
        question: what is asked.
        passages: the passages, read.
        chosen: numbers of the spans of each passage that may be its answer.
        similarity: how much each two passages repeat each other, 0 to 1, shape `(n, n)`.
    """
    column: dict[SlotValue, int] = {}
    columns = [
        [column.setdefault(spans.values[place], len(column)) for place in places.tolist()]
        for spans, places in zip(passages, chosen, strict=True)
    ]
    having = np.zeros((len(column), len(passages)), np.float32)
    for number, of_passage in enumerate(columns):
        having[of_passage, number] = 1
    topics = [topic for topic, marks in _TOPICS.items() if question.triggers.intersection(marks)]
    tables = []
    for number, (spans, places) in enumerate(zip(passages, chosen, strict=True)):
        table = np.zeros((len(places) + 1, len(FEATURES)), np.float32)
        rows = table[:-1]
        rows[:, : len(STATIC_FEATURES)] = spans.static[places]
        hits = [_hits(spans, wanted) for wanted in (question.subject, question.triggers, question.attribute)]
        said = _said(question, spans, hits)
        if len(places):
            _put(rows, _DISTANCES, _distances(hits, spans, places))
            _put(rows, _SENTENCE, _sentences(said, spans, places))
            _put(rows, _WHAT, _what(question, spans, places))
            _put(rows, _OTHERS, _others(having[columns[number]], number, similarity[number]))
            for topic in topics:
                for name in _WITH_TOPIC[topic]:
                    rows[:, _COLUMN[f"{topic}:{name}"]] = rows[:, _COLUMN[name]]
        table[-1, -len(_NOTHING) :] = _nothing(question, spans, len(hits[0]), said, similarity[number])
        tables.append(table)
    return tables


def _put(rows: NDArray[np.float32], names: Sequence[str], columns: Sequence[NDArray[np.generic]]) -> None:
    for name, column in zip(names, columns, strict=True):
        rows[:, _COLUMN[name]] = column


def _hits(spans: PassageSpans, wanted: frozenset[str]) -> NDArray[np.int32]:
    """Places of the wanted words."""
    if wanted.isdisjoint(spans.has):
        return np.zeros(0, np.int32)
    return np.array([place for place, stemmed in enumerate(spans.stems) if stemmed in wanted], np.int32)


def _distances(
    hits: Sequence[NDArray[np.int32]], spans: PassageSpans, places: NDArray[np.intp]
) -> list[NDArray[np.generic]]:
    subject, trigger, attribute = (_words_between(spans, of, places) for of in hits)
    return [
        np.exp(-subject.min(axis=0) / 8),
        np.exp(-subject[0] / 8),
        np.exp(-trigger.min(axis=0) / 5),
        np.exp(-trigger[0] / 4),
        trigger[0] <= 1,
        np.exp(-trigger[1] / 4),
        trigger[1] <= 1,
        np.exp(-attribute[0] / 4),
        attribute[0] <= 1,
        np.exp(-attribute[1] / 4),
    ]


def _words_between(spans: PassageSpans, hits: NDArray[np.int32], places: NDArray[np.intp]) -> NDArray[np.float32]:
    """Words from each span to the nearest hit before it (row 0) and behind it (row 1)."""
    first, last = spans.places.first[places], spans.places.last[places]
    result = np.full((2, len(first)), _FAR_WORDS, np.float32)
    if len(hits):
        before = np.searchsorted(hits, first, side="left") - 1
        result[0] = np.where(before >= 0, first - hits[before.clip(0)], _FAR_WORDS)
        behind = np.searchsorted(hits, last, side="right")
        result[1] = np.where(behind < len(hits), hits[behind.clip(max=len(hits) - 1)] - last, _FAR_WORDS)
    return result


def _said(question: Question, spans: PassageSpans, hits: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
    """For each sentence, the share of the subject, the number of triggers, the share of the attribute that it says."""
    count = int(spans.sentence_of[-1]) + 1 if len(spans.sentence_of) else 1
    result = np.zeros((3, count), np.float32)
    for row, of in enumerate(hits):
        for sentence, _ in {(int(spans.sentence_of[place]), spans.stems[place]) for place in of}:
            result[row, sentence] += 1
    result[0] /= max(1, len(question.subject))
    result[2] /= max(1, len(question.attribute))
    return result


def _sentences(said: NDArray[np.float32], spans: PassageSpans, places: NDArray[np.intp]) -> list[NDArray[np.generic]]:
    sentence = spans.sentence_of[spans.places.first[places]]
    subject, triggers, attribute = said
    both = subject + np.minimum(triggers, 1)
    return [
        subject[sentence],
        np.minimum(triggers, 3)[sentence] / 3,
        attribute[sentence],
        both[sentence] / 2,
        (both[sentence] >= both.max()) & (both.max() > 0),
    ]


def _what(question: Question, spans: PassageSpans, places: NDArray[np.intp]) -> list[NDArray[np.generic]]:
    values = [spans.values[place] for place in places.tolist()]
    asked = np.array([_asked_share(value, question.topic) for value in values], np.float32)
    wanted = question.categories or ("",)
    first = np.array([bool(value.category) and value.category == wanted[0] for value in values])
    second = np.array([value.category in wanted[1:] for value in values])
    known = np.zeros(len(spans.stems) + 1, bool)
    for place, value in zip(places, values, strict=True):
        if value.category in wanted and value.category:
            known[spans.places.first[place] : spans.places.last[place] + 1] = True
    starts = spans.places.first[places]
    order = np.argsort(np.argsort(starts, kind="stable"), kind="stable")
    return [
        asked,
        asked >= 1,
        first,
        second,
        known[spans.places.last[places]],
        np.minimum(order, 10) / 10,
        order == 0,
    ]


def _asked_share(value: SlotValue, topic: frozenset[str]) -> float:
    if value.type not in TEXTS:
        return 0.0
    return sum(part in topic for part in value.key) / len(value.key)


def _others(have: NDArray[np.float32], number: int, similarity: NDArray[np.float32]) -> list[NDArray[np.generic]]:
    """Who else has each value: share, and whether the passages that this one repeats do or do not."""
    have[:, number] = 0
    close = np.where(similarity >= _EDITED_FROM, similarity, 0)
    close[number] = 0
    count = have.sum(axis=1)
    return [
        count / max(1, have.shape[1] - 1),
        np.log1p(count) / 2,
        (close * (1 - have)).max(axis=1),
        (close * have).max(axis=1),
    ]


def _nothing(
    question: Question, spans: PassageSpans, count: int, said: NDArray[np.float32], similarity: NDArray[np.float32]
) -> tuple[float, ...]:
    subject = len(question.subject & spans.has) / max(1, len(question.subject))
    return (
        1.0,
        subject,
        min(len(question.triggers & spans.has), 3) / 3,
        len(question.attribute & spans.has) / max(1, len(question.attribute)),
        float(said[0].max()),
        float(subject == 1),
        float(np.log1p(count)),
        float(similarity.sum() - 1) / max(1, len(similarity) - 1),
    )
