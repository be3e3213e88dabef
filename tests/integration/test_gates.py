"""The gates on real files: Great Expectations, DuckDB over Parquet, a committed ledger, and runs of the pipeline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.clock import SystemClock
from core.rollout.gates import GateMode, GateReport
from core.rollout.plan import Phase, Step
from core.rollout.verdict import Verdict
from core.trace import QueryResult
from tasks.chunks import work_on_chunk
from tasks.gates.evaluate import evaluate_gates
from tasks.gates.frames import Scope
from tasks.gates.offline_docs import offline
from tasks.gates.suites import Rule
from tasks.gates.thresholds import DEMO_THRESHOLDS, Gate
from tasks.gates.validation import GreatExpectations, Outcome, judge
from tasks.loading import load_batch
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.summary import finish_run
from tests.batch_samples import write_batch
from tests.committed_ledger import write
from tests.gate_samples import ENTERED_AT, NOW, SHADOW, TEN, a_scope, result_of, sample_rows, write_run
from tests.ledger_samples import a_result, a_run, trace_ids

RULES = (Rule("share", 0.1, 0.0, "few are bad"), Rule("rows", None, 1, "there are rows"))


def validate(columns: dict[str, list[Any]]) -> list[Outcome]:
    """The outcomes of the two rules."""
    return GreatExpectations().validate("a_suite", columns, RULES)


def test_values_within_the_bounds_pass() -> None:
    """Each rule is evaluated as two expectations: not null, and between."""
    outcomes = validate({"share": [0.0, 0.1], "rows": [1, 2]})
    assert [(found.looked_at, found.unexpected, found.error) for found in outcomes] == [(2, 0, None)] * 4
    assert judge(outcomes, RULES, unit="runs").verdict is Verdict.PASS


def test_values_outside_and_missing_ones_fail() -> None:
    """The detail names the column, some values, and what was expected."""
    outside = judge(validate({"share": [0.3, 0.0], "rows": [1, 2]}), RULES, unit="runs")
    assert (outside.verdict, outside.value) == (Verdict.FAIL, 0.5)
    assert outside.detail == "share (0.3) in 1 of 2 runs; expected: few are bad"
    missing = judge(validate({"share": [0.0, None], "rows": [1, 2]}), RULES, unit="runs")
    assert missing.verdict is Verdict.FAIL


def test_an_exception_inside_an_expectation_is_an_error_and_no_failure() -> None:
    """A column that is not there says nothing about the data; beside real failures it does not hide them."""
    measured = judge(validate({"rows": [1]}), RULES, unit="runs")
    assert measured.verdict is Verdict.ERROR
    assert "share" in measured.detail
    both = judge(validate({"rows": [0]}), RULES, unit="runs")
    assert both.verdict is Verdict.FAIL


def test_an_empty_frame_and_an_empty_suite_do_not_pass() -> None:
    """Great Expectations calls both a success."""
    assert judge(validate({"share": [], "rows": []}), RULES, unit="runs").verdict is Verdict.INCONCLUSIVE
    nothing = GreatExpectations().validate("a_suite", {"share": [0.0]}, ())
    assert nothing == []
    assert judge(nothing, (), unit="runs").verdict is Verdict.ERROR
    assert judge(validate({"share": [0.0], "rows": [1]})[:1], RULES, unit="runs").verdict is Verdict.ERROR


# --- a report with everything -------------------------------------------------------------------------------------

LEDGER_STEP = replace(TEN, ledger_enabled=True, min_samples_per_arm=1)


def ledger_rows(results: Sequence[QueryResult], batch_id: str = "batch-1") -> list[dict[str, Any]]:
    """Rows of a run with the trace ids that the ledger knows."""
    ids = trace_ids(results, run=a_run(batch_id))
    rows = sample_rows(len(results), TEN)
    return [row | {"trace_id": known} for row, known in zip(rows, ids, strict=True)]


@pytest.fixture
def results() -> list[QueryResult]:
    """Thirty results."""
    return [a_result(number) for number in range(30)]


def evaluate(home: Path, scope: Scope, **options: Any) -> GateReport:
    """The report on a step, two hours after it was entered."""
    return evaluate_gates(home, scope, report_id="r-1", now=NOW, **options)


def ledger_gate(home: Path, ledger: Path, rows: Sequence[dict[str, Any]], **options: Any) -> Any:
    """The ledger's gate for one run with these rows."""
    write_run(home, "batch-1", rows, LEDGER_STEP, number=1, ledger=str(ledger))
    return result_of(evaluate(home, a_scope(LEDGER_STEP, number=1), **options), Gate.LEDGER_INTEGRITY)


