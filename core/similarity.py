"""How much passages repeat each other, word by word."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.text import STOPWORDS, WORD, stem

NEAR_COPY = 0.5
"""From this similarity on, two passages go back to one text. On RAMDocs, edited copies lie above it, texts that
only follow one template (census entries of two towns) below; docs/detection.md has the figures."""

NEAR_DUPLICATE = 0.9
"""From this similarity on, the second passage tells a reader nothing new."""


@lru_cache(maxsize=4096)
def word_set(text: str) -> frozenset[str]:
    """Stems of all words but stop words; numbers count."""
    return frozenset(map(stem, {word.lower() for word in WORD.findall(text)} - STOPWORDS))


@lru_cache(maxsize=64)
def similarity_matrix(texts: tuple[str, ...]) -> NDArray[np.float32]:
    """Jaccard similarity of the word sets of each pair of texts: shape `(n, n)`, 0 to 1, ones on the diagonal.

    The last results are kept, because several stages ask about the same ranking; the array is read-only.
    """
    vocabulary: dict[str, int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for word in word_set(text) or {text}:  # texts without such words are alike where they are the same
            rows.append(row)
            columns.append(vocabulary.setdefault(word, len(vocabulary)))
    has = np.zeros((len(texts), max(1, len(vocabulary))), dtype=np.float32)
    has[rows, columns] = 1.0
    shared = has @ has.T
    sizes = np.diagonal(shared)
    either = sizes[:, None] + sizes[None, :] - shared
    similarity = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    np.fill_diagonal(similarity, 1.0)
    similarity.setflags(write=False)
    return np.asarray(similarity, dtype=np.float32)
