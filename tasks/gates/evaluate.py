"""All gates of one step, and what they come to: the evidence that the controller decides by.

A gate that cannot say anything never passes: no data, old data and data of something else are INCONCLUSIVE, a check
that raised and a suite of which nothing was evaluated are an ERROR.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from core.rollout.gates import GateMode, GateReport, GateResult
from core.rollout.plan import ARM_LEGACY, ARM_REDO
from core.rollout.verdict import Verdict
from tasks.gates.frames import Rows, Run, Runs, Scope, find_runs
from tasks.gates.ledger_frame import LedgerReader, ledger_columns
from tasks.gates.measured import Evidence, Measured, nothing_to_compare
from tasks.gates.offline_docs import finish_docs
from tasks.gates.run_tables import RunReader
from tasks.gates.suites import ASSIGNMENT_RULES, CHECKS, LEDGER_RULES, SUITES, Rule, input_rules
from tasks.gates.thresholds import THRESHOLDS, Gate, Thresholds, kind_of
from tasks.gates.validation import GreatExpectations, Validator, judge

_LOGGER: Final = logging.getLogger(__name__)

Columns = dict[str, list[Any]]
"""A frame: its columns by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What evaluates the gates of a rollout.

    Attributes:
        home: `REDO_HOME`, whose runs are looked at.
        max_trace_bytes: the most bytes that a trace may have in the ledger.
        thresholds: the limits.
        validator: runs the suites; Great Expectations by default.
        reader: reads the runs, and keeps what it has read.
        ledger: compares the ledger with the runs; see `ledger_columns`.
    """

    home: Path
    max_trace_bytes: int = 100_000
    thresholds: Thresholds = THRESHOLDS
    validator: Validator = field(default_factory=GreatExpectations)
    reader: RunReader = field(default_factory=RunReader)
    ledger: LedgerReader = ledger_columns

    def evaluate(self, scope: Scope, *, report_id: str, now: datetime) -> GateReport:
        """Evaluate all gates of a step. Whatever goes wrong in one becomes its verdict, so this does not raise.

        Args:
            scope: which step, attempt and time the data must belong to.
            report_id: names the report.
            now: the time now, with a zone.
        """
        try:
            runs = find_runs(self.home, scope, reader=self.reader)
            rows, baseline = self._rows(runs.counted), self._rows(runs.baseline)
        except Exception as error:  # noqa: BLE001 - what cannot be read is no evidence
            return self._report(scope, report_id, now, [self._result(Gate.EVIDENCE, _crashed(error), "")], None)
        if rows is None:
            nothing = Measured(Verdict.INCONCLUSIVE, None, "a finished run of the step", 0, _no_run(runs))
            return self._report(scope, report_id, now, [self._result(Gate.EVIDENCE, nothing, "")], None)
        results = list(self._results(scope, runs, rows, baseline, now))
        return self._report(scope, report_id, now, results, rows)

    def _rows(self, runs: Sequence[Run]) -> Rows | None:
        """The rows of runs; `None` where they have none."""
        rows = Rows(runs, slow_share=self.thresholds.latency_share, reader=self.reader)
        return rows if len(rows.runs) else None

    def _results(
        self, scope: Scope, runs: Runs, rows: Rows, baseline: Rows | None, now: datetime
    ) -> Iterator[GateResult]:
        window = _window(rows)
        evidence = Evidence(
            scope=scope,
            thresholds=self.thresholds,
            rows=rows,
            baseline=baseline,
            budget_ms=runs.counted[-1].spec.pipeline_config.budget_s * 1e3,
        )
        yield self._result(Gate.EVIDENCE, _guarded(partial(self._evidence, scope, runs, rows, now)), window)
        for gate in SUITES[scope.step.phase]:
            suite = _guarded(partial(self._suite, gate, scope, runs, rows, now))
            yield self._result(gate, suite, window)
        for gate, check in CHECKS[scope.step.phase].items():
            measured = _guarded(partial(check, evidence))
            yield self._result(gate, measured, window)

    def _evidence(self, scope: Scope, runs: Runs, rows: Rows, now: datetime) -> Measured:
        """Whether there is enough, and whether it is of today. It never fails: missing data are nobody's fault."""
        samples = _samples(rows)
        smallest = min(samples[arm] for arm in scope.step.arms)
        wanted, max_age_s = scope.step.min_samples_per_arm, self.thresholds.max_age_s
        threshold = f"{wanted:,} queries of each arm, the newest run at most {max_age_s / 3600:g} h old"
        age = now - max(rows.runs.columns["finished_at"])
        detail = ", ".join(
            [f"{len(runs.counted)} runs", *(f"{arm} {count:,}" for arm, count in samples.items())]
            + [f"{count} runs left out: {why}" for why, count in sorted(runs.left_out.items())]
        )
        verdict = Verdict.PASS if smallest >= wanted else Verdict.PENDING
        if smallest == 0 or age > timedelta(seconds=max_age_s) or age < timedelta(seconds=-60):
            verdict = Verdict.INCONCLUSIVE
            detail += f"; the newest run ended {age} ago" if smallest else "; an arm answered nothing"
        return Measured(verdict, float(smallest), threshold, smallest, detail)

    def _suite(self, gate: Gate, scope: Scope, runs: Runs, rows: Rows, now: datetime) -> Measured:
        rules, unit = _RULES[gate](self.thresholds)
        columns: Columns | None
        if gate is Gate.COHORT_ASSIGNMENT and scope.step.shadow:
            return nothing_to_compare("all rules hold", "in shadow nobody is put into an arm")
        if gate is Gate.INPUT_QUALITY:
            columns = _input_columns(runs, rows)
        elif gate is Gate.COHORT_ASSIGNMENT:
            columns = {name: [count] for name, count in rows.assignment(scope.step.percentage).items()}
            columns["keys_in_both"] = [rows.cohort()["in_both"]]
        else:
            columns = self._ledger(scope, runs, rows, now)
        if columns is None:
            return nothing_to_compare("all rules hold", "no run of this step writes to the ledger")
        measured = judge(self.validator.validate(gate.value, columns, rules), rules, unit=unit)
        waiting = sum(columns.get("missing", ()))
        if measured.verdict is Verdict.PASS and waiting:
            return replace(measured, verdict=Verdict.PENDING, detail=f"{waiting:,} traces are awaited")
        return measured

    def _ledger(self, scope: Scope, runs: Runs, rows: Rows, now: datetime) -> Columns | None:
        """The ledger's frame; `None` where no run of the step has one. A step with the ledger on must have."""
        places = {run.spec.ledger: None for run in runs.counted if run.spec.ledger is not None}
        if not places and not scope.step.ledger_enabled:
            return None
        finished_at = dict(zip(rows.runs.columns["batch_id"], rows.runs.columns["finished_at"], strict=True))
        merged: Columns = {"missing": [], **{rule.column: [] for rule in LEDGER_RULES}}
        for place in places:
            assert place is not None  # noqa: S101 - the key was filtered
            found = self.ledger(
                place,
                [run.folder.decisions for run in runs.counted if run.spec.ledger == place],
                finished_at,
                now=now,
                grace_s=self.thresholds.ledger_grace_s,
                max_trace_bytes=self.max_trace_bytes,
            )
            for name, values in merged.items():
                values.extend(found[name])
        return merged

    def _result(self, gate: Gate, measured: Measured, window: str) -> GateResult:
        observed = gate is not Gate.EVIDENCE and (measured.skipped or gate in self.thresholds.observed)
        return GateResult(
            name=gate.value,
            kind=kind_of(gate),
            mode=GateMode.OBSERVE if observed else GateMode.ENFORCE,
            verdict=measured.verdict,
            value=measured.value,
            threshold=measured.threshold,
            n=measured.n,
            window=window,
            detail=measured.detail,
        )

    def _report(
        self, scope: Scope, report_id: str, now: datetime, results: list[GateResult], rows: Rows | None
    ) -> GateReport:
        return GateReport(
            report_id=report_id,
            phase=scope.step.phase,
            attempt=scope.attempt,
            step=scope.number,
            created_at=now,
            window_start=scope.entered_at if rows is None else min(rows.runs.columns["started_at"]),
            window_end=now if rows is None else max(rows.runs.columns["finished_at"]),
            samples={ARM_REDO: 0, ARM_LEGACY: 0} if rows is None else _samples(rows),
            results=tuple(results),
        )


