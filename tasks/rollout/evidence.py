"""What the two checklists of the rollout guide rest on: gathered once, read only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from core.errors import BatchError
from core.rollout.event import Event
from core.rollout.gates import GateReport
from core.rollout.plan import Phase
from core.rollout.state import RolloutState
from tasks.drills.report import DrillReport, newest_drill
from tasks.rollout.desk import Desk
from tasks.run_folder import RunFolder, read_json
from tasks.run_spec import RunSpec

_EVENTS: Final = 200
_RUNS: Final = 200
_PROMTOOL_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """A finished run, as far as a checklist looks at it.

    Attributes:
        batch_id: names it.
        started_at, finished_at: when it began and ended.
        percentage: the share that it was pinned to; 0 where REDO was off.
        shadow: whether it was a shadow run.
        queries, answered: how many it was asked, and how many have a record in the output.
        redo, fell_back: how many REDO answered, and how many legacy answered in its place.
        p95_ms, budget_ms: its latency and its budget.
        lost: traces that the ledger will never have.
        waiting: traces that wait in the spool.
    """

    batch_id: str
    started_at: datetime
    finished_at: datetime
    percentage: float
    shadow: bool
    queries: int
    answered: int
    redo: int
    fell_back: int
    p95_ms: float
    budget_ms: float
    lost: int
    waiting: int


@dataclass(frozen=True, slots=True)
class AlertCheck:
    """What promtool said about the alert rules; `passed` is `None` where nobody could ask it."""

    passed: bool | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that a checklist is computed from.

    Attributes:
        now: the date and time.
        code_version: version of REDO that is installed.
        state: where the rollout stands; `None` where none was started.
        events: what happened to it, the newest first.
        runs: finished runs on this machine, the newest first.
        report: the newest gate report of a step at which REDO answered somebody.
        drill: the newest failure drill.
        health: the report of `get_health_status`.
        alerts: the check of the alert rules.
        metrics: how many queries have been counted; `None` where the metrics cannot be read.
    """

    now: datetime
    code_version: str
    state: RolloutState | None
    events: Sequence[Event]
    runs: Sequence[RunSeen]
    report: GateReport | None
    drill: DrillReport | None
    health: Mapping[str, Any]
    alerts: AlertCheck
    metrics: int | None


def gather(
    desk: Desk, *, home: Path, health: Mapping[str, Any], metrics: int | None, monitoring: Path | None
) -> Evidence:
    """Gather the evidence of this machine and of the shared state.

    Args:
        desk: the desk of the rollout.
        home: `REDO_HOME`.
        health: the report of `get_health_status`.
        metrics: how many queries have been counted; `None` where nobody knows.
        monitoring: the folder of the alert rules and their tests; `None` where it is not installed.

    Raises:
        StoreError: the shared state does not answer.
    """
    return Evidence(
        now=desk.clock.utc_now(),
        code_version=version("redo"),
        state=desk.orders.state(),
        events=desk.history(_EVENTS),
        runs=tuple(_newest_runs(home)),
        report=_exposed(desk),
        drill=newest_drill(home),
        health=health,
        alerts=check_alerts(monitoring),
        metrics=metrics,
    )


def _exposed(desk: Desk) -> GateReport | None:
    reports = (stored.report for stored in desk.reports.newest_first())
    return next((report for report in reports if report.phase is not Phase.INFRASTRUCTURE), None)


def _newest_runs(home: Path) -> list[RunSeen]:
    runs = sorted(_runs(home), key=lambda run: run.started_at, reverse=True)
    return runs[:_RUNS]


def _runs(home: Path) -> Iterator[RunSeen]:
    for path in (home / "runs").glob("*/summary.json"):
        folder = RunFolder(path.parent)
        try:
            spec, summary = RunSpec.load(folder.spec), read_json(path)
            ledger = summary["ledger"] or {}
            flags = spec.run_flags
            yield RunSeen(
                batch_id=spec.batch_id,
                started_at=spec.started,
                finished_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
                percentage=float(flags.rollout_percentage) if flags.redo_enabled else 0.0,
                shadow=spec.shadow,
                queries=summary["queries"],
                answered=summary["answered"],
                redo=summary["decisions"]["redo"],
                fell_back=summary["decisions"]["fallback"],
                p95_ms=summary["latency_ms"].get("p95", 0.0),
                budget_ms=summary["budget_ms"],
                lost=ledger.get("refused", 0) + ledger.get("quarantined", 0),
                waiting=ledger.get("pending", 0),
            )
        except (BatchError, OSError, ValueError, TypeError, KeyError, AttributeError):
            continue  # of another version, or not whole: it says nothing


def check_alerts(monitoring: Path | None) -> AlertCheck:
    """Let promtool run the tests of the alert rules, where both are installed."""
    promtool = shutil.which("promtool")
    tests = [] if monitoring is None else sorted(monitoring.glob("*_test.yml"))
    if not tests:
        return AlertCheck(None, "the alert rules are not installed here")
    if promtool is None:
        return AlertCheck(None, "promtool is not installed, so the alert rules were not tested")
    try:
        process = subprocess.run(  # noqa: S603 - promtool, by its path
            [promtool, "test", "rules", *map(str, tests)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PROMTOOL_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return AlertCheck(None, f"promtool gave no answer: {error}")
    if process.returncode == 0:
        return AlertCheck(True, f"promtool: {len(tests)} files of rule tests pass")  # noqa: FBT003 - a field
    said = (process.stdout + process.stderr).strip().splitlines()
    return AlertCheck(False, f"promtool: {said[-1] if said else 'the tests fail'}")  # noqa: FBT003 - as above
