"""All gates of a step: what passes, what each fault makes fail, and what must never pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.rollout.gates import GateKind, GateMode, GateReport
from core.rollout.plan import Phase, Step
from core.rollout.verdict import Verdict
from tasks.gates.evaluate import Gates
from tasks.gates.frames import Scope
from tasks.gates.measured import Look, latest_look
from tasks.gates.suites import CHECKS, SUITES, Rule
from tasks.gates.thresholds import DEMO_THRESHOLDS, THRESHOLDS, Gate, Thresholds, kind_of
from tasks.gates.validation import Outcome, Validator
from tests.gate_samples import (
    ENTERED_AT,
    FULL,
    HEALTHY,
    NOW,
    SHADOW,
    TEN,
    Behaviour,
    PlainValidator,
    a_scope,
    result_of,
    sample_rows,
    write_rows,
    write_run,
)

COUNT = 9000
"""Queries of a sample: some 900 of REDO at 10 %."""


def evaluate(
    home: Path,
    scope: Scope | None = None,
    *,
    thresholds: Thresholds = THRESHOLDS,
    validator: Validator | None = None,
    hours: float = 2.0,
) -> GateReport:
    """The report on a step, so many hours after it was entered."""
    gates = Gates(home=home, thresholds=thresholds, validator=validator or PlainValidator())
    return gates.evaluate(scope or a_scope(), report_id="r-1", now=ENTERED_AT + timedelta(hours=hours))


@pytest.fixture(scope="module")
def shadow_rows() -> list[dict[str, Any]]:
    """The shadow runs before the first gradual step."""
    return sample_rows(2000, SHADOW, seed=9)


def verdicts(report: GateReport, *which: Verdict) -> set[str]:
    """The names of the enforced gates with one of these verdicts."""
    return {result.name for result in report.enforced if result.verdict in which}


def test_a_healthy_step_passes(redo_home: Path, shadow_rows: list[dict[str, Any]]) -> None:
    """Each gate of the phase is reported once; those with nothing to look at are observed."""
    write_run(redo_home, "shadow", shadow_rows, SHADOW)
    write_run(redo_home, "one", sample_rows(COUNT))
    report = evaluate(redo_home)
    assert report.verdict is Verdict.PASS
    assert (report.report_id, report.phase, report.attempt, report.step) == ("r-1", Phase.GRADUAL, 1, 1)
    assert sum(report.samples.values()) == COUNT
    names = [result.name for result in report.results]
    assert names == [Gate.EVIDENCE, *SUITES[Phase.GRADUAL], *CHECKS[Phase.GRADUAL]]
    observed = {result.name for result in report.results if not result.is_enforced}
    assert observed == {Gate.LEDGER_INTEGRITY, Gate.CANARY_QUALITY, Gate.CANARY_MISINFO}
    assert GateReport.from_dict(report.to_dict()) == report


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        (Behaviour(failed=0.02), {Gate.FAILURE_RATE, Gate.CANARY_FAILURES}),
        (Behaviour(late=0.06), {Gate.DEADLINE_RATE, Gate.FALLBACK_RATE}),
        (Behaviour(stopped=0.2), {Gate.FALLBACK_RATE}),
        (Behaviour(slow=0.15), {Gate.LATENCY_BUDGET, Gate.LATENCY_TAIL}),
        (Behaviour(slow=0.15, slow_ms=200), {Gate.LATENCY_TAIL}),
        (Behaviour(redo_ms=60), {Gate.LATENCY_DRIFT, Gate.LATENCY_TAIL}),
        (Behaviour(redo_ms=150), {Gate.LATENCY_DRIFT, Gate.LATENCY_TAIL, Gate.CANARY_LATENCY}),
        (Behaviour(labelled=0.9, recall=(0.8, 0.6)), {Gate.CANARY_QUALITY}),
        (Behaviour(labelled=0.9, misinfo=(0.2, 0.4)), {Gate.CANARY_MISINFO}),
    ],
)
def test_each_fault_fails_its_gates_and_no_other(
    redo_home: Path, shadow_rows: list[dict[str, Any]], fault: Behaviour, failing: set[Gate]
) -> None:
    """Failures, lateness, open breakers, slowness as a whole and in the tail, worse evidence."""
    write_run(redo_home, "shadow", shadow_rows, SHADOW)
    write_run(redo_home, "one", sample_rows(COUNT, TEN, fault))
    report = evaluate(redo_home)
    assert verdicts(report, Verdict.FAIL) == failing
    assert verdicts(report, Verdict.ERROR) == set()


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        (HEALTHY, set()),
        (Behaviour(failed=0.03), {Gate.FAILURE_RATE, Gate.CANARY_FAILURES}),
        (Behaviour(late=0.06), {Gate.DEADLINE_RATE, Gate.FALLBACK_RATE}),
        (Behaviour(labelled=0.9, recall=(0.8, 0.6)), {Gate.CANARY_QUALITY}),
    ],
)
def test_shadow_shows_what_would_happen(redo_home: Path, fault: Behaviour, failing: set[Gate]) -> None:
    """There the guard says legacy, and a failure shows in what REDO did not select."""
    write_run(redo_home, "one", sample_rows(2000, SHADOW, fault), SHADOW)
    report = evaluate(redo_home, a_scope(SHADOW))
    assert verdicts(report, Verdict.FAIL) == failing
    assert report.samples["redo"] == report.samples["legacy"] == 2000


def test_a_retriever_that_fails_is_no_fault_of_redo(redo_home: Path) -> None:
    """Both arms need it: the comparison sees no excess, and REDO's own failures are not these."""
    write_run(redo_home, "one", sample_rows(COUNT, TEN, Behaviour(unranked=0.015)))
    report = evaluate(redo_home)
    assert result_of(report, Gate.FAILURE_RATE).verdict is Verdict.PASS
    assert result_of(report, Gate.CANARY_FAILURES).verdict is Verdict.PASS


