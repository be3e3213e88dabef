"""Processes that one command starts, watches and ends together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.text import Text

from core.clock import Clock
from core.errors import RedoError
from deployments.cli.terminal import ERRORS

_END_S: Final = 15.0
_KILL_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.2
_TAIL_LINES: Final = 15


class ChildError(RedoError):
    """A process that should go on has ended, or did not come up. `tail` is the end of its log, where that says more."""

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail

    def __reduce__(self) -> tuple[type[ChildError], tuple[str, str]]:
        """Errors are sent between processes."""
        return type(self), (str(self), self.tail)


@contextmanager
def showing_the_tail() -> Iterator[None]:
    """Print the end of the log that a ChildError brings, and let the error go on."""
    try:
        yield
    except ChildError as error:
        if error.tail:
            ERRORS.print(Text(error.tail, "dim"), soft_wrap=True)
        raise


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started: what it is called, the process, and where what it prints goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The end of what it has printed."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def check(self) -> None:
        """Raise ChildError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise ChildError(f"the {self.name} has ended with code {code}; its log is {self.log}", self.tail())


@dataclass(slots=True)
class Children:
    """The processes of one command. Each leads a group of its own, so that Ctrl-C reaches none but the command.

    Attributes:
        logs: folder of the logs.
        clock: tells how long something takes.
        running: the processes, in the order in which they were started.
    """

    logs: Path
    clock: Clock
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Start a process. What it prints goes to `logs/<name>.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command line and Prefect's
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.running.append(child)
        return child

    def wait_for(self, child: Child, ready: Callable[[], bool], *, limit_s: float) -> None:
        """Wait until a process is ready.

        Raises:
            ChildError: it ended, or was not ready in time.
        """
        give_up_at = self.clock.now() + limit_s
        pause = threading.Event()
        while not ready():
            self.check()
            if self.clock.now() > give_up_at:
                raise ChildError(
                    f"the {child.name} was not ready within {limit_s:.0f} s; its log is {child.log}", child.tail()
                )
            pause.wait(_LOOK_EVERY_S)

    def check(self) -> None:
        """Raise ChildError if any of them has ended."""
        for child in self.running:
            child.check()

    def watch(self) -> None:
        """Wait until one of them ends, and raise ChildError then."""
        pause = threading.Event()
        while True:
            self.check()
            pause.wait(_LOOK_EVERY_S)

    def end(self) -> None:
        """End all of them, the last one first: each gets SIGTERM, and time, before its whole group is killed."""
        while self.running:
            child = self.running.pop()
            _end(child.process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_S)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what it has started and left behind
    except ProcessLookupError:
        return
    process.wait(timeout=_KILL_S)
