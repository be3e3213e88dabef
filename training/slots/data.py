"""RAMDocs questions with their passages, read and labelled: which spans are the passage's answer."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import Prepared, prepare
from core.contradictions.slots.pairs import subject_features
from core.contradictions.slots.question import Question, read_question
from core.contradictions.slots.spans import PassageSpans, read_spans
from core.contradictions.slots.values import TEXTS, SlotValue, ValueType, alike
from core.similarity import similarity_matrix
from core.text import stem

_LITTLE = frozenset("a an the of and about around approximately".split())
_SAME_WORDS = 0.66
"""Dice overlap from which a span's words count as the answer's."""


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question with its passages in a shuffled order.

    Attributes:
        question: the question, read.
        prepared: its passages with the features of their spans.
        is_answer: for each passage, which of its spans state its answer; last, whether it answers nothing.
        answers: each passage's answer in one form; empty for noise.
        types: `correct`, `misinfo` or `noise`, for each passage.
        subjects: features of each pair of passages that tell whether they are about one thing.
    """

    question: Question
    prepared: Prepared
    is_answer: tuple[NDArray[np.bool_], ...]
    answers: tuple[str, ...]
    types: tuple[str, ...]
    subjects: NDArray[np.float32]


def load(folder: Path) -> list[LabelledQuestion]:
    """Read `ramdocs/ramdocs-dev.jsonl` of a data folder. The passages are shuffled: their own order tells the label."""
    path = folder / "ramdocs" / "ramdocs-dev.jsonl"
    with path.open(encoding="utf-8") as lines:
        return [_labelled(json.loads(line)) for line in lines]


def _labelled(record: dict[str, object]) -> LabelledQuestion:
    text = str(record["question"])
    documents: list[dict[str, str]] = list(record["documents"])  # type: ignore[call-overload]
    random.Random(text).shuffle(documents)  # noqa: S311 - an order, no secret
    question = read_question(text)
    passages = [read_spans(document["text"]) for document in documents]
    similarity = similarity_matrix(tuple(document["text"] for document in documents))
    prepared = prepare(question, passages, similarity)
    labels = []
    for document, spans, places in zip(documents, passages, prepared.chosen, strict=True):
        noise = document["type"] == "noise"
        answer = "" if noise else document["answer"]
        labels.append(np.append(_states(answer, question, spans, places), noise))
    return LabelledQuestion(
        question=question,
        prepared=prepared,
        is_answer=tuple(labels),
        answers=tuple("" if document["type"] == "noise" else one_form(document["answer"]) for document in documents),
        types=tuple(document["type"] for document in documents),
        subjects=subject_features(question, passages, similarity),
    )


def one_form(answer: str) -> str:
    """An answer's stems in alphabetical order, so that two ways to write it are one."""
    return " ".join(sorted(_stems(answer)))


def _stems(text: str) -> frozenset[str]:
    plain = re.sub(r"[^\w\s]", " ", text.lower()).split()
    return frozenset(stem(word) for word in plain if word not in _LITTLE)


def _states(answer: str, question: Question, spans: PassageSpans, places: NDArray[np.intp]) -> NDArray[np.bool_]:
    wanted_words = _stems(answer)
    wanted = read_spans(answer).values if answer else ()
    return np.array([_is(spans, place, question, wanted, wanted_words) for place in places], bool)


def _is(
    spans: PassageSpans,
    place: int,
    question: Question,
    wanted: tuple[SlotValue, ...],
    wanted_words: frozenset[str],
) -> bool:
    value = spans.values[place]
    if value.type not in TEXTS:
        same_type = [other for other in wanted if other.type is value.type]
        return bool(same_type) and bool((alike([value, *same_type])[0, 1:] == 1).any())
    if value.type is ValueType.CATEGORY:
        return value in wanted and value.category in question.categories
    words = _stems(spans.text[spans.places.starts[place] : spans.places.ends[place]])
    shared = 2 * len(words & wanted_words)
    return shared > 0 and shared >= _SAME_WORDS * (len(words) + len(wanted_words))