def test_at_full_the_control_arm_is_that_of_the_step_before(redo_home: Path) -> None:
    """Nobody is left for legacy; without a step before there is nothing to compare with, and it says so."""
    half = Step(phase=Phase.GRADUAL, percentage=50)
    write_run(redo_home, "all", sample_rows(1200, FULL, Behaviour(failed=0.1)), FULL)
    assert result_of(evaluate(redo_home, a_scope(FULL)), Gate.CANARY_FAILURES).mode is GateMode.OBSERVE
    write_run(redo_home, "half", sample_rows(4000, half), half, number=3)
    compared = result_of(evaluate(redo_home, a_scope(FULL)), Gate.CANARY_FAILURES)
    assert (compared.mode, compared.verdict) == (GateMode.ENFORCE, Verdict.FAIL)


# --- what must never pass -----------------------------------------------------------------------------------------


def test_no_run_is_inconclusive(redo_home: Path) -> None:
    """There is nothing to say anything by."""
    report = evaluate(redo_home)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert [result.name for result in report.results] == [Gate.EVIDENCE]


@pytest.mark.parametrize(
    "scope",
    [
        a_scope(attempt=2),
        a_scope(number=2),
        replace(a_scope(), step=Step(phase=Phase.FULL, percentage=100)),
        replace(a_scope(), entered_at=ENTERED_AT + timedelta(hours=1)),
        replace(a_scope(), step=Step(phase=Phase.GRADUAL, percentage=12.5)),
    ],
    ids=["attempt", "step", "phase", "entered later", "percentage"],
)
def test_data_of_something_else_are_inconclusive(redo_home: Path, scope: Scope) -> None:
    """Another attempt, step, phase or percentage, and runs begun before the step was entered."""
    write_run(redo_home, "one", sample_rows(1000))
    assert evaluate(redo_home, scope).verdict is Verdict.INCONCLUSIVE


def test_a_run_without_a_rollout_does_not_count(redo_home: Path) -> None:
    """Nor one that is not finished; the report says which were left out."""
    write_run(redo_home, "one", sample_rows(100), rollout=None)
    write_run(redo_home, "two", sample_rows(100)).decisions.unlink()
    report = evaluate(redo_home)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "1 not finished" in result_of(report, Gate.EVIDENCE).detail


def test_a_run_with_flags_of_its_own_does_not_count(redo_home: Path) -> None:
    """Its percentage is not the step's, whatever the rollout was when it began."""
    flags = {"orchestrator.redo_enabled": True, "ledger.enabled": False, "rollout_percentage": 100}
    write_run(redo_home, "one", sample_rows(100), flags=flags)
    write_run(redo_home, "two", sample_rows(COUNT), started_at=ENTERED_AT + timedelta(minutes=31))
    report = evaluate(redo_home)
    assert report.verdict is Verdict.PASS
    assert "1 runs left out: other flags" in result_of(report, Gate.EVIDENCE).detail


@pytest.mark.parametrize("hours", [40.0, -3.0])
def test_stale_data_are_inconclusive(redo_home: Path, hours: float) -> None:
    """The newest run is too old, or of a time that has not come yet."""
    write_run(redo_home, "one", sample_rows(COUNT))
    report = evaluate(redo_home, hours=hours)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "the newest run ended" in result_of(report, Gate.EVIDENCE).detail


