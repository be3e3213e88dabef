"""What a decision leaves for people: sentences, the page and the picture in the Prefect UI, the kept reports."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from core.rollout.event import EventKind, Part
from core.rollout.gates import GateKind, GateMode
from core.rollout.orders import EmergencyOutcome
from core.rollout.verdict import Verdict
from tasks.events import EventName
from tasks.gates.run_tables import RunReader
from tasks.rollout.arms import BINS, FIRST_MS, REACH, Arms, arms_of, place_of
from tasks.rollout.chart import chart_svg, data_uri
from tasks.rollout.evaluation import GatesError, evaluate_in_child
from tasks.rollout.page import gate_rows, gates_caption, story
from tasks.rollout.publishing import _NAMES, tell
from tasks.rollout.reports import Reports, StoredReport, new_report_id
from tasks.rollout.words import _DONE, emergency_as_dict, emergency_sentence, outcome_as_dict, sentence
from tests.gate_samples import TEN, Behaviour, a_scope, sample_rows, write_run
from tests.rollout_samples import NOW, Rollout, a_report, a_result

HOSTILE = "<b>|*x*|"


@pytest.fixture
def rollout() -> Rollout:
    """One at 25 %."""
    made = Rollout()
    made.climb(2)
    return made


class TestWords:
    """What became of an order."""

    def test_every_event_has_words_and_a_name(self) -> None:
        """No decision is without a sentence, and none is told to nobody."""
        assert set(_DONE) == set(_NAMES) == set(EventKind)
        assert set(_NAMES.values()) <= set(EventName)

    def test_decisions(self, rollout: Rollout) -> None:
        """Up, down, and why; the object for programs says the same."""
        outcome = rollout.advance()
        assert sentence(outcome) == "promoted to gradual 50 %: gradual 25 % passed"
        told = outcome_as_dict(outcome)
        assert (told["decision"], told["changed"], told["rollout"]["percentage"]) == ("promoted", True, 50)
        back = rollout.advance(a_result(Verdict.FAIL, name="failure_rate"))
        assert sentence(back) == "stepped back to gradual 25 %: failed: failure_rate"
        json.dumps(outcome_as_dict(back))

    def test_holds(self, rollout: Rollout) -> None:
        """The worst reason, and how many more there are; a refusal and a repetition are told apart."""
        held = rollout.orders.advance(None)
        assert sentence(held) == "held at gradual 25 %: there is no gate report (and 1 more: `redo rollout why`)"
        assert sentence(rollout.orders.approve(attempt=1, step=2, reason="")).startswith("not done: ")
        rollout.orders.pause(reason="lunch")
        assert sentence(rollout.orders.pause(reason="lunch")).startswith("nothing to do: ")

    def test_a_dry_run_says_so(self, rollout: Rollout) -> None:
        """And where it would lead."""
        outcome = rollout.orders.rollback_part(Part.LEDGER, reason="odd", dry_run=True)
        assert sentence(outcome) == "dry run, nothing was changed; it would be: the ledger is taken out: odd"
        assert outcome_as_dict(outcome, dry_run=True)["would_be"]["parts_off"] == ["ledger"]

    def test_how_far_an_emergency_got(self, rollout: Rollout) -> None:
        """All, all but a breaker, this machine, nothing: each has words of its own."""
        whole = rollout.orders.rollback_emergency(reason="fire")
        assert emergency_sentence(whole).startswith("everything is off, for all processes; `redo rollout resume`")
        partly = EmergencyOutcome(
            outcome=whole.outcome, forced_open=(), kill_switch=False, errors={"breaker-ledger": "down"}
        )
        assert "not reached: breaker-ledger: down" in emergency_sentence(partly)
        here = EmergencyOutcome(outcome=None, forced_open=(), kill_switch=True, errors={"flags": "down"})
        assert "THIS MACHINE only" in emergency_sentence(here)
        nothing = EmergencyOutcome(outcome=None, forced_open=(), kill_switch=False, errors={"flags": "down"})
        assert emergency_sentence(nothing).startswith("NOTHING was reached")
        assert [emergency_as_dict(each)["changed"] for each in (whole, here, nothing)] == [True, True, False]

    def test_nobody_is_told_where_nobody_listens(self, rollout: Rollout) -> None:
        """Without a Prefect API and outside of a flow there is no event, and no error."""
        tell(rollout.advance(), a_report(rollout.state, now=rollout.now))


class TestPage:
    """The artifacts."""

    def test_the_gates_the_worst_first(self, rollout: Rollout) -> None:
        """Value, n, threshold and consequence; those that decide nothing come last, and say so."""
        report = a_report(
            rollout.state,
            a_result(name="good", kind=GateKind.SIGNAL),
            a_result(Verdict.FAIL, name="observed", mode=GateMode.OBSERVE),
            a_result(Verdict.FAIL, name="bad"),
            now=rollout.now,
        )
        rows = gate_rows(report)
        assert [(row["gate"], row["verdict"], row["if it fails"]) for row in rows] == [
            ("bad", "✗ fail", "steps back"),
            ("good", "✓ pass", "pauses"),
            ("observed", "(observed)", "nothing"),
        ]
        assert (rows[0]["value"], rows[0]["n"], rows[0]["threshold"]) == ("0.5", "10", "<= 1")
        assert "redo 10, legacy 10" in gates_caption(report)

    def test_the_story_of_a_rollout(self, rollout: Rollout) -> None:
        """The plan with where it stands, what is missing, who did what; what was typed is no Markdown."""
        rollout.orders.pause(actor=HOSTILE, reason=HOSTILE)
        events = tuple(reversed(rollout.orders.events()))
        page = story(
            rollout.state,
            "paused",
            events,
            rollout.orders.why(None),
            docs="a/index.html",
            picture="data:image/svg+xml;base64,AA",
        )
        assert page.startswith("## Paused\n")
        assert "| **2** | **25 %** | **gradual** | ◀ paused, ledger on |" in page
        assert "| 1 | 10 % | gradual | passed |" in page
        assert "](data:image/svg+xml;base64,AA)" in page
        assert r"\<b\>\|\*x\*\|" in page
        assert HOSTILE not in page
        assert "`a/index.html`" in page

    def test_before_there_is_a_rollout(self) -> None:
        """The page says what starts one."""
        assert "steer-rollout" in story(None, "nothing to do", (), (), docs=None, picture=None)


class TestArms:
    """How both arms did, from the runs' own rows."""

    def arms(self, home: Path) -> Arms:
        """Of a run in which REDO breaks on some queries."""
        write_run(home, "one", sample_rows(600, TEN, Behaviour(failed=0.3)))
        found = arms_of(home, a_scope(TEN), RunReader())
        assert found is not None
        return found

    def test_the_numbers_of_a_run(self, redo_home: Path) -> None:
        """Each arm has its own queries, failures and times."""
        arms = self.arms(redo_home)
        assert arms.redo.queries + arms.legacy.queries == 600
        assert 0 < arms.redo.failed < arms.redo.queries
        assert (arms.legacy.failed, arms.runs, arms.budget_ms) == (0, 1, 400)
        assert arms.redo.p50_ms > arms.legacy.p50_ms > 0
        assert sum(arms.redo.histogram) == arms.redo.queries
        assert Arms.from_dict(json.loads(json.dumps(arms.to_dict()))) == arms

    def test_without_a_run_there_are_none(self, redo_home: Path) -> None:
        """Nothing is drawn of nothing."""
        assert arms_of(redo_home, a_scope(TEN), RunReader()) is None

    def test_the_scale_reaches_from_fast_to_over_the_budget(self) -> None:
        """Logarithmic, and what lies beyond is in the first and the last bin."""
        assert place_of(FIRST_MS, 400) == 0
        assert place_of(REACH * 400, 400) == pytest.approx(1)
        assert 0 < place_of(400, 400) < 1
        assert place_of(0, 400) == 0

    def test_the_picture_is_whole(self, redo_home: Path) -> None:
        """Well-formed, with both arms, the budget, and nothing that asks another host."""
        svg = chart_svg(self.arms(redo_home), "Arms of <step>")
        root = ET.fromstring(svg)  # noqa: S314 - our own
        texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {"redo", "legacy", "budget", "Arms of <step>"} <= set(texts)
        assert len(list(root.iter("{http://www.w3.org/2000/svg}polygon"))) == 2
        assert svg.count("http") == 1
        assert data_uri(svg).startswith("data:image/svg+xml;base64,")
        assert BINS > 10


