"""What the state store on Prefect blocks promises beyond the port: many processes, sudden deaths, people in the UI."""

from __future__ import annotations

import asyncio
import gc
import http.client
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.client.schemas.objects import BlockDocument
from prefect.settings import PREFECT_API_URL

from core.adapters.manual_clock import ManualClock
from core.clock import Clock, SystemClock
from core.errors import StateConflict, StoreError
from core.flags import LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE
from core.state import Change, Versioned, update
from tasks.block_types import KILLED, RedoFlags, RedoState
from tasks.blocks import UI_ACTOR, PrefectStateStore
from tests.child_programs import started

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

WHO: dict[str, Any] = {"actor": "ann", "reason": "a test"}
LIMIT_S = 60.0  # a loaded machine is slow; what a call takes at most is tested in test_prefect_api.py

Opener = Callable[..., PrefectStateStore]


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def namespace() -> str:
    """One that no other test has."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def opened(clock: ManualClock, namespace: str) -> Iterator[Opener]:
    """Makes stores that share their values, as several processes do."""
    with ExitStack() as stack:

        def new(*, clock: Clock = clock, keep: int = 50) -> PrefectStateStore:
            store = PrefectStateStore(clock=clock, namespace=namespace, keep=keep, time_limit_s=LIMIT_S)
            stack.callback(store.close)
            return store

        yield new


@pytest.fixture
def store(opened: Opener) -> PrefectStateStore:
    """One store, empty."""
    return opened()


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    """What the UI talks to."""
    with get_client(sync_client=True) as connected:
        yield connected


def _block(client: SyncPrefectClient, store: PrefectStateStore, kind: type[RedoFlags | RedoState]) -> BlockDocument:
    """The block that people see."""
    name = "flags" if kind is RedoFlags else "count"
    return client.read_block_document_by_name(store.block_name(name), kind.get_block_type_slug())


def _save_as_the_ui_does(client: SyncPrefectClient, block: BlockDocument, **changed: object) -> None:
    """Send all fields of the form, as they were when the page was opened, with what the person changed."""
    data = {**block.data, **changed}
    client.update_block_document(block.id, BlockDocumentUpdate(data=data, merge_existing_data=False))


def _loaded(store: PrefectStateStore, name: str = "flags") -> Versioned:
    """What is there must be there."""
    loaded = store.load(name)
    assert loaded is not None
    return loaded


def _one_more(value: Any) -> dict[str, object]:
    """Count one up."""
    return {"n": (value["n"] if value else 0) + 1}


class TestBlock:
    """The block that people see in the UI."""

    def test_shows_the_newest_value_in_typed_fields(
        self, store: PrefectStateStore, client: SyncPrefectClient, clock: ManualClock
    ) -> None:
        """Flags, who, why, when and the version can be read in one block of a registered type."""
        store.swap("flags", expected_version=0, value={REDO_ENABLED: False}, **WHO)
        value = {REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 12.5, "overrides": [{"flag": LEDGER_ENABLED, "value": True}]}
        store.swap("flags", expected_version=1, value=value, actor="bob", reason="begin")
        block = RedoFlags.load(store.block_name("flags"))
        assert isinstance(block, RedoFlags)
        assert (block.redo_enabled, block.ledger_enabled, block.rollout_percentage) == ("on", "not set", 12.5)
        assert (block.killed, block.other) == (False, {"overrides": value["overrides"]})
        assert (block.version, block.changed_by, block.reason) == (2, "bob", "begin")
        assert datetime.fromisoformat(block.changed_at) == clock.utc_now()
        block_type = client.read_block_type_by_slug("redo-flags")
        assert (block_type.name, block_type.description) == ("REDO flags", RedoFlags.get_description())

    def test_is_the_only_one_that_the_list_shows(
        self, store: PrefectStateStore, client: SyncPrefectClient, namespace: str
    ) -> None:
        """However often a value has changed, the UI's list has one block of it."""
        for number in range(3):
            store.swap("count", expected_version=number, value={"n": number}, **WHO)
        listed = [block.name for block in client.read_block_documents(limit=200) if namespace in (block.name or "")]
        assert listed == [store.block_name("count")]

    def test_deleted_by_hand_comes_back(self, store: PrefectStateStore, client: SyncPrefectClient) -> None:
        """Deleting it deletes no value: the next reader writes it again."""
        written = store.swap("count", expected_version=0, value={"n": 1}, **WHO)
        client.delete_block_document(_block(client, store, RedoState).id)
        assert store.load("count") == written
        assert _block(client, store, RedoState).data["value"] == {"n": 1}

    def test_deleted_with_its_type_comes_back(self, store: PrefectStateStore, client: SyncPrefectClient) -> None:
        """Deleting the type deletes no value: the type is registered again, too."""
        written = store.swap("count", expected_version=0, value={"n": 1}, **WHO)
        client.delete_block_type(client.read_block_type_by_slug("redo-state").id)
        assert [store.load("count") for _ in range(2)] == [written, written]
        assert _block(client, store, RedoState).data["value"] == {"n": 1}


