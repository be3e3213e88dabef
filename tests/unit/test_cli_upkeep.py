"""The commands that keep the ledger in order, as a person reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from core.errors import InputError
from deployments.cli.main import app
from ledger.encode import encode_traces, keyed_hash, object_key
from ledger.objects import open_store
from tasks.settings import load_settings
from tasks.wiring import trace_spool
from tests.ledger_samples import RECORDED_AT, a_run, trace_ids
from tests.upkeep_samples import DAY, Writer, live_rows, results

KEY = a_run().hash_key.decode()


class Terminal:
    """Types commands at a ledger, and reads what they print, with single spaces."""

    def __init__(self, capsys: pytest.CaptureFixture[str], ledger: Path) -> None:
        self._capsys, self.ledger = capsys, str(ledger)
        self.err = ""
        self.code = 0

    def type(self, *words: str) -> str:
        """Run a command of `redo ledger`, and return what it prints; `code` has its exit code."""
        try:
            self.code = app(["ledger", *words, "--ledger", self.ledger], standalone_mode=False) or 0
        except typer.Exit as left:
            self.code = left.exit_code
        printed = self._capsys.readouterr()
        short = "--json" in words or all(len(line) <= 80 for line in printed.out.splitlines() if "/" not in line)
        assert short, printed.out
        self.err = " ".join(printed.err.split())
        self.out = printed.out
        return " ".join(printed.out.split())

    def json(self, *words: str) -> Any:
        """Run a command, and read its JSON."""
        self.type(*words, "--json")
        return json.loads(self.out)


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    """A terminal of 80 columns, at a ledger of two chunks; the second is of ada."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LEDGER_HASH_KEY", KEY)
    terminal = Terminal(capsys, tmp_path / "ledger")
    writer = Writer(open_store(terminal.ledger))
    writer.write(results(0, 3))
    writer.write(results(3, 2, user="ada", session=None), chunk=1)
    return terminal


def test_compact_shows_each_day(terminal: Terminal) -> None:
    """First what would be done, then what was done, then that there is nothing to do."""
    assert "1 days: 2 objects" in terminal.type("compact", "--dry-run")
    text = terminal.type("compact")
    assert "2026-03-01" in text
    assert "1 days: 2 objects became 1" in text
    assert terminal.type("compact", "--before", "2026-03-01") == "nothing has come to a day before 2026-03-01"
    assert terminal.json("compact")["days"] == []
    assert terminal.code == 0


def test_compact_ends_with_1_where_an_object_is_damaged(terminal: Terminal) -> None:
    """What was left alone is named."""
    store = open_store(terminal.ledger)
    key = store.objects("traces/")[0].key
    store.delete(key)
    store.append(key, b"x")
    assert f"left alone: {terminal.ledger}/{key}: 1 bytes, expected" in terminal.type("compact")
    assert terminal.code == 1


def test_gc_says_what_goes(terminal: Terminal) -> None:
    """Within the grace what waits is counted; without one it is removed."""
    terminal.type("compact")
    assert "younger than the grace 2" in terminal.type("gc")
    assert "would go" in terminal.type("gc", "--grace-hours", "0", "--dry-run")
    report = terminal.json("gc", "--grace-hours", "0")
    assert (len(report["objects"]), len(report["manifests"]), report["dry_run"]) == (2, 2, False)


def test_verify_names_what_is_wrong(terminal: Terminal) -> None:
    """A clean ledger is said to be clean; a missing object is named, and the exit code is 1."""
    assert terminal.type("verify").startswith("clean: 2 objects with 5 rows read")
    assert terminal.json("verify", "--quick")["clean"] is True
    store = open_store(terminal.ledger)
    key = store.objects("traces/")[0].key
    store.delete(key)
    text = terminal.type("verify")
    assert f"missing {key}" in text
    assert "not clean: " in text
    assert terminal.code == 1
    report = terminal.json("verify", "--quick")
    assert [(found["problem"], found["is_error"]) for found in report["findings"]] == [("missing", True)]


def test_doctor_lists_the_promises(terminal: Terminal) -> None:
    """Each is named; a folder that is a file is no store, and the exit code is 1."""
    text = terminal.type("doctor")
    assert "ok create only" in text
    assert "WRONG" not in text
    assert terminal.json("doctor")["well"] is True
    (Path(terminal.ledger).parent / "file").write_text("x")
    terminal.ledger = str(Path(terminal.ledger).parent / "file")
    assert "WRONG" in terminal.type("doctor")
    assert terminal.code == 1


def test_forget_removes_a_persons_content(terminal: Terminal) -> None:
    """The dry run counts, the run removes, and the rows stay."""
    assert "2 rows would lose their content" in terminal.type("forget", "--user", "ada", "--dry-run")
    assert "2 rows lost their content, in 1 objects" in terminal.type("forget", "--user", "ada")
    assert terminal.code == 0
    rows = live_rows(open_store(terminal.ledger))
    assert len(rows) == 5
    gone = [row for row in rows if row["query_text"] is None]
    assert {row["user_hash"] for row in gone} == {keyed_hash("ada", key=KEY.encode())}
    assert len(gone) == 2
    report = terminal.json("forget", "--session", "session-7")
    assert (report["rows"], report["waiting"], report["quarantined"]) == (3, 0, 0)


def test_forget_asks_whom(terminal: Terminal) -> None:
    """Without a person there is nothing to forget."""
    with pytest.raises(InputError, match="--user or --session"):
        terminal.type("forget")


def test_forget_says_what_it_could_not_look_into(terminal: Terminal) -> None:
    """A damaged object may hold content: it is named, and the exit code is 1."""
    store = open_store(terminal.ledger)
    key = store.objects("traces/")[0].key
    store.delete(key)
    store.append(key, b"x")
    terminal.type("forget", "--user", "ada")
    assert f"content may be left: {terminal.ledger}/{key}" in terminal.err
    assert terminal.code == 1


def test_forget_says_that_entries_wait(terminal: Terminal, tmp_path: Path) -> None:
    """What cannot be delivered now is not forgotten yet: the person is told so."""
    (tmp_path / "blocked").write_text("x")
    made, run = results(10, 1, user="ada"), a_run("batch-2")
    key = object_key("batch-2", 0, trace_ids(made, run=run), DAY)
    payload = encode_traces(made, run=run, recorded_at=RECORDED_AT)
    trace_spool(load_settings()).add(payload, ledger=str(tmp_path / "blocked"), key=key)
    terminal.type("forget", "--user", "ada")
    assert "1 entries wait in" in terminal.err
    assert terminal.code == 0


def test_replay_of_rows_that_cannot_be_reproduced(terminal: Terminal) -> None:
    """The sample rows come of no pipeline: they differ, and the exit code is 1; forgotten ones are said to be so."""
    text = terminal.type("replay")
    assert "0 same, 5 different, 0 not reproducible" in text
    assert terminal.code == 1
    terminal.type("forget", "--user", "ada")
    (item,) = terminal.json("replay", "q-0003")
    assert item["outcome"] == "not_reproducible"
    assert terminal.code == 0
    assert "not reproducible" in terminal.type("replay", "q-0003")
    assert "2 not reproducible: its content was removed" in terminal.type("replay")
    with pytest.raises(InputError, match="not both"):
        terminal.type("replay", "q-0003", "--batch", "b")
