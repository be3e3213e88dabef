"""Adding counts to the shared state: nothing is lost between processes, nor while the store is down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.memory_state import MemoryStateStore
from core.errors import ConfigError, StateConflict, StoreError, TransientStoreError
from core.metrics import Histogram, Metrics, merge
from core.ports import StateStore
from core.state import Versioned
from tasks.metrics import METRICS, MetricsRecorder, load, record

CHUNK = Metrics(
    decisions={("redo", "ENABLED"): 3, ("fallback", "TIMEOUT"): 1},
    orchestrator_failures=1,
    deadline_hits=2,
    contradictions={"date": 5},
    stage_latency={("detect", "redo"): Histogram.of_ms([2.0, 3.0])},
    query_latency=Histogram.of_ms([10.0, 20.0, 30.0, 5_001.0]),
)


def times(count: int, metrics: Metrics = CHUNK) -> Metrics:
    """The same counts so many times."""
    total = Metrics()
    for _ in range(count):
        total = merge(total, metrics)
    return total


class TroubledStore(MemoryStateStore):
    """A store that raises where it is told to, and lets things happen before it writes."""

    def __init__(self) -> None:
        super().__init__(clock=ManualClock())
        self.error: BaseException | None = None
        self.before_swap: Callable[[], object] = lambda: None

    def load(self, name: str) -> Versioned | None:
        """Load, unless it is down."""
        if self.error is not None:
            raise self.error
        return super().load(name)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """Let things happen, then swap."""
        self.before_swap()
        return super().swap(name, expected_version=expected_version, value=value, actor=actor, reason=reason)


@pytest.fixture
def store() -> TroubledStore:
    """The store that all share."""
    return TroubledStore()


def recorder_of(store: StateStore) -> MetricsRecorder:
    """A recorder as another process would have it."""
    return MetricsRecorder(lambda: store, actor="worker-1")


class TestRecord:
    """Writing itself."""

    def test_nobody_has_counted_yet(self, store: TroubledStore) -> None:
        """An empty store has counted nothing."""
        assert load(store) == Metrics()

    def test_counts_are_added_with_actor_and_reason(self, store: TroubledStore) -> None:
        """Each chunk is one change of the value named `metrics`."""
        record(store, CHUNK, actor="ann")
        record(store, CHUNK, actor="bob")
        assert load(store) == times(2)
        newest, oldest = store.history(METRICS, 9)
        assert (oldest.actor, newest.actor, newest.reason) == ("ann", "bob", "counted 4 queries")

    def test_nothing_is_not_written(self, store: TroubledStore) -> None:
        """A chunk that was resumed counts nothing, and costs no version."""
        record(store, Metrics(), actor="ann")
        assert store.load(METRICS) is None

    def test_what_a_newer_version_counts_stays(self, store: TroubledStore) -> None:
        """Keys that this version does not know are written back as they were."""
        store.swap(METRICS, expected_version=0, value={"tokens": 7, "ledger_failures": 1}, actor="ann", reason="newer")
        record(store, Metrics(ledger_failures=1), actor="bob")
        written = store.load(METRICS)
        assert written is not None
        assert (written.value["tokens"], written.value["ledger_failures"]) == (7, 2)

    def test_a_value_that_cannot_be_read_is_left_alone(self, store: TroubledStore) -> None:
        """What somebody has broken by hand is named, not written over."""
        store.swap(METRICS, expected_version=0, value={"decisions": 3}, actor="ann", reason="by hand")
        with pytest.raises(StoreError, match="decisions"):
            record(store, CHUNK, actor="bob")
        assert len(store.history(METRICS, 9)) == 1


class TestSeveralProcesses:
    """Recorders that share a store."""

    def test_no_count_is_lost_when_another_is_faster(self, store: TroubledStore) -> None:
        """A second process that writes between the load and the swap of the first loses nothing, nor does the first."""
        first, second = recorder_of(store), recorder_of(store)
        second.add(CHUNK)

        def overtake() -> None:
            store.before_swap = lambda: None
            assert second.flush()

        store.before_swap = overtake
        first.add(CHUNK)
        assert first.flush()
        assert load(store) == times(2)

    def test_many_recorders_at_once_lose_nothing(self, store: TroubledStore) -> None:
        """Two recorders, each with two threads that add and flush together: every chunk is counted once."""
        recorders = [recorder_of(store), recorder_of(store)]
        begin = threading.Barrier(4)

        def work(recorder: MetricsRecorder) -> None:
            begin.wait()
            for _ in range(25):
                recorder.add(CHUNK)
                recorder.flush()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, recorders * 2))
        for recorder in recorders:
            assert recorder.flush()
        assert load(store) == times(100)


class TestStoreDown:
    """A recorder whose store fails."""

    def test_counts_wait_until_the_store_is_back(self, store: TroubledStore) -> None:
        """While it is down flush says so and keeps them; the next one that works writes all of them once."""
        recorder = recorder_of(store)
        store.error = TransientStoreError("the store is down")
        for _ in range(3):
            recorder.add(CHUNK)
            assert not recorder.flush()
        errors = [recorder.error]
        assert recorder.pending == times(3)
        store.error = None
        recorder.add(CHUNK)
        assert recorder.flush()
        errors.append(recorder.error)
        assert errors == ["TransientStoreError: the store is down", None]
        assert recorder.pending == Metrics()
        assert recorder.flush()
        assert load(store) == times(4)
        assert len(store.history(METRICS, 9)) == 1

    @pytest.mark.parametrize(
        "error", [StoreError("refused"), StateConflict(METRICS, 3), TypeError("no JSON"), RuntimeError("a bug")]
    )
    def test_whatever_the_store_raises_costs_no_chunk(self, store: TroubledStore, error: Exception) -> None:
        """Flush never raises an Exception, and loses nothing for one."""
        recorder = recorder_of(store)
        recorder.add(CHUNK)
        store.error = error
        assert not recorder.flush()
        assert recorder.pending == CHUNK

    def test_a_store_that_cannot_be_made_costs_no_chunk(self) -> None:
        """Neither does a bad setting."""

        def no_store() -> NoReturn:
            raise ConfigError("PREFECT_API_URL: no address")

        recorder = MetricsRecorder(no_store, actor="worker-1")
        recorder.add(CHUNK)
        assert not recorder.flush()
        assert (recorder.error, recorder.pending) == ("ConfigError: PREFECT_API_URL: no address", CHUNK)

    def test_signals_pass_and_lose_nothing(self, store: TroubledStore) -> None:
        """What is no Exception is the caller's; the counts wait for the next flush."""
        recorder = recorder_of(store)
        recorder.add(CHUNK)
        store.error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            recorder.flush()
        assert recorder.pending == CHUNK

    def test_what_is_added_while_a_flush_fails_waits_with_the_rest(self, store: TroubledStore) -> None:
        """Threads go on counting while another one writes: no lock is held then, and nothing is lost."""
        recorder = recorder_of(store)
        recorder.add(CHUNK)

        def add_and_fail() -> None:
            other = threading.Thread(target=recorder.add, args=(CHUNK,))
            other.start()
            other.join(timeout=10)
            assert not other.is_alive()
            raise TransientStoreError("the store is down")

        store.before_swap = add_and_fail
        assert not recorder.flush()
        assert recorder.pending == times(2)


class TestDue:
    """Writing now and then, for each write is a version."""

    def test_it_writes_when_it_is_time(self, store: TroubledStore) -> None:
        """What comes in between goes with the next; the end of a run does not wait."""
        clock = ManualClock()
        recorder = MetricsRecorder(lambda: store, actor="worker-1", clock=clock, every_s=15)
        for seconds, written in ((0, False), (14.9, False), (0.1, True), (1, False), (14, True), (0, False)):
            clock.advance(seconds)
            recorder.add(CHUNK)
            assert recorder.flush_if_due() is written
        assert len(store.history(METRICS, 9)) == 2
        assert recorder.pending == times(1)
        assert recorder.flush()
        assert load(store) == times(6)

    def test_a_store_that_is_down_is_asked_as_often(self, store: TroubledStore) -> None:
        """Not once a chunk."""
        clock = ManualClock()
        recorder = MetricsRecorder(lambda: store, actor="worker-1", clock=clock, every_s=15)
        store.error = TransientStoreError("the store is down")
        recorder.add(CHUNK)
        clock.advance(15)
        assert not recorder.flush_if_due()
        assert recorder.error is not None
        store.error = None
        assert not recorder.flush_if_due()
        assert recorder.pending == CHUNK
