"""Answering many at once: while REDO hangs or has no time, answers are plainer, not later."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from core.bulkhead import Bulkhead
from core.clock import Deadline
from core.fallbacks import FallbackConfig
from core.model import Decision, Detection, Query, Ranking, Reason
from core.trace import QueryResult
from core.work import CallLimit
from deployments.service.answers import Answers, NoAnswerError
from tests.service_samples import MARKET, ON, QUERY_ID, QUESTION, NeverFree, Stand, a_pipeline, a_plain_pipeline

ASKED = Query(QUERY_ID, QUESTION, session_id="s-1")


class Hanging:
    """A detector that hangs until it is let go, and a wait that gives up on it at once."""

    version = "hanging-1"

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.let_go = threading.Event()
        self._given_up: list[threading.Event] = []

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Hang."""
        del rankings, deadlines
        self.hangs.set()
        self.let_go.wait()
        return [Detection() for _ in queries]

    def wait(self, ended: threading.Event, _seconds: float) -> bool:
        """Wait for a call, however long it takes; for one that hangs not at all."""
        while not ended.is_set() and ended not in self._given_up:
            if self.hangs.is_set():
                self.hangs.clear()
                self._given_up.append(ended)
            ended.wait(0.001)
        return ended.is_set()


@pytest.fixture
def stand() -> Stand:
    """A service with REDO switched on."""
    made = Stand()
    made.manager.flags.set(ON)
    return made


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """A detector that hangs as long as the test runs."""
    made = Hanging()
    yield made
    made.let_go.set()


def ask(answers: Answers, times: int = 1) -> list[QueryResult]:
    """Ask one after the other."""

    async def asked() -> list[QueryResult]:
        """In an event loop."""
        return [await answers.answer(ASKED) for _ in range(times)]

    try:
        return asyncio.run(asked())
    finally:
        answers.close()


def reasons(results: Sequence[QueryResult]) -> list[Reason]:
    """Why each was answered by whom."""
    return [result.reason for result in results]


def test_redo_answers(stand: Stand) -> None:
    """The usual case; the guard and the counters are told."""
    (result,) = ask(stand.answers())
    assert (result.decision, result.reason) == (Decision.REDO, Reason.ENABLED)
    assert stand.recorder.pending.decisions == {("redo", "ENABLED"): 1}


def test_a_detector_that_hangs_is_given_up(stand: Stand, hanging: Hanging) -> None:
    """Legacy answers in its place, and after three of them the breaker keeps REDO out."""
    limit = CallLimit(Bulkhead(wait=hanging.wait), 5.0)
    results = ask(stand.answers(a_pipeline(detector=hanging, limit=limit)), times=5)
    assert reasons(results) == [Reason.TIMEOUT] * 3 + [Reason.BREAKER_OPEN] * 2
    assert all(result.selection.evidence for result in results)
    assert limit.bulkhead.abandoned == 3


def test_however_many_hang_legacy_is_not_held_up(stand: Stand, hanging: Hanging) -> None:
    """Where no further call of REDO may be begun, not even a probe, it still has its passages."""
    limit = CallLimit(Bulkhead(wait=hanging.wait, abandoned_max=1), 5.0)
    answers = stand.answers(a_pipeline(detector=hanging, limit=limit))
    stand.manager.simulate_orchestrator_failure()
    stand.place.clock.advance(61)
    results = ask(answers, times=2)
    assert reasons(results) == [Reason.TIMEOUT, Reason.BREAKER_OPEN]
    stand.place.clock.advance(200)
    results += ask(stand.answers(a_pipeline(detector=hanging, limit=limit)))
    assert results[-1].reason is Reason.BULKHEAD_FULL
    assert all(result.selection.evidence for result in results)


def test_another_pipeline_can_be_given(stand: Stand) -> None:
    """Its index may have been built anew."""
    answers = stand.answers()
    answers.use(a_plain_pipeline(MARKET))
    (result,) = ask(answers)
    assert result.selection.passage_ids == ("market",)


def test_who_finds_no_worker_is_answered_by_legacy(stand: Stand) -> None:
    """With the reason; it is no failure of REDO."""
    (result,) = ask(stand.answers(patience_s=0.0, redo_workers=NeverFree()))
    assert (result.decision, result.reason) == (Decision.FALLBACK, Reason.BULKHEAD_FULL)
    assert result.trace.guard.bucket is not None
    assert result.selection.evidence
    assert stand.manager.get_health_status()["consecutive_failures"] == 0
    assert stand.recorder.pending.fallbacks == {"BULKHEAD_FULL": 1}


def test_who_would_get_legacy_anyway_has_the_usual_reason(stand: Stand) -> None:
    """It is no fallback."""
    stand.manager.flags.set({"orchestrator.redo_enabled": False})
    (result,) = ask(stand.answers(patience_s=0.0, redo_workers=NeverFree()))
    assert (result.decision, result.reason) == (Decision.LEGACY, Reason.FLAG_OFF)


def test_without_any_worker_there_is_no_answer() -> None:
    """It says so, after the time in which a call is given up."""
    stand = Stand(FallbackConfig(fallback_timeout_seconds=0.001))
    answers = stand.answers(patience_s=0.0, redo_workers=NeverFree(), legacy_workers=NeverFree())
    with pytest.raises(NoAnswerError, match="too many questions are waiting"):
        ask(answers)
    assert stand.recorder.pending.queries == 0


def test_over_http_no_answer_is_a_503() -> None:
    """With a hint when to come back."""
    stand = Stand(FallbackConfig(fallback_timeout_seconds=0.001))
    answers = stand.answers(patience_s=0.0, redo_workers=NeverFree(), legacy_workers=NeverFree())
    answer = stand.client(answers).post("/chat", json={"prompt": QUESTION})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_work_that_has_begun_is_waited_for(stand: Stand) -> None:
    """Patience is for finding a worker; a slow answer is still the answer."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Hanging):
        """A detector that takes as long as the test wants."""

        def detect(
            self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
        ) -> Sequence[Detection]:
            """Take its time."""
            del rankings, deadlines
            begun.set()
            go_on.wait()
            return [Detection() for _ in queries]

    async def asked() -> QueryResult:
        """Ask, and let it go on when its patience is over."""
        answers = stand.answers(a_pipeline(detector=Slow()), patience_s=0.001)
        waiting = asyncio.create_task(answers.answer(ASKED))
        await asyncio.to_thread(begun.wait)
        done, _ = await asyncio.wait({waiting}, timeout=0.01)
        assert not done
        go_on.set()
        answers.close()
        return await waiting

    assert asyncio.run(asked()).decision is Decision.REDO


def test_a_crash_of_the_pipeline_itself_costs_the_guard_nothing(stand: Stand) -> None:
    """A signal that passes through takes no probe's lease with it."""

    class Crashing(Hanging):
        """A detector that ends the program."""

        def detect(
            self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
        ) -> Sequence[Detection]:
            """Raise what is no Exception."""
            del queries, rankings, deadlines
            raise SystemExit

    stand.manager.simulate_orchestrator_failure()
    stand.place.clock.advance(61)
    with pytest.raises(SystemExit):
        ask(stand.answers(a_pipeline(detector=Crashing())))
    (result,) = ask(stand.answers())
    assert result.decision is Decision.REDO
