"""What the reader of runs keeps, and when it reads again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.gates import run_tables
from tasks.gates.frames import Rows, find_runs
from tasks.gates.run_tables import COUNTS, RunReader
from tests.gate_samples import TEN, a_scope, sample_rows, write_rows, write_run


def test_a_run_is_read_once(redo_home: Path) -> None:
    """Who asks again gets the same rows, and a new run beside them is read alone."""
    first = write_run(redo_home, "one", sample_rows(20, TEN)).decisions
    with RunReader() as reader:
        (before,) = reader.tables([first])
        second = write_run(redo_home, "two", sample_rows(30, TEN)).decisions
        again, other = reader.tables([first, second])
        assert again is before
        assert other is not None
        assert len(other) == 30


def test_a_file_that_has_changed_is_read_anew(redo_home: Path) -> None:
    """A run that is finished once more has another file in the same place."""
    path = write_run(redo_home, "one", sample_rows(20, TEN)).decisions
    with RunReader() as reader:
        (before,) = reader.tables([path])
        run = {"batch_id": "one", "budget_ms": 400.0, "started_at": None, "finished_at": None}
        assert before is not None
        run |= {"started_at": before.counts["started_at"], "finished_at": before.counts["finished_at"]}
        write_rows(path, [{**row, **run} for row in sample_rows(21, TEN)])
        (after,) = reader.tables([path])
        assert after is not None
        assert (len(before), len(after)) == (20, 21)


def test_runs_keep_their_places(redo_home: Path) -> None:
    """Each table is that of its file, in the order that was asked for; a run without a row is none."""
    paths = [
        write_run(redo_home, f"run-{count}", sample_rows(count, TEN)).decisions if count else _empty(redo_home)
        for count in (7, 0, 300, 2)
    ]
    with RunReader() as reader:
        sizes = [None if table is None else len(table) for table in reader.tables(paths)]
    assert sizes == [7, None, 300, 2]


def _empty(home: Path) -> Path:
    return write_run(home, "empty", []).decisions


def test_runs_without_rows_have_empty_frames(redo_home: Path) -> None:
    """Every count is there and is nothing, and so is each arm."""
    write_run(redo_home, "empty", [])
    with Rows(find_runs(redo_home, a_scope()).counted, slow_share=0.8) as rows:
        assert len(rows.runs) == 0
        assert [rows.runs.total(name) for name in (*COUNTS[2:], "slow")] == [0] * (len(COUNTS) - 1)
        assert (len(rows.latencies("asked")), len(rows.measured("recall")[0])) == (0, 0)
        assert rows.cohort() == {"in_redo": 0, "keys": 0, "in_both": 0}


def test_the_oldest_are_forgotten(redo_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept has a bound; what is asked for is never dropped, however much it is."""
    monkeypatch.setattr(run_tables, "_KEPT_ROWS", 50)
    first, second, third = (write_run(redo_home, name, sample_rows(40, TEN)).decisions for name in ("a", "b", "c"))
    with RunReader() as reader:
        (old,) = reader.tables([first])
        assert len(reader.tables([second, third])) == 2
        (read_again,) = reader.tables([first])
        assert read_again is not old


def test_a_spec_is_read_again_where_it_has_changed(redo_home: Path) -> None:
    """By its time and size, as the rows."""
    folder = write_run(redo_home, "one", sample_rows(5, TEN))
    reader = RunReader()
    spec = reader.spec(folder.spec)
    assert reader.spec(folder.spec) is spec
    os.utime(folder.spec, ns=(1, 1))
    assert reader.spec(folder.spec) is not spec
