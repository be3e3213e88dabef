"""What every state store promises, and what the one on a file promises beyond it: many processes, and sudden deaths."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.adapters.sqlite_state import SqliteStateStore
from core.clock import SystemClock
from core.errors import StateConflict, StoreError, TransientStoreError
from core.ports import StateStore
from core.state import Change, Versioned, update
from tests.child_programs import started

WHO: dict[str, Any] = {"actor": "ann", "reason": "a test"}


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", pytest.param("prefect", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[StateStore]:
    """Each implementation in turn, empty. More on the one with Prefect blocks: test_prefect_state_store.py."""
    if request.param == "memory":
        yield MemoryStateStore(clock=clock)
    elif request.param == "sqlite":
        yield SqliteStateStore(tmp_path / "home" / "state.db", clock=clock)
    else:
        request.getfixturevalue("prefect_server")
        from tasks.blocks import PrefectStateStore  # noqa: PLC0415  two seconds that the other stores do not need

        prefect_store = PrefectStateStore(clock=clock, namespace=f"t{secrets.token_hex(6)}", time_limit_s=60.0)
        yield prefect_store
        prefect_store.close()


class TestEveryStore:
    """The contract of the port."""

    def test_unknown_name_has_no_value(self, store: StateStore) -> None:
        """What nobody has written is `None`, with an empty history."""
        assert store.load("flags") is None
        assert store.history("flags", 10) == ()

    def test_first_swap_makes_version_1(self, store: StateStore, clock: ManualClock) -> None:
        """Swapping against version 0 creates the value; what is returned is what is loaded."""
        written = store.swap("flags", expected_version=0, value={"on": True}, actor="ann", reason="to begin")
        assert written == Versioned(1, {"on": True}, clock.utc_now(), "ann", "to begin")
        assert store.load("flags") == written

    def test_versions_count_up(self, store: StateStore) -> None:
        """Each change makes the next version, and the newest one is loaded."""
        for number in range(3):
            store.swap("flags", expected_version=number, value={"n": number}, **WHO)
        newest = store.load("flags")
        assert newest is not None
        assert (newest.version, newest.value) == (3, {"n": 2})

    @pytest.mark.parametrize("expected_version", [0, 1, 3, -1])
    def test_swap_against_another_version_changes_nothing(self, store: StateStore, expected_version: int) -> None:
        """A version that is too old, or was never written, is a conflict; value and history stay."""
        store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        before = store.swap("flags", expected_version=1, value={"n": 2}, **WHO)
        with pytest.raises(StateConflict) as caught:
            store.swap("flags", expected_version=expected_version, value={"n": 9}, **WHO)
        assert (caught.value.name, caught.value.expected_version) == ("flags", expected_version)
        assert store.load("flags") == before
        assert len(store.history("flags", 10)) == 2

    def test_swap_of_an_unknown_name_wants_version_0(self, store: StateStore) -> None:
        """A value that does not exist cannot be changed from a version."""
        with pytest.raises(StateConflict):
            store.swap("flags", expected_version=1, value={}, **WHO)
        assert store.load("flags") is None

    def test_names_are_apart(self, store: StateStore) -> None:
        """Values of different names have versions and histories of their own."""
        store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        store.swap("breaker-ledger", expected_version=0, value={"n": 2}, **WHO)
        loaded = [store.load(name) for name in ("flags", "breaker-ledger")]
        assert [item and (item.version, item.value) for item in loaded] == [(1, {"n": 1}), (1, {"n": 2})]
        assert len(store.history("flags", 10)) == 1

    def test_history_tells_every_change_newest_first(self, store: StateStore, clock: ManualClock) -> None:
        """An entry has version, actor, reason, time and the value before and after."""
        began_at = clock.utc_now()
        store.swap("flags", expected_version=0, value={"n": 1}, actor="ann", reason="to begin")
        clock.advance(5.0)
        store.swap("flags", expected_version=1, value={"n": 2}, actor="bob", reason="to go on")
        second = Change(2, "bob", "to go on", {"n": 1}, {"n": 2}, began_at + timedelta(seconds=5))
        first = Change(1, "ann", "to begin", None, {"n": 1}, began_at)
        assert tuple(store.history("flags", 10)) == (second, first)
        assert tuple(store.history("flags", 1)) == (second,)
        assert tuple(store.history("flags", 0)) == ()

    def test_value_comes_back_as_it_was(self, store: StateStore) -> None:
        """All that JSON holds is kept: nesting, text of any language, numbers, nothing."""
        value = {"flags": {"a.b": True, "p": 12.5}, "list": [1, None, "ÄÖ 日本"], "none": None, "large": 2**53}
        store.swap("flags", expected_version=0, value=value, **WHO)
        loaded = store.load("flags")
        assert loaded is not None
        assert loaded.value == value

    def test_caller_owns_what_it_gave_and_got(self, store: StateStore) -> None:
        """Changing a mapping after the swap or after a load changes nothing in the store."""
        inner = {"n": 1}
        written = store.swap("flags", expected_version=0, value={"inner": inner}, **WHO)
        inner["n"] = 2
        for given in (written, store.load("flags")):
            assert given is not None
            nested = given.value["inner"]
            assert isinstance(nested, dict)
            nested["n"] = 3
        loaded = store.load("flags")
        assert loaded is not None
        assert loaded.value == {"inner": {"n": 1}}

    def test_value_that_json_cannot_hold_is_refused(self, store: StateStore) -> None:
        """A TypeError, and nothing is written."""
        with pytest.raises(TypeError):
            store.swap("flags", expected_version=0, value={"set": {1, 2}}, **WHO)
        assert store.load("flags") is None

    @pytest.mark.parametrize("name", ["", "Flags", "my_flags", "a--b", "-a", "a b", "../x", "flags\n"])
    def test_name_that_not_every_store_can_have_is_refused(self, store: StateStore, name: str) -> None:
        """Names are lower-case letters, digits and single hyphens, in every verb."""
        with pytest.raises(ValueError, match="state name"):
            store.load(name)
        with pytest.raises(ValueError, match="state name"):
            store.swap(name, expected_version=0, value={}, **WHO)
        with pytest.raises(ValueError, match="state name"):
            store.history(name, 1)

    def test_no_change_of_racing_threads_is_lost(self, store: StateStore) -> None:
        """4 threads that add 10 each make 40, and the history has each one."""

        def add_ten() -> None:
            for _ in range(10):
                update(store, "count", _one_more, **WHO)

        threads = [threading.Thread(target=add_ten) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        newest = store.load("count")
        assert newest is not None
        assert (newest.version, newest.value) == (40, {"n": 40})
        assert [change.after["n"] for change in store.history("count", 100)] == list(range(40, 0, -1))


def _one_more(value: Any) -> dict[str, object]:
    """Count one up."""
    return {"n": (value["n"] if value else 0) + 1}


class TestSqliteStore:
    """What the file adds: processes, permissions, and what happens when things break."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Where the file will be; its folder does not exist."""
        return tmp_path / "redo home?" / "deeper" / "state.db"  # a path that a careless URI would break

    @pytest.fixture
    def sqlite_store(self, path: Path) -> SqliteStateStore:
        """A store on that file, with the default time limit."""
        return SqliteStateStore(path, clock=SystemClock())

    def test_reading_creates_nothing(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """Looking a value up leaves no trace on a fresh machine."""
        sqlite_store.load("flags")
        sqlite_store.history("flags", 1)
        assert not path.parent.exists()

    def test_only_the_owner_can_read_the_file(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """The file has mode 0600 and its folder 0700, whatever the umask allows."""
        previous = os.umask(0)
        try:
            sqlite_store.swap("flags", expected_version=0, value={}, **WHO)
        finally:
            os.umask(previous)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [item.name for item in path.parent.iterdir()] == ["state.db"]

    def test_value_outlives_the_store(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """Another store on the same file sees what was written."""
        written = sqlite_store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        assert SqliteStateStore(path, clock=SystemClock()).load("flags") == written

    def test_history_cannot_be_changed(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """Even who opens the file by hand can neither edit nor delete an entry."""
        sqlite_store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        with closing(sqlite3.connect(path)) as connection:
            for statement in ("DELETE FROM history", "UPDATE history SET actor = 'eve'"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(statement)

    def test_file_that_is_no_database_is_a_store_error(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """A broken file is named, for readers and writers, and is left alone."""
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not a database " * 100)
        with pytest.raises(StoreError, match=r"state\.db: file is not a database"):
            sqlite_store.load("flags")
        with pytest.raises(StoreError, match=r"state\.db: file is not a database"):
            sqlite_store.swap("flags", expected_version=0, value={}, **WHO)
        assert path.read_bytes() == b"not a database " * 100

    def test_value_broken_by_hand_is_a_store_error(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """A stored value that is no JSON any more is an error of the port, not of a library."""
        sqlite_store.swap("flags", expected_version=0, value={}, **WHO)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE state SET value = '{'")
            connection.commit()
        with pytest.raises(StoreError, match=r"state\.db"):
            sqlite_store.load("flags")

    def test_file_of_a_newer_version_is_left_alone(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """A format that this version does not know is refused and not overwritten."""
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 7")
        with pytest.raises(StoreError, match="format 7 is unknown, expected 1"):
            sqlite_store.load("flags")
        with pytest.raises(StoreError, match="format 7 is unknown, expected 1"):
            sqlite_store.swap("flags", expected_version=0, value={}, **WHO)

    def test_folder_that_cannot_be_made_is_a_store_error(self, tmp_path: Path) -> None:
        """A file in the place of the folder is named in the error."""
        (tmp_path / "home").write_text("in the way")
        store = SqliteStateStore(tmp_path / "home" / "state.db", clock=SystemClock())
        with pytest.raises(StoreError, match=r"state\.db"):
            store.swap("flags", expected_version=0, value={}, **WHO)

    def test_locked_file_is_a_transient_error_within_the_time_limit(self, path: Path) -> None:
        """While another one keeps the file locked, a writer gives up after its time limit and may try again."""
        store = SqliteStateStore(path, clock=SystemClock(), busy_timeout_s=0.05)
        store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(TransientStoreError, match="locked"):
                store.swap("flags", expected_version=1, value={"n": 2}, **WHO)
            reader = store.load("flags")
            assert reader is not None, "a reader does not wait for a writer that has not committed"
            assert reader.value == {"n": 1}
        assert store.swap("flags", expected_version=1, value={"n": 2}, **WHO).version == 2

    @pytest.mark.process
    def test_no_change_of_racing_processes_is_lost(self, sqlite_store: SqliteStateStore, path: Path) -> None:
        """3 processes that add 20 each, from an empty folder on, make 60."""
        program = """
            import sys
            from pathlib import Path
            from core.adapters.sqlite_state import SqliteStateStore
            from core.clock import SystemClock
            from core.state import update

            store = SqliteStateStore(Path(sys.argv[1]), clock=SystemClock())
            print("ready", flush=True)
            sys.stdin.readline()

            def one_more(value):
                return {"n": (value["n"] if value else 0) + 1}

            for _ in range(20):
                update(store, "count", one_more, actor=sys.argv[2], reason="race")
        """
        with (
            started(program, str(path), "one") as one,
            started(program, str(path), "two") as two,
            started(program, str(path), "three") as three,
        ):
            for process in (one, two, three):
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            assert [process.wait(timeout=60) for process in (one, two, three)] == [0, 0, 0]
        newest = sqlite_store.load("count")
        assert newest is not None
        assert (newest.version, newest.value) == (60, {"n": 60})
        history = sqlite_store.history("count", 100)
        assert [change.after["n"] for change in history] == list(range(60, 0, -1))
        assert {change.actor for change in history} == {"one", "two", "three"}

    @pytest.mark.process
    @pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
    def test_killed_writer_delays_the_others_by_less_than_5_s(
        self, sqlite_store: SqliteStateStore, path: Path, kind: str
    ) -> None:
        """A process killed in its transaction, pages already in the file, leaves neither a lock nor half a change."""
        sqlite_store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        program = """
            import sqlite3, sys

            connection = sqlite3.connect(sys.argv[1], isolation_level=None)
            connection.execute("PRAGMA cache_size = 1")  # so that changed pages reach the file before any commit
            connection.execute("BEGIN " + sys.argv[2])
            connection.execute("UPDATE state SET version = 2, value = '{}'")
            for number in range(2, 500):
                connection.execute(
                    "INSERT INTO history VALUES ('flags', ?, 'eve', 'half', NULL, hex(zeroblob(999)), '')", (number,)
                )
            print("ready", flush=True)
            sys.stdin.readline()
        """
        size_before = path.stat().st_size
        with started(program, str(path), kind) as holder:
            assert path.stat().st_size > size_before, "the holder has written to the file"
            holder.kill()
            holder.wait(timeout=10)
            began_at = time.perf_counter()
            loaded = sqlite_store.load("flags")
            assert loaded is not None
            assert (loaded.version, loaded.value) == (1, {"n": 1})
            assert sqlite_store.swap("flags", expected_version=1, value={"n": 2}, **WHO).version == 2
            assert time.perf_counter() - began_at < 5.0
        assert [change.version for change in sqlite_store.history("flags", 1000)] == [2, 1]

    @pytest.mark.process
    def test_reader_works_while_a_writer_is_stuck_and_after_it_is_killed(
        self, sqlite_store: SqliteStateStore, path: Path
    ) -> None:
        """A process that hangs inside `swap` itself stops no reader; once it is killed, nobody."""
        sqlite_store.swap("flags", expected_version=0, value={"n": 1}, **WHO)
        program = """
            import sys
            from pathlib import Path
            from core.adapters.sqlite_state import SqliteStateStore
            from core.clock import SystemClock

            class StuckClock(SystemClock):
                def utc_now(self):  # asked inside the transaction
                    print("ready", flush=True)
                    sys.stdin.readline()
                    return super().utc_now()

            store = SqliteStateStore(Path(sys.argv[1]), clock=StuckClock())
            store.swap("flags", expected_version=1, value={"n": 9}, actor="eve", reason="stuck")
        """
        with started(program, str(path)) as holder:
            began_at = time.perf_counter()
            loaded = sqlite_store.load("flags")
            assert loaded is not None
            assert loaded.value == {"n": 1}
            holder.kill()
            holder.wait(timeout=10)
            assert sqlite_store.swap("flags", expected_version=1, value={"n": 2}, **WHO).version == 2
            assert time.perf_counter() - began_at < 5.0
