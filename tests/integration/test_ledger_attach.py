"""`redo ledger attach`: a DuckDB file that any client opens."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from core.errors import InputError, StoreError
from ledger.attach import attach
from ledger.httpfs import extension_file
from ledger.views import connect
from tests.committed_ledger import stored_object, write, write_checkpoint
from tests.ledger_samples import a_result

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
CLIENT = """
import sys, duckdb
file, opening, sql = sys.argv[1:]
with duckdb.connect(file, read_only=True) as connection:
    for statement in filter(str.strip, opening.split(";")):
        connection.execute(statement)
    print(connection.execute(sql).fetchall())
"""


def as_a_client(file: Path, sql: str, *, opening: str = "") -> str:
    """What another process sees that knows nothing of REDO."""
    words = [sys.executable, "-c", CLIENT, str(file), opening, sql]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=file.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def httpfs_of_the_package(opening: str) -> str:
    """The statements, with the extension of the installed package for the one that a client would fetch."""
    lines = [line for line in opening.splitlines() if line != "install httpfs;"]
    return "\n".join(lines).replace("load httpfs;", f"load '{extension_file()}';")


class TestFile:
    """What the file shows."""

    def test_another_process_sees_the_views_and_macros(self, tmp_path: Path) -> None:
        """A client that only knows DuckDB reads the ledger, and finds what it is looking at."""
        uri = str(tmp_path / "it's a [ledger]*")
        write(uri, [a_result(n) for n in range(3)])
        file = tmp_path / "ledger.duckdb"
        written = attach(uri, file, now=NOW)
        assert (written.objects, written.how_to_open, written.ledger) == (1, "", uri)
        assert as_a_client(file, "select count(*) from documents") == "[(12,)]"
        assert as_a_client(file, "select decision, n from latency_by_version()") == "[('redo', 3)]"
        assert as_a_client(file, "select ledger from ledger_file") == repr([(uri,)])
        about = as_a_client(file, "select epoch(taken_at)::bigint, objects from ledger_file")
        assert about == repr([(int(NOW.timestamp()), 1)])

    def test_it_can_be_attached_beside_other_databases(self, tmp_path: Path) -> None:
        """The views find their tables under whatever name the file is attached."""
        uri = str(tmp_path / "ledger")
        write(uri, [a_result(0)])
        attach(uri, tmp_path / "ledger.duckdb", now=NOW)
        with closing(duckdb.connect()) as connection:
            connection.execute(f"attach '{tmp_path / 'ledger.duckdb'}' as evidence (read_only)")
            assert connection.execute("select count(*) from evidence.conflicts").fetchall() == [(2,)]
            connection.execute("use evidence")
            assert connection.execute("select n from latency_by_version()").fetchall() == [(1,)]

    def test_it_is_a_snapshot_until_it_is_written_again(self, tmp_path: Path) -> None:
        """What comes later is not seen, neither is a compaction; writing the file again shows both."""
        uri, file = str(tmp_path / "ledger"), tmp_path / "ledger.duckdb"
        old = write(uri, [a_result(0)])
        attach(uri, file, now=NOW)
        new = write(uri, [a_result(0), a_result(1)], batch_id="batch-2")
        write_checkpoint(uri, 1, objects=[stored_object(new, b"", rows=2)], replaced=[old])
        assert as_a_client(file, "select batch_id from traces") == "[('batch-1',)]"
        attach(uri, file, now=NOW)
        assert as_a_client(file, "select distinct batch_id from traces") == "[('batch-2',)]"
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["ledger.duckdb"]

    def test_doubles_are_shown_once_here_too(self, tmp_path: Path) -> None:
        """The file knows which rows are second ones."""
        uri, file = str(tmp_path / "ledger"), tmp_path / "ledger.duckdb"
        write(uri, [a_result(0), a_result(1)])
        write(uri, [a_result(0)])
        attach(uri, file, now=NOW)
        assert as_a_client(file, "select count(*) from traces") == "[(2,)]"

    def test_a_file_on_s3_holds_no_key(self, s3_bucket: str, tmp_path: Path) -> None:
        """Neither key nor secret is in it; a client with its own AWS_* variables opens it as it is told to."""
        uri, file = f"s3://{s3_bucket}/it's a/ledger", tmp_path / "ledger.duckdb"
        write(uri, [a_result(n) for n in range(3)])
        written = attach(uri, file, now=NOW)
        content = file.read_bytes()
        assert b"it's a/ledger" in content or b"it''s a/ledger" in content
        assert b"it's a secret" not in content
        assert b"it''s a secret" not in content
        assert b"testing" not in content
        opening = httpfs_of_the_package(written.how_to_open)
        assert as_a_client(file, "select count(*) from traces", opening=opening) == "[(3,)]"
        assert as_a_client(file, "select rows from manifests", opening=opening) == "[(3,)]"

    def test_an_empty_ledger_gives_empty_views(self, tmp_path: Path) -> None:
        """The file can be made before the first batch."""
        file = tmp_path / "folder" / "ledger.duckdb"
        attach(str(tmp_path / "ledger"), file, now=NOW)
        assert as_a_client(file, "select count(*) from traces") == "[(0,)]"


class TestRefused:
    """What is not written."""

    def test_another_file_is_not_replaced(self, tmp_path: Path) -> None:
        """A name that belongs to something else is left alone."""
        file = tmp_path / "notes.txt"
        file.write_text("notes")
        with pytest.raises(InputError, match=r"notes\.txt: is there, and is no DuckDB file"):
            attach(str(tmp_path / "ledger"), file, now=NOW)
        assert file.read_text() == "notes"

    def test_a_broken_object_leaves_the_old_file(self, tmp_path: Path) -> None:
        """The error names the ledger, and nothing half is left."""
        uri, file = str(tmp_path / "ledger"), tmp_path / "ledger.duckdb"
        key = write(uri, [a_result(0)])
        attach(uri, file, now=NOW)
        before = file.read_bytes()
        (tmp_path / "ledger" / key).write_bytes(b"no Parquet")
        with pytest.raises(StoreError, match="ledger: "):
            attach(uri, file, now=NOW)
        assert file.read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger", "ledger.duckdb"]

    def test_without_httpfs_there_is_no_file_for_s3(self, s3_bucket: str, tmp_path: Path) -> None:
        """Views that only this process could read are not written."""
        write(f"s3://{s3_bucket}/x", [a_result(0)])
        with pytest.raises(StoreError, match="its views need both"):
            attach(f"s3://{s3_bucket}/x", tmp_path / "ledger.duckdb", now=NOW, extension=False)
        assert list(tmp_path.iterdir()) == []


def test_a_connection_still_has_no_file(tmp_path: Path) -> None:
    """`connect` writes nothing: what is attached is asked for."""
    with closing(connect(str(tmp_path / "ledger"))) as connection:
        assert connection.execute("select count(*) from traces").fetchall() == [(0,)]
    assert list(tmp_path.iterdir()) == []
