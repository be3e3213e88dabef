"""One breaker over several real processes that share a file."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.adapters.manual_clock import ManualClock
from core.adapters.sqlite_state import SqliteStateStore
from core.breaker import CircuitBreaker, Permit, Status

pytestmark = pytest.mark.process

# It asks 20 times whenever it is told to, says how many permits it got, and ends them as it is told to. Its clock
# stands where the test has set it, one minute after the breaker opened.
_WORKER = """
    import sys
    from datetime import datetime
    from pathlib import Path
    from core.adapters.manual_clock import ManualClock
    from core.adapters.sqlite_state import SqliteStateStore
    from core.breaker import CircuitBreaker, Permit

    path, owner, moment = sys.argv[1:]
    clock = ManualClock(datetime.fromisoformat(moment))
    store = SqliteStateStore(Path(path), clock=clock)
    breaker = CircuitBreaker("breaker-test", store=store, clock=clock, random=lambda: 0.0, owner=owner, refresh_s=0.0)
    print(breaker.refresh().status.value, flush=True)
    permits = []
    for line in sys.stdin:
        if line == "ask\\n":
            answers = [breaker.acquire() for _ in range(20)]
            permits = [answer for answer in answers if isinstance(answer, Permit)]
            print(len(permits), flush=True)
        else:
            for permit in permits:
                getattr(permit, line.strip())()
            print(breaker.refresh().status.value, flush=True)
"""


class Worker:
    """A process with a breaker of its own."""

    def __init__(self, path: Path, owner: str, clock: ManualClock) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_WORKER), str(path), owner, clock.utc_now().isoformat()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, what: str) -> None:
        """Let it ask, or end what it got with an outcome."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Read what it answers."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def clock() -> ManualClock:
    """The time of all processes."""
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the shared file is."""
    return tmp_path / "state.db"


@pytest.fixture
def breaker(path: Path, clock: ManualClock) -> CircuitBreaker:
    """The breaker of this process: three failures have opened it, and its wait is over."""
    store = SqliteStateStore(path, clock=clock)
    made = CircuitBreaker("breaker-test", store=store, clock=clock, random=lambda: 0.0, owner="test", refresh_s=0.0)
    for _ in range(3):
        permit = made.acquire()
        assert isinstance(permit, Permit)
        permit.failure()
    clock.advance(60.0)
    return made


@pytest.fixture
def workers(path: Path, clock: ManualClock, breaker: CircuitBreaker) -> Iterator[list[Worker]]:
    """Three processes that see it open."""
    assert breaker.state.status is Status.OPEN
    with ExitStack() as stack:
        started = []
        for number in range(3):
            started.append(Worker(path, f"worker-{number}", clock))
            stack.callback(started[-1].kill)
        assert [worker.hear() for worker in started] == ["open"] * 3
        yield started


def test_one_call_of_all_processes_probes(workers: list[Worker], breaker: CircuitBreaker) -> None:
    """3 processes ask 20 times each at once: one gets one permit, and its success closes the breaker for all."""
    for worker in workers:
        worker.tell("ask")
    counts = [worker.hear() for worker in workers]
    assert sorted(counts) == ["0", "0", "1"]
    prober = workers[counts.index("1")]
    assert breaker.refresh().status is Status.HALF_OPEN
    assert breaker.state.lease is not None
    assert breaker.state.lease.holder == f"worker-{counts.index('1')}"
    prober.tell("success")
    assert prober.hear() == "closed"
    for worker in workers:
        worker.tell("ask")
    assert [worker.hear() for worker in workers] == ["20"] * 3


def test_killed_prober_keeps_the_others_out_for_its_lease_only(
    workers: list[Worker], breaker: CircuitBreaker, clock: ManualClock
) -> None:
    """The lease of a process that died ends by itself, and the next call probes."""
    workers[0].tell("ask")
    assert workers[0].hear() == "1"
    workers[0].kill()
    assert not isinstance(breaker.acquire(), Permit)
    clock.advance(breaker.config.lease_s)
    probe = breaker.acquire()
    assert isinstance(probe, Permit)
    assert probe.probe
