"""Which sentences of different passages are about the same thing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from core.contradictions.sentences import Sentence, read_sentences

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


@lru_cache(maxsize=8)
def pairs_of_texts(texts: tuple[str, ...], query_topic: frozenset[str]) -> tuple[SentencePair, ...]:
    """`pair_by_topic` on what the texts say. The last results are kept: two stages pair the same passages."""
    return tuple(pair_by_topic([read_sentences(text) for text in texts], query_topic))


def pair_by_topic(passages: Sequence[Sequence[Sentence]], query_topic: frozenset[str]) -> list[SentencePair]:
    """Pair sentences of different passages that share topic words, one of the query's among them.

    A word weighs more the fewer sentences have it (`ln(1 + n / df)`, an inverse document frequency). Returns the most
    alike pairs first; equal ones in the order of the passages. `left_passage` is always the smaller index.
    """
    frequency = Counter(word for read in passages for sentence in read for word in sentence.topic)
    count = sum(map(len, passages))
    weight_of = {word: math.log1p(count / having) for word, having in frequency.items()}
    sentences = [
        (index, sentence) for index, read in enumerate(passages) for sentence in read if sentence.topic & query_topic
    ]
    # Words of one sentence only are shared by no pair: without them long passages cost a fraction of the time.
    vocabulary: dict[str, int] = {}
    rows, columns = [], []
    for row, (_, sentence) in enumerate(sentences):
        for word in sorted(sentence.topic):
            if frequency[word] > 1:
                rows.append(row)
                columns.append(vocabulary.setdefault(word, len(vocabulary)))
    if not vocabulary:
        return []
    has = np.zeros((len(sentences), len(vocabulary)), dtype=np.float32)
    has[rows, columns] = 1.0
    weights = np.array([weight_of[word] for word in vocabulary])
    asked = has[:, [word in query_topic for word in vocabulary]]
    passage_of = np.array([index for index, _ in sentences])

    total = np.array([math.fsum(weight_of[word] for word in sentence.topic) for _, sentence in sentences])
    overlap = (has * weights) @ has.T / np.minimum.outer(total, total)
    wanted = (
        (passage_of[:, None] < passage_of[None, :])
        & (overlap >= _MIN_OVERLAP)
        & (has @ has.T >= _MIN_SHARED_WORDS)
        & (asked @ asked.T >= 1.0)
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
