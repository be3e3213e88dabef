"""Hybrid retrieval: what shares words with the query and what is near it in meaning, fused.

BM25 and the cosine of MiniLM vectors each give their best 200 passages. Reciprocal rank fusion adds 1 / (60 + rank)
over the two (Cormack, Clarke and Buettcher 2009, `Reciprocal Rank Fusion outperforms Condorcet and individual Rank
Learning Methods`, SIGIR; 60 is their constant). It needs no common scale: what counts is the place, not the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.adapters.bm25 import Bm25Retriever
from core.adapters.embedder import Embedder
from core.adapters.passage_vectors import PassageVectors, vectors_folder
from core.clock import Deadline
from core.model import Query, Ranking, ScoredPassage

RANK_OFFSET: Final = 60
"""The constant of the paper: how little the first places stand out."""

DEPTH: Final = 200
"""Passages of each of the two rankings that are fused: as many as a query can ask for."""

_EMBEDDING_S: Final = 0.025
_SEARCH_S: Final = 5e-7
"""Seconds to embed a query, and to look at one passage's vector: high guesses, measured in docs/retrieval.md."""

Scored = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Rows of the corpus and their scores, row by row."""


def fuse(rankings: Sequence[Scored]) -> list[tuple[int, float]]:
    """Rows with their sums of 1 / (60 + rank) over the rankings, best first.

    In a ranking, a row's rank counts from 1 by score; equal scores stand in the order of the corpus, and so do equal
    sums. In which order a ranking lists its rows therefore does not matter.

    Returns:
        Sums of at most `len(rankings) / 61`: that of a row which is first in all.
    """
    sums: dict[int, float] = {}
    for rows, scores in rankings:
        for rank, row in zip(count(1), rows[np.lexsort((rows, -scores))].tolist(), strict=False):
            sums[row] = sums.get(row, 0.0) + 1.0 / (RANK_OFFSET + rank)
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


class HybridRetriever:
    """Fuses BM25 with the nearness of vectors.

    A passage's score is its sum of reciprocal ranks: at most 2 / 61, for the first of both rankings; at most 1 / 61
    where only one of them has it. Where the time left does not hold the embedding of the query, the ranking is BM25's
    alone, scored in the same way, and not complete.

    Args:
        index: the index folder, made by `ensure_index`.
        bm25: what searches it by words.
        embedder: the one that `ensure_vectors` was given.

    Raises:
        RetrieverError: there are no vectors for the index.
    """

    def __init__(self, index: Path, bm25: Bm25Retriever, embedder: Embedder) -> None:
        self._bm25 = bm25
        self._embedder = embedder
        self._vectors = PassageVectors(vectors_folder(index, embedder.version), passages=len(bm25))
        self._need_s = _EMBEDDING_S + _SEARCH_S * len(bm25)

    @property
    def version(self) -> str:
        """Name and version, with those of what is fused."""
        return f"hybrid-1({self._bm25.version}+{self._embedder.version})"

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query; see `Retriever`."""
        rankings = []
        for query, deadline in zip(queries, deadlines, strict=True):
            with deadline.running():
                rankings.append(self._rank(query.text, k, deadline))
        return rankings

    def _rank(self, text: str, k: int, deadline: Deadline) -> Ranking:
        found = [self._bm25.best(text, DEPTH)]
        in_time = deadline.leaves(self._need_s)
        if in_time:
            found.append(self._vectors.nearest(self._embedder.embed([text])[0], DEPTH))
        items = (ScoredPassage(self._bm25.passage(row), score) for row, score in fuse(found)[: max(k, 0)])
        return Ranking(tuple(items), complete=in_time)
