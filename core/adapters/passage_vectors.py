"""The vectors of a corpus: computed once, kept as 8-bit numbers beside the index, searched exactly.

A vector is rounded to whole numbers from -127 to 127, its largest to 127. The products of two such vectors are whole
numbers below 2^24, which 32-bit floating point adds up without an error in any order: the same vectors give the same
cosines on every processor, in every block. Ties are therefore ties, and stand in the order of the corpus.

Computing takes hours at the most (100,000 passages). Parts that are done are kept, and a build that was cut off goes on
behind them.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.adapters.bm25 import Bm25Retriever, best_rows
from core.adapters.built_folder import ensure_folder
from core.adapters.embedder import Embedder
from core.errors import ConfigError, RetrieverError

MOST_PASSAGES: Final = 100_000
"""More are not searched exactly in the time of a query."""

LEAST_COSINE: Final = 0.2
"""Passages that are further from a query than this say nothing about it."""

_FORMAT = "1"
_PART_ROWS = 512
_BLOCK_ROWS = 1_024
_LARGEST = 127
_VECTORS, _LENGTHS = "vectors.npy", "lengths.npy"
_LOG = logging.getLogger(__name__)

Numbers = NDArray[np.int8]
Reals = NDArray[np.float32]


def vectors_folder(index: Path, embedder_version: str) -> Path:
    """Where the vectors of an index lie: beside it, named after it and what made them."""
    made_by = hashlib.sha256(f"{_FORMAT} {embedder_version}".encode()).hexdigest()
    return index.with_name(f"{index.name}-{made_by[:16]}")


def ensure_vectors(index: Path, embedder: Embedder, *, most: int = MOST_PASSAGES) -> Path:
    """Return the folder with the vectors of an index, computing them first where they are missing or broken.

    One process computes; another one that needs the same vectors waits for it.

    Args:
        index: the index folder, made by `ensure_index`.
        embedder: computes the vectors.
        most: the most passages that the index may have.

    Raises:
        RetrieverError: the index cannot be opened.
        ConfigError: the index has more than `most` passages.
    """
    corpus, final = Bm25Retriever(index), vectors_folder(index, embedder.version)
    if len(corpus) > most:
        raise ConfigError(
            f"{len(corpus):,} passages: hybrid retrieval searches at most {most:,}; use REDO_RETRIEVER=bm25"
        )
    parts = final.with_name(f".{final.name}-parts")

    def write(making: Path) -> dict[str, object]:
        done = [_part(corpus, embedder, parts, start) for start in range(0, len(corpus), _PART_ROWS)]
        np.save(making / _VECTORS, np.concatenate([numbers for numbers, _ in done] or [_none(embedder)]))
        np.save(making / _LENGTHS, np.concatenate([lengths for _, lengths in done] or [np.zeros(0, np.float32)]))
        return {"format": _FORMAT, "embedder": embedder.version, "passages": len(corpus)}

    with _held(index):
        found = ensure_folder(final.parent, final.name, write)
        shutil.rmtree(parts, ignore_errors=True)
    return found


@contextmanager
def _held(index: Path) -> Iterator[None]:
    """Keep other processes from computing the same; the lock goes with the process."""
    folder = os.open(index, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _none(embedder: Embedder) -> Numbers:
    return np.zeros((0, embedder.dimensions), dtype=np.int8)


def _part(corpus: Bm25Retriever, embedder: Embedder, parts: Path, start: int) -> tuple[Numbers, Reals]:
    """Vectors and lengths of some rows: as an earlier build left them, else computed and left for a later one."""
    path, texts = parts / f"{start:06d}.npz", corpus.texts(start, start + _PART_ROWS)
    kept = _kept(path, len(texts), embedder.dimensions)
    if kept is not None:
        return kept
    numbers, lengths = rounded(embedder.embed(texts))
    parts.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(dir=parts)
    with os.fdopen(handle, "wb") as stream:
        np.savez(stream, numbers=numbers, lengths=lengths)
    Path(name).rename(path)
    _LOG.info("vectors of %d of %d passages computed", start + len(texts), len(corpus))
    return numbers, lengths


def _kept(path: Path, rows: int, dimensions: int) -> tuple[Numbers, Reals] | None:
    try:
        with np.load(path) as part:  # numpy checks the checksums
            numbers, lengths = part["numbers"], part["lengths"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return (numbers, lengths) if (numbers.shape, lengths.shape) == ((rows, dimensions), (rows,)) else None


def rounded(vectors: Reals) -> tuple[Numbers, Reals]:
    """Vectors as whole numbers from -127 to 127, and how long these are; the lengths that the vectors had are lost."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scale = np.divide(_LARGEST, largest, where=largest > 0, out=np.zeros_like(largest))
    numbers = np.rint(vectors * scale).astype(np.int8)
    return numbers, np.sqrt(np.square(numbers, dtype=np.int32).sum(axis=1)).astype(np.float32)


class PassageVectors:
    """Searches a folder made by `ensure_vectors`; memory-mapped, so that processes share it.

    Args:
        folder: the folder.
        passages: how many there must be.

    Raises:
        RetrieverError: the folder holds no vectors, or not those of so many passages.
    """

    def __init__(self, folder: Path, *, passages: int) -> None:
        try:
            self._numbers: Numbers = np.load(folder / _VECTORS, mmap_mode="r" if passages else None)
            self._lengths: Reals = np.load(folder / _LENGTHS)
        except (OSError, ValueError, EOFError) as error:
            raise RetrieverError(f"cannot open the passage vectors {folder}: {error}") from error
        if len(self._numbers) != passages or len(self._lengths) != passages:
            raise RetrieverError(f"{folder} holds {len(self._numbers)} vectors, expected {passages}")

    def __len__(self) -> int:
        return len(self._numbers)

    def nearest(self, vector: Reals, k: int) -> tuple[NDArray[np.int64], Reals]:
        """Rows of the `k` passages nearest to a vector, nearest first, and their cosines.

        Equal ones stand in the order of the corpus; those under `LEAST_COSINE` are left out.
        """
        (number,), (length,) = rounded(vector[np.newaxis, :])
        wanted = number.astype(np.float32)
        products = np.empty(len(self), dtype=np.float32)
        block = np.empty((_BLOCK_ROWS, len(wanted)), dtype=np.float32)
        for start in range(0, len(self), _BLOCK_ROWS):
            rows = self._numbers[start : start + _BLOCK_ROWS]
            np.copyto(block[: len(rows)], rows)
            np.dot(block[: len(rows)], wanted, out=products[start : start + len(rows)])
        lengths = self._lengths * length
        cosines = np.divide(products, lengths, where=lengths > 0, out=np.zeros_like(products))
        cosines[cosines < LEAST_COSINE] = 0.0
        best = best_rows(cosines, k)
        return best, cosines[best]
