"""The commands about the guard: flags, config, status, reset."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.fallbacks import get_fallback_manager, simulate_db_failure, simulate_orchestrator_failure
from core.flags import DEFINITIONS, Override
from deployments.cli.main import app, main
from deployments.cli.shared_state import HIDDEN, state_place, without_password
from tasks.settings import Settings

HOSTILE = "a [red]b[/red] [/] :smile:"


class Terminal:
    """Types commands, and reads what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("COLUMNS", "80")

    def type(self, *words: str) -> str:
        """Run a command that succeeds, and return what it prints, with single spaces."""
        app(list(words), standalone_mode=False)
        self.printed = self._capsys.readouterr()
        return " ".join(self.printed.out.split())

    def json(self, *words: str) -> Any:
        """Run a command that succeeds, and read its JSON."""
        app([*words, "--json"], standalone_mode=False)
        return json.loads(self._capsys.readouterr().out)

    def fails(self, *words: str) -> tuple[object, str]:
        """Run a command that fails, and return its exit code and what it says."""
        self._monkeypatch.setattr(sys, "argv", ["redo", *words])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, " ".join(self._capsys.readouterr().err.split())


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 columns."""
    return Terminal(capsys, monkeypatch)


class TestFlags:
    """`redo flags`."""

    def test_list_shows_values_defaults_and_sources(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each flag with where its value comes from."""
        monkeypatch.setenv("LEDGER_ENABLED", "true")
        terminal.type("flags", "set", "rollout_percentage=12.5")
        text = terminal.type("flags", "list")
        assert "orchestrator.redo_enabled false false default" in text
        assert "ledger.enabled true false environment" in text
        assert "rollout_percentage 12.5 100 stored" in text

    def test_list_as_json(self, terminal: Terminal) -> None:
        """The same for programs, with what each flag is for."""
        report = terminal.json("flags", "list")
        assert list(report["flags"]) == list(DEFINITIONS)
        assert report["flags"]["rollout_percentage"] == {
            "value": 100,
            "source": "default",
            "detail": "",
            "default": 100,
            "description": DEFINITIONS["rollout_percentage"].description,
        }
        assert (report["kill_switches"], report["by_key"], report["stale_because"]) == ([], {}, None)

    def test_list_shows_the_keys_that_have_overrides(self, terminal: Terminal) -> None:
        """Whom an override is for, letter by letter, and what holds for them."""
        override = Override(
            flag="orchestrator.redo_enabled",
            value=True,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            key=HOSTILE,
            actor="bob",
            reason="a trial",
        )
        get_fallback_manager().flags.override(override)
        assert f"for {HOSTILE}: orchestrator.redo_enabled=true" in terminal.type("flags", "list")
        assert terminal.json("flags", "list")["by_key"][HOSTILE]["orchestrator.redo_enabled"] is True

    def test_set_changes_several_in_one_step(self, terminal: Terminal) -> None:
        """Words that people use for on and off are understood; the answer shows what holds now."""
        answer = terminal.json("flags", "set", "orchestrator.redo_enabled=on", "rollout_percentage=10")
        assert answer["set"] == {"orchestrator.redo_enabled": True, "rollout_percentage": 10}
        assert answer["flags"]["orchestrator.redo_enabled"]["value"] is True
        assert len(terminal.json("flags", "history")) == 1

    @pytest.mark.parametrize(
        ("assignments", "error"),
        [
            (["ledger.enabled=true", "rollout_percentage=200"], "200.0 is not a number from 0 to 100"),
            (["ledger.enabled=true", "ledger.on=true"], "'ledger.on': unknown; there are orchestrator.redo_enabled"),
            (["ledger.enabled=true", "ledger.enabled=false"], "'ledger.enabled': given twice"),
            (["ledger.enabled"], "expected NAME=VALUE"),
            (["rollout_percentage=12.3456"], "at most three decimals"),
        ],
    )
    def test_set_all_or_nothing(self, terminal: Terminal, assignments: list[str], error: str) -> None:
        """What cannot be used ends with 2 and names itself; nothing is changed."""
        code, message = terminal.fails("flags", "set", *assignments)
        assert code == 2
        assert error in message
        assert terminal.json("flags", "history") == []

    def test_set_says_what_is_stronger(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever switches on what a kill switch keeps off is told so."""
        monkeypatch.setenv("REDO_KILL_SWITCH", "1")
        terminal.type("flags", "set", "ledger.enabled=true")
        said = " ".join(terminal.printed.err.split())
        assert said == "ledger.enabled=true is stored, but this is stronger: kill switch environment"

    def test_history_shows_who_why_and_what(self, terminal: Terminal) -> None:
        """The newest first; the texts of people letter by letter."""
        terminal.type("flags", "set", "rollout_percentage=10", "--actor", "ann", "--reason", HOSTILE)
        terminal.type("flags", "set", "rollout_percentage=25.5", "--actor", "[bold]bob")
        text = terminal.type("flags", "history")
        assert "[bold]bob" in text
        assert text.index("rollout_percentage 10 -> 25.5") < text.index("rollout_percentage not set -> 10")
        who = [line[13:36].strip() for line in terminal.printed.out.splitlines()]
        assert HOSTILE in " ".join(who)
        assert "ann" not in terminal.type("flags", "history", "--limit", "1")

    def test_history_as_json(self, terminal: Terminal) -> None:
        """Time, actor, reason, before and after of each change."""
        terminal.type("flags", "set", "ledger.enabled=true", "--actor", "ann", "--reason", "phase 3")
        (change,) = terminal.json("flags", "history")
        assert (change["version"], change["actor"], change["reason"]) == (1, "ann", "phase 3")
        assert (change["before"], change["after"]) == (None, {"ledger.enabled": True})
        assert datetime.fromisoformat(change["time"]).utcoffset() == timedelta(0)

    def test_history_of_overrides(self, terminal: Terminal) -> None:
        """An override is told in words: for whom, and until when."""
        until = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC)
        get_fallback_manager().flags.override(
            Override(flag="ledger.enabled", value=True, expires_at=until, key="s-1", actor="bob", reason="a trial")
        )
        text = terminal.type("flags", "history")
        assert "overrides not set -> ledger.enabled=true" in text
        assert "for s-1 until" in text
        assert "2031-01-02 03:04:05 UTC" in text

    def test_history_of_nothing(self, terminal: Terminal) -> None:
        """Where no flag has been set yet, it says so."""
        assert terminal.type("flags", "history") == "nobody has set a flag yet"

    def test_state_that_does_not_answer(self, terminal: Terminal, redo_home: Path) -> None:
        """Reading says that everything is off and why; setting fails with 1, for it did not arrive."""
        (redo_home / "state.sqlite").mkdir(parents=True)
        assert "orchestrator.redo_enabled false false unknown: the shared state" in terminal.type("flags", "list")
        assert "state.sqlite" in terminal.printed.err.replace("\n", "")
        code, message = terminal.fails("flags", "set", "ledger.enabled=true")
        assert code == 1
        assert "state.sqlite" in message


class TestConfig:
    """`redo config`."""

    def test_shows_every_setting(self, terminal: Terminal) -> None:
        """Each variable with its value and whether that is the default."""
        report = terminal.json("config")["settings"]
        assert list(report) == [field.alias for field in Settings.model_fields.values()]
        text = terminal.type("config")
        assert all(variable in text for variable in report)
        assert "REDO_TOP_K 20 default" in text

    def test_says_what_the_environment_has_set(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """A value from outside is told from a default, also where both are the same."""
        monkeypatch.setenv("REDO_TOP_K", "20")
        monkeypatch.setenv("ORCHESTRATION_TIME_BUDGET_MS", "250")
        report = terminal.json("config")["settings"]
        assert report["REDO_TOP_K"]["is_default"] is False
        assert report["ORCHESTRATION_TIME_BUDGET_MS"]["value"] == 250
        assert report["ORCHESTRATION_TIME_BUDGET_MS"]["default"] == 400
        assert "ORCHESTRATION_TIME_BUDGET_MS 250 environment" in terminal.type("config")

    def test_hides_secrets(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """A secret is never printed; that it is set is."""
        assert terminal.json("config")["settings"]["LEDGER_HASH_KEY"]["value"] is None
        monkeypatch.setenv("LEDGER_HASH_KEY", "not for anybody's eyes")
        assert terminal.json("config")["settings"]["LEDGER_HASH_KEY"]["value"] == HIDDEN
        assert f"LEDGER_HASH_KEY {HIDDEN} environment" in terminal.type("config")
        assert "anybody" not in terminal.printed.out + terminal.printed.err

    def test_shows_where_things_are(self, terminal: Terminal, redo_home: Path) -> None:
        """Places are absolute, and the shared state is where it is said to be."""
        report = terminal.json("config")
        assert report["settings"]["REDO_HOME"]["value"] == str(redo_home)
        assert report["settings"]["LEDGER_URI"]["value"] == str(redo_home / "ledger")
        assert report["state"]["kind"] == "sqlite_file"
        terminal.type("flags", "set", "ledger.enabled=true")
        assert Path(report["state"]["place"]).is_file()

    def test_bad_setting_ends_with_2(self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variable is named."""
        monkeypatch.setenv("REDO_TOP_K", "many")
        code, message = terminal.fails("config")
        assert code == 2
        assert "REDO_TOP_K" in message

    def test_prefect_address_without_its_password(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a Prefect API is configured the state is there; who may come in is not shown."""
        monkeypatch.setenv("PREFECT_API_URL", "https://ann:secret@prefect.example:4200/api")
        place = state_place()
        assert place.as_dict() == {"kind": "prefect_blocks", "place": f"https://{HIDDEN}@prefect.example:4200/api"}
        assert str(place) == f"Prefect blocks at https://{HIDDEN}@prefect.example:4200/api"

    @pytest.mark.parametrize("url", ["http://127.0.0.1:4200/api", "s3://bucket/prefix", "s3://bucket/a@b"])
    def test_address_without_a_password_is_shown_as_it_is(self, url: str) -> None:
        """An at sign in a path hides nothing."""
        assert without_password(url) == url


class TestStatus:
    """`redo status`."""

    def test_inactive_and_why(self, terminal: Terminal, redo_home: Path) -> None:
        """Out of the box the flag is off, nothing has been checked, and everything is good."""
        text = terminal.type("status")
        assert text.startswith("REDO is not active: orchestrator.redo_enabled is off (FLAG_OFF)")
        assert "orchestrator good" in text
        assert "ledger closed automatic 0" in text
        assert "last check never" in text
        assert f"state SQLite file {redo_home}/state.sqlite" in text

    def test_active(self, terminal: Terminal) -> None:
        """With the share of the keys that it answers."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true", "rollout_percentage=12.5")
        assert terminal.type("status").startswith("REDO is active: it answers 12.5 % of the keys (ENABLED)")

    def test_open_breaker(self, terminal: Terminal) -> None:
        """It says which breaker, after what, and when it tries again."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true")
        simulate_orchestrator_failure()
        text = terminal.type("status")
        assert text.startswith("REDO is not active: the orchestrator's breaker is open (BREAKER_OPEN)")
        assert "orchestrator open automatic 3 tries again in " in text
        assert "orchestrator bad" in text
        assert "a failure, simulated" in text

    def test_simulated_database_failure(self, terminal: Terminal) -> None:
        """It says that it is simulated, and until when."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true")
        simulate_db_failure()
        text = terminal.type("status")
        assert "(SIMULATED)" in text
        assert "database bad a failure is simulated until 20" in text

    def test_kill_switch_by_name(self, terminal: Terminal, redo_home: Path) -> None:
        """It says which one, so that somebody can find it."""
        redo_home.mkdir()
        (redo_home / "kill-switch").touch()
        assert terminal.type("status").startswith("REDO is not active: a kill switch is on (file) (KILL_SWITCH)")

    def test_stale_state(self, terminal: Terminal, redo_home: Path) -> None:
        """Where the state does not answer, it says why, and does not fail."""
        (redo_home / "state.sqlite").mkdir(parents=True)
        assert "(DATABASE_UNAVAILABLE)" in terminal.type("status")
        assert terminal.printed.err.startswith("this may be old: ")

    def test_fits_80_columns(self, terminal: Terminal) -> None:
        """Whatever is wrong, no line is longer, but for the path of the state: that must stay whole."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true")
        simulate_orchestrator_failure()
        simulate_db_failure()
        for words in (["status"], ["flags", "list"], ["flags", "history"]):
            terminal.type(*words)
            lines = [line for line in terminal.printed.out.splitlines() if not line.startswith("state ")]
            assert max(map(len, lines)) <= 80, words

    def test_as_json(self, terminal: Terminal) -> None:
        """The health report and where the state is."""
        report = terminal.json("status")
        assert report["redo_active"] is False
        assert report["state"]["kind"] == "sqlite_file"


class TestReset:
    """`redo reset`."""

    def test_closes_the_breaker_and_keeps_the_flags(self, terminal: Terminal) -> None:
        """REDO answers again; the order is recorded with who and why."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true")
        simulate_orchestrator_failure()
        text = terminal.type("reset", "--actor", "ann", "--reason", "it works again")
        assert text == "reset: orchestrator breaker was open REDO is active: it answers 100 % of the keys (ENABLED)"

    def test_as_json(self, terminal: Terminal) -> None:
        """What was, and what is."""
        terminal.type("flags", "set", "orchestrator.redo_enabled=true")
        simulate_db_failure()
        report = terminal.json("reset")
        assert [report[when]["reason"] for when in ("before", "after")] == ["SIMULATED", "ENABLED"]

    def test_state_that_does_not_answer(self, terminal: Terminal, redo_home: Path) -> None:
        """The order did not arrive: it fails with 1."""
        (redo_home / "state.sqlite").mkdir(parents=True)
        assert terminal.fails("reset")[0] == 1