def evaluate_gates(
    home: Path,
    scope: Scope,
    *,
    report_id: str,
    now: datetime,
    max_trace_bytes: int = 100_000,
    thresholds: Thresholds = THRESHOLDS,
    docs: Path | None = None,
    reader: RunReader | None = None,
) -> GateReport:
    """Evaluate all gates of a step with Great Expectations.

    Args:
        home: `REDO_HOME`, whose runs are looked at.
        scope: which step, attempt and time the data must belong to.
        report_id: names the report.
        now: the time now, with a zone.
        max_trace_bytes: the most bytes that a trace may have in the ledger: `LEDGER_MAX_TRACE_BYTES`.
        thresholds: the limits.
        docs: an empty folder for the Data Docs; none are made without one. They ask no other host for anything. They
            are for people: where they cannot be written the report is the same.
        reader: what has read runs before; a new one by default.
    """
    validator = GreatExpectations(docs=docs)
    gates = Gates(
        home=home,
        max_trace_bytes=max_trace_bytes,
        thresholds=thresholds,
        validator=validator,
        reader=reader or RunReader(),
    )
    report = gates.evaluate(scope, report_id=report_id, now=now)
    if docs is not None:
        try:
            docs.mkdir(parents=True, exist_ok=True)
            validator.write_docs()
            finish_docs(docs, report)
        except Exception as error:  # noqa: BLE001 - a verdict must not hang on a page
            _LOGGER.warning("no Data Docs for %s: %s: %s", report_id, type(error).__name__, error)
    return report


