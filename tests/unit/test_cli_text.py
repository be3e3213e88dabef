"""What the command line prints: the user's own texts as they are, and commands that can be typed."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from deployments.cli.terminal import show_error, show_summary, show_table
from deployments.cli.trace_view import show_trace

HOSTILE = "a [red]b[/red] [/] :smile: \\[c] [link=x]"
SUMMARY: dict[str, Any] = {
    "batch_id": "batch-1",
    "queries": 1234,
    "quarantined": 0,
    "decisions": {"redo": 0, "legacy": 1234, "fallback": 0},
    "reasons": {"SHADOW": 1234},
    "latency_ms": {"p50": 2.04, "p95": 11.5, "p99": 19.0},
    "budget_ms": 400.0,
    "deadline_hits": 0,
    "without_evidence": 0,
    "contradictions": {"numeric": 40},
    "ambiguities": 5,
    "disputed": ["0123456789abcdef0123456789abcdef"],
    "errors": {},
    "output": "/runs/batch-1/output.jsonl",
    "ledger": {"uri": "/home/ledger", "rows": 1234, "pending": 0, "refused": 0, "quarantined": 0, "error": None},
    "quality": None,
    "resumed": 0,
    "chunks": 13,
    "run_folder": "/runs/batch-1",
    "notes": (),
}


def printed(capsys: pytest.CaptureFixture[str], *, width: int = 200, **change: Any) -> str:
    """The summary of a run with these changes, as it is printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        show_summary(SUMMARY | change, default_ledger="/home/ledger")
    return capsys.readouterr().out


