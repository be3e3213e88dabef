"""The place where one failure is played: a home, flags, breakers and a ledger of its own, and batches to run there.

It works through the same functions as the tasks of a run, without Prefect: nothing is seen in its UI, and nothing of
the shared state of a Prefect server is touched. It is made for a process that plays one scenario and ends: the faults
of `REDO_FAULT` are set in that process's environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from core.adapters.faults import Fault, FaultyDetector
from core.errors import StoreError
from core.fallbacks import RedoFallbackManager, get_fallback_manager
from core.flags import FlagValue
from tasks.chunks import work_on_chunk
from tasks.delivery import store_traces
from tasks.drills.report import Check
from tasks.loading import load_batch
from tasks.run_folder import RunFolder, write_rows
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import load_settings
from tasks.summary import Summary, finish_run
from tasks.wiring import CLOCK, build_pipeline, metrics_recorder

CHUNK: Final = 10
QUERIES: Final = 30
ON: Final[Mapping[str, FlagValue]] = {"orchestrator.redo_enabled": True}
WITH_LEDGER: Final[Mapping[str, FlagValue]] = {**ON, "ledger.enabled": True}
_TOWNS: Final = (
    "Arden",
    "Brixley",
    "Corve",
    "Dunmore",
    "Elstow",
    "Farleigh",
    "Glenby",
    "Hexton",
    "Inchcape",
    "Jarrold",
)
_PATIENCE_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.02


class Bench:
    """Runs batches in an isolated home, and notes what had to hold.

    Args:
        home: `REDO_HOME` of this process.

    Attributes:
        home: as given.
        checks: what had to hold so far.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.checks: list[Check] = []
        self._counted: dict[str, tuple[int, int]] = {}
        home.mkdir(parents=True, exist_ok=True)
        self._passages = home / "passages.jsonl"
        write_rows(self._passages, _passages())

    @property
    def manager(self) -> RedoFallbackManager:
        """The guard of this process."""
        return get_fallback_manager()

    @property
    def queries(self) -> int:
        """How many queries were asked so far; a batch that was taken up counts once."""
        return sum(queries for queries, _ in self._counted.values())

    @property
    def unanswered(self) -> int:
        """How many of them got no selection."""
        return sum(unanswered for _, unanswered in self._counted.values())

    def check(self, what: str, *, holds: bool, seen: object = "") -> None:
        """Note something that has to hold."""
        if isinstance(seen, Mapping):
            seen = ", ".join(f"{name} {count}" for name, count in seen.items() if count)
        self.checks.append(Check(what, bool(holds), str(seen)))

    def run(
        self,
        batch_id: str,
        *,
        queries: int = QUERIES,
        flags: Mapping[str, FlagValue] | None = None,
        shadow: bool = False,
        after_chunk: Callable[[int], object] = lambda _: None,
    ) -> Summary:
        """Run a batch, or take it up, and count the queries that got no selection.

        Args:
            batch_id: names the batch.
            queries: how many questions it has, in chunks of ten, each of a session of its own.
            flags: flags for this run; those that are set otherwise.
            shadow: a shadow run.
            after_chunk: is called after each chunk with its number.
        """
        asked = self.home / f"queries-{queries}.jsonl"
        write_rows(asked, _queries(queries))
        request = RunRequest(
            batch_id=batch_id,
            queries=str(asked),
            passages=str(self._passages),
            chunk_size=CHUNK,
            shadow=shadow,
            flags=dict(flags or {}),
        )
        settings = load_settings()
        folder = RunFolder.of(settings.home_folder, batch_id)
        with folder.held():
            spec = load_batch(request, settings, clock=CLOCK)
            resumed, error = 0, None
            for number in range(spec.chunks):
                report = work_on_chunk(folder, number, settings, clock=CLOCK, flow_run_id=None, attempt=1)
                resumed += bool(report["resumed"])
                error = _stored(folder, number, spec) or error
                after_chunk(number)
            metrics_recorder().flush()
            summary = finish_run(folder, request, resumed=resumed, ledger_error=error)
        without = summary.queries - summary.answered + summary.without_evidence
        self._counted[batch_id] = summary.queries, without
        return summary

    def output(self, summary: Summary) -> bytes:
        """The selections of a run, as they were written."""
        return Path(summary.output).read_bytes()

    def breaker(self, name: str = "circuit_breaker") -> Mapping[str, Any]:
        """A breaker, as the health report has it."""
        report: Mapping[str, Any] = self.manager.get_health_status()
        breaker: Mapping[str, Any] = report[name]
        return breaker

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Look again and again until it holds; note whether it came to."""
        pause = threading.Event()
        give_up_at = CLOCK.now() + _PATIENCE_S
        while not holds():
            if CLOCK.now() > give_up_at:
                self.check(what, holds=False, seen=f"not within {_PATIENCE_S:.0f} s")
                return
            pause.wait(_LOOK_EVERY_S)
        self.check(what, holds=True)

    def recovers(self) -> None:
        """See REDO answer again by itself, once the breaker's time is over."""
        self.until("the breaker lets a probe through after its time", lambda: self.manager.is_redo_active(ON))
        summary = self.run("afterwards", flags=ON)
        redo = summary.decisions["redo"]
        self.check("REDO answers again, by itself", holds=redo > 0, seen=f"{redo} of {summary.queries} queries")
        state = self.breaker()["state"]
        self.check("the breaker is closed", holds=state == "closed", seen=state)

    @contextmanager
    def fault(self, kind: Fault, **variables: str) -> Iterator[None]:
        """Make the orchestrator fail until the block ends, and set other variables meanwhile. What hangs goes on then.

        Args:
            kind: how it fails; see `core.adapters.faults`.
            variables: environment variables.
        """
        given = {"REDO_FAULT": kind, **variables}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            self._release()
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def _release(self) -> None:
        """Let calls that hang go on, so that their threads are free."""
        for spec_path in self.home.glob("runs/*/run.json"):
            spec = RunSpec.load(spec_path)
            detector = build_pipeline(None if spec.index is None else Path(spec.index), spec.pipeline_config).detector
            if isinstance(detector, FaultyDetector):
                detector.release()


def _stored(folder: RunFolder, number: int, spec: RunSpec) -> str | None:
    """Hand a chunk's traces to the ledger; what is in the way is the answer."""
    if spec.ledger is None:
        return None
    try:
        store_traces(folder, number)
    except StoreError as error:
        return str(error)
    return None


def _queries(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        town = _TOWNS[number % len(_TOWNS)]
        yield {
            "query_id": f"q-{number:04d}",
            "text": f"How long is the bridge of {town}?",
            "session_id": f"s-{number}",
        }


def _passages() -> Iterator[dict[str, object]]:
    for number, town in enumerate(_TOWNS):
        length = 400 + 10 * number
        for source, text in (
            ("council", f"The bridge of {town} is {length} metres long."),
            ("guide", f"The bridge of {town} is {length + 100} metres long."),
            ("market", f"The market of {town} is held every Tuesday."),
        ):
            yield {"passage_id": f"{town}-{source}", "text": text, "source": source, "published_at": "2024-05-01"}
