"""Asking the gates about the step at which a rollout stands, and keeping what they say.

The gates are imported when they are asked: Great Expectations takes 5 s and more.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Final, Literal, TypeAlias

import orjson

from core.errors import RedoError
from core.rollout.state import RolloutState, Status
from tasks.rollout.reports import Reports, StoredReport, new_report_id
from tasks.settings import load_settings
from tasks.wiring import CLOCK

Limits: TypeAlias = Literal["production", "demonstration"]
"""Which limits the gates have: the real ones, or those for a few dozen queries, on which no rollout may rest."""

_LOGGER: Final = logging.getLogger(__name__)
_CHILD_S: Final = 300.0


class GatesError(RedoError):
    """The process that evaluates the gates did not end well."""


def is_worth_asking(state: RolloutState | None) -> bool:
    """Whether the gates could change anything: at 0 % after a rollback there is nothing left to take back."""
    if state is None or state.emergency:
        return False
    return not (state.status is Status.ROLLED_BACK and state.step == 0)


def evaluate_step(state: RolloutState, limits: Limits = "production") -> StoredReport:
    """Evaluate all gates of the step, keep the report with its Data Docs, and return it.

    Args:
        state: where the rollout stands.
        limits: which limits the gates have.
    """
    from tasks.gates.evaluate import evaluate_gates  # noqa: PLC0415 - see above
    from tasks.gates.frames import Scope  # noqa: PLC0415
    from tasks.gates.run_tables import RunReader  # noqa: PLC0415
    from tasks.gates.thresholds import DEMO_THRESHOLDS, THRESHOLDS  # noqa: PLC0415
    from tasks.rollout.arms import arms_of  # noqa: PLC0415

    settings, now = load_settings(), CLOCK.utc_now()
    home = settings.home_folder
    reports, report_id = Reports(home), new_report_id(now)
    scope = Scope(step=state.at, number=state.step, attempt=state.attempt, entered_at=state.entered_at)
    reader = RunReader()  # the chart is of the runs that the gates have read
    report = evaluate_gates(
        home,
        scope,
        report_id=report_id,
        now=now,
        max_trace_bytes=settings.max_trace_bytes,
        thresholds=THRESHOLDS if limits == "production" else DEMO_THRESHOLDS,
        docs=reports.docs(report_id),
        reader=reader,
    )
    try:
        arms = arms_of(home, scope, reader)
    except Exception as error:  # noqa: BLE001 - the chart is for people; the verdict must not hang on it
        _LOGGER.warning("no chart for %s: %s: %s", report_id, type(error).__name__, error)
        arms = None
    stored = StoredReport(report, arms)
    reports.save(stored)
    return stored


def evaluate_in_child(state: RolloutState, limits: Limits = "production") -> StoredReport:
    """As `evaluate_step`, in a process of its own: what the gates import and compute costs this one nothing.

    Raises:
        GatesError: it did not end well, or in time.
    """
    asked = orjson.dumps({"state": state.to_dict(), "limits": limits})
    try:
        process = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__], input=asked, capture_output=True, check=False, timeout=_CHILD_S
        )
    except subprocess.TimeoutExpired:
        raise GatesError(f"the gates gave no answer within {_CHILD_S:.0f} s") from None
    said = process.stdout.decode().split()
    stored = Reports(load_settings().home_folder).load(said[-1]) if process.returncode == 0 and said else None
    if stored is None:
        last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise GatesError(f"the gates could not be evaluated: {last[0] if last else 'they said nothing'}")
    return stored


def _main() -> None:
    asked = orjson.loads(sys.stdin.buffer.read())
    stored = evaluate_step(RolloutState.from_dict(asked["state"]), asked["limits"])
    print(stored.report.report_id)  # noqa: T201 - what the parent reads


if __name__ == "__main__":
    _main()