class TestSummary:
    """The end of `redo run`."""

    def test_it_holds_the_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Queries, decisions, latency against budget, contradictions, places."""
        lines = [" ".join(line.split()) for line in printed(capsys).splitlines()]
        assert "1,234 0 1,234 0 2.0 / 11.5 / 19.0 400 ms 0" in lines
        assert "contradictions 40 numeric, 5 ambiguities" in lines
        assert "output /runs/batch-1/output.jsonl" in lines
        assert "ledger /home/ledger (1,234 rows)" in lines

    def test_the_users_texts_are_not_markup(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A path, an error and a place are printed letter by letter."""
        text = printed(
            capsys,
            output=f"/o/{HOSTILE}",
            run_folder=f"/r/{HOSTILE}",
            quarantined=1,
            errors={f"ValueError: {HOSTILE}": 2},
            ledger={"uri": f"/l/{HOSTILE}", "rows": 1234, "pending": 0, "refused": 0, "quarantined": 0, "error": None},
        )
        for shown in ("/o/", "/r/", "/l/", "2 x ValueError: "):
            assert f"{shown}{HOSTILE}" in text

    def test_what_is_pending_says_how_to_send_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The id is named, because a run without one gets a new one."""
        ledger = {
            "uri": "/home/ledger",
            "rows": 1000,
            "pending": 234,
            "refused": 0,
            "quarantined": 0,
            "error": f"no room {HOSTILE}",
        }
        text = printed(capsys, ledger=ledger)
        expected = (
            "234 traces wait in the spool; `redo ledger drain` sends them, or the same command (--batch-id batch-1)"
        )
        assert expected in text
        assert f"because no room {HOSTILE}" in text

    def test_what_is_lost_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Refused and quarantined traces, each in a line, and what the user should know besides."""
        ledger = {"uri": "/l", "rows": 1000, "pending": 0, "refused": 200, "quarantined": 34, "error": None}
        text = printed(capsys, ledger=ledger, notes=(f"--ledger {HOSTILE} is not used",))
        assert "200 traces are lost: there was no room for them" in text
        assert "34 traces are in quarantine" in text
        assert f"--ledger {HOSTILE} is not used" in text

    def test_a_batch_that_was_done_before_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Wholly, or in part."""
        assert "nothing to do: all 13 chunks were done before" in printed(capsys, resumed=13)
        assert "taken up: 4 of 13 chunks were done before" in printed(capsys, resumed=4)
        assert "before" not in printed(capsys)

    @pytest.mark.parametrize("uri", ["/home/ledger", '/o\'clock/$HOME/`x`/led "ger"', "/a b", "s3://bucket/ledger"])
    @pytest.mark.parametrize("width", [80, 200])
    def test_the_next_commands_can_be_typed(self, width: int, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A shell reads each as one command with the words that were meant, however narrow the terminal."""
        ledger = {"uri": uri, "rows": 1234, "pending": 0, "refused": 0, "quarantined": 0, "error": None}
        text = printed(capsys, width=width, ledger=ledger)
        commands = [shlex.split(line) for line in text.partition("Next:")[2].splitlines() if line.strip()]
        place = [] if uri == "/home/ledger" else ["--ledger", uri]
        sql = "select decision, count(*) from traces group by 1"
        assert commands == [
            ["redo", "ledger", "query", sql, *place],
            ["redo", "ledger", "show", "0123456789ab", *place],
        ]

    def test_without_a_ledger_it_says_how_to_get_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And names no command that would find nothing."""
        text = printed(capsys, ledger=None)
        assert "--flag ledger.enabled=true" in text
        assert "redo ledger" not in text


TRACE: dict[str, Any] = {
    "query_text": "How long?",
    "trace_id": "0" * 32,
    "query_id": "q-1",
    "batch_id": "batch-1",
    "decision": "redo",
    "reason": "ENABLED",
    "latency_ms": 2.0,
    "budget_ms": 400.0,
    "deadline_hit": False,
    "error": None,
    "selection_arm": "redo",
    "legacy_selection": ["p-1"],
    "stages": [{"name": "retrieve", "arm": "redo", "latency_ms": 1.0, "items_in": 0, "items_out": 2, "complete": True}],
    "documents": [
        {
            "id": "p-1",
            "source": "council",
            "rank_in": 1,
            "rank_out": 1,
            "score": 2.5,
            "order_score": 1.0,
            "support": 1,
            "tokens": 7,
            "selected": True,
            "conflict_group": 1,
            "disputed": True,
            "exclusion_reason": None,
            "excluded_because_of": None,
        }
    ],
    "conflicts": [
        {
            "kind": "numeric",
            "score": 0.9,
            "stage": "numbers",
            "left_passage_id": "p-1",
            "left_sentence": "It is 412 m long.",
            "left_sentence_start": 50,
            "left_value_start": 56,
            "left_value_end": 59,
            "right_passage_id": "p-2",
            "right_sentence": "It is 530 m long.",
            "right_sentence_start": 0,
            "right_value_start": 6,
            "right_value_end": 9,
        }
    ],
}


class TestTrace:
    """`redo ledger show`."""

    def test_it_shows_both_sentences(self, capsys: pytest.CaptureFixture[str]) -> None:
        """And what happened to the query."""
        show_trace(TRACE)
        text = capsys.readouterr().out
        for shown in ("How long?", "redo, because ENABLED", "2.0 ms of 400 ms", "open dispute 1"):
            assert shown in text
        assert "contradiction: numeric (0.90, numbers)" in text
        assert "It is 412 m long." in text
        assert "It is 530 m long." in text

    def test_the_users_texts_are_not_markup(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ids, sources, questions and sentences are printed letter by letter."""
        monkeypatch.setenv("COLUMNS", "400")
        document = TRACE["documents"][0] | {"id": f"d {HOSTILE}", "source": f"s {HOSTILE}"}
        left_out = document | {
            "id": "left out",
            "rank_out": None,
            "selected": False,
            "exclusion_reason": "near_duplicate",
            "excluded_because_of": f"b {HOSTILE}",
        }
        conflict = TRACE["conflicts"][0] | {"left_passage_id": f"l {HOSTILE}", "left_sentence": f"t {HOSTILE}"}
        show_trace(
            TRACE
            | {
                "query_text": f"t {HOSTILE}",
                "query_id": f"q {HOSTILE}",
                "error": f"e {HOSTILE}",
                "legacy_selection": [f"y {HOSTILE}"],
                "documents": [document, left_out],
                "conflicts": [conflict],
            }
        )
        text = capsys.readouterr().out
        for letter in "dsbltqey":
            assert f"{letter} {HOSTILE}" in text

    def test_each_passage_is_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a terminal of 80 columns too: a long source is cut, and ids and notes are not."""
        monkeypatch.setenv("COLUMNS", "80")
        documents = [
            TRACE["documents"][0] | {"id": f"{number:016x}", "source": "charset-normalizer 3.5.2 README"}
            for number in range(20)
        ]
        show_trace(TRACE | {"documents": documents})
        lines = [line for line in capsys.readouterr().out.splitlines() if "charset" in line]
        assert [line.split()[5] for line in lines] == [f"{number:016x}" for number in range(20)]
        assert all(line.rstrip().endswith("… open dispute 1") for line in lines)

    def test_a_passage_that_was_left_out_has_no_score(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The retriever's is on another scale than the ones above it; its place there is what counts."""
        monkeypatch.setenv("COLUMNS", "80")
        left_out = {"rank_out": None, "rank_in": 7, "selected": False, "exclusion_reason": "budget", "score": 2.558}
        left_out |= {"order_score": None, "support": None, "tokens": None, "conflict_group": None}
        show_trace(TRACE | {"documents": [TRACE["documents"][0] | left_out]})
        (line,) = (line for line in capsys.readouterr().out.splitlines() if "budget" in line)
        assert line.split() == ["-", "7", "p-1", "council", "budget"]


class TestTable:
    """`redo ledger query`."""

    def test_values_and_names_are_not_markup(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Columns too: a name can be anything in double quotes."""
        show_table([f"c {HOSTILE}"], [[f"v {HOSTILE}"], [None]])
        text = capsys.readouterr().out
        assert f"c {HOSTILE}" in text
        assert f"v {HOSTILE}" in text
        assert "null" in text
        assert "2 rows" in text


@pytest.mark.parametrize("message", [HOSTILE, "ends with a backslash \\", "two\nlines\tand tabs"])
def test_an_error_is_one_line_as_it_is(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it, at any width."""
    show_error(f"{message} " * 20)
    captured = capsys.readouterr()
    assert captured.err.rstrip("\n") == "redo: " + " ".join((f"{message} " * 20).split())
    assert captured.out == ""
