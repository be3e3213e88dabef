"""Questions among passages that answer nothing: RAMDocs has few such passages, and a retriever brings many.

Two kinds are made from the training questions themselves. A passage without the sentences that state its answer is
about the subject and silent about the question. Passages of other questions that share its words are about something
else.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from core.contradictions.slots.answers import prepare
from core.contradictions.slots.pairs import subject_features
from core.contradictions.slots.spans import PassageSpans, read_spans
from core.similarity import similarity_matrix
from core.text import STOPWORDS, WORD, sentence_spans, stem
from training.slots.data import LabelledQuestion

PASSAGES = 20
"""Passages of a question, as many as a batch retrieves."""
SHARE = 0.5
"""Share of the answering passages that lose their answer."""
_LEAST_WORDS = 12
"""A passage of which less is left stays as it is."""


def among_silent(questions: Sequence[LabelledQuestion], *, seed: int) -> list[LabelledQuestion]:
    """Each question again, with `PASSAGES` passages: half of its own silenced, and filled up from the other questions.

    Args:
        questions: questions with their own passages.
        seed: of the choice of what is silenced.
    """
    known = list({spans.text: None for item in questions for spans in item.prepared.passages})
    index = bm25s.BM25()
    index.index([_words(text) for text in known], show_progress=False)
    made = []
    for item in questions:
        chance = random.Random(f"{seed}{item.question.text}")  # noqa: S311 - a choice, no secret
        own = [_silenced(item, number) if chance.random() < SHARE else None for number in range(len(item.types))]
        texts = [spans.text for spans in item.prepared.passages]
        found, _ = index.retrieve([_words(item.question.text)], k=min(3 * PASSAGES, len(known)), show_progress=False)
        others = [known[place] for place in found[0] if known[place] not in texts][: max(0, PASSAGES - len(texts))]
        made.append(_with_texts(item, own, others))
    return made


def _words(text: str) -> list[str]:
    return [stem(word) for word in WORD.findall(text) if word.lower() not in STOPWORDS]


def _silenced(item: LabelledQuestion, number: int) -> str | None:
    """A passage without the sentences that state its answer; `None` where it has none, or little would be left."""
    states = item.is_answer[number][:-1]
    if item.types[number] == "noise" or not states.any():
        return None
    spans: PassageSpans = item.prepared.passages[number]
    places = spans.places.starts[item.prepared.chosen[number][states]]
    kept = [
        spans.text[start:end].strip()
        for start, end in sentence_spans(spans.text)
        if not ((start <= places) & (places < end)).any()
    ]
    text = " ".join(kept)
    return text if len(text.split()) >= _LEAST_WORDS else None


def _with_texts(item: LabelledQuestion, own: Sequence[str | None], others: Sequence[str]) -> LabelledQuestion:
    """The question with some of its passages silenced, and others behind them."""
    silent = [text is not None for text in own] + [True] * len(others)
    before = [spans.text for spans in item.prepared.passages]
    texts = [old if new is None else new for old, new in zip(before, own, strict=True)] + list(others)
    passages = [read_spans(text) for text in texts]
    similarity = similarity_matrix(tuple(texts))
    prepared = prepare(item.question, passages, similarity)
    labels: list[NDArray[np.bool_]] = [
        np.append(np.zeros(len(places), bool), True) if is_silent else item.is_answer[number]
        for number, (is_silent, places) in enumerate(zip(silent, prepared.chosen, strict=True))
    ]
    filled = len(others)
    return LabelledQuestion(
        question=item.question,
        prepared=prepared,
        is_answer=tuple(labels),
        answers=tuple(
            "" if is_silent else answer
            for is_silent, answer in zip(silent, (*item.answers, *[""] * filled), strict=True)
        ),
        types=tuple(
            "noise" if is_silent else kind
            for is_silent, kind in zip(silent, (*item.types, *["noise"] * filled), strict=True)
        ),
        subjects=subject_features(item.question, passages, similarity),
    )
