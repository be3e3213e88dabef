"""Reading `decisions.parquet` of finished runs: DuckDB makes numbers and counts of it, once for each run.

Words of a row: REDO was *meant* to answer (the guard chose it, or would have, had it not been stopped); it was *asked*
(it worked on the query, in shadow or to be served); it *failed* (asked, no selection, and neither for want of time nor
of a ranking); it was *late* (asked, and no selection for want of time). A row is of the *control* arm where legacy
answered by the percentage's choice, and in shadow, where both selections are made.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import numpy as np
from numpy.typing import NDArray

from core.model import Reason
from tasks.run_spec import RunSpec

_CHOICES: Final = (Reason.ENABLED, Reason.SHADOW, Reason.FLAG_OFF, Reason.NOT_IN_ROLLOUT, Reason.KILL_SWITCH)
_STOPS: Final = ", ".join(f"'{reason.value}'" for reason in Reason if reason not in _CHOICES)

# Texts become numbers and switches here, once: all that follows is many times faster on them.
_ROWS: Final = f"""
select file, query, trace, key, keyed, bucket, started_us, finished_us, latency_ms, budget_ms, deadline_hit,
    query_chars, evidence, legacy_recall, redo_recall, legacy_misinfo, redo_misinfo,
    asked, unranked, served, out_of_share,
    asked or stopped as meant,
    asked and not redo_selected and not unranked and not short_of_time as failed,
    (asked or stopped) and not served and not (shadow and redo_selected) as fell_back,
    out_of_share or asked and shadow as control
from (
    select * replace (coalesce(bucket, 0) as bucket),
        file_index::integer as file, epoch_us(started_at) as started_us, epoch_us(finished_at) as finished_us,
        hash(query_id) as query, hash(trace_id) as trace, hash(key_hash) as key, key_hash is not null as keyed,
        guard_decision = 'redo' or shadow and guard_reason = 'SHADOW' as asked,
        guard_reason in ({_STOPS}) as stopped,
        guard_reason = 'NOT_IN_ROLLOUT' as out_of_share,
        decision = 'redo' as served,
        reason = 'RETRIEVER_ERROR' as unranked,
        reason = 'DEADLINE_EXCEEDED' or shadow and error is null and deadline_hit as short_of_time
    from read_parquet($files)
)
"""  # noqa: S608 - our own words only
_KEPT: Final = {
    **dict.fromkeys(("query", "trace", "key"), np.uint64),
    **dict.fromkeys(("keyed", "asked", "control", "meant", "out_of_share"), np.bool_),
    **dict.fromkeys(("latency_ms", "legacy_recall", "redo_recall", "legacy_misinfo", "redo_misinfo"), np.float64),
    "bucket": np.int16,
}
COUNTS: Final = (
    *(
        "started_at",
        "finished_at",
        "rows",
        "asked",
        "meant",
        "control",
        "failed",
        "asked_unranked",
        "fell_back",
        "late",
    ),
    *("control_failed", "served", "asked_labelled", "control_labelled", "empty_texts", "without_evidence"),
    *("duplicate_ids", "mean_query_chars"),
)
"""What is known of each run as a whole: two times, and what its rows add up to."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT_ROWS: Final = 2_000_000  # at some 70 bytes each

_KEPT_SPECS: Final = 10_000  # at some kilobytes each

_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class RunTable:
    """One finished run.

    Attributes:
        counts: what is known of it as a whole, by the names in `COUNTS`.
        columns: what is kept of each row, by name. Ids are hashes, and a measure that is missing is NaN.
        budget_ms: the time that a query was given.
    """

    counts: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]
    budget_ms: float

    @classmethod
    def of(cls, rows: Mapping[str, NDArray[Any]]) -> RunTable:
        """Count the rows of a run; there is at least one."""
        asked, control, unranked = rows["asked"], rows["control"], rows["unranked"]
        count = len(asked)
        switches = {
            "asked": asked,
            "meant": rows["meant"],
            "control": control,
            "failed": rows["failed"],
            "asked_unranked": asked & unranked,
            "fell_back": rows["fell_back"],
            "late": asked & rows["deadline_hit"],
            "control_failed": control & unranked,
            "served": rows["served"],
            "asked_labelled": asked & ~np.isnan(rows["redo_recall"]),
            "control_labelled": control & ~np.isnan(rows["legacy_recall"]),
            "empty_texts": rows["query_chars"] == 0,
            "without_evidence": rows["evidence"] == 0,
        }
        counts: dict[str, Any] = {
            "started_at": _time(rows["started_us"]),
            "finished_at": _time(rows["finished_us"]),
            "rows": count,
            **{name: int(np.count_nonzero(switch)) for name, switch in switches.items()},
            "duplicate_ids": count - len(np.unique(rows["query"])),
            "mean_query_chars": float(rows["query_chars"].mean()),
        }
        # `astype` copies: a part of an array would keep the rows of all runs that were read with it.
        return cls(counts, {name: rows[name].astype(kind) for name, kind in _KEPT.items()}, float(rows["budget_ms"][0]))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return int(self.counts["rows"])


