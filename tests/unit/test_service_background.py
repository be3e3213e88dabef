"""The service's own work: at once, again and again, whatever it raises, until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from deployments.service.background import Background, Job
from tests.service_samples import Stand

_AT_MOST_S = 30.0


class Turns:
    """Waits that take no time for so many turns, and then until the end."""

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self.waited_s: list[float] = []

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        """Let the seconds pass."""
        self.waited_s.append(seconds)
        return stopped.wait(_AT_MOST_S) if len(self.waited_s) > self._turns else stopped.is_set()


class Work:
    """Work that counts how often it was done, and can be waited for."""

    def __init__(self, expected: int, raises: Callable[[], object] = lambda: None) -> None:
        self._expected = expected
        self._raises = raises
        self.times = 0
        self.is_done = threading.Event()

    def __call__(self) -> None:
        """Do it."""
        self.times += 1
        if self.times >= self._expected:
            self.is_done.set()
        self._raises()


def test_a_job_is_done_at_once_and_again() -> None:
    """With its own pause between."""
    turns, work = Turns(2), Work(3)
    background = Background([Job("work", 30.0, work)], wait=turns.wait)
    background.start()
    assert work.is_done.wait(_AT_MOST_S)
    assert background.stop()
    assert (work.times, turns.waited_s) == (3, [30.0] * 3)


def test_what_it_raises_is_logged_and_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Each time with the traceback."""
    work = Work(2, lambda: 1 // 0)
    background = Background([Job("work", 1.0, work)], wait=Turns(1).wait)
    background.start()
    assert work.is_done.wait(_AT_MOST_S)
    assert background.stop()
    assert [record.getMessage() for record in caplog.records] == ["work failed"] * 2
    assert "ZeroDivisionError" in caplog.text


def test_one_that_takes_long_holds_up_no_other() -> None:
    """Nor the end: it is left, and the caller is told."""
    let_go, other = threading.Event(), Work(3)
    stuck = Work(1, lambda: let_go.wait(_AT_MOST_S))
    background = Background([Job("stuck", 1.0, stuck), Job("other", 1.0, other)], wait=Turns(2).wait)
    background.start()
    assert stuck.is_done.wait(_AT_MOST_S)
    assert other.is_done.wait(_AT_MOST_S)
    assert not background.stop(timeout_s=0.01)
    let_go.set()


def test_the_application_starts_and_stops_it() -> None:
    """Each start anew; what was counted is written at the end."""
    stand = Stand()
    works = [Work(1), Work(1)]
    jobs = tuple(Job(f"work-{number}", 3600.0, work) for number, work in enumerate(works))
    before = threading.active_count()
    for begun in (1, 2):
        with stand.client(stand.answers(), jobs=jobs) as client:
            assert all(work.is_done.wait(_AT_MOST_S) for work in works)
            assert client.post("/chat", json={"prompt": "How long is it?"}).status_code == 200
            assert stand.place.store.value("metrics") is None or begun == 2
        assert stand.place.store.value("metrics")["decisions"] == {"legacy": {"FLAG_OFF": begun}}
        assert [work.times for work in works] == [begun] * 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("redo-work")]
    assert threading.active_count() <= before + 4  # workers of answers end by themselves


def test_after_its_end_nothing_is_begun() -> None:
    """Also where it ends before its thread has come to anything."""
    work = Work(1)
    background = Background([Job("work", 1.0, work)], wait=lambda stopped, _: stopped.wait(_AT_MOST_S))
    background.start()
    assert background.stop()
    assert work.times <= 1
