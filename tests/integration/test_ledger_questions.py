"""The ten questions of docs/ledger.md are answered by a small ledger, and its tables are those of the schema."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.trace import QueryResult
from ledger.column_table import columns_table
from ledger.encode import RunIdentity, encode_traces, object_key
from ledger.query import QueryTable, run_query
from ledger.schema import mapping_table
from tests.committed_ledger import DAY, NEXT_DAY, commit
from tests.ledger_samples import RECORDED_AT, a_result, a_run, trace_ids

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"
QUESTIONS = dict(re.findall(r"^### (\d+)\. .*?^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))


def write(uri: str, results: list[QueryResult], run: RunIdentity, *, minutes: int = 0, next_day: bool = False) -> None:
    """Commit a chunk of a run that was recorded some minutes later."""
    day = NEXT_DAY if next_day else DAY
    payload = encode_traces(results, run=run, recorded_at=RECORDED_AT.replace(minute=5 + minutes))
    commit(uri, object_key(run.batch_id, 0, trace_ids(results, run=run), day), payload, rows=len(results))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two code versions of two batches in a rollout; in the second the breaker opened and an answer was legacy."""
    uri = str(tmp_path_factory.mktemp("ledger"))
    first = replace(a_run("A"), breaker_state="closed", phase="canary", phase_attempt=1)
    write(uri, [a_result(n) for n in range(4)], first)
    second = replace(first, batch_id="B", code_version="0.2.0", breaker_state="open")
    others = [a_result(2), a_result(3, documents=5), a_result(5, redo=False)]
    write(uri, others, second, minutes=10, next_day=True)
    return uri


def answer(ledger: str, number: int) -> QueryTable:
    """What a question's SQL returns."""
    return run_query(ledger, QUESTIONS[str(number)])


class TestQuestions:
    """Each has the answer that is known beforehand."""

    def test_there_are_ten(self) -> None:
        """All that the page promises."""
        assert list(QUESTIONS) == [str(number) for number in range(1, 11)]

    def test_1_latency_by_version(self, ledger: str) -> None:
        """One row a version and decision."""
        rows = [(row["code_version"], row["decision"], row["n"], row["p50"]) for row in answer(ledger, 1).records()]
        assert rows == [("0.1.0", "redo", 4, 14.0), ("0.2.0", "legacy", 1, 17.5), ("0.2.0", "redo", 2, 15.0)]

    def test_2_budget_by_stage(self, ledger: str) -> None:
        """The stage that takes most of the budget comes first."""
        rows = answer(ledger, 2).records()
        assert [(row["stage"], row["runs"], row["p50_ms"], row["out_of_time"]) for row in rows] == [
            ("detect", 7, 4.0, 7),
            ("retrieve", 7, 2.5, 0),
        ]
        assert [row["budget_percent"] for row in rows] == [1.0, pytest.approx(0.63, abs=0.01)]

    def test_3_conflicts_by_kind(self, ledger: str) -> None:
        """Counted by finding and by query; only REDO's traces have some."""
        rows = {row["kind"]: (row["findings"], row["queries"]) for row in answer(ledger, 3).records()}
        assert rows["numeric"][0] == rows["ambiguity"][0] == rows["numeric"][1]

    def test_4_sources_that_lose(self, ledger: str) -> None:
        """Each side of a contradiction counts for its source."""
        rows = {row["source"]: row for row in answer(ledger, 4).records()}
        assert rows["site-p-0002-0"] == {"source": "site-p-0002-0", "disputes": 2, "lost": 0, "undecided": 2}

    def test_5_why_passages_are_dropped(self, ledger: str) -> None:
        """The last passage of every query is a near duplicate here."""
        rows = answer(ledger, 5).records()
        assert sum(int(str(row["passages"])) for row in rows) == 7
        assert {row["because"] for row in rows} == {"near_duplicate"}

    def test_6_breaker_timeline(self, ledger: str) -> None:
        """Minute by minute, with the state that was recorded."""
        rows = [(str(row["minute"])[11:16], row["breaker"], row["queries"]) for row in answer(ledger, 6).records()]
        assert rows == [("08:05", "closed", 4), ("08:15", "open", 3)]

    def test_7_churn(self, ledger: str) -> None:
        """Queries of both versions: one is the same, one changed."""
        rows = [(row["churn"], row["queries"], row["mean_overlap"]) for row in answer(ledger, 7).records()]
        assert sorted(rows, key=str) == [("changed", 1, 0.75), ("same", 1, 1.0)]

    def test_8_gate_input(self, ledger: str) -> None:
        """By phase, attempt and who answered."""
        rows = [(row["phase"], row["attempt"], row["decision"], row["queries"]) for row in answer(ledger, 8).records()]
        assert rows == [("canary", 1, "legacy", 1), ("canary", 1, "redo", 6)]

    def test_9_completeness(self, ledger: str) -> None:
        """Every committed row is found."""
        rows = [tuple(row.values()) for row in answer(ledger, 9).records()]
        assert rows == [("2026-03-01", 4, 4, 0, 0), ("2026-03-02", 3, 3, 0, 0)]

    def test_10_cost(self, ledger: str) -> None:
        """By day and arm: time, tokens and bytes."""
        rows = answer(ledger, 10).records()
        assert [(row["dt"], row["decision"], row["queries"]) for row in rows] == [
            ("2026-03-01", "redo", 4),
            ("2026-03-02", "legacy", 1),
            ("2026-03-02", "redo", 2),
        ]
        assert all(float(str(row["tokens_per_answer"])) > 100 for row in rows)
        assert all(float(str(row["bytes_per_trace"])) > 1000 for row in rows)

    @pytest.mark.parametrize("number", range(1, 11))
    def test_an_empty_ledger_has_no_answer_and_no_error(self, tmp_path: Path, number: int) -> None:
        """Before the first batch each question returns no row."""
        assert answer(str(tmp_path), number).rows == ()


class TestTables:
    """The page's tables are generated, and up to date."""

    def test_every_column_is_described(self) -> None:
        """`python -m ledger.column_table` printed it."""
        assert columns_table() in PAGE.read_text()

    def test_the_mapping_is_that_of_the_schema(self) -> None:
        """`python -m ledger.schema --mapping` printed it."""
        assert mapping_table() in PAGE.read_text()