def test_a_whole_ledger_passes(redo_home: Path, tmp_path: Path, results: list[QueryResult]) -> None:
    """Each query has its row; rows of other batches are no business of this one."""
    ledger = tmp_path / "ledger"
    write(str(ledger), results)
    write(str(ledger), [a_result(99)], batch_id="another")
    found = ledger_gate(redo_home, ledger, ledger_rows(results))
    assert (found.verdict, found.mode, found.n) == (Verdict.PASS, GateMode.ENFORCE, 1)


def test_rows_that_are_missing_are_awaited_for_a_time(
    redo_home: Path, tmp_path: Path, results: list[QueryResult]
) -> None:
    """They may wait in the spool; after the time of grace they are lost, until somebody shows otherwise."""
    ledger = tmp_path / "ledger"
    write(str(ledger), results[:20])
    rows, ended = ledger_rows(results), NOW - timedelta(minutes=5)
    write_run(redo_home, "batch-1", rows, LEDGER_STEP, number=1, ledger=str(ledger), finished_at=ended)
    scope = a_scope(LEDGER_STEP, number=1)
    waiting = result_of(evaluate(redo_home, scope), Gate.LEDGER_INTEGRITY)
    assert (waiting.verdict, waiting.detail) == (Verdict.PENDING, "10 traces are awaited")
    after = evaluate_gates(redo_home, scope, report_id="r-2", now=NOW + timedelta(hours=1))
    failed = result_of(after, Gate.LEDGER_INTEGRITY)
    assert failed.verdict is Verdict.FAIL
    assert "overdue (10)" in failed.detail


def test_rows_that_nobody_asked_for_and_long_traces_fail(
    redo_home: Path, tmp_path: Path, results: list[QueryResult]
) -> None:
    """The ledger must say what happened, and no more, in the size that was promised."""
    ledger = tmp_path / "ledger"
    write(str(ledger), results)
    found = ledger_gate(redo_home, ledger, ledger_rows(results)[:25], max_trace_bytes=1000)
    assert found.verdict is Verdict.FAIL
    assert "unexpected (5)" in found.detail


def test_a_lost_object_fails(redo_home: Path, tmp_path: Path, results: list[QueryResult]) -> None:
    """Its manifest says that it is committed, and it is not there."""
    ledger = tmp_path / "ledger"
    key = write(str(ledger), results)
    (ledger / key).unlink()
    found = ledger_gate(redo_home, ledger, ledger_rows(results))
    assert found.verdict is Verdict.FAIL
    assert "lost_objects (1)" in found.detail


def test_a_ledger_that_cannot_be_read_is_an_error(redo_home: Path, tmp_path: Path, results: list[QueryResult]) -> None:
    """The store is what does not work; whether the data are right nobody knows."""
    ledger = tmp_path / "ledger"
    ledger.write_text("a file")
    assert ledger_gate(redo_home, ledger, ledger_rows(results)).verdict is Verdict.ERROR


def test_a_step_with_a_ledger_needs_one(redo_home: Path, results: list[QueryResult]) -> None:
    """Where the step turns the ledger on and no run wrote to it, nothing was evaluated."""
    write_run(redo_home, "batch-1", ledger_rows(results), LEDGER_STEP, number=1)
    found = result_of(evaluate(redo_home, a_scope(LEDGER_STEP, number=1)), Gate.LEDGER_INTEGRITY)
    assert found.mode is GateMode.ENFORCE
    assert found.verdict in {Verdict.INCONCLUSIVE, Verdict.ERROR}


