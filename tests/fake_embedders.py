"""Embedders for tests: vectors that a reader can foresee, and a count of what was embedded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.adapters.manual_clock import ManualClock

DIMENSIONS = 4


class WordEmbedder:
    """Adds up the vectors of a text's known words; other words add nothing.

    Args:
        words: vectors of four numbers, by word.
        version: as the trace has it.
        fails_after: so many texts are embedded; then it raises.

    Attributes:
        texts: what was embedded, in order.
    """

    def __init__(
        self, words: Mapping[str, Sequence[float]], *, version: str = "words-1", fails_after: int | None = None
    ) -> None:
        self._words = {word: np.array(vector, dtype=np.float32) for word, vector in words.items()}
        self._version = version
        self._fails_after = fails_after
        self.texts: list[str] = []

    @property
    def version(self) -> str:
        """As it was told."""
        return self._version

    @property
    def dimensions(self) -> int:
        """Four."""
        return DIMENSIONS

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The sums, as they are: not of length one."""
        if self._fails_after is not None and len(self.texts) + len(texts) > self._fails_after:
            raise InterruptedError(f"stopped after {self._fails_after} texts")
        self.texts.extend(texts)
        found = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").replace("?", "").split():
                found[row] += self._words.get(word, 0.0)
        return found


class SlowEmbedder(WordEmbedder):
    """Takes its time by a clock that the test moves.

    Args:
        words: as for `WordEmbedder`.
        seconds: what each text takes.
        clock: moved on by it.
    """

    def __init__(self, words: Mapping[str, Sequence[float]], seconds: float, clock: ManualClock) -> None:
        super().__init__(words)
        self._seconds = seconds
        self._clock = clock

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `WordEmbedder`, later."""
        self._clock.advance(self._seconds * len(texts))
        return super().embed(texts)