class TestReports:
    """The kept gate reports."""

    def test_the_newest_of_a_step_is_found(self, rollout: Rollout, tmp_path: Path) -> None:
        """One of another step or attempt is passed over, and so is what cannot be read."""
        reports = Reports(tmp_path)
        old, new, other = (new_report_id(NOW + timedelta(seconds=place)) for place in range(3))
        for report_id, step in ((old, 2), (new, 2), (other, 1)):
            reports.save(StoredReport(a_report(rollout.state, now=NOW, report_id=report_id, step=step), None))
        broken = reports.folder(new_report_id(NOW + timedelta(days=1)))
        broken.mkdir()
        (broken / "report.json").write_text("{")
        found = reports.newest(step=rollout.state)
        assert found is not None
        assert found.report.report_id == new
        assert [stored.report.report_id for stored in reports.newest_first()] == [other, new, old]

    @pytest.mark.parametrize("report_id", ["", "..", "../../etc", "g-1", "g-20300101-000000-xyz"])
    def test_no_id_leads_elsewhere(self, tmp_path: Path, report_id: str) -> None:
        """Only what we name ourselves is looked for."""
        assert Reports(tmp_path).load(report_id) is None

    def test_old_ones_go_but_not_the_evidence(self, rollout: Rollout, tmp_path: Path) -> None:
        """What a decision rests on is kept for good."""
        reports = Reports(tmp_path)
        ids = [new_report_id(NOW + timedelta(seconds=place)) for place in range(5)]
        for report_id in ids:
            reports.save(StoredReport(a_report(rollout.state, now=NOW, report_id=report_id), None))
        assert reports.prune({ids[0]}, kept=2) == 2
        assert [stored.report.report_id for stored in reports.newest_first()] == [ids[4], ids[3], ids[0]]


def test_gates_in_a_process_of_their_own(rollout: Rollout, redo_home: Path) -> None:
    """The service asks them so: the report is kept in the home that both share, and it is of the step asked about."""
    stored = evaluate_in_child(rollout.state)
    assert (stored.report.step, stored.report.verdict, stored.arms) == (2, Verdict.INCONCLUSIVE, None)
    assert Reports(redo_home).load(stored.report.report_id) == stored


def test_gates_whose_process_ends_badly(rollout: Rollout, redo_home: Path) -> None:
    """The error has the last line of what it said."""
    redo_home.mkdir()
    (redo_home / "gates").write_text("a file in the folder's place")
    with pytest.raises(GatesError, match=r"could not be evaluated: .*gates"):
        evaluate_in_child(rollout.state)
