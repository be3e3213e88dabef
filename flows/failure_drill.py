"""The failure drill: the rollout guide's tests before a rollout, as a flow that ends in a report.

Each scenario makes something fail for real, in a process with a home, a state and a ledger of its own. Flags, breakers
and traces of production are not touched, so it may run at any time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from core.errors import RedoError
from tasks.drills.child import play
from tasks.drills.report import DrillReport, ScenarioResult, drill_markdown, failures
from tasks.drills.scenarios import ScenarioName
from tasks.events import EventName, emit
from tasks.settings import load_settings
from tasks.wiring import CLOCK

_AT_ONCE = 2
"""Scenarios that are played side by side; each is a process."""


class DrillFailedError(RedoError):
    """Something did not hold while something failed. The report says what."""


@flow(
    name="failure-drill",
    task_runner=ThreadPoolTaskRunner(max_workers=_AT_ONCE),  # type: ignore[arg-type] # Prefect's own runner is too narrow
    persist_result=False,
)
def failure_drill(scenarios: list[ScenarioName] | None = None) -> dict[str, Any]:
    """Make everything fail that the rollout guide names, and see that every query is answered and REDO recovers.

    The report is the artifact redo-drill, and a file in REDO_HOME/drills, which `redo rollout checklist` reads.

    Args:
        scenarios: The failures to play. Empty: all of them, which takes about half a minute.

    Returns:
        The report, as in its file.

    Raises:
        DrillFailedError: something did not hold.
    """
    known: tuple[ScenarioName, ...] = get_args(ScenarioName)
    chosen = [name for name in known if not scenarios or name in scenarios]
    started_at = CLOCK.utc_now()
    folder = Path(tempfile.mkdtemp(prefix="redo-drill-"))
    try:
        futures = [play_scenario.submit(name, folder / name) for name in chosen]
        results = tuple(future.result() for future in futures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = DrillReport(
        drill_id=_id_of_this_run(),
        started_at=started_at,
        ended_at=CLOCK.utc_now(),
        code_version=version("redo"),
        results=results,
        skipped=tuple(name for name in known if name not in chosen),
    )
    return _published(report)


@task(name="play-scenario", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def play_scenario(name: str, folder: Path) -> ScenarioResult:
    """Play one scenario in a process of its own."""
    result = play(name, folder)
    say = get_run_logger().info if result.passed else get_run_logger().error
    say("%s: %s, %d queries", name, "passed" if result.passed else failures([result]), result.queries)
    return result


def _published(report: DrillReport) -> dict[str, Any]:
    path = report.save(load_settings().home_folder)
    create_markdown_artifact(
        key="redo-drill", markdown=drill_markdown(report), description="What the last failure drill found."
    )
    emit(EventName.DRILL_ENDED, "drill", _in_short(report.results) | {"drill_id": report.drill_id, "report": str(path)})
    get_run_logger().info("the report is in %s", path)
    if not report.passed:
        raise DrillFailedError(f"the drill failed: {failures(report.results)}")
    return report.as_dict()


def _in_short(results: Sequence[ScenarioResult]) -> dict[str, Any]:
    failed = [result.name for result in results if not result.passed]
    return {"passed": not failed, "scenarios": len(results), "failed": failed}


def _id_of_this_run() -> str:
    """An id that stays the same when Prefect retries the flow run."""
    started: datetime | None = flow_run.scheduled_start_time
    return f"{started or CLOCK.utc_now():%Y%m%d-%H%M%S}-{str(flow_run.id)[:8]}"