def test_little_data_are_pending(redo_home: Path) -> None:
    """Nothing is wrong, and nothing is proved: neither the sample nor the rates."""
    write_run(redo_home, "one", sample_rows(1500))
    report = evaluate(redo_home)
    assert report.verdict is Verdict.PENDING
    assert {Gate.EVIDENCE, Gate.FAILURE_RATE, Gate.CANARY_FAILURES} <= verdicts(report, Verdict.PENDING)


def test_an_arm_without_a_query_is_inconclusive(redo_home: Path) -> None:
    """All keys fell to legacy: nothing is known of REDO."""
    rows = [row for row in sample_rows(1000) if row["guard_decision"] == "legacy"]
    write_run(redo_home, "one", rows)
    report = evaluate(redo_home)
    assert result_of(report, Gate.EVIDENCE).verdict is Verdict.INCONCLUSIVE
    assert report.verdict in {Verdict.INCONCLUSIVE, Verdict.FAIL}


def test_few_queries_that_all_fail_are_found_at_once(redo_home: Path) -> None:
    """A guardrail does not wait for a minimum sample."""
    write_run(redo_home, "one", sample_rows(200, TEN, Behaviour(failed=1.0)))
    assert result_of(evaluate(redo_home), Gate.FAILURE_RATE).verdict is Verdict.FAIL


def test_a_table_that_cannot_be_read_is_an_error(redo_home: Path) -> None:
    """A crash of what reads the data is no evidence for anything."""
    write_run(redo_home, "one", sample_rows(10)).decisions.write_bytes(b"no parquet")
    report = evaluate(redo_home)
    assert report.verdict is Verdict.ERROR
    assert "InvalidInput" in result_of(report, Gate.EVIDENCE).detail


class BrokenValidator:
    """Raises for one suite, evaluates nothing of another."""

    def validate(self, name: str, columns: Mapping[str, Sequence[Any]], rules: Sequence[Rule]) -> list[Outcome]:
        """See `Validator`."""
        del columns, rules
        if name == Gate.INPUT_QUALITY:
            raise RuntimeError("no memory")
        return []


def test_a_crashed_check_and_an_empty_suite_are_errors(redo_home: Path) -> None:
    """The other gates are evaluated all the same."""
    write_run(redo_home, "one", sample_rows(COUNT))
    report = evaluate(redo_home, validator=BrokenValidator())
    crashed, empty = (result_of(report, gate) for gate in (Gate.INPUT_QUALITY, Gate.COHORT_ASSIGNMENT))
    assert (crashed.verdict, crashed.detail) == (Verdict.ERROR, "RuntimeError: no memory")
    assert (empty.verdict, empty.n) == (Verdict.ERROR, 0)
    assert report.verdict is Verdict.ERROR
    assert result_of(report, Gate.FAILURE_RATE).verdict is Verdict.PASS


# --- the input and the cohort -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "change", "column"),
    [
        ({"quarantined": {"query": 900}}, {}, "quarantined_share"),
        ({"queries": 1001}, {}, "unanswered"),
        ({}, {"query_chars": 0}, "empty_texts"),
        ({}, {"query_id": "q-1"}, "duplicate_ids"),
        ({}, {"evidence": 0}, "without_evidence_share"),
        ({}, {"query_chars": 3000}, "mean_query_chars"),
    ],
)
def test_a_bad_batch_fails_its_rule(redo_home: Path, spec: dict[str, Any], change: dict[str, Any], column: str) -> None:
    """It is a signal: the input is nobody's rollout."""
    write_run(redo_home, "one", [row | change for row in sample_rows(1000)], **spec)
    result = result_of(evaluate(redo_home), Gate.INPUT_QUALITY)
    assert (result.verdict, result.kind) == (Verdict.FAIL, GateKind.SIGNAL)
    assert column in result.detail


def test_a_broken_assignment_is_found_at_the_first_query(redo_home: Path) -> None:
    """A key above the percentage went to REDO, and is in both arms."""
    rows = sample_rows(1000)
    outside = next(row for row in rows if row["bucket"] > 10)
    redo = {"guard_decision": "redo", "guard_reason": "ENABLED", "decision": "redo", "redo_selected": True}
    write_run(redo_home, "one", [*rows, outside | redo | {"query_id": "again", "trace_id": "f" * 32}])
    result = result_of(evaluate(redo_home), Gate.COHORT_ASSIGNMENT)
    assert result.verdict is Verdict.FAIL
    assert "redo_outside" in result.detail
    assert "keys_in_both" in result.detail


