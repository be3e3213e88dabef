"""How much passages repeat each other, word by word."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.text import STOPWORDS, WORD, stem

NEAR_COPY = 0.5
"""From this similarity on, two passages are taken to go back to one text. In one half of RAMDocs nearly all edited
copies lay above it, and most texts that only follow one template (census entries of two towns) below."""

NEAR_DUPLICATE = 0.9
"""From this similarity on, the second passage tells a reader nothing new."""


@lru_cache(maxsize=2048)
def word_set(text: str) -> frozenset[str]:
    """Stems of all words but stop words; numbers count."""
    return frozenset(map(stem, {word.lower() for word in WORD.findall(text)} - STOPWORDS))


@lru_cache(maxsize=64)
def similarity_matrix(texts: tuple[str, ...]) -> NDArray[np.float32]:
    """Jaccard similarity of the word sets of each pair of texts: shape `(n, n)`, 0 to 1, ones on the diagonal.

    The last results are kept, because several stages ask about the same ranking; the array is read-only.
    """
    # Sets, not matrices: a product of 20 rows is small, and its threads would fight over the cores with other workers.
    sets = [word_set(text) or frozenset((text,)) for text in texts]  # texts without such words: alike if the same
    similarity = np.eye(len(texts), dtype=np.float32)
    for row, one in enumerate(sets):
        for column, other in enumerate(sets[:row]):
            shared = len(one & other)
            similarity[row, column] = similarity[column, row] = shared / (len(one) + len(other) - shared)
    similarity.setflags(write=False)
    return similarity
