"""What the service does by itself, again and again, off the way of its requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_LOG: Final = logging.getLogger("redo.service")


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is repeated.

    Attributes:
        name: for its thread, and for the log.
        every_s: seconds from the end of one time to the beginning of the next.
        work: does it. What it raises is logged, and it is done again the next time.
    """

    name: str
    every_s: float
    work: Callable[[], object]


class Background:
    """Runs jobs, each in a thread of its own, so that one that takes long holds up no other.

    Args:
        jobs: what to do; the first time at once.
        wait: waits until an event is set or the seconds are over, and says whether it is set.
    """

    def __init__(
        self, jobs: Sequence[Job], *, wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    ) -> None:
        self._wait = wait
        self._stopped = threading.Event()
        self._threads = tuple(
            threading.Thread(target=self._repeat, args=(job,), name=f"redo-{job.name}", daemon=True) for job in jobs
        )

    def start(self) -> None:
        """Begin. Once only: a service that begins anew has a new one."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End: nothing is begun any more. Waits for what is under way.

        Args:
            timeout_s: seconds to wait for each job.

        Returns:
            Whether all have ended. One that has not is left; it keeps no process alive.
        """
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _repeat(self, job: Job) -> None:
        while not self._stopped.is_set():
            try:
                job.work()
            except Exception:  # noqa: BLE001 - whatever it is, the next time may do better
                _LOG.exception("%s failed", job.name)
            if self._wait(self._stopped, job.every_s):
                return
