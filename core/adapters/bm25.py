"""BM25 retrieval with bm25s over an index on disk.

The index is a folder named by the content of the passages file and the versions that shaped it, built whole or not at
all (`built_folder`). Passages and postings are memory-mapped: a process holds only what its queries touch.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pyarrow as pa
import Stemmer
from numpy.typing import NDArray

from core.adapters.built_folder import ensure_folder
from core.clock import Deadline
from core.digest import canonical_json
from core.errors import RetrieverError
from core.model import Passage, Query, Ranking, ScoredPassage

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG when it is imported

FORMAT = "2"
"""Goes up whenever the folder's content changes; older folders are then built anew."""

_PASSAGES = pa.schema(
    [
        pa.field("passage_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)
_BATCH_ROWS = 2_000
_CACHED_PASSAGES = 4_096


def index_key(passages_file: Path) -> str:
    """Name of the index of a passages file: 32 hexadecimal digits of its content and of the versions that shape it."""
    digest = hashlib.sha256()
    with passages_file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    shape = f"{FORMAT} {bm25s.__version__} {passages_file.suffix.lower()} {digest.hexdigest()}"
    return hashlib.sha256(shape.encode()).hexdigest()[:32]


def ensure_index(folder: Path, key: str, build: Callable[[Path], Iterable[Passage]]) -> Path:
    """Return the index folder `folder/key`, building it first where it is missing or broken.

    Args:
        folder: where all indexes lie; created where missing.
        key: the index's name, from `index_key`.
        build: yields the passages; is given the folder in the making, to leave its own files in.

    Raises:
        Whatever `build` raises; nothing is left behind then.
    """
    return ensure_folder(folder, key, lambda making: _write(making, build(making)))


def _write(folder: Path, passages: Iterable[Passage]) -> dict[str, object]:
    tokens: list[list[str]] = []
    with pa.OSFile(str(folder / "passages.arrow"), "wb") as sink, pa.ipc.new_file(sink, _PASSAGES) as writer:
        for batch in _batches(passages):
            writer.write_batch(_record_batch(batch))
            tokens.extend(tokenize([passage.text for passage in batch]))
    count = len(tokens)
    if not any(tokens):
        tokens = [["\x00"]]  # bm25s cannot index nothing; this word occurs in no query
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    index.save(folder / "bm25", show_progress=False)
    return {"format": FORMAT, "passages": count}


def _batches(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    source = iter(passages)
    while batch := list(islice(source, _BATCH_ROWS)):
        yield batch


def _record_batch(batch: Sequence[Passage]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {
                "passage_id": passage.passage_id,
                "text": passage.text,
                "source": passage.source,
                "published_at": passage.published_at,
                "metadata": canonical_json(dict(passage.metadata)).decode(),
            }
            for passage in batch
        ],
        schema=_PASSAGES,
    )


def tokenize(texts: list[str]) -> list[list[str]]:
    """Words of two letters and more, without English stop words, stemmed: better on SciFact than unstemmed."""
    found: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), return_ids=False, show_progress=False
    )
    return found


class Bm25Retriever:
    """Retrieves from an index folder made by `ensure_index`.

    Args:
        index: the folder.

    Raises:
        RetrieverError: the folder is no whole index.
    """

    def __init__(self, index: Path) -> None:
        try:
            self._bm25 = bm25s.BM25.load(index / "bm25", mmap=True, show_progress=False)
            self._table = pa.ipc.open_file(pa.memory_map(str(index / "passages.arrow"))).read_all()
        except (OSError, EOFError, ValueError, KeyError, pa.ArrowInvalid) as error:
            raise RetrieverError(f"cannot open the passage index {index}: {error}") from error
        self._passage = lru_cache(maxsize=_CACHED_PASSAGES)(self._read_passage)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def version(self) -> str:
        """Name and version."""
        return f"bm25s-{bm25s.__version__}"

    def retrieve(self, queries: Sequence[Query], k: int, deadlines: Sequence[Deadline]) -> Sequence[Ranking]:
        """Return one ranking a query; see `Retriever`."""
        rankings = []
        for query, deadline in zip(queries, deadlines, strict=True):
            with deadline.running():
                rankings.append(self._rank(query.text, k))
        return rankings

    def best(self, text: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the `k` best passages for a text, best first, and their scores; equal ones in the corpus's order."""
        known = self._bm25.get_tokens_ids(tokenize([text])[0])
        if not known:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        scores = self._bm25.get_scores_from_ids(known)[: len(self)]
        rows = best_rows(scores, k)
        return rows, scores[rows]

    def passage(self, row: int) -> Passage:
        """The passage in that row of the corpus, from 0."""
        return self._passage(row)

    def texts(self, start: int, end: int) -> list[str]:
        """The texts of the passages in these rows, `end` left out."""
        found: list[str] = self._table.column("text").slice(start, end - start).to_pylist()
        return found

    def _rank(self, text: str, k: int) -> Ranking:
        rows, scores = self.best(text, k)
        return Ranking(
            tuple(
                ScoredPassage(self._passage(row), round(score, 6))
                for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
            )
        )

    def _read_passage(self, row: int) -> Passage:
        record: dict[str, Any] = self._table.slice(row, 1).to_pylist()[0]
        published_at = record["published_at"]
        return Passage(
            passage_id=record["passage_id"],
            text=record["text"],
            source=record["source"],
            published_at=None if published_at is None else published_at.astimezone(UTC),
            metadata=json.loads(record["metadata"]),
        )


def best_rows(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Rows of the `k` best positive scores, best first; equal scores in the order of the corpus."""
    rows = np.flatnonzero(scores > 0)[: None if k > 0 else 0]
    if len(rows) > k > 0:
        least = np.partition(scores[rows], -k)[-k]
        above = rows[scores[rows] > least]
        level = rows[scores[rows] == least][: k - len(above)]
        rows = np.concatenate([above, level])
    return rows[np.lexsort((rows, -scores[rows]))]
