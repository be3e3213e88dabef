"""`redo rollout`: orders, what they say, their exit codes, and the checklists, over a state file of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.adapters.manual_clock import ManualClock
from core.errors import ConfigError
from core.fallbacks import get_fallback_manager
from core.rollout.gates import GateKind
from core.rollout.plan import Plan
from core.rollout.verdict import Verdict
from deployments.cli.main import app, main
from tasks.drills.report import Check, DrillReport, ScenarioResult
from tasks.drills.scenarios import ScenarioName
from tasks.rollout.checklist import Checklist, rollback_success, rollout_success
from tasks.rollout.desk import open_desk
from tasks.rollout.evidence import AlertCheck, Evidence, RunSeen
from tasks.rollout.plans import parse_duration_s, parse_percentages, plan_from_file, plan_of
from tests.rollout_samples import NOW, Rollout, a_report, a_result

START = ("rollout", "start", "--soak", "0", "--min-samples", "1", "--reason", "phase 1")


class Terminal:
    """Types `redo rollout` commands in 80 columns, and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("COLUMNS", "80")

    def lines(self, *words: str) -> list[str]:
        """Run a command that succeeds, and return the lines that it prints."""
        app(list(words), standalone_mode=False)
        return self._capsys.readouterr().out.splitlines()

    def json(self, *words: str) -> Any:
        """Run a command that succeeds, and read its JSON."""
        app([*words, "--json"], standalone_mode=False)
        return json.loads(self._capsys.readouterr().out)

    def fails(self, *words: str) -> tuple[object, str]:
        """Run a command that fails: its exit code, and all that it says."""
        self._monkeypatch.setattr(sys, "argv", ["redo", *words])
        with pytest.raises(SystemExit) as left:
            main()
        said = self._capsys.readouterr()
        return left.value.code, " ".join((said.out + said.err).split())


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal."""
    return Terminal(capsys, monkeypatch)


def pass_step(samples: int = 1000) -> None:
    """Let the present step pass, as `advance` does when the gates say so."""
    desk = open_desk(get_fallback_manager())
    state = desk.orders.state()
    assert state is not None
    desk.orders.advance(a_report(state, now=desk.clock.utc_now(), samples=samples))


class TestLooking:
    """`status`, `why` and `history`."""

    def test_before_there_is_a_rollout(self, terminal: Terminal) -> None:
        """Each says that there is none, and what starts one."""
        assert terminal.json("rollout", "status") == {
            "status": "not_started",
            "headline": "no rollout has been started",
        }
        assert terminal.json("rollout", "why")["reasons"][0]["code"] == "not_started"
        assert terminal.json("rollout", "history") == []
        assert "redo rollout start" in terminal.lines("rollout", "status")[0]

    def test_the_status_shows_the_plan(self, terminal: Terminal) -> None:
        """Every step, where the rollout stands, and nothing wider than the terminal."""
        terminal.lines(*START)
        lines = terminal.lines("rollout", "status")
        assert lines[0].startswith("running at infrastructure 0 %")
        assert [line.split()[1] for line in lines if "gradual" in line or "full" in line][0:4] == ["gradual"] * 3 + [
            "full"
        ]
        assert any(line.startswith("> ") and "shadow" in line for line in lines)
        assert max(map(len, lines)) <= 80

    def test_why_says_what_is_missing(self, terminal: Terminal) -> None:
        """Without a report nothing rises; `--fresh` asks the gates, which find no run."""
        terminal.lines(*START)
        assert [reason["code"] for reason in terminal.json("rollout", "why")["reasons"]] == ["no_report"]
        found = terminal.json("rollout", "why", "--fresh")
        assert found["is_ready"] is False
        assert (found["report"]["verdict"], found["report"]["step"]) == ("inconclusive", 0)
        assert "evidence" in " ".join(terminal.lines("rollout", "why"))

    def test_the_history_has_who_and_why(self, terminal: Terminal) -> None:
        """The newest first."""
        terminal.lines(*START, "--actor", "ann")
        terminal.lines("rollout", "pause", "--reason", "lunch", "--actor", "bob")
        events = terminal.json("rollout", "history")
        assert [(event["kind"], event["actor"], event["reason"]) for event in events] == [
            ("paused", "bob", "lunch"),
            ("started", "ann", "phase 1"),
        ]
        assert "plan" not in events[1]


class TestOrders:
    """Up, or not."""

    def test_a_dry_run_changes_nothing(self, terminal: Terminal) -> None:
        """It says what would be."""
        told = terminal.json(*START, "--dry-run")
        assert (told["changed"], told["dry_run"], told["would_be"]["status"]) == (False, True, "running")
        assert told["said"].startswith("dry run, nothing was changed; it would be: started")
        assert terminal.json("rollout", "status")["status"] == "not_started"

    def test_a_second_start_is_refused(self, terminal: Terminal) -> None:
        """With a sentence, and exit code 1: the rollout under way stays."""
        terminal.lines(*START)
        code, said = terminal.fails(*START)
        assert code == 1
        assert "not done: a rollout is running" in said

    def test_advance_without_evidence_holds(self, terminal: Terminal) -> None:
        """It exits with 0, because to hold is a decision; the report is kept."""
        terminal.lines(*START)
        told = terminal.json("rollout", "advance")
        assert (told["decision"], told["changed"]) == ("hold", False)
        assert told["report"]["verdict"] == "inconclusive"
        assert terminal.json("rollout", "status")["report"]["report_id"] == told["report"]["report_id"]

    def test_what_waits_is_approved(self, terminal: Terminal) -> None:
        """A yes to what does not wait is refused, one to the present step is kept, twice is once."""
        terminal.lines(*START, "--approval", "always")
        assert terminal.fails("rollout", "approve")[0] == 1
        pass_step()
        assert terminal.json("rollout", "status")["status"] == "awaiting_approval"
        assert terminal.fails("rollout", "approve", "--step", "2")[0] == 1
        assert terminal.json("rollout", "approve", "--reason", "good")["rollout"]["is_approved"] is True
        assert terminal.json("rollout", "approve")["said"].startswith("nothing to do")
        pass_step()
        assert terminal.json("rollout", "status")["percentage"] == 10

    def test_pause_and_resume(self, terminal: Terminal) -> None:
        """Resuming is a new attempt."""
        terminal.lines(*START)
        assert terminal.json("rollout", "pause")["rollout"]["status"] == "paused"
        told = terminal.json("rollout", "resume")
        assert (told["rollout"]["status"], told["rollout"]["attempt"]) == ("running", 2)

    def test_orders_to_nothing_are_refused(self, terminal: Terminal) -> None:
        """There is no rollout that they could be about."""
        for words in (
            ("approve",),
            ("pause",),
            ("resume",),
            ("rollback", "gradual"),
            ("rollback", "component", "ledger"),
        ):
            code, said = terminal.fails("rollout", *words)
            assert (code, "no rollout has been started" in said) == (1, True), words


class TestRollbacks:
    """Down."""

    def test_an_emergency_turns_all_off(self, terminal: Terminal) -> None:
        """Flags, both breakers, the stored kill switch; `resume` undoes it; twice is once; no rollout is needed."""
        assert terminal.json("rollout", "rollback", "emergency", "--dry-run")["would_be"]["emergency"] is True
        assert terminal.json("status")["kill_switches"] == []
        told = terminal.json("rollout", "rollback", "emergency", "--reason", "fire")
        assert (told["complete"], told["off_everywhere"], told["errors"]) == (True, True, {})
        status = terminal.json("status")
        assert status["kill_switches"] == ["store"]
        assert status["circuit_breaker"]["mode"] == "forced_open"
        lines = terminal.lines("rollout", "rollback", "emergency")
        assert lines[0].startswith("everything is off, for all processes")
        assert terminal.json("rollout", "resume")["rollout"]["emergency"] is False
        assert terminal.json("status")["circuit_breaker"]["mode"] == "automatic"

    def test_an_emergency_without_the_state_uses_the_last_resort(self, terminal: Terminal, redo_home: Path) -> None:
        """The kill switch of this machine goes on, the answer says how far it got, and the exit code is 1."""
        redo_home.mkdir()
        (redo_home / "state.sqlite").mkdir()  # nothing can be stored there
        code, said = terminal.fails("rollout", "rollback", "emergency", "--reason", "fire")
        assert code == 1
        assert "on THIS MACHINE only" in said
        assert "fire" in (redo_home / "kill-switch").read_text()

    def test_gradual_and_component(self, terminal: Terminal) -> None:
        """One step down; one component out; the dry runs change nothing."""
        terminal.lines(*START)
        pass_step()
        assert terminal.json("rollout", "rollback", "gradual", "--dry-run")["would_be"]["percentage"] == 0
        told = terminal.json("rollout", "rollback", "component", "orchestrator", "--reason", "odd")
        assert (told["rollout"]["parts_off"], told["breakers"]) == (["orchestrator"], ["breaker-orchestrator"])
        assert terminal.json("flags", "list")["flags"]["orchestrator.redo_enabled"]["value"] is False
        assert terminal.json("rollout", "rollback", "gradual")["rollout"]["step"] == 0

    def test_a_rollback_needs_neither_gates_nor_tables(self) -> None:
        """The modules that carry it out import no Great Expectations and no DuckDB."""
        program = "import sys, flows.rollback; print([m for m in ('great_expectations', 'duckdb') if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestPlans:
    """What `start` is given."""

    def test_options_make_the_guides_phases(self) -> None:
        """0, the percentages, 100; the ledger after the first one; a person before the last."""
        plan = plan_of(percentages=(5, 12.5), soak_s=60, min_samples=7, approval="full")
        assert [step.percentage for step in plan.steps] == [0, 5, 12.5, 100]
        assert [step.ledger_enabled for step in plan.steps] == [False, False, True, True]
        assert [step.approval for step in plan.steps] == [False, False, False, True]
        assert {step.soak_s for step in plan.steps} == {60}
        assert plan_of(percentages=(10, 25, 50)) == Plan()

    def test_a_file_has_every_step(self, tmp_path: Path, terminal: Terminal) -> None:
        """Fields that a plan does not have are refused by name, so a typo is no silent default."""
        file = tmp_path / "plan.toml"
        steps = "[[steps]]\nphase = 'infrastructure'\npercentage = 0\nshadow = true\n"
        steps += "[[steps]]\nphase = 'full'\npercentage = 100\nsoak_s = 5\n"
        file.write_text(f"rollback_soak_s = 7\n{steps}")
        plan = plan_from_file(file)
        assert (plan.rollback_soak_s, plan.steps[1].soak_s, len(plan.steps)) == (7, 5, 2)
        assert terminal.json("rollout", "start", "--plan", str(file))["rollout"]["steps"] == [
            "infrastructure 0 %",
            "full 100 %",
        ]
        file.write_text(steps + "soka_s = 5\n")
        with pytest.raises(ConfigError, match=r"steps\[1\]: soka_s: no such field"):
            plan_from_file(file)
        assert terminal.fails("rollout", "start", "--plan", str(file), "--soak", "1h")[0] == 2

    @pytest.mark.parametrize(
        ("text", "seconds"), [("0", 0), ("90s", 90), ("15m", 900), ("1.5h", 5400), ("1 d", 86_400)]
    )
    def test_durations(self, text: str, seconds: float) -> None:
        """A number with a unit; seconds without one."""
        assert parse_duration_s(text) == seconds

    @pytest.mark.parametrize("text", ["", "soon", "-5m", "5 weeks"])
    def test_what_is_no_duration(self, text: str) -> None:
        """Is refused with what was expected."""
        with pytest.raises(ConfigError, match="expected a number"):
            parse_duration_s(text)

    def test_percentages(self) -> None:
        """A list with commas."""
        assert parse_percentages("1, 12.5,50") == (1, 12.5, 50)
        with pytest.raises(ConfigError, match="'x' is no number"):
            parse_percentages("1,x")


# --- checklists ---------------------------------------------------------------------------------------------------


def a_drill(*, passed: bool = True, version: str = "1") -> DrillReport:
    """A drill of the three scenarios that the checklists name."""
    names: tuple[ScenarioName, ...] = ("flags", "emergency-off", "kill-switch-file")
    results = tuple(
        ScenarioResult(
            name=name, guide="", injected="", queries=40, unanswered=0, checks=(Check("it holds", passed),), seconds=1
        )
        for name in names
    )
    return DrillReport(drill_id="d-1", started_at=NOW, ended_at=NOW, code_version=version, results=results)


def a_run(at_s: float, *, percentage: float = 0, redo: int = 0, **changes: Any) -> RunSeen:
    """A run that began so many seconds after the rollout."""
    told: dict[str, Any] = {
        "batch_id": f"b-{at_s:g}",
        "started_at": NOW + timedelta(seconds=at_s),
        "finished_at": NOW + timedelta(seconds=at_s + 1),
        "percentage": percentage,
        "shadow": False,
        "queries": 100,
        "answered": 100,
        "redo": redo,
        "fell_back": 0,
        "p95_ms": 10.0,
        "budget_ms": 400.0,
        "lost": 0,
        "waiting": 0,
    }
    return RunSeen(**told | changes)


def evidence(rollout: Rollout | None = None, *, runs: Sequence[RunSeen] = (), **changes: Any) -> Evidence:
    """Evidence in which nothing is known, but what is given."""
    told: dict[str, Any] = {
        "now": NOW if rollout is None else rollout.now,
        "code_version": "1",
        "state": None if rollout is None else rollout.state,
        "events": () if rollout is None else tuple(reversed(rollout.orders.events())),
        "runs": sorted(runs, key=lambda run: run.started_at, reverse=True),
        "report": None,
        "drill": None,
        "health": {},
        "alerts": AlertCheck(None, "not asked"),
        "metrics": None,
    }
    return Evidence(**told | changes)


def answers(checklist: Checklist) -> list[str]:
    """The answers in their order."""
    return [item.answer.value for item in checklist.items]


GATES = ("cohort_share", "failure_rate", "canary_failures", "latency_budget", "deadline_rate", "ledger_integrity")


class TestChecklists:
    """Rollout success and rollback success."""

    def test_without_evidence_all_is_unknown(self) -> None:
        """Unknown is no tick."""
        assert answers(rollout_success(evidence())) == ["unknown"] * 6
        assert answers(rollback_success(evidence())) == ["unknown"] * 5
        assert not rollout_success(evidence()).holds

    def test_a_whole_rollout_holds(self) -> None:
        """With a drill, a report, runs, health, alerts and metrics every item is yes, each with its numbers."""
        rollout = Rollout(clock=ManualClock())
        rollout.climb(2)
        report = a_report(rollout.state, *(a_result(name=name) for name in GATES), now=rollout.now)
        health = {"components": {"orchestrator": {"healthy": True, "checked_at": rollout.now.isoformat()}}}
        found = rollout_success(
            evidence(
                rollout,
                runs=[a_run(1)],
                report=report,
                drill=a_drill(),
                health=health,
                alerts=AlertCheck(True, "promtool: 2 files"),  # noqa: FBT003 - a field
                metrics=500,
            )
        )
        assert answers(found) == ["yes"] * 6
        assert found.holds
        assert "3 of 3 scenarios" in found.items[0].findings[0].text
        assert "100 of 100 queries answered" in found.items[2].findings[1].text

    @pytest.mark.parametrize(
        ("changes", "item", "answer"),
        [
            ({"drill": a_drill(passed=False)}, 0, "no"),
            ({"drill": a_drill(version="0")}, 0, "unknown"),
            ({"runs": [a_run(1, answered=99)]}, 2, "no"),
            ({"alerts": AlertCheck(False, "it fails")}, 5, "no"),  # noqa: FBT003 - a field
        ],
    )
    def test_what_speaks_against_it(self, changes: dict[str, Any], item: int, answer: str) -> None:
        """One no outweighs what is unknown beside it."""
        rollout = Rollout(clock=ManualClock())
        rollout.start()
        assert answers(rollout_success(evidence(rollout, **changes)))[item] == answer

    def test_a_gate_that_failed_or_waits_is_no_tick(self) -> None:
        """Fail is no, pending is unknown."""
        rollout = Rollout(clock=ManualClock())
        rollout.climb(1)
        verdicts = {"failure_rate": Verdict.FAIL, "latency_budget": Verdict.PENDING}
        results = [a_result(verdicts.get(name, Verdict.PASS), name=name, kind=GateKind.SIGNAL) for name in GATES]
        found = rollout_success(evidence(rollout, report=a_report(rollout.state, *results, now=rollout.now)))
        assert answers(found)[3:5] == ["no", "unknown"]

    def test_after_a_rollback_the_runs_since_count(self) -> None:
        """None since: unknown. All legacy since: yes. One answer by REDO: no. A failing one: metrics are not back."""
        rollout = Rollout(clock=ManualClock())
        rollout.climb(2)
        before = [a_run(-60), a_run(100, percentage=25, redo=30)]
        rollout.orders.rollback_emergency(reason="fire")
        after_s = (rollout.now - NOW).total_seconds() + 10

        def found(*since: RunSeen) -> list[str]:
            rolled = evidence(rollout, runs=[*before, *since], drill=a_drill())
            return answers(rollback_success(rolled))

        assert found() == ["yes", "unknown", "unknown", "unknown", "unknown"]
        assert found(a_run(after_s)) == ["yes", "yes", "unknown", "yes", "yes"]
        assert found(a_run(after_s, redo=1))[1] == "no"
        assert found(a_run(after_s, fell_back=1))[4] == "no"
        assert found(a_run(after_s, p95_ms=31.0))[4] == "no"
        assert found(a_run(after_s, answered=99))[2:4] == ["no", "no"]
        assert found(a_run(after_s, lost=1))[2] == "no"

    def test_the_command_prints_both(self, terminal: Terminal) -> None:
        """With the guide's words; `--strict` exits with 1 where an item of rollout success does not hold."""
        lists = terminal.json("rollout", "checklist")["checklists"]
        assert [each["name"] for each in lists] == ["Rollout success", "Rollback success"]
        assert [len(each["items"]) for each in lists] == [6, 5]
        lines = terminal.lines("rollout", "checklist")
        assert "[?] All fallback tests pass" in lines
        assert max(map(len, lines)) <= 80
        assert terminal.fails("rollout", "checklist", "--strict")[0] == 1

    def test_the_items_are_the_guides(self) -> None:
        """Word for word, so that an operator finds them again."""
        assert [item.title for item in rollout_success(evidence()).items] == [
            "All fallback tests pass",
            "REDO activates correctly with feature flags",
            "Fallback mechanisms work as expected",
            "No increase in error rates",
            "Latency remains within acceptable limits",
            "Monitoring and alerting are functional",
        ]
        assert [item.title for item in rollback_success(evidence()).items] == [
            "Feature flags can be disabled immediately",
            "System falls back to legacy behavior",
            "No data loss or corruption",
            "Service remains available throughout rollback",
            "Metrics return to baseline levels",
        ]
