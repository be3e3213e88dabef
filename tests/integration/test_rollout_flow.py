"""The rollout's flows in this process: one decision a run, an approval that waits, rollbacks, and how each run ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import FlowRun, State

from core.fallbacks import get_fallback_manager
from core.rollout.plan import Phase
from core.rollout.state import RolloutState
from flows.advance_rollout import advance_rollout
from flows.approve_rollout import approve_rollout
from flows.rollback import rollback
from flows.steer_rollout import steer_rollout
from tasks.rollout.desk import open_desk
from tests.gate_samples import HEALTHY, SHADOW, Behaviour, sample_rows, write_run

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("prefect_server")]

LIMIT_S = 120.0
BROKEN = Behaviour(failed=1.0)


def ended(flow: Callable[..., Any], **parameters: Any) -> State[Any]:
    """The state in which a run of a flow ends."""
    state: State[Any] = flow(**parameters, return_state=True)
    return state


def start(**more: Any) -> None:
    """Begin a rollout with one step between nobody and everybody, which lasts no time."""
    options = {"soak_minutes": 0, "min_samples": 10, "percentages": (10,), **more}
    state = ended(steer_rollout, action="start", why="a test", who="ann", **options)
    assert (state.name, state.message) == ("Started", "started at infrastructure 0 %: a test")


def standing() -> RolloutState:
    """Where the rollout stands."""
    state = open_desk(get_fallback_manager()).orders.state()
    assert state is not None
    return state


def shadow_run(home: Path, behaviour: Behaviour = HEALTHY) -> None:
    """A finished shadow run of the first step, of this moment."""
    now = datetime.now(UTC)
    name = f"run-{standing().attempt}-{now:%H%M%S%f}"
    rows = sample_rows(60, SHADOW, behaviour)
    write_run(home, name, rows, SHADOW, attempt=standing().attempt, started_at=now, finished_at=now)


def advance(**more: Any) -> State[Any]:
    """Take one decision by the limits for few queries."""
    return ended(advance_rollout, limits="demonstration", **more)


def test_without_a_rollout_there_is_nothing_to_do() -> None:
    """A schedule that runs before anybody has started one fails nobody."""
    state = ended(advance_rollout)
    assert (state.name, state.is_completed()) == ("No rollout", True)


def test_one_decision_a_run(redo_home: Path) -> None:
    """Without evidence it holds and says why; with evidence it rises by one step, and a dry run says so beforehand."""
    start()
    held = advance()
    assert (held.name, held.is_completed()) == ("Held", True)
    assert "gate evidence: inconclusive" in str(held.message)
    shadow_run(redo_home)
    dry = advance(dry_run=True)
    assert (dry.name, standing().step) == ("Dry run: promoted", 0)
    risen = advance(who="ann")
    assert risen.message == "promoted to gradual 10 %: infrastructure 0 % passed"
    assert (standing().phase, standing().event.actor) == (Phase.GRADUAL, "ann")
    told: Any = risen.data.result  # type: ignore[union-attr] # the record that Prefect wraps it in
    assert told["event"]["evidence"][0].startswith("g-")
    report = redo_home / "gates" / told["event"]["evidence"][0]
    assert json.loads((report / "report.json").read_text())["arms"]["redo"]["queries"] == 60
    assert (report / "docs" / "index.html").exists()


def test_a_gate_that_fails_is_seen(redo_home: Path) -> None:
    """The run is Failed, its state says what was done, and its message names the gates."""
    start()
    shadow_run(redo_home, BROKEN)
    failed = advance()
    assert (failed.name, failed.is_failed()) == ("Stepped back", True)
    assert str(failed.message).startswith("stepped back to infrastructure 0 %: failed: ")
    assert "failure_rate" in str(failed.message)
    refused = ended(steer_rollout, action="approve", why="never mind")
    assert (refused.name, refused.is_failed()) == ("Not done", True)


# --- approval -----------------------------------------------------------------------------------------------------


def waiting_run() -> FlowRun:
    """The run of approve-rollout that waits for its answer."""
    wanted = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Paused"])))
    give_up_at = time.monotonic() + LIMIT_S
    with get_client(sync_client=True) as client:
        while not (found := client.read_flow_runs(flow_run_filter=wanted)):
            assert time.monotonic() < give_up_at
            time.sleep(0.2)
    return found[0]


def answered(meanwhile: Callable[[], object] = lambda: None, **answer: Any) -> State[Any]:
    """How a run of approve-rollout ends that a person has answered, after something has happened meanwhile."""
    with ThreadPoolExecutor(1) as pool:  # Prefect knows its server by the context, which a thread must be given
        run = pool.submit(copy_context().run, lambda: ended(approve_rollout, limits="demonstration"))
        waiting = waiting_run()
        meanwhile()
        with get_client(sync_client=True) as client:
            client.resume_flow_run(waiting.id, run_input=answer)
        return run.result(timeout=LIMIT_S)


def await_approval(home: Path) -> None:
    """A rollout whose next step a person must approve."""
    start(approval="always")
    shadow_run(home)
    asked = advance()
    assert (asked.name, asked.message) == ("Approval requested", "gradual 10 % waits for approval")


def test_a_yes_lets_it_go_on(redo_home: Path) -> None:
    """The gates are asked once more, and the step begins; who has said yes is in the history."""
    await_approval(redo_home)
    state = answered(approve=True, who="ann", why="looks good")
    assert state.message == "promoted to gradual 10 %: infrastructure 0 % passed"
    approval = next(e for e in open_desk(get_fallback_manager()).history(10) if e.kind.value == "approved")
    assert (approval.actor, approval.reason) == ("ann", "looks good")
    nothing = ended(approve_rollout)
    assert (nothing.name, nothing.is_completed()) == ("Nothing to approve", True)


def test_a_yes_that_comes_too_late_is_refused(redo_home: Path) -> None:
    """What was asked about is over: a rollback has come in between, and needs no approval itself."""
    await_approval(redo_home)

    def rolled_back() -> None:
        assert ended(rollback, kind="emergency", why="meanwhile").name == "Everything off"

    state = answered(rolled_back, approve=True, who="ann")
    assert (state.name, state.is_failed()) == ("Not done", True)
    assert "the approval is for attempt 1" in str(state.message)
    assert standing().emergency


def test_a_no_pauses(redo_home: Path) -> None:
    """With the reason."""
    await_approval(redo_home)
    state = answered(approve=False, who="bob", why="not on a Friday")
    assert state.message == "paused at infrastructure 0 %: not approved: not on a Friday"
    assert standing().status.value == "paused"


# --- back ---------------------------------------------------------------------------------------------------------


def test_rollbacks_from_the_run_form() -> None:
    """Gradual, a component, everything; a dry run changes nothing; resume undoes it."""
    start()
    assert ended(rollback, kind="gradual", why="a test", dry_run=True).name == "Dry run: rollback begun"
    assert standing().event.kind.value == "started"
    assert ended(rollback, kind="component", part="ledger", why="a test").name == "Part off"
    assert sorted(standing().parts_off) == ["ledger"]
    assert ended(rollback, kind="gradual", why="a test").name == "Nothing to do"
    assert ended(rollback, kind="emergency", why="a test", dry_run=True).name == "Dry run: emergency"
    off = ended(rollback, kind="emergency", why="a test", who="ann")
    told: Any = off.data.result  # type: ignore[union-attr] # as above
    assert (off.name, told["complete"]) == ("Everything off", True)
    assert get_fallback_manager().get_health_status()["kill_switches"] == ["store"]
    assert ended(steer_rollout, action="resume", why="fixed").name == "Resumed"
    assert get_fallback_manager().get_health_status()["kill_switches"] == []


def test_an_emergency_that_did_not_reach_the_state(redo_home: Path) -> None:
    """The run is Failed, so that somebody repeats it, and this machine's kill switch is on."""
    redo_home.mkdir()
    (redo_home / "state.sqlite").mkdir()
    state = ended(rollback, kind="emergency", why="fire")
    assert (state.name, state.is_failed()) == ("Incomplete", True)
    assert "on THIS MACHINE only" in str(state.message)
    assert (redo_home / "kill-switch").exists()
