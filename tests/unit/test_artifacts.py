"""What a run leaves in the Prefect UI: its numbers, its latency and its contradictions, as Markdown that holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.artifacts import conflict_list, latency_chart, run_table
from tasks.summary import Summary

SUMMARY = Summary(
    batch_id="batch-1",
    queries=12_345,
    answered=12_345,
    without_evidence=0,
    quarantined={"query": 2, "passage": 1},
    decisions={"redo": 12_000, "legacy": 344, "fallback": 1},
    reasons={"ENABLED": 12_000, "NOT_IN_ROLLOUT": 344, "ORCHESTRATOR_ERROR": 1},
    latency_ms={"p50": 2.04, "p95": 11.5, "p99": 19.0},
    budget_ms=400.0,
    deadline_hits=3,
    contradictions={"date": 2, "numeric": 40},
    ambiguities=5,
    disputed=["q-1"],
    errors={},
    output="/runs/batch-1/output.jsonl",
    ledger={"uri": "s3://bucket/ledger", "rows": 12_345, "pending": 0, "refused": 0, "quarantined": 0, "error": None},
    quality=None,
    resumed=0,
    chunks=124,
    run_folder="/runs/batch-1",
)


def found(left: str, right: str, *, left_value: str, right_value: str, start: int = 0) -> dict[str, Any]:
    """A contradiction between two sentences that begin at a place in their passages."""

    def claim(passage_id: str, sentence: str, value: str) -> dict[str, Any]:
        at = start + sentence.index(value)
        return {
            "passage_id": passage_id,
            "sentence": sentence,
            "sentence_start": start,
            "value_start": at,
            "value_end": at + len(value),
        }

    sides = {"left": claim("p-1", left, left_value), "right": claim("p-2", right, right_value)}
    return {"kind": "numeric", "score": 0.9} | sides


def record(*contradictions: dict[str, Any], query: str = "How long?", query_id: str = "q-1") -> dict[str, Any]:
    """A query with what was found for it."""
    return {"query_id": query_id, "query": query, "contradictions": list(contradictions)}


PLAIN = found("It is 412 m long.", "It is 530 m long.", left_value="412", right_value="530")


def test_the_table_has_a_row_for_each_number() -> None:
    """Queries, each decision and reason, percentiles against the budget, each kind of contradiction, both places."""
    rows = {row["what"]: row["value"] for row in run_table(SUMMARY)}
    assert rows == {
        "queries": "12345",
        "answered": "12345",
        "answered by redo": "12000",
        "answered by legacy": "344",
        "answered by fallback": "1",
        "because ENABLED": "12000",
        "because NOT_IN_ROLLOUT": "344",
        "because ORCHESTRATOR_ERROR": "1",
        "quarantined records": "3",
        "latency p50 / p95 / p99": "2.0 ms / 11.5 ms / 19.0 ms",
        "budget": "400 ms",
        "out of time": "3",
        "contradictions: date": "2",
        "contradictions: numeric": "40",
        "ambiguities": "5",
        "output": "/runs/batch-1/output.jsonl",
        "ledger": "s3://bucket/ledger, 12345 rows",
    }
    assert run_table(replace(SUMMARY, ledger=None))[-1] == {"what": "ledger", "value": "off"}


def chart_rows(latencies_ms: list[float], **change: Any) -> list[tuple[str, str, int]]:
    """The lines of the chart: label, count, length of the bar."""
    text = latency_chart(latencies_ms, replace(SUMMARY, **change))
    lines = text.partition("```text\n")[2].removesuffix("\n```\n").split("\n")
    return [(line[:12].strip(), line[12:21].strip(), line.count("█")) for line in lines]


def test_the_chart_counts_every_query_once() -> None:
    """A latency on a bound belongs below it, and the bars are in proportion, the longest 40."""
    rows = chart_rows([0.5, 1.0, 1.001, 4.9, 5.0, 399.0, 400.0, 400.1, 70_000.0])
    assert [(label, count) for label, count, _ in rows if count not in {"", "0"}] == [
        ("<= 1 ms", "2"),
        ("<= 2 ms", "1"),
        ("<= 5 ms", "2"),
        ("<= 400 ms", "2"),
        ("> 400 ms", "2"),
    ]
    assert {length for _, count, length in rows if count == "2"} == {40}
    assert {length for _, count, length in rows if count == "1"} == {20}


def test_one_query_among_many_is_seen() -> None:
    """A single late query has a bar, however short."""
    rows = chart_rows([1.0] * 10_000 + [500.0])
    assert rows[0] == ("<= 1 ms", "10,000", 40)
    assert rows[-1] == ("> 400 ms", "1", 1)


def test_the_budget_stands_between_in_time_and_late() -> None:
    """Its line comes before the last bar, wherever the budget is."""
    for budget_ms, bounds in ((400.0, 9), (0.5, 1), (2.0, 2), (60_000.0, 12)):
        labels = [label for label, _, _ in chart_rows([1.0], budget_ms=budget_ms)]
        assert labels[-2:] == ["budget", f"> {budget_ms:g} ms"]
        assert len(labels) == bounds + 2


def test_a_run_without_queries_has_a_chart() -> None:
    """No bar, and no division by zero."""
    assert {length for _, _, length in chart_rows([])} == {0}


def test_a_conflict_shows_both_sentences() -> None:
    """The disputed values are bold, wherever in its passage the sentence stands."""
    shifted = found("It is 412 m long.", "It is 530 m long.", left_value="412", right_value="530", start=77)
    for contradiction in (PLAIN, shifted):
        text = conflict_list([record(contradiction)], SUMMARY)
        assert "42 found, 5 ambiguities beside them." in text
        assert "**numeric** (0.90), `q-1`: How long?" in text
        assert "- `p-1` It is **412** m long.\n" in text
        assert text.endswith("- `p-2` It is **530** m long.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert\(1\)\</script\>"),
        ("[a](http://x) ![b](c)", r"\[a\]\(http://x\) \!\[b\]\(c\)"),
        ("*a* _b_ `c` ~~d~~ # e | f", r"\*a\* \_b\_ \`c\` \~\~d\~\~ \# e \| f"),
        ("two\n\n# lines\tof\rtext", r"two \# lines of text"),
        (r"a\*b", r"a\\\*b"),
        ("AT&amp;T", r"AT\&amp;T"),
    ],
)
def test_texts_are_not_taken_for_markdown(text: str, shown: str) -> None:
    """Queries and sentences show as they are: nothing in them is a link, a tag, a heading or a new line."""
    hostile = found(f"{text} 412", "530", left_value="412", right_value="530")
    listed = conflict_list([record(hostile, query=text)], SUMMARY)
    assert f"(0.90), `q-1`: {shown}\n" in listed
    assert f"- `p-1` {shown} **412**\n" in listed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>[x](y)</b>", "`<b>[x](y)</b>`"),
        ("a`<img src=x>`", "`` a`<img src=x>` ``"),
        ("``", "``` `` ```"),
    ],
)
def test_an_id_is_code_whatever_it_holds(text: str, shown: str) -> None:
    """Backticks in an id do not end it."""
    sides = {side: PLAIN[side] | {"passage_id": text} for side in ("left", "right")}
    listed = conflict_list([record(PLAIN | sides, query_id=text)], SUMMARY)
    assert f"(0.90), {shown}: How long?\n" in listed
    assert listed.count(f"- {shown} It is") == 2


def test_the_list_ends() -> None:
    """25 are shown; the reader is told where the others are, and only when there are others."""
    many = [record(PLAIN, PLAIN, query_id=f"q-{number}") for number in range(12)]
    assert "the ledger has all" not in conflict_list([*many, record(PLAIN, query_id="q-12")], SUMMARY)
    listed = conflict_list([*many, record(PLAIN, PLAIN, query_id="q-12")], SUMMARY)
    assert listed.count("**numeric**") == 25
    assert listed.endswith("The first 25 are shown; the ledger has all.")


def test_without_a_ledger_the_list_does_not_point_to_it() -> None:
    """Where the ledger is off, the others are in the run's folder."""
    many = [record(PLAIN, query_id=f"q-{number}") for number in range(26)]
    listed = conflict_list(many, replace(SUMMARY, ledger=None))
    assert listed.endswith("The first 25 are shown; the run's folder has all.")


def test_a_run_without_conflicts_says_so() -> None:
    """The numbers alone."""
    text = conflict_list([], replace(SUMMARY, contradictions={}, ambiguities=0))
    assert text == "## Contradictions\n\n0 found, 0 ambiguities beside them."
