"""The `redo` command as a user starts it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL

from tests.batch_samples import passage_rows, query_rows, read_jsonl, write_batch, write_jsonl

pytestmark = pytest.mark.process

REDO = Path(sys.executable).with_name("redo")
LIMIT_S = 180


def redo(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [REDO, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env=os.environ | {"COLUMNS": "120", "TERM": "dumb"} | variables,
    )


def one_line(process: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that was refused; nothing else was printed."""
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    return line


class TestWithoutARun:
    """What does not start Prefect."""

    def test_help_and_version(self) -> None:
        """Every command is named, and what it does."""
        process = redo("--help")
        assert process.returncode == 0
        assert all(f"\n  {command}" in process.stdout for command in ("demo", "run", "ledger"))
        assert redo("--version").stdout == "redo 0.1.0\n"

    def test_a_missing_file(self, redo_home: Path) -> None:
        """One line says what is missing, the exit code is 2, and nothing is left behind."""
        process = redo("run", "--queries", "none.jsonl")
        assert process.returncode == 2
        assert one_line(process) == "redo: queries file not found: none.jsonl"
        assert not redo_home.exists()

    @pytest.mark.parametrize(
        ("words", "code"), [(["run", "--queries", "none.jsonl"], 2), (["status", "--json"], 0), (["flags", "list"], 0)]
    )
    def test_what_needs_no_run_is_quick(self, words: list[str], code: int) -> None:
        """A refusal, and a look at the shared state, come without what takes long to import."""
        heavy = "prefect onnxruntime tokenizers bm25s duckdb pyarrow obstore great_expectations prometheus_client"
        program = (
            "import sys; from deployments.cli.main import main\n"
            f"try: main()\nfinally: print(sorted(set({heavy.split()}) & set(sys.modules)), file=sys.stderr)"
        )
        command = [sys.executable, "-c", program, *words]
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert (process.returncode, process.stderr.splitlines()[-1]) == (code, "[]")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (
                ["--flag", "redo=true"],
                "redo: flag 'redo': unknown; there are orchestrator.redo_enabled, ledger.enabled",
            ),
            (["--flag", "ledger.enabled"], "redo: --flag ledger.enabled: expected NAME=VALUE"),
            (["--flag", "rollout_percentage=101"], "redo: flag 'rollout_percentage': 101.0 is not a number from 0 to"),
            (["--batch-id", "../x"], "redo: batch id '../x': expected 1 to 100 letters, digits"),
            (["--output", "out.csv"], "redo: output: out.csv has an unknown ending, expected one of .jsonl"),
        ],
    )
    def test_an_option_that_cannot_be_used(self, words: list[str], message: str, tmp_path: Path) -> None:
        """One line names the option's value and what was expected."""
        process = redo("run", "--queries", write_batch(tmp_path).queries, *words)
        assert process.returncode == 2
        assert one_line(process).startswith(message)

    def test_a_setting_that_cannot_be_used(self, tmp_path: Path) -> None:
        """The line names the variable."""
        process = redo("run", "--queries", write_batch(tmp_path).queries, REDO_TOP_K="many")
        assert process.returncode == 2
        assert one_line(process).startswith("redo: environment: REDO_TOP_K: ")

    def test_debug_shows_where_it_came_from(self) -> None:
        """With it the traceback is there; without, it is not."""
        process = redo("--debug", "run", "--queries", "none.jsonl")
        assert process.returncode != 0
        assert "Traceback (most recent call last)" in process.stderr
        assert "BatchError: queries file not found: none.jsonl" in process.stderr


# What a line of a queries file can be wrong in, and how its reason begins.
BROKEN = [
    (b'{"query_id": "bad-json", "text": ', "bad JSON"),
    (b'{"text": "Who am I?"}', "query_id: missing"),
    (b'{"query_id": "empty", "text": " "}', "text: empty"),
    (b'{"query_id": "type", "text": 7}', "text: wrong type"),
    (b'{"query_id": "long", "text": "' + b"x" * 4001 + b'"}', "text: too long"),
    (b'{"query_id": "utf-8", "text": "\xff"}', "invalid UTF-8"),
]


@dataclass(frozen=True, slots=True)
class Ran:
    """A run in a process of its own, and where its files are."""

    home: Path
    command: tuple[str, ...]
    process: subprocess.CompletedProcess[str]

    @property
    def summary(self) -> dict[str, Any]:
        """What it printed."""
        printed: dict[str, Any] = json.loads(self.process.stdout)
        return printed


