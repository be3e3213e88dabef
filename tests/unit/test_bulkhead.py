"""The bulkhead: calls that take too long are given up, and only so many of them are left running."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
from collections.abc import Callable

import pytest

from core.bulkhead import Bulkhead, BulkheadFullError, CallTimeoutError, start_daemon_thread
from tests.guard_samples import ByHand


class TestCalls:
    """In threads that the test runs by hand."""

    @pytest.fixture
    def threads(self) -> ByHand:
        """Threads that stand until the test lets them run."""
        return ByHand()

    @pytest.fixture
    def bulkhead(self, threads: ByHand) -> Bulkhead:
        """A bulkhead that lets two calls hang, and three run."""
        return threads.bulkhead(abandoned_max=2, running_max=3)

    def test_returns_what_the_call_returns(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """A call that ends in time gives its result, and is forgotten."""
        threads.at_once = True
        assert bulkhead.call(lambda: 7, timeout_s=5.0) == 7
        assert threads.waited_s == [5.0]
        assert (bulkhead.running, bulkhead.abandoned) == (0, 0)

    @pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)])
    def test_raises_what_the_call_raises(self, threads: ByHand, bulkhead: Bulkhead, error: BaseException) -> None:
        """An exception of any kind reaches the caller as it is."""
        threads.at_once = True

        def fail() -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            bulkhead.call(fail, timeout_s=5.0)
        assert caught.value is error
        assert bulkhead.running == 0

    def test_gives_up_after_the_time_limit(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """A call that hangs is given up, and counts as abandoned until it ends."""
        with pytest.raises(CallTimeoutError, match=r"no answer within 0\.5 s"):
            bulkhead.call(lambda: 7, timeout_s=0.5)
        assert (bulkhead.running, bulkhead.abandoned) == (1, 1)
        threads.let_run()
        assert (bulkhead.running, bulkhead.abandoned) == (0, 0)

    def test_late_result_and_late_error_are_dropped(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """What an abandoned call returns or raises reaches nobody, and the next call is not mixed up with it."""

        def fail() -> None:
            raise SystemExit

        for call in (lambda: "late", fail):
            with pytest.raises(CallTimeoutError):
                bulkhead.call(call, timeout_s=5.0)
        threads.let_run()
        threads.at_once = True
        assert bulkhead.call(lambda: "new", timeout_s=5.0) == "new"

    def test_begins_nothing_while_too_many_hang(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """With two abandoned calls running the third is refused at once, until one of them has ended."""
        for _ in range(2):
            with pytest.raises(CallTimeoutError):
                bulkhead.call(lambda: 7, timeout_s=5.0)
        with pytest.raises(BulkheadFullError, match="2 are under way, 2 of them have been given up"):
            bulkhead.call(lambda: 7, timeout_s=5.0)
        assert len(threads.threads) == 2
        assert len(threads.waited_s) == 2
        _, run = threads.threads.pop()
        run()
        threads.at_once = True
        assert bulkhead.call(lambda: 7, timeout_s=5.0) == 7

    def test_begins_nothing_while_too_many_run(self, threads: ByHand) -> None:
        """Calls that are not given up yet count too, so threads have a bound whatever happens."""
        bulkhead = threads.bulkhead(running_max=1)
        threads.at_once = True

        def inner() -> None:
            bulkhead.call(lambda: 7, timeout_s=5.0)

        with pytest.raises(BulkheadFullError, match="1 are under way, 0 of them"):
            bulkhead.call(inner, timeout_s=5.0)
        assert bulkhead.running == 0

    def test_no_thread_to_be_had_is_a_full_bulkhead(self) -> None:
        """Where the system refuses a thread the call was not begun, and counts no longer."""

        def refuse(_run: object, _name: str) -> None:
            raise RuntimeError("can't start new thread")

        bulkhead = Bulkhead(start=refuse)
        with pytest.raises(BulkheadFullError):
            bulkhead.call(lambda: 7, timeout_s=5.0)
        assert bulkhead.running == 0

    def test_caller_that_is_torn_away_leaves_the_call_abandoned(self) -> None:
        """Ctrl-C while waiting gives the call up, and passes through."""
        threads = ByHand()

        def torn_away(_event: threading.Event, _timeout_s: float) -> bool:
            raise KeyboardInterrupt

        bulkhead = Bulkhead(start=threads.start, wait=torn_away)
        with pytest.raises(KeyboardInterrupt):
            bulkhead.call(lambda: 7, timeout_s=5.0)
        assert bulkhead.abandoned == 1
        threads.let_run()
        assert (bulkhead.running, bulkhead.abandoned) == (0, 0)

    def test_call_that_ends_just_when_the_time_is_over_counts(self) -> None:
        """The result is taken where the call had ended before it could be given up."""
        threads = ByHand()

        def wait(_event: threading.Event, _timeout_s: float) -> bool:
            threads.let_run()
            return False

        bulkhead = Bulkhead(start=threads.start, wait=wait)
        assert bulkhead.call(lambda: 7, timeout_s=5.0) == 7
        assert bulkhead.abandoned == 0

    def test_call_that_is_seen_to_hang_is_given_up_early(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """Whoever can tell that it hangs is asked several times a second, and need not wait for the time limit."""
        looks = iter([False, False, True])
        with pytest.raises(CallTimeoutError):
            bulkhead.call(lambda: 7, timeout_s=60.0, hangs=lambda: next(looks))
        assert threads.waited_s == [0.2] * 3
        assert bulkhead.abandoned == 1

    def test_call_that_is_not_seen_to_hang_has_its_time_and_no_more(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """The time limit holds for it too; a call that ends is not asked about."""
        with pytest.raises(CallTimeoutError):
            bulkhead.call(lambda: 7, timeout_s=0.5, hangs=lambda: False)
        assert threads.waited_s == pytest.approx([0.2, 0.2, 0.1])
        threads.at_once = True
        assert bulkhead.call(lambda: 7, timeout_s=0.5, hangs=lambda: True) == 7

    def test_call_sees_the_callers_context(self, threads: ByHand, bulkhead: Bulkhead) -> None:
        """Context variables are those of the caller: Prefect keeps the run in them."""
        threads.at_once = True
        variable = contextvars.ContextVar("variable", default="none")
        token = variable.set("the caller's")
        try:
            assert bulkhead.call(variable.get, timeout_s=5.0) == "the caller's"
        finally:
            variable.reset(token)


class TestThreads:
    """In real threads."""

    def test_threads_are_daemons_with_names(self) -> None:
        """A call that hangs keeps no process alive, and a list of threads tells what it is."""
        thread = Bulkhead(name="redo-test").call(threading.current_thread, timeout_s=60.0)
        assert thread.daemon
        assert thread.name == "redo-test-1"

    def test_a_call_that_hangs_is_left(self) -> None:
        """A real thread is given up while it hangs, and counted out when it has ended."""
        release, ended = threading.Event(), threading.Event()
        waiting: list[float] = []

        def start(run: Callable[[], None], name: str) -> None:
            def run_and_tell() -> None:
                run()
                ended.set()

            start_daemon_thread(run_and_tell, name)

        def wait(event: threading.Event, timeout_s: float) -> bool:
            waiting.append(timeout_s)
            return event.is_set()

        bulkhead = Bulkhead(start=start, wait=wait)
        with pytest.raises(CallTimeoutError):
            bulkhead.call(lambda: release.wait(60.0), timeout_s=5.0)
        assert (bulkhead.abandoned, waiting) == (1, [5.0])
        release.set()
        assert ended.wait(60.0)
        assert bulkhead.abandoned == 0


async def idle(bulkhead: Bulkhead) -> None:
    """Let the event loop turn until no call is running."""
    while bulkhead.running:  # noqa: ASYNC110 - what is counted is what the test is about
        await asyncio.sleep(0)


class TestCoroutines:
    """As tasks of an event loop."""

    def test_returns_and_raises_what_the_coroutine_does(self) -> None:
        """A task that ends in time gives its result or its exception."""
        bulkhead = Bulkhead()

        async def seven() -> int:
            return 7

        async def fail() -> int:
            raise ValueError("bad")

        async def both() -> int:
            with pytest.raises(ValueError, match="bad"):
                await bulkhead.acall(fail, timeout_s=60.0)
            return await bulkhead.acall(seven, timeout_s=60.0)

        assert asyncio.run(both()) == 7
        assert bulkhead.running == 0

    def test_gives_up_a_task_that_hangs(self) -> None:
        """It is cancelled, and no longer counted when it has ended."""
        bulkhead = Bulkhead()
        seen: list[str] = []

        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        async def call() -> None:
            with pytest.raises(CallTimeoutError):
                await bulkhead.acall(hang, timeout_s=0.0)
            seen.append("given up")
            assert bulkhead.abandoned == 1
            await idle(bulkhead)

        asyncio.run(call())
        assert seen == ["given up", "cancelled"]
        assert bulkhead.abandoned == 0

    def test_a_task_that_will_not_be_cancelled_stays_counted(self) -> None:
        """A coroutine that goes on although cancelled counts as abandoned until it ends; what it raises is dropped."""
        bulkhead = Bulkhead(abandoned_max=1)

        async def call() -> None:
            release = asyncio.Event()

            async def stubborn() -> None:
                while not release.is_set():
                    try:
                        await release.wait()
                    except asyncio.CancelledError:
                        continue
                raise ValueError("late")

            with pytest.raises(CallTimeoutError):
                await bulkhead.acall(stubborn, timeout_s=0.0)
            with pytest.raises(BulkheadFullError):
                await bulkhead.acall(stubborn, timeout_s=0.0)
            release.set()
            await idle(bulkhead)

        asyncio.run(call())
        assert bulkhead.abandoned == 0

    def test_cancelled_caller_gives_the_task_up(self) -> None:
        """Cancellation passes through, and takes the task with it."""
        bulkhead = Bulkhead()

        async def call() -> None:
            begun = asyncio.Event()

            async def hang() -> None:
                begun.set()
                await asyncio.Event().wait()

            caller = asyncio.ensure_future(bulkhead.acall(hang, timeout_s=60.0))
            await begun.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            await idle(bulkhead)

        asyncio.run(call())
        assert bulkhead.abandoned == 0


@pytest.mark.parametrize("error", [CallTimeoutError(5.0), BulkheadFullError(8, 9)])
def test_errors_cross_processes(error: Exception) -> None:
    """They are rebuilt from their arguments by pickle, with the same message."""
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes
