"""A batch's folder: everything that a run has read, done and still has to do, so that it can be taken up again.

    runs/<batch id>/
        run.json                what the batch is: written last when loading, so that it says that loading is over
        inputs/                 copies of what lay in S3
        quarantine.jsonl        records that could not be used, with line and reason
        chunks/00000/
            queries.jsonl       the chunk's queries
            output.jsonl        its part of the output
            decisions.jsonl     a short row a query, for the summary and the evaluation
            conflicts.jsonl         the contradictions that REDO found, served or not
            done.json           counts; written last, so that it says that the chunk is over
            stored.json         the ledger's key and rows; written by whoever sends the traces that lie in the spool
        output.jsonl            the output, unless the run was given another place
        decisions.parquet       a short row a query of the finished run, for the gates of the rollout
        summary.json

Each file appears whole or not at all: it is written beside its place and moved there.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import BatchError

_BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_batch_id(batch_id: str) -> str:
    """Return the id if it can name a folder and an object. Raises BatchError otherwise."""
    if not _BATCH_ID.fullmatch(batch_id):
        raise BatchError(
            f"batch id {batch_id!r}: expected 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit"
        )
    return batch_id


@dataclass(frozen=True, slots=True)
class ChunkFolder:
    """The files of one chunk."""

    path: Path

    @property
    def queries(self) -> Path:
        """The chunk's queries."""
        return self.path / "queries.jsonl"

    @property
    def output(self) -> Path:
        """The chunk's part of the output."""
        return self.path / "output.jsonl"

    @property
    def decisions(self) -> Path:
        """A short row a query."""
        return self.path / "decisions.jsonl"

    @property
    def conflicts(self) -> Path:
        """The contradictions that REDO found, served or not."""
        return self.path / "conflicts.jsonl"

    @property
    def done(self) -> Path:
        """Counts of a finished chunk."""
        return self.path / "done.json"

    @property
    def stored(self) -> Path:
        """What the ledger acknowledged."""
        return self.path / "stored.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one batch."""

    path: Path

    @classmethod
    def of(cls, home: Path, batch_id: str) -> RunFolder:
        """The folder of a batch under `REDO_HOME`. Raises BatchError for an id that cannot name one."""
        return cls(home / "runs" / check_batch_id(batch_id))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder; the system lets go of it when the process ends, however it ends.

        Raises:
            BatchError: another run of the batch is going on.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                name = self.path.name
                raise BatchError(
                    f"batch id {name!r} is being run at this moment; wait for it, or choose another id"
                ) from None
            yield

    @property
    def spec(self) -> Path:
        """What the batch is."""
        return self.path / "run.json"

    @property
    def quarantine(self) -> Path:
        """Records that could not be used."""
        return self.path / "quarantine.jsonl"

    @property
    def output(self) -> Path:
        """Where the output goes by default."""
        return self.path / "output.jsonl"

    @property
    def decisions(self) -> Path:
        """A short row a query of the finished run."""
        return self.path / "decisions.parquet"

    @property
    def summary(self) -> Path:
        """The summary of a finished run."""
        return self.path / "summary.json"

    def input(self, what: str, place: str) -> Path:
        """The local copy of an input that lies elsewhere; two inputs may have one name."""
        return self.path / "inputs" / what / Path(place).name

    def chunk(self, number: int) -> ChunkFolder:
        """The folder of a chunk, counted from 0."""
        return ChunkFolder(self.path / "chunks" / f"{number:05d}")


def write_whole(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that appears whole or not at all, and outlives a crash of the machine once it has appeared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines(blocks)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write one JSON value."""
    write_whole(path, [orjson.dumps(value, option=orjson.OPT_INDENT_2)])


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever `write_json` was given
    """Read one JSON value."""
    return orjson.loads(path.read_bytes())


def write_rows(path: Path, rows: Iterable[object]) -> None:
    """Write JSON lines."""
    write_whole(path, (orjson.dumps(row) + b"\n" for row in rows))


def read_rows(path: Path) -> Iterator[Any]:
    """Read JSON lines one by one."""
    with path.open("rb") as stream:
        for line in stream:
            yield orjson.loads(line)