def test_the_cohort_is_counted_by_keys(redo_home: Path) -> None:
    """One session with most of the queries does not shift the share; keys of which too many are in it do."""
    rows = sample_rows(2000)
    heavy = next(row for row in rows if row["guard_decision"] == "redo")
    more = [heavy | {"query_id": f"more-{place}", "trace_id": f"{place:032x}"} for place in range(3000)]
    write_run(redo_home, "one", rows + more)
    assert result_of(evaluate(redo_home), Gate.COHORT_SHARE).verdict is Verdict.PASS
    folder = write_run(redo_home, "two", rows, started_at=ENTERED_AT + timedelta(minutes=31))
    skewed = [row for row in rows if row["guard_decision"] == "redo" or row["bucket"] < 60]
    spec = {"batch_id": "two", "phase": "gradual", "attempt": 1, "step": 1, "percentage": 10.0, "budget_ms": 400.0}
    times = {"started_at": ENTERED_AT, "finished_at": NOW}
    write_rows(folder.decisions, [row | spec | times for row in skewed])
    write_rows(redo_home / "runs" / "one" / "decisions.parquet", [])
    assert result_of(evaluate(redo_home), Gate.COHORT_SHARE).verdict is Verdict.FAIL


def test_nobody_is_served_in_shadow(redo_home: Path) -> None:
    """One query that REDO answered at 0 % is one too many."""
    rows = sample_rows(800, SHADOW)
    rows[3] |= {"decision": "redo", "reason": "ENABLED", "guard_decision": "redo", "guard_reason": "ENABLED"}
    write_run(redo_home, "one", rows, SHADOW)
    result = result_of(evaluate(redo_home, a_scope(SHADOW)), Gate.COHORT_SHARE)
    assert (result.verdict, result.kind) == (Verdict.FAIL, GateKind.GUARDRAIL)


# --- modes, kinds, looks ------------------------------------------------------------------------------------------


def test_an_observed_gate_decides_nothing(redo_home: Path) -> None:
    """It is reported as it is; `evidence` cannot be observed."""
    write_run(redo_home, "one", sample_rows(COUNT, TEN, Behaviour(slow=0.15)))
    observed = replace(THRESHOLDS, observed=frozenset({Gate.LATENCY_BUDGET, Gate.EVIDENCE}))
    report = evaluate(redo_home, thresholds=observed)
    result = result_of(report, Gate.LATENCY_BUDGET)
    assert (result.mode, result.verdict) == (GateMode.OBSERVE, Verdict.FAIL)
    assert result_of(report, Gate.EVIDENCE).mode is GateMode.ENFORCE
    assert report.verdict is Verdict.PASS


def test_the_kinds() -> None:
    """What the guardrails are; all else is a signal."""
    guardrails = {gate for gate in Gate if kind_of(gate) is GateKind.GUARDRAIL}
    assert {Gate.FAILURE_RATE, Gate.LATENCY_BUDGET, Gate.COHORT_SHARE, Gate.CANARY_FAILURES} <= guardrails
    assert not guardrails & {Gate.INPUT_QUALITY, Gate.LEDGER_INTEGRITY, Gate.LATENCY_DRIFT, Gate.CANARY_QUALITY}


def test_the_thresholds_of_the_demonstration_need_few_queries(redo_home: Path) -> None:
    """300 queries pass at 10 %, and faults that nobody could overlook fail."""
    step = replace(TEN, min_samples_per_arm=10)
    scope = replace(a_scope(), step=step)
    write_run(redo_home, "one", sample_rows(300))
    assert evaluate(redo_home, scope, thresholds=DEMO_THRESHOLDS).verdict is Verdict.PASS
    more = sample_rows(300, TEN, Behaviour(failed=1.0), first=300)
    write_run(redo_home, "two", more, started_at=ENTERED_AT + timedelta(minutes=50))
    assert evaluate(redo_home, scope, thresholds=DEMO_THRESHOLDS).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], None), ([60, 39], None), ([60, 40], Look(0, 2)), ([60, 40, 99], Look(0, 2)), ([60, 40, 100], Look(1, 3))],
)
def test_looks_are_at_sizes_that_double(sizes: list[int], expected: Look | None) -> None:
    """At 100, 200, 400; between two of them the same runs are looked at."""
    assert latest_look(sizes, 100) == expected


def test_a_large_first_run_is_a_late_look() -> None:
    """It reaches several sizes at once, and is the look of the last one."""
    assert latest_look([450], 100) == Look(2, 1)
