"""The failure drill: results that cannot pass by accident, scenarios that are played, a report that is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from core.errors import InputError
from tasks.drills.child import environment, play
from tasks.drills.report import Check, DrillReport, ScenarioResult, drill_markdown, failures, newest_drill
from tasks.drills.scenarios import SCENARIOS, ScenarioName

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HELD = Check("REDO recovers", passed=True, seen="21 of 30")
GOOD = ScenarioResult(
    name="flags", guide="Feature Flag Check", injected="nothing", queries=30, unanswered=0, checks=(HELD,), seconds=1.5
)


def report(*results: ScenarioResult, skipped: tuple[str, ...] = (), hours: int = 0) -> DrillReport:
    """A report of these results."""
    ended = NOON + timedelta(hours=hours)
    return DrillReport(
        drill_id=f"drill-{hours}",
        started_at=NOON,
        ended_at=ended,
        code_version="0.1.0",
        results=results,
        skipped=skipped,
    )


class TestVerdict:
    """What passes."""

    def test_all_that_had_to_hold_held(self) -> None:
        """That is a pass."""
        assert GOOD.passed
        assert report(GOOD).passed

    @pytest.mark.parametrize(
        "result",
        [
            replace(GOOD, checks=(HELD, Check("the breaker opened", passed=False))),
            replace(GOOD, unanswered=1),
            replace(GOOD, error="it broke"),
            replace(GOOD, checks=()),
            replace(GOOD, queries=0),
        ],
        ids=["a check", "a query", "an error", "nothing checked", "nothing asked"],
    )
    def test_anything_else_is_none(self, result: ScenarioResult) -> None:
        """A check that did not hold, a query without an answer, an error, and no evidence."""
        assert not result.passed
        assert not report(GOOD, result).passed

    def test_an_empty_drill(self) -> None:
        """Nothing played is nothing proved."""
        assert not report().passed

    def test_the_failures_in_a_line(self) -> None:
        """Each failed scenario with why."""
        broken = replace(GOOD, name="a", error="it broke")
        failed = replace(GOOD, name="b", checks=(Check("the breaker opened", passed=False),))
        silent = replace(GOOD, name="c", unanswered=2)
        line = failures((GOOD, broken, failed, silent))
        assert line == "a: it broke; b: the breaker opened; c: unanswered queries"


class TestKept:
    """The evidence that the checklist reads."""

    def test_a_report_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        """Every field, and whether it passed is computed anew."""
        kept = report(GOOD, replace(GOOD, name="b", error="it broke"), skipped=("kill-switch-file",))
        path = kept.save(tmp_path)
        assert path == tmp_path / "drills" / "drill-0.json"
        assert DrillReport.load(path) == kept

    def test_the_newest_counts(self, tmp_path: Path) -> None:
        """By its end; what is no report is passed over."""
        assert newest_drill(tmp_path) is None
        for hours in (2, 5, 3):
            report(GOOD, hours=hours).save(tmp_path)
        (tmp_path / "drills" / "torn.json").write_text("{")
        (tmp_path / "drills" / "older.json").write_text('{"format": 0}')
        newest = newest_drill(tmp_path)
        assert newest is not None
        assert newest.drill_id == "drill-5"

    def test_the_page_for_people(self) -> None:
        """It says what failed first, then each thing that was checked."""
        failed = replace(
            GOOD, name="b", unanswered=2, checks=(Check("the breaker opened", passed=False, seen="closed"),)
        )
        page = drill_markdown(report(GOOD, failed, skipped=("index-lost",)))
        assert page.startswith("## The drill failed: 1 of 2 scenarios\n")
        assert "Not played: index-lost." in page
        assert "- **failed**: 2 queries got no answer" in page
        assert "- **failed**: the breaker opened: closed" in page
        assert "- held: REDO recovers: 21 of 30" in page


class TestScenarios:
    """They are named, and play in a process that can touch nothing else."""

    def test_the_form_offers_all(self) -> None:
        """In the order in which they are played."""
        assert list(get_args(ScenarioName)) == list(SCENARIOS)

    def test_the_rows_of_the_guide(self) -> None:
        """Every row of its table of fallback scenarios has one, and the rollback too."""
        rows = {scenario.guide for scenario in SCENARIOS.values()}
        assert rows >= {"Orchestrator Failure", "Ledger Failure", "Database Unavailable", "High Latency"}
        assert "Emergency Rollback" in rows

    def test_an_unknown_one(self, tmp_path: Path) -> None:
        """It is refused, with the names that there are."""
        with pytest.raises(InputError, match="scenario 'nonsense': expected one of flags, "):
            play("nonsense", tmp_path)

    def test_nothing_of_production_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No API, ledger, flag or home of outside reaches a scenario."""
        outside = {
            "PREFECT_API_URL": "http://prefect.example/api",
            "REDO_HOME": "/srv/redo",
            "LEDGER_URI": "s3://ledger/production",
            "ORCHESTRATOR_REDO_ENABLED": "true",
            "AWS_ACCESS_KEY_ID": "key",
        }
        for name, value in outside.items():
            monkeypatch.setenv(name, value)
        inside = environment(tmp_path)
        assert inside["REDO_HOME"] == str(tmp_path)
        assert inside["PREFECT_API_URL"] == ""
        assert not {"LEDGER_URI", "ORCHESTRATOR_REDO_ENABLED", "AWS_ACCESS_KEY_ID"} & set(inside)

    @pytest.mark.process
    @pytest.mark.parametrize("name", ["orchestrator-raises", "ledger-down", "emergency-off"])
    def test_it_passes(self, name: str, tmp_path: Path, redo_home: Path) -> None:
        """Every query is answered, what has to hold does, and the home of this process is not even made."""
        result = play(name, tmp_path / name)
        assert result.error is None
        assert [check for check in result.checks if not check.passed] == []
        assert result.passed
        assert not redo_home.exists()

    @pytest.mark.process
    def test_a_process_that_breaks(self, tmp_path: Path) -> None:
        """Its folder is a file: no result is a failure, with what the process said."""
        (tmp_path / "file").write_text("")
        result = play("flags", tmp_path / "file")
        assert not result.passed
        assert result.error is not None
        assert "FileExistsError" in result.error