class TestEditInTheUi:
    """A person changes a field and saves."""

    @pytest.fixture
    def flags(self, store: PrefectStateStore) -> Versioned:
        """Flags that a program has set."""
        return store.swap("flags", expected_version=0, value={REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 10}, **WHO)

    def test_holds_for_the_next_reader_and_is_in_the_history(
        self, store: PrefectStateStore, flags: Versioned, opened: Opener, clock: ManualClock
    ) -> None:
        """Another process that reads sees it at once; the history says who, from what, to what."""
        assert store.load("flags") == flags
        block = RedoFlags.load(store.block_name("flags"))
        assert isinstance(block, RedoFlags)
        block.redo_enabled = "off"
        block.save(store.block_name("flags"), overwrite=True)
        clock.advance(5.0)
        loaded = _loaded(opened())
        assert loaded.value == {REDO_ENABLED: False, ROLLOUT_PERCENTAGE: 10}
        told = "edited in the Prefect UI"
        assert loaded == Versioned(2, loaded.value, clock.utc_now(), UI_ACTOR, told)
        change, first = store.history("flags", 10)
        assert change == Change(2, UI_ACTOR, told, flags.value, loaded.value, clock.utc_now())
        assert first.version == 1

    @pytest.mark.usefixtures("flags")
    def test_is_recorded_once(self, store: PrefectStateStore, client: SyncPrefectClient, opened: Opener) -> None:
        """Eight readers that see one edit at the same time make one change of it, and the block says so."""
        _save_as_the_ui_does(client, _block(client, store, RedoFlags), rollout_percentage=25)
        readers = [threading.Thread(target=opened().load, args=("flags",)) for _ in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert [change.actor for change in store.history("flags", 10)] == [UI_ACTOR, "ann"]
        block = _block(client, store, RedoFlags)
        assert (block.data["version"], block.data["changed_by"], block.data["rollout_percentage"]) == (2, UI_ACTOR, 25)

    @pytest.mark.usefixtures("flags")
    def test_reason_that_was_written_is_kept(self, store: PrefectStateStore, client: SyncPrefectClient) -> None:
        """The history has what the person wrote, and never the reason of the change before as theirs."""
        _save_as_the_ui_does(client, _block(client, store, RedoFlags), rollout_percentage=25, reason="looks good")
        assert _loaded(store).reason == "looks good"
        _save_as_the_ui_does(client, _block(client, store, RedoFlags), rollout_percentage=50)
        assert _loaded(store).reason == "edited in the Prefect UI"

    @pytest.mark.usefixtures("flags")
    def test_on_a_page_that_was_open_undoes_no_other_change(
        self, store: PrefectStateStore, client: SyncPrefectClient
    ) -> None:
        """Only what the person changed is changed, although the form sends every field as it was."""
        page = _block(client, store, RedoFlags)
        store.swap("flags", expected_version=1, value={REDO_ENABLED: False, ROLLOUT_PERCENTAGE: 10}, **WHO)
        _save_as_the_ui_does(client, page, rollout_percentage=50)
        loaded = _loaded(store)
        assert loaded.version == 3
        assert (loaded.value[REDO_ENABLED], loaded.value[ROLLOUT_PERCENTAGE]) == (False, 50)

    @pytest.mark.usefixtures("flags")
    def test_between_load_and_swap_of_a_program_is_not_lost(
        self, store: PrefectStateStore, client: SyncPrefectClient
    ) -> None:
        """Both changes hold: the program's first, the person's on top."""
        _save_as_the_ui_does(client, _block(client, store, RedoFlags), killed=True)
        store.swap("flags", expected_version=1, value={REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 50}, **WHO)
        assert _loaded(store).value == {KILLED: True, REDO_ENABLED: True, ROLLOUT_PERCENTAGE: 50}
        assert [change.actor for change in store.history("flags", 10)] == [UI_ACTOR, "ann", "ann"]

    def test_that_makes_no_sense_is_refused_and_the_block_says_why(
        self, store: PrefectStateStore, client: SyncPrefectClient, flags: Versioned
    ) -> None:
        """Nothing changes, and the person finds the old value with a notice, which goes with the next change."""
        _save_as_the_ui_does(client, _block(client, store, RedoFlags), rollout_percentage=150)
        assert store.load("flags") == flags
        block = _block(client, store, RedoFlags)
        assert block.data["rollout_percentage"] == 10
        assert "rollout_percentage: Input should be less than or equal to 100, not 150" in block.data["notice"]
        store.swap("flags", expected_version=1, value={}, **WHO)
        assert _block(client, store, RedoFlags).data["notice"] == ""

    def test_of_a_value_without_fields_of_its_own(self, store: PrefectStateStore, client: SyncPrefectClient) -> None:
        """Values of other names are edited as JSON, key by key; numbers as a browser writes them are no edit."""
        first = store.swap("count", expected_version=0, value={"a": 1, "b": {"c": 2.0}, "d": {}}, **WHO)
        page = _block(client, store, RedoState)
        _save_as_the_ui_does(client, page, value={"a": 1, "b": {"c": 2}, "d": {}})
        assert store.load("count") == first
        _save_as_the_ui_does(client, page, value={"b": {"c": 3}, "d": {}, "e": [1]})
        assert _loaded(store, "count").value == {"b": {"c": 3}, "d": {}, "e": [1]}

    def test_of_a_hidden_change_is_a_store_error(self, store: PrefectStateStore, client: SyncPrefectClient) -> None:
        """Nobody edits those by accident; what cannot be read is named and not guessed."""
        store.swap("count", expected_version=0, value={"n": 1}, **WHO)
        name = f"history---{store.block_name('count')}---v0000000001"
        change = client.read_block_document_by_name(name, "redo-change")
        client.update_block_document(change.id, BlockDocumentUpdate(data={"after": "{"}))
        with pytest.raises(StoreError, match=name):
            store.load("count")

    def test_that_creates_the_block_is_the_first_change(self, store: PrefectStateStore) -> None:
        """Flags can begin in the UI."""
        RedoFlags(redo_enabled="on").save(store.block_name("flags"))
        loaded = _loaded(store)
        assert (loaded.version, loaded.actor, loaded.value) == (1, UI_ACTOR, {REDO_ENABLED: True})
        assert store.history("flags", 1)[0].before is None


class TestManyProcesses:
    """Races, deaths and standstills."""

    _RACER = """
        import sys
        from core.clock import Clock, SystemClock
        from core.state import update
        from tasks.blocks import PrefectStateStore

        store = PrefectStateStore(clock=SystemClock(), namespace=sys.argv[1], time_limit_s=60.0)
        print("ready", flush=True)
        sys.stdin.readline()

        def one_more(value):
            return {"n": (value["n"] if value else 0) + 1}

        for _ in range(20):
            update(store, "count", one_more, actor=sys.argv[2], reason="race")
    """

    @pytest.mark.process
    def test_no_change_of_racing_processes_is_lost(self, opened: Opener, namespace: str) -> None:
        """3 processes that add 20 each make 60, and the block shows it in the end."""
        with ExitStack() as stack:
            racers = [
                stack.enter_context(started(self._RACER, namespace, who, PREFECT_API_URL=PREFECT_API_URL.value() or ""))
                for who in ("one", "two", "three")
            ]
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("go\n")
                racer.stdin.flush()
            assert [racer.wait(timeout=300) for racer in racers] == [0, 0, 0]
        store = opened()
        newest = _loaded(store, "count")
        assert (newest.version, newest.value) == (60, {"n": 60})
        history = store.history("count", 100)
        assert [change.after["n"] for change in history] == list(range(60, 60 - len(history), -1))
        assert len(history) >= 50
        assert {change.actor for change in history} == {"one", "two", "three"}

    _HOLDER = """
        import sys
        from core.clock import Clock, SystemClock
        from tasks.blocks import PrefectStateStore

        class StuckClock(SystemClock):
            def utc_now(self):
                return self._stuck_at("before the change is made") or super().utc_now()

            def now(self):
                return self._stuck_at("before the block is written") or super().now()

            def _stuck_at(self, where):
                if where == sys.argv[2]:
                    print("ready", flush=True)
                    sys.stdin.readline()

        store = PrefectStateStore(clock=StuckClock(), namespace=sys.argv[1], time_limit_s=60.0)
        store.swap("count", expected_version=1, value={"n": 9}, actor="eve", reason="stuck")
    """

    @pytest.mark.process
    @pytest.mark.parametrize(
        ("where", "version"), [("before the change is made", 1), ("before the block is written", 2)]
    )
    def test_killed_writer_delays_the_others_by_less_than_5_s(
        self, opened: Opener, namespace: str, client: SyncPrefectClient, where: str, version: int
    ) -> None:
        """Its change is made or it is not; the others go on, and a reader brings the block up to date."""
        store = opened()
        store.swap("count", expected_version=0, value={"n": 1}, **WHO)
        with started(self._HOLDER, namespace, where, PREFECT_API_URL=PREFECT_API_URL.value() or "") as holder:
            holder.kill()
            holder.wait(timeout=10)
            began_at = time.perf_counter()
            assert _loaded(store, "count").version == version
            update(opened(), "count", _one_more, **WHO)
            assert time.perf_counter() - began_at < 5.0
        assert _loaded(store, "count").version == version + 1
        assert [change.version for change in store.history("count", 10)] == list(range(version + 1, 0, -1))
        assert _block(client, store, RedoState).data["version"] == version + 1

    @pytest.mark.process
    def test_reader_writes_the_block_that_a_dead_writer_left_behind(
        self, opened: Opener, namespace: str, client: SyncPrefectClient, clock: ManualClock
    ) -> None:
        """Not at once, as its writer may just be at it, but 2 s after it was first seen to be behind."""
        store = opened()
        store.swap("count", expected_version=0, value={"n": 1}, **WHO)
        where = "before the block is written"
        with started(self._HOLDER, namespace, where, PREFECT_API_URL=PREFECT_API_URL.value() or ""):
            assert _loaded(store, "count").value == {"n": 9}
            assert _block(client, store, RedoState).data["version"] == 1
        clock.advance(2.0)
        assert _loaded(store, "count").value == {"n": 9}
        assert _block(client, store, RedoState).data["version"] == 2

    def test_old_changes_are_trimmed(self, opened: Opener) -> None:
        """At most 9 more than are to be kept are there, without gaps, the newest first; all else goes on."""
        store, reader = opened(keep=3), opened()
        for number in range(21):
            store.swap("count", expected_version=number, value={"n": number}, **WHO)
            assert _loaded(reader, "count").version == number + 1
            kept = [change.version for change in reader.history("count", 100)]
            assert kept == list(range(number + 1, number + 1 - len(kept), -1))
            assert min(number + 1, 3) <= len(kept) <= 12
        oldest = reader.history("count", 100)[-1]
        assert oldest.before == {"n": oldest.version - 2}, "each entry has its own before"
        with pytest.raises(StateConflict):
            opened().swap("count", expected_version=2, value={}, **WHO)
        assert _loaded(reader, "count").version == 21

    def test_writer_that_stood_still_too_long_conflicts(self, opened: Opener) -> None:
        """Once the version that it replaces is trimmed it could create the next one again, and takes that back."""
        waiting, go_on = threading.Event(), threading.Event()

        class Standstill(SystemClock):
            """Asked for the time, which is before the change is made, it lets the caller wait."""

            def utc_now(self) -> datetime:
                """The time, when the test lets it go on."""
                waiting.set()
                assert go_on.wait(timeout=300)
                return super().utc_now()

        store, late, caught = opened(keep=2), opened(keep=2, clock=Standstill()), []
        store.swap("count", expected_version=0, value={"n": 1}, **WHO)

        def swap_late() -> None:
            try:
                late.swap("count", expected_version=1, value={"n": 99}, **WHO)
            except StateConflict as error:
                caught.append(error)

        thread = threading.Thread(target=swap_late)
        thread.start()
        assert waiting.wait(timeout=300)
        for number in range(1, 10):
            store.swap("count", expected_version=number, value={"n": number + 1}, **WHO)
        go_on.set()
        thread.join()
        assert len(caught) == 1
        assert [change.version for change in store.history("count", 100)] == [10, 9]
        assert _loaded(store, "count").value == {"n": 10}

    def test_edit_of_a_page_that_is_too_old_is_refused(self, opened: Opener, client: SyncPrefectClient) -> None:
        """What the person changed cannot be told any more: the block says so and shows the newest value."""
        store = opened(keep=2)
        store.swap("count", expected_version=0, value={"n": 0}, **WHO)
        page = _block(client, store, RedoState)
        for number in range(1, 10):
            store.swap("count", expected_version=number, value={"n": number}, **WHO)
        _save_as_the_ui_does(client, page, value={"n": 77})
        assert _loaded(store, "count").value == {"n": 9}
        block = _block(client, store, RedoState)
        assert block.data["value"] == {"n": 9}
        assert "opened too many changes ago" in block.data["notice"]


class _Proxy(BaseHTTPRequestHandler):
    """Passes requests on to Prefect, and loses the answer to the first one that creates a block."""

    protocol_version = "HTTP/1.1"
    losses: ClassVar[list[int]] = []

    def _pass_on(self) -> None:
        """Ask Prefect the same, and answer the same."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(PREFECT_API_URL.value() or "")
        connection = http.client.HTTPConnection(url.netloc, timeout=LIMIT_S)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if self.path == "/api/block_documents/" and not self.losses:
            self.losses.append(response.status)
            self.close_connection = True
            return
        self.send_response(response.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class TestLostAnswer:
    """The network fails after the server did what it was asked."""

    def test_change_that_was_made_is_no_conflict(self, clock: ManualClock, namespace: str) -> None:
        """A second attempt finds the change made, and knows it as its own."""
        _Proxy.losses.clear()
        with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            url = f"http://127.0.0.1:{server.server_port}/api"
            store = PrefectStateStore(clock=clock, api_url=url, namespace=namespace, time_limit_s=LIMIT_S)
            try:
                assert store.swap("count", expected_version=0, value={"n": 1}, **WHO).version == 1
                assert [change.after for change in store.history("count", 10)] == [{"n": 1}]
            finally:
                store.close()
                server.shutdown()
                thread.join()
        assert _Proxy.losses == [201]


class TestCallers:
    """From where it can be called."""

    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # Prefect's own: async flows leave a client open
    def test_flows_tasks_threads_and_event_loops(self, store: PrefectStateStore) -> None:
        """Nothing depends on a running loop, on a flow's context or on the thread."""

        @task
        def from_a_task() -> None:
            update(store, "count", _one_more, **WHO)

        @flow
        def from_a_flow() -> None:
            update(store, "count", _one_more, **WHO)
            from_a_task()
            from_a_task.submit().result()

        @flow
        async def from_an_async_flow() -> None:
            """Two ways of a coroutine."""
            update(store, "count", _one_more, **WHO)  # blocks the loop, and works
            await asyncio.to_thread(lambda: update(store, "count", _one_more, **WHO))

        from_a_flow()
        asyncio.run(from_an_async_flow())
        thread = threading.Thread(target=update, args=(store, "count", _one_more), kwargs=WHO)
        thread.start()
        thread.join()
        assert _loaded(store, "count").value == {"n": 6}
        gc.collect()  # so that no later test is blamed for that client

    def test_no_api_is_an_error_and_starts_no_server(self, clock: ManualClock) -> None:
        """Without an address there is nobody to share with."""
        from prefect.settings import temporary_settings  # noqa: PLC0415

        with temporary_settings({PREFECT_API_URL: None}), pytest.raises(StoreError, match="set PREFECT_API_URL"):
            PrefectStateStore(clock=clock)
