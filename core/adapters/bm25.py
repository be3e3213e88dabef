"""BM25 retrieval with bm25s over an index on disk.

The index is a folder named by the content of the passages file and the versions that shaped it. It is built beside its
final place and moved there in one step, so that two processes may build it at once and none sees half of it. Passages
and postings are memory-mapped: a process holds only what its queries touch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zlib
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
_META = "index.json"


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
    final = folder / key
    if _is_whole(final):
        return final
    folder.mkdir(parents=True, exist_ok=True)
    around = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder))
    making = around / "index"  # a folder of its own, because the one around it is closed to other users
    try:
        making.mkdir()
        _write(making, build(making))
        _move_into_place(making, final)
    finally:
        shutil.rmtree(around, ignore_errors=True)
    return final


def _is_whole(index: Path) -> bool:
    """Whether every file of the index is there, with the bytes that were written."""
    try:
        written = json.loads((index / _META).read_text())["files"]
        return all(_fingerprint(index / name) == fingerprint for name, fingerprint in written.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fingerprint(path: Path) -> list[int]:
    """Size and CRC-32 of a file: not against forgery, but against broken disks, copies and hands."""
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            crc = zlib.crc32(block, crc)
        return [stream.tell(), crc]


def _move_into_place(making: Path, final: Path) -> None:
    """Rename the finished folder. Where another process was faster its index stays; a broken one is replaced.

    Processes do this one after the other, under a lock on the parent folder: none takes another's whole index away.
    """
    parent = os.open(final.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        if _is_whole(final):
            return
        if final.exists():
            final.rename(making.with_name("broken"))  # goes when the folder around the index in the making goes
        making.rename(final)
    finally:
        os.close(parent)


def _write(folder: Path, passages: Iterable[Passage]) -> None:
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
    files = {str(path.relative_to(folder)): _fingerprint(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / _META).write_text(json.dumps({"format": FORMAT, "passages": count, "files": files}))


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

    def _rank(self, text: str, k: int) -> Ranking:
        known = self._bm25.get_tokens_ids(tokenize([text])[0])
        if not known:
            return Ranking(())
        scores = self._bm25.get_scores_from_ids(known)[: len(self)]
        return Ranking(
            tuple(ScoredPassage(self._passage(row), round(float(scores[row]), 6)) for row in _top(scores, k).tolist())
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


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Rows of the `k` best positive scores, best first; equal scores in the order of the corpus."""
    rows = np.flatnonzero(scores > 0)[: None if k > 0 else 0]
    if len(rows) > k > 0:
        least = np.partition(scores[rows], -k)[-k]
        above = rows[scores[rows] > least]
        level = rows[scores[rows] == least][: k - len(above)]
        rows = np.concatenate([above, level])
    return rows[np.lexsort((rows, -scores[rows]))]