# --- Data Docs ----------------------------------------------------------------------------------------------------


def test_data_docs_ask_no_other_host(redo_home: Path, tmp_path: Path) -> None:
    """No page names an address; the first one has each gate with its verdict, and leads to pages that exist."""
    write_run(redo_home, "one", sample_rows(700))
    docs = tmp_path / "docs"
    report = evaluate(redo_home, a_scope(TEN), docs=docs)
    pages = {page.relative_to(docs).as_posix(): page.read_text() for page in docs.rglob("*.html")}
    assert len(pages) > 3
    for name, page in pages.items():
        assert not re.search(r"https?://|<script|<link", page), name
    first = pages["index.html"]
    for result in report.results:
        assert result.name in first
    links = set(re.findall(r'href="([^"]+)"', first))
    assert {link.split("/")[1] for link in links} == {Gate.INPUT_QUALITY, Gate.COHORT_ASSIGNMENT}
    assert links <= pages.keys()
    assert not (docs / "static").exists()


def test_a_report_without_data_has_docs_too(redo_home: Path, tmp_path: Path) -> None:
    """They say that there was nothing."""
    evaluate(redo_home, a_scope(TEN), docs=tmp_path / "docs")
    assert "inconclusive" in (tmp_path / "docs" / "index.html").read_text()


def test_what_leads_out_of_a_page_goes() -> None:
    """Scripts, styles, pictures and links to other hosts; text and links between pages stay."""
    page = """<html><head><title>x</title><link rel="stylesheet" href="https://cdn.example/a.css">
    <style>a { background: url('https://cdn.example/b.png'); }</style></head><body>
    <script src="https://cdn.example/c.js"></script><script>run()</script><img src="https://cdn.example/d.png">
    <a href="https://example.org">outside</a> <a href="../index.html">inside</a>
    <footer>news at https://example.org</footer></body></html>"""
    found = offline(page)
    assert "example" not in found
    assert "run()" not in found
    assert "outside" in found
    assert '<a href="../index.html">inside</a>' in found


# --- a run of the pipeline ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patience")
def test_the_gates_read_what_a_run_writes(redo_home: Path, tmp_path: Path) -> None:
    """A real shadow run: both arms counted, its labels compared, nobody served."""
    files = write_batch(tmp_path, queries=40)
    request = RunRequest(
        batch_id="shadow-1",
        queries=str(files.queries),
        passages=str(files.passages),
        labels=str(files.labels),
        shadow=True,
    )
    clock, settings, folder = SystemClock(), load_settings(), RunFolder.of(redo_home, "shadow-1")
    entered_at = clock.utc_now()
    rollout = {"phase": "infrastructure", "attempt": 1, "step": 0, "percentage": 0}
    spec = replace(load_batch(request, settings, clock=clock), rollout=rollout)
    spec.save(folder.spec)
    for number in range(spec.chunks):
        work_on_chunk(folder, number, settings, clock=clock, flow_run_id=None, attempt=1)
    finish_run(folder, request, resumed=0)

    step = Step(phase=Phase.INFRASTRUCTURE, percentage=0, shadow=True, min_samples_per_arm=10)
    scope = Scope(step=step, number=0, attempt=1, entered_at=entered_at)
    report = evaluate_gates(redo_home, scope, report_id="r-1", now=clock.utc_now(), thresholds=DEMO_THRESHOLDS)
    assert report.samples == {"redo": 40, "legacy": 40}
    for gate in (Gate.EVIDENCE, Gate.INPUT_QUALITY, Gate.FAILURE_RATE, Gate.FALLBACK_RATE, Gate.COHORT_SHARE):
        assert result_of(report, gate).verdict is Verdict.PASS, result_of(report, gate)
    assert result_of(report, Gate.CANARY_QUALITY).verdict is Verdict.PENDING
    assert report.window_start >= entered_at > ENTERED_AT
    assert result_of(report, Gate.LEDGER_INTEGRITY).verdict in {Verdict.PENDING, Verdict.PASS}
    assert a_scope(SHADOW).number == scope.number