NO_ROWS: Final = RunTable({}, {name: np.empty(0, dtype=kind) for name, kind in _KEPT.items()}, 0.0)
"""Columns without a row, of the right types."""


class RunReader:
    """Reads runs, and keeps what it has read, so that who asks again pays for the new runs alone. For one thread.

    A finished run does not change. Where its file has another size or time it is read anew.

    Args:
        threads: of DuckDB; all cores by default.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = threads
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._tables: OrderedDict[_Key, RunTable | None] = OrderedDict()
        self._rows = 0
        self._specs: dict[str, tuple[_Key, RunSpec]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let DuckDB and everything that was read go. The reader can be used again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._tables.clear()
        self._rows = 0
        self._specs.clear()

    def spec(self, path: Path) -> RunSpec:
        """What a run is. Raises what `RunSpec.load` raises."""
        key = _key(path)
        known = self._specs.get(key[0])
        if known is None or known[0] != key:
            if len(self._specs) >= _KEPT_SPECS:
                self._specs.clear()
            known = self._specs[key[0]] = (key, RunSpec.load(path))
        return known[1]

    def tables(self, paths: Sequence[Path]) -> list[RunTable | None]:
        """The rows of runs, in the order of their `decisions.parquet`; `None` for a run without a row.

        Raises:
            duckdb.Error: a file cannot be read, or is no such table.
            OSError: there is no such file.
        """
        keys = [_key(path) for path in paths]
        missing = [key for key in dict.fromkeys(keys) if key not in self._tables]
        if missing:
            read = self._read([key[0] for key in missing])
            self._rows += sum(len(table) for table in read if table is not None)
            self._tables.update(zip(missing, read, strict=True))
        for key in keys:
            self._tables.move_to_end(key)
        found = [self._tables[key] for key in keys]
        self._forget(len(set(keys)))
        return found

    def _forget(self, least: int) -> None:
        """Drop what was not asked for the longest time, beyond what is kept and what was asked for now."""
        while self._rows > _KEPT_ROWS and len(self._tables) > least:
            _, table = self._tables.popitem(last=False)
            self._rows -= 0 if table is None else len(table)

    def _read(self, paths: Sequence[str]) -> list[RunTable | None]:
        found = self._opened().execute(_ROWS, {"files": list(paths)}).fetchnumpy()
        files = _filled(found.pop("file"))
        by_file = np.argsort(files, kind="stable")  # DuckDB's threads hand the files over as they end
        files = files[by_file]
        columns = {name: _filled(column)[by_file] for name, column in found.items()}
        ends = np.searchsorted(files, np.arange(len(paths) + 1, dtype=files.dtype))
        return [
            RunTable.of({name: column[first:end] for name, column in columns.items()}) if first < end else None
            for first, end in pairwise(ends)
        ]

    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            config: dict[str, Any] = {"temp_directory": "", "autoinstall_known_extensions": False}
            if self._threads is not None:
                config["threads"] = self._threads
            self._connection = duckdb.connect(config=config)
            self._connection.execute("set timezone = 'UTC'")
        return self._connection


def _key(path: Path) -> _Key:
    name = str(path)
    stat = os.stat(name)  # noqa: PTH116 - called for every run at every look, and much faster than a Path's
    return name, stat.st_mtime_ns, stat.st_size


def _time(microseconds: NDArray[Any]) -> datetime:
    """The earliest of the times."""
    return _EPOCH + timedelta(microseconds=int(microseconds.min()))


def _filled(column: NDArray[Any]) -> NDArray[Any]:
    """A column without a mask: NaN where a number is missing, no where a switch is."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    return np.ma.filled(column, np.nan if column.dtype.kind == "f" else 0)
