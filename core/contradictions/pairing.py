"""Which sentences of different passages are about the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.contradictions.sentences import Sentence

_MIN_SHARED_WORDS = 2
_MIN_OVERLAP = 0.34
"""Share of the shorter sentence's topic, by weight, that both must have."""
_MAX_PAIRS = 240
"""Pairs looked at closely, most alike first. 20 passages give some 4,000 pairs, nearly all of them unrelated."""


class SentencePair(NamedTuple):
    """Two sentences about one thing; `overlap` is the weighted share of the shorter topic that both have, 0 to 1."""

    left_passage: int
    right_passage: int
    left: Sentence
    right: Sentence
    overlap: float


def pair_by_topic(passages: Sequence[Sequence[Sentence]], query_topic: frozenset[str]) -> list[SentencePair]:
    """Pair sentences of different passages that share topic words, one of the query's among them.

    A word weighs more the fewer sentences have it (`ln(1 + n / df)`, an inverse document frequency). Returns the most
    alike pairs first; equal ones in the order of the passages. `left_passage` is always the smaller index.
    """
    sentences = [(index, sentence) for index, read in enumerate(passages) for sentence in read]
    if len(sentences) < 2:  # noqa: PLR2004 - a pair needs two
        return []
    vocabulary: dict[str, int] = {}
    rows, columns = [], []
    for row, (_, sentence) in enumerate(sentences):
        for word in sorted(sentence.topic):
            rows.append(row)
            columns.append(vocabulary.setdefault(word, len(vocabulary)))
    has = np.zeros((len(sentences), len(vocabulary)), dtype=np.float32)
    has[rows, columns] = 1.0
    weights = np.log1p(len(sentences) / has.sum(axis=0))
    in_query = np.fromiter((word in query_topic for word in vocabulary), dtype=np.float32, count=len(vocabulary))
    passage_of = np.fromiter((index for index, _ in sentences), dtype=np.int32, count=len(sentences))

    shared_weight = (has * weights) @ has.T
    total = np.diagonal(shared_weight)
    overlap = shared_weight / np.minimum.outer(total, total)
    wanted = (
        (passage_of[:, None] < passage_of[None, :])
        & (overlap >= _MIN_OVERLAP)
        & (has @ has.T >= _MIN_SHARED_WORDS)
        & ((has * in_query) @ has.T >= 1.0)
    )
    lefts, rights = np.nonzero(wanted)
    best_first = np.argsort(-overlap[lefts, rights].round(6), kind="stable")[:_MAX_PAIRS]
    return [
        SentencePair(
            int(passage_of[lefts[at]]),
            int(passage_of[rights[at]]),
            sentences[lefts[at]][1],
            sentences[rights[at]][1],
            float(overlap[lefts[at], rights[at]]),
        )
        for at in best_first
    ]
