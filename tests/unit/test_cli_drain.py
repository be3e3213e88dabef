"""`redo ledger drain`: sends what waits, though the ledger failed a moment ago, and says what is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.breaker import Status
from core.errors import StoreError
from core.fallbacks import get_fallback_manager
from deployments.cli.main import app
from ledger.spool import Spool
from tasks.delivery import deliver_waiting
from tasks.settings import load_settings
from tasks.wiring import ledger_store, metrics_recorder, trace_spool
from tests.spool_samples import key_of, rows


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A place for a ledger."""
    return str(tmp_path / "ledger")


def spooled(ledger: str, *ids: str) -> Spool:
    """The spool, with one entry a trace."""
    spool = trace_spool(load_settings())
    for name in ids:
        spool.add(rows(name), ledger=ledger, key=key_of(name))
    return spool


def drained(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """The exit code of the command, and what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        code = app(["ledger", "drain", *words], standalone_mode=False) or 0
    return code, capsys.readouterr().out


def test_nothing_waits(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and that is a success."""
    assert drained(capsys) == (0, "nothing waits for the ledger\n")


def test_what_waits_is_sent(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And counted."""
    spooled(ledger, "a", "b")
    assert drained(capsys) == (0, "delivered 2 traces in 2 objects\n")
    assert len(ledger_store(ledger).objects("manifests/")) == 2


def test_a_ledger_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what waits, since when, and where; the exit code says that it is not done."""
    (tmp_path / "ledger").write_text("a file where the ledger should be")
    spool = spooled(str(tmp_path / "ledger"), "a")
    code, text = drained(capsys)
    assert code == 1
    assert "still waiting: 1 file, 0.0 MB, since 2" in text
    assert "because " in text
    assert f"spool  {spool.folder}" in text
    assert metrics_recorder().pending.ledger_failures == 0  # they are counted for everybody


def test_the_breaker_is_asked_by_programs_and_not_by_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After three failures the ledger is left alone; drain tries all the same, and closes the breaker by a success."""
    blocked, ledger = tmp_path / "ledger", str(tmp_path / "ledger")
    blocked.write_text("a file where the ledger should be")
    spooled(ledger, "a")
    for _ in range(3):
        assert len(deliver_waiting().errors) == 1
    blocked.unlink()
    assert "BREAKER_OPEN" in deliver_waiting().errors[0]
    assert drained(capsys) == (0, "delivered 1 trace in 1 object\n")
    assert get_fallback_manager()._ledger.breaker.state.status is Status.CLOSED


def test_a_kill_switch_counts_for_people_too(
    ledger: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of REDO runs then."""
    monkeypatch.setenv("REDO_KILL_SWITCH", "1")
    spooled(ledger, "a")
    code, text = drained(capsys)
    assert code == 1
    assert "KILL_SWITCH" in text
    with pytest.raises(StoreError):
        ledger_store(ledger).read(key_of("a"))


def test_as_json(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with the keys of what was delivered and the reasons of what never can be."""
    spool = spooled(ledger, "a", "b")
    ledger_store(ledger).append(key_of("b"), b"other")
    code, text = drained(capsys, "--json")
    report = json.loads(text)
    assert code == 0
    assert report["spool"] == str(spool.folder)
    assert report["delivered"]["rows"] == 1
    assert [item["key"] for item in report["delivered"]["objects"]] == [key_of("a")]
    assert report["waiting"] == {"entries": 0, "bytes": 0, "oldest": None}
    assert [(item["kind"], item["key"]) for item in report["quarantined"]] == [("other_content", key_of("b"))]
    assert report["errors"] == []
