"""Which trace ids were there before, in 16 bytes an id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import StoreError

_ID_CHARS: Final = 32
_PACKED: Final = "S16"


class SeenIds:
    """A set of trace ids that only grows.

    Sorted arrays, merged when the last two are about as long (as in a log-structured merge tree, O'Neil et al. 1996):
    an id costs 16 bytes, where a set of Python needs a hundred, and adding n ids costs O(n log n) in all.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.bytes_]] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, trace_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Add ids; returns for each whether it is new, the first of equal ones counting as such.

        Raises:
            StoreError: a text is no trace id.
        """
        packed = _packed(trace_ids)
        order = np.argsort(packed, kind="stable")
        ids = packed[order]
        new = np.ones(len(ids), dtype=np.bool_)
        new[1:] = ids[1:] != ids[:-1]
        for run in self._runs:
            places = np.searchsorted(run, ids)
            places[places == len(run)] = 0
            new &= run[places] != ids
        self._keep(ids[new])
        answer = np.empty(len(ids), dtype=np.bool_)
        answer[order] = new
        return answer

    def _keep(self, ids: NDArray[np.bytes_]) -> None:
        if not len(ids):
            return
        self._runs.append(ids)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            merged = np.concatenate((self._runs.pop(), last))
            merged.sort(kind="stable")
            self._runs.append(merged)


def _packed(trace_ids: Iterable[str]) -> NDArray[np.bytes_]:
    ids = list(trace_ids)
    wrong = next((trace_id for trace_id in ids if len(trace_id) != _ID_CHARS), None)
    try:
        if wrong is None:
            return np.frombuffer(bytes.fromhex("".join(ids)), dtype=_PACKED)
    except ValueError:
        pass
    raise StoreError(f"{wrong or 'some trace id'!r} is no trace id: expected {_ID_CHARS} hexadecimal digits")
