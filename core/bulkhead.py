"""Calls with a time limit that nobody waits for any longer than that, and a bound on how many may be left hanging.

Python cannot stop a thread. A call that takes too long is abandoned: its caller goes on, its thread ends when the call
does, and what it returns then is dropped. So that a component that hangs does not fill the process with threads, no
further call is begun while too many abandoned ones are still running.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from enum import Enum
from typing import Generic, TypeVar

from core.errors import RedoError

Result = TypeVar("Result")

_LOOK_EVERY_S = 0.2


class CallTimeoutError(RedoError):
    """A call was given up after `timeout_s` seconds."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"no answer within {self.timeout_s:g} s; the call was given up"


class BulkheadFullError(RedoError):
    """A call was not begun, because too many are under way: `abandoned` of `running` calls have been given up."""

    def __init__(self, abandoned: int, running: int) -> None:
        super().__init__(abandoned, running)
        self.abandoned = abandoned
        self.running = running

    def __str__(self) -> str:
        return f"no other call is begun: {self.running} are under way, {self.abandoned} of them have been given up"


class _Fate(Enum):
    """What has become of a call; whoever changes it first, the thread that ends or the caller that leaves, wins."""

    RUNNING = "running"
    ENDED = "ended"
    ABANDONED = "abandoned"


class _Call(Generic[Result]):
    """One call: its fate, and how it ended where somebody still wants to know."""

    __slots__ = ("ended", "error", "fate", "result")

    def __init__(self) -> None:
        self.fate = _Fate.RUNNING
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self.result: Result | None = None


def start_daemon_thread(run: Callable[[], None], name: str) -> None:
    """Run it in a thread that does not keep the process alive. Raises RuntimeError where no thread can be had."""
    threading.Thread(target=run, name=name, daemon=True).start()


class Bulkhead:
    """Runs calls with a time limit. Threads, and coroutines of one event loop, may share one.

    Invariant: while `abandoned_max` abandoned calls are still running, or `running_max` calls in all, none is begun.
    Calls that were under way by then may still be abandoned, so `running_max` is what bounds the threads.

    Args:
        abandoned_max: how many abandoned calls may be running.
        running_max: how many calls may be running, abandoned ones included.
        name: begins the names of the threads.
        start: starts a thread; `start_daemon_thread` unless a test runs things by hand.
        wait: waits until an event is set or the seconds are over, and says whether it is set.
    """

    def __init__(
        self,
        *,
        abandoned_max: int = 8,
        running_max: int = 64,
        name: str = "redo-call",
        start: Callable[[Callable[[], None], str], None] = start_daemon_thread,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._abandoned_max = abandoned_max
        self._running_max = running_max
        self._name = name
        self._start = start
        self._wait = wait
        self._lock = threading.Lock()
        self._begun = 0
        self._running = 0
        self._abandoned = 0

    @property
    def abandoned(self) -> int:
        """Calls that were given up and are still running."""
        return self._abandoned

    @property
    def running(self) -> int:
        """Calls that are running, abandoned ones included."""
        return self._running

    def call(self, fn: Callable[[], Result], *, timeout_s: float, hangs: Callable[[], bool] | None = None) -> Result:
        """Make a call in a thread of its own, with the caller's context variables, and return what it returns.

        Args:
            fn: the call.
            timeout_s: seconds after which it is given up; less than what a thread can wait for, so not infinite.
            hangs: asked several times a second; the call is given up as soon as it says so.

        Raises:
            CallTimeoutError: it was given up.
            BulkheadFullError: it was not begun.
            BaseException: what it raises, in time.
        """
        call: _Call[Result] = _Call()
        context = copy_context()

        def run() -> None:
            try:
                result, error = context.run(fn), None
            except BaseException as raised:  # noqa: BLE001 - it belongs to the caller, who waits in another thread
                result, error = None, raised
            if self._end(call):
                call.result, call.error = result, error
            call.ended.set()

        name = f"{self._name}-{self._begin()}"
        try:
            self._start(run, name)
        except RuntimeError as error:  # the system has no thread left
            self._end(call)
            raise BulkheadFullError(self._abandoned, self._running) from error
        in_time = False
        try:
            in_time = self._ends_in_time(call.ended, timeout_s, hangs)
        finally:  # the caller may also be torn away, by Ctrl-C say
            is_left = not in_time and self._abandon(call)
        if is_left:
            raise CallTimeoutError(timeout_s)
        call.ended.wait()  # where it ended just when the time was over: the result is about to be there
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # it is there: the call has ended, and not by raising

    def _ends_in_time(self, ended: threading.Event, timeout_s: float, hangs: Callable[[], bool] | None) -> bool:
        if hangs is None:
            return self._wait(ended, timeout_s)
        left_s = timeout_s
        while left_s > 0:
            if self._wait(ended, min(left_s, _LOOK_EVERY_S)):
                return True
            if hangs():
                return False
            left_s -= _LOOK_EVERY_S
        return False

    async def acall(self, fn: Callable[[], Awaitable[Result]], *, timeout_s: float) -> Result:
        """As `call`, for a coroutine function: a task of the running loop instead of a thread.

        A task that is given up is cancelled, and counts as abandoned until it has ended. One that blocks the loop
        itself cannot be given up.
        """
        call: _Call[Result] = _Call()

        async def run() -> Result:
            return await fn()

        def ended(task: asyncio.Task[Result]) -> None:
            self._end(call)
            if not task.cancelled():
                task.exception()  # asyncio complains about exceptions that nobody has looked at

        name = f"{self._name}-{self._begin()}"
        task = asyncio.get_running_loop().create_task(run(), name=name)
        task.add_done_callback(ended)
        try:
            await asyncio.wait({task}, timeout=timeout_s)
        finally:  # the caller may also be cancelled
            if not task.done():
                self._abandon(call)
                task.cancel()
        if call.fate is _Fate.ABANDONED:
            raise CallTimeoutError(timeout_s)
        return task.result()

    def _begin(self) -> int:
        """Count a call and return its number."""
        with self._lock:
            if self._abandoned >= self._abandoned_max or self._running >= self._running_max:
                raise BulkheadFullError(self._abandoned, self._running)
            self._begun += 1
            self._running += 1
            return self._begun

    def _end(self, call: _Call[Result]) -> bool:
        """Count its end, and say whether anybody still waits for it."""
        with self._lock:
            self._running -= 1
            if call.fate is _Fate.ABANDONED:
                self._abandoned -= 1
                return False
            call.fate = _Fate.ENDED
            return True

    def _abandon(self, call: _Call[Result]) -> bool:
        """Give it up, and say whether it was still running."""
        with self._lock:
            if call.fate is not _Fate.RUNNING:
                return False
            call.fate = _Fate.ABANDONED
            self._abandoned += 1
            return True