_RULES: dict[Gate, Callable[[Thresholds], tuple[tuple[Rule, ...], str]]] = {
    Gate.INPUT_QUALITY: lambda limits: (input_rules(limits), "runs"),
    Gate.COHORT_ASSIGNMENT: lambda _: (ASSIGNMENT_RULES, "rows"),
    Gate.LEDGER_INTEGRITY: lambda _: (LEDGER_RULES, "runs"),
}


def _guarded(check: Callable[[], Measured]) -> Measured:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check that raised says nothing about the data
        return _crashed(error)


def _crashed(error: Exception) -> Measured:
    return Measured(Verdict.ERROR, None, "the check works", 0, f"{type(error).__name__}: {error}")


def _no_run(runs: Runs) -> str:
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(runs.left_out.items()))
    return f"no finished run of this phase, attempt and step{f': {why}' if why else ''}"


def _samples(rows: Rows) -> dict[str, int]:
    return {ARM_REDO: rows.runs.total("asked"), ARM_LEGACY: rows.runs.total("control")}


def _window(rows: Rows) -> str:
    first, last = min(rows.runs.columns["started_at"]), max(rows.runs.columns["finished_at"])
    return f"{first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}"


def _input_columns(runs: Runs, rows: Rows) -> Columns:
    """One row a run: what its loading and its rows say about its input."""
    specs = {run.spec.batch_id: run.spec for run in runs.counted}
    known = rows.runs.columns
    columns: Columns = {
        name: list(known[name]) for name in ("batch_id", "rows", "empty_texts", "duplicate_ids", "mean_query_chars")
    }
    bad = [specs[batch_id].quarantined.get("query", 0) for batch_id in known["batch_id"]]
    columns["unanswered"] = [specs[name].queries - n for name, n in zip(known["batch_id"], known["rows"], strict=True)]
    columns["quarantined_share"] = [count / (count + n) for count, n in zip(bad, known["rows"], strict=True)]
    columns["without_evidence_share"] = [
        count / n for count, n in zip(known["without_evidence"], known["rows"], strict=True)
    ]
    return columns
