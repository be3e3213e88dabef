"""The files of a batch: each appears whole or not at all, and an id names one folder below the others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BatchError
from tasks.run_folder import RunFolder, read_json, read_rows, write_json, write_rows, write_whole


class WriteStoppedError(Exception):
    """What breaks off the writing in these tests."""


def broken_off(blocks: list[bytes]) -> Iterator[bytes]:
    """The blocks, and then an error."""
    yield from blocks
    raise WriteStoppedError


def test_a_file_is_what_was_written(tmp_path: Path) -> None:
    """The blocks stand in the file in their order; missing folders are made."""
    path = tmp_path / "a" / "b" / "file.bin"
    write_whole(path, iter([b"one ", b"", b"two"]))
    assert path.read_bytes() == b"one two"
    assert [found.name for found in path.parent.iterdir()] == ["file.bin"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Where the blocks break off there is neither the file nor a beginning of it."""
    with pytest.raises(WriteStoppedError):
        write_whole(tmp_path / "file.bin", broken_off([b"half of it"]))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A file that was there before stays as it was."""
    path = tmp_path / "file.bin"
    write_whole(path, [b"old"])
    with pytest.raises(WriteStoppedError):
        write_whole(path, broken_off([b"new"]))
    assert path.read_bytes() == b"old"
    write_whole(path, [b"new"])
    assert path.read_bytes() == b"new"


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a file is no half file either."""

    def interrupted() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file.bin", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_rows_that_json_cannot_hold_leave_nothing(tmp_path: Path) -> None:
    """A bad third row takes the two before it along."""
    with pytest.raises(TypeError):
        write_rows(tmp_path / "rows.jsonl", [{"n": 1}, {"n": 2}, {"n": object()}])
    assert list(tmp_path.iterdir()) == []


def test_rows_come_back(tmp_path: Path) -> None:
    """Lines hold what was written, line breaks inside of texts too; no rows are an empty file."""
    rows = [{"text": "two\nlines"}, {"text": "\u2028 é 𝔘"}, {"text": None}]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert list(read_rows(tmp_path / "rows.jsonl")) == rows
    write_rows(tmp_path / "none.jsonl", [])
    assert list(read_rows(tmp_path / "none.jsonl")) == []


def test_a_value_comes_back(tmp_path: Path) -> None:
    """One JSON value is read back the same."""
    write_json(tmp_path / "value.json", {"counts": {"redo": 2}, "none": None})
    assert read_json(tmp_path / "value.json") == {"counts": {"redo": 2}, "none": None}


@pytest.mark.parametrize("batch_id", ["a", "2026-01-31", "Batch_1.retry-2", "x" * 100])
def test_an_id_names_a_folder_below_the_runs(batch_id: str, tmp_path: Path) -> None:
    """Every id that is allowed gives its own folder there."""
    assert RunFolder.of(tmp_path, batch_id).path.resolve().parent == tmp_path / "runs"


@pytest.mark.parametrize("batch_id", ["", ".", "..", "../x", "a/b", ".hidden", "-flag", "a b", "é", "a\n", "x" * 101])
def test_an_id_that_could_lead_elsewhere_is_refused(batch_id: str, tmp_path: Path) -> None:
    """The message shows the id and says what one may hold."""
    with pytest.raises(BatchError, match=f"batch id {re.escape(repr(batch_id))}: expected 1 to 100 letters"):
        RunFolder.of(tmp_path, batch_id)


def test_chunks_sort_by_number(tmp_path: Path) -> None:
    """Names of chunks are as long as each other, so that a listing has them in order."""
    folder = RunFolder.of(tmp_path, "batch")
    assert folder.chunk(7).path.name == "00007"
    assert str(folder.chunk(99).path) < str(folder.chunk(100).path)


def test_one_run_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    """Who comes second is told so at once, and can come again when the first one has ended, however it ended."""
    folder = RunFolder.of(tmp_path, "batch")
    second = RunFolder.of(tmp_path, "batch")

    def fail_while_holding() -> None:
        with folder.held(), RunFolder.of(tmp_path, "other").held():
            with pytest.raises(BatchError, match="batch id 'batch' is being run"), second.held():
                pass
            raise WriteStoppedError

    with pytest.raises(WriteStoppedError):
        fail_while_holding()
    with second.held():
        pass