@pytest.fixture(scope="class")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One good line and six broken ones, in shadow; the settings stay as they were for what is asked afterwards."""
    folder = tmp_path_factory.mktemp("cli")
    good = json.dumps(query_rows(1)[0]).encode()
    queries = folder / "queries.jsonl"
    queries.write_bytes(b"\n".join([*(line for line, _ in BROKEN[:3]), good, *(line for line, _ in BROKEN[3:])]))
    passages = write_jsonl(folder / "passages.jsonl", passage_rows())
    home = str(folder / "home")
    command = ("run", "--queries", str(queries), "--passages", str(passages), "--batch-id", "broken", "--shadow")
    process = redo(*command, "--json", REDO_HOME=home)
    return Ran(Path(home), command, process)


@pytest.mark.server
class TestRun:
    """A run, and questions to its ledger."""

    def test_a_broken_line_costs_itself_only(self, ran: Ran) -> None:
        """One answer, six quarantined, exit code 0; stdout is one JSON object on one line, stderr is empty."""
        assert (ran.process.returncode, ran.process.stderr) == (0, "")
        assert ran.process.stdout.count("\n") == 1
        summary = ran.summary
        assert (summary["batch_id"], summary["queries"], summary["answered"]) == ("broken", 1, 1)
        assert (summary["quarantined"], summary["decisions"]["legacy"]) == (6, 1)
        assert [record["query_id"] for record in read_jsonl(Path(summary["output"]))] == ["q-0000"]

    def test_each_broken_line_has_its_own_reason(self, ran: Ran) -> None:
        """With the number of the line that it stands on."""
        rows = read_jsonl(Path(ran.summary["run_folder"]) / "quarantine.jsonl")
        assert [row["line"] for row in rows] == [1, 2, 3, 5, 6, 7]
        for row, (_, reason) in zip(rows, BROKEN, strict=True):
            assert str(row["reason"]).startswith(reason)

    def test_run_again_it_has_nothing_to_do(self, ran: Ran, prefect_server: None) -> None:
        """The summary says so, names every number, and what to type next; with a Prefect server as without one."""
        del prefect_server
        process = redo(*ran.command, REDO_HOME=str(ran.home), PREFECT_API_URL=str(PREFECT_API_URL.value()))
        assert process.returncode == 0
        lines = [" ".join(line.split()) for line in process.stdout.splitlines()]
        assert "batch broken nothing to do: all 1 chunks were done before" in lines
        assert any(line.startswith("1 0 1 0 ") and line.endswith("400 ms 6") for line in lines)
        assert f"ledger {ran.home / 'ledger'} (1 rows)" in lines
        assert 'redo ledger query "select decision, count(*) from traces group by 1"' in lines

    def test_a_question_to_the_ledger(self, ran: Ran) -> None:
        """As a table for people, as JSON for programs."""
        sql = "select decision, count(*) as n from traces group by 1"
        table = redo("ledger", "query", sql, REDO_HOME=str(ran.home))
        assert table.returncode == 0
        assert [line.split() for line in table.stdout.splitlines() if "─" not in line] == [
            ["decision", "n"],
            ["legacy", "1"],
            ["1", "row"],
        ]
        answer = redo("ledger", "query", sql, "--json", "--ledger", ran.home / "ledger")
        assert json.loads(answer.stdout) == [{"decision": "legacy", "n": 1}]

    def test_a_question_that_is_refused(self, ran: Ran) -> None:
        """The ledger can only be read: one line, exit code 2."""
        process = redo("ledger", "query", "drop view traces", REDO_HOME=str(ran.home))
        assert process.returncode == 2
        assert one_line(process).startswith("redo: ")

    @pytest.mark.parametrize("how", ["query id", "beginning of the trace id"])
    def test_a_dispute_is_shown_with_both_sentences(self, how: str, ran: Ran) -> None:
        """However the trace is named."""
        (trace_id,) = ran.summary["disputed"]
        process = redo("ledger", "show", "q-0000" if how == "query id" else trace_id[:12], REDO_HOME=str(ran.home))
        assert process.returncode == 0
        assert "The bridge of Arden is 400 metres long." in process.stdout
        assert "The bridge of Arden is 500 metres long." in process.stdout

    def test_a_trace_that_is_not_there(self, ran: Ran) -> None:
        """One line names the nearest; exit code 2."""
        process = redo("ledger", "show", "q-9999", REDO_HOME=str(ran.home))
        assert process.returncode == 2
        assert "no trace or query 'q-9999' in the ledger; the nearest: " in one_line(process)
