"""Where a process finds the shared state, and what the environment says to the guard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.adapters.sqlite_state import SqliteStateStore
from core.errors import ConfigError, FlagError, StoreError
from core.fallbacks import (
    Component,
    FallbackConfig,
    RedoFallbackManager,
    get_fallback_manager,
    get_health_status,
    is_redo_active,
    reset_fallback_state,
    safe_ledger_execution,
    safe_orchestrator_execution,
    simulate_orchestrator_failure,
)
from core.flags import KillSwitches
from feature_flags import set_feature_flag
from tasks.settings import load_kill_switches, load_settings, prefect_api_url
from tasks.wiring import health_probes, state_store, surroundings

URL = "http://127.0.0.1:4200/api"


@pytest.fixture
def prefect_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prefect's folder, with nothing of it in the environment but its place."""
    for name in tuple(os.environ):
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    home = tmp_path / "prefect"
    home.mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(home))
    return home


def profiles(home: Path, active: str) -> None:
    """Write Prefect's file of profiles: one with an API, and one without."""
    (home / "profiles.toml").write_text(
        f'active = "{active}"\n[profiles.team]\nPREFECT_API_URL = "{URL}"\n[profiles.ephemeral]\n'
    )


class TestPlaceOfState:
    """One place at a time, the same for everybody."""

    def test_local_file_without_a_prefect_api(self, redo_home: Path, prefect_home: Path) -> None:
        """The default is a file below `REDO_HOME`, which is not made by looking."""
        assert prefect_home.is_dir()
        store = state_store()
        assert isinstance(store, SqliteStateStore)
        assert store.load("flags") is None
        assert not redo_home.exists()
        store.swap("flags", expected_version=0, value={}, actor="ann", reason="a test")
        assert (redo_home / "state.sqlite").exists()

    def test_address_in_the_environment(self, prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is stronger than the profile, also where it says that there is none."""
        profiles(prefect_home, "team")
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
        assert prefect_api_url() == "http://127.0.0.1:1/api"
        monkeypatch.setenv("PREFECT_API_URL", "")
        assert prefect_api_url() is None

    def test_address_in_the_active_profile(self, prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The active profile is that of the file, or that of the environment."""
        assert prefect_api_url() is None
        profiles(prefect_home, "team")
        assert prefect_api_url() == URL
        monkeypatch.setenv("PREFECT_PROFILE", "ephemeral")
        assert prefect_api_url() is None
        monkeypatch.setenv("PREFECT_PROFILE", "unknown")
        assert prefect_api_url() is None
        profiles(prefect_home, "ephemeral")
        monkeypatch.setenv("PREFECT_PROFILE", "team")
        assert prefect_api_url() == URL

    def test_file_of_profiles_elsewhere(
        self, prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`PREFECT_PROFILES_PATH` names another file; without `PREFECT_HOME` it is in the home folder."""
        profiles(prefect_home, "team")
        monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "none.toml"))
        assert prefect_api_url() is None
        monkeypatch.setenv("PREFECT_PROFILES_PATH", str(prefect_home / "profiles.toml"))
        monkeypatch.delenv("PREFECT_HOME")
        assert prefect_api_url() == URL
        monkeypatch.delenv("PREFECT_PROFILES_PATH")
        (tmp_path / ".prefect").mkdir()
        profiles(tmp_path / ".prefect", "team")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert prefect_api_url() == URL

    @pytest.mark.parametrize("text", ["active = ", 'active = "team"\nprofiles = "none"\n', b"\xff"])
    def test_file_of_profiles_that_cannot_be_read(self, prefect_home: Path, text: str | bytes) -> None:
        """It is named; guessing would put the state where nobody looks."""
        (prefect_home / "profiles.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigError, match=r"Prefect's profiles .*profiles\.toml"):
            prefect_api_url()

    @pytest.mark.process
    def test_prefect_blocks_where_an_api_is_configured(self, prefect_home: Path, redo_home: Path) -> None:
        """The store is that of the blocks, and with the API down everything is off and nothing is raised."""
        profiles(prefect_home, "team")
        program = """
            import json, sys
            from core.fallbacks import get_health_status, is_redo_active
            from tasks.wiring import state_store
            on = is_redo_active({"orchestrator.redo_enabled": True})
            stale = get_health_status()["stale"]
            print(json.dumps([type(state_store()).__name__, on, stale, "prefect" in sys.modules]))
        """
        assert run_python(program, PREFECT_HOME=str(prefect_home), PREFECT_API_URL="http://127.0.0.1:9/api") == [
            "PrefectStateStore",
            False,
            True,
            True,
        ]
        assert not redo_home.exists()


def run_python(program: str, **environment: str) -> object:
    """Run a program in a process of its own, and return what it prints as JSON."""
    lines = program.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    completed = subprocess.run(
        [sys.executable, "-c", "\n".join(line[indent:] for line in lines)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(completed.stdout)


class TestLightness:
    """The guide's one-liners are quick because of what they leave alone."""

    @pytest.mark.process
    def test_asking_imports_no_heavy_library(self, prefect_home: Path) -> None:
        """Neither Prefect nor the libraries of retrieval and ledger; setting a flag and resetting need none either."""
        program = """
            import json, sys
            from core.fallbacks import is_redo_active, reset_fallback_state
            from feature_flags import set_feature_flag
            was = is_redo_active()
            set_feature_flag("orchestrator.redo_enabled", True)
            reset_fallback_state()
            heavy = {"prefect", "pyarrow", "bm25s", "duckdb", "obstore", "fastapi", "httpx", "pandas"}
            print(json.dumps([was, is_redo_active(), sorted(heavy & set(sys.modules))]))
        """
        assert run_python(program, PREFECT_HOME=str(prefect_home)) == [False, True, []]

    @pytest.mark.process
    def test_import_alone_reads_no_settings(self) -> None:
        """`import core.fallbacks` is an import and nothing else: a bad setting is told by what needs it."""
        program = """
            import json, sys
            import core.fallbacks
            print(json.dumps(sorted({"tasks", "pydantic", "ledger"} & set(sys.modules))))
        """
        assert run_python(program, REDO_CHUNK_SIZE="nonsense") == []


class TestEnvironment:
    """Variables and files that the guard obeys."""

    @pytest.mark.parametrize(
        ("text", "is_on"),
        [
            ("1", True),
            ("true", True),
            ("yes please", True),
            ("", False),
            ("0", False),
            (" False ", False),
            ("off", False),
        ],
    )
    def test_kill_switch_variable(
        self,
        text: str,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        *,
        is_on: bool,
    ) -> None:
        """Anything but a plain no is a yes: who sets it wants REDO off."""
        monkeypatch.setenv("REDO_KILL_SWITCH", text)
        assert load_kill_switches(tmp_path) == KillSwitches(environment=is_on)

    def test_kill_switch_file(self, tmp_path: Path) -> None:
        """It is enough that it exists, be it empty, a folder, or a link to nowhere; a home without it is no switch."""
        assert load_kill_switches(tmp_path / "no-home") == KillSwitches()
        (tmp_path / "kill-switch").symlink_to(tmp_path / "nowhere")
        assert load_kill_switches(tmp_path) == KillSwitches(file=True)

    def test_kill_switch_file_stops_a_running_process(self, redo_home: Path) -> None:
        """A touch of the file below `REDO_HOME`, and the process that is running goes to legacy."""
        set_feature_flag("orchestrator.redo_enabled", value=True)
        manager = get_fallback_manager()
        assert manager.is_redo_active()
        (redo_home / "kill-switch").touch()
        manager.refresh()
        assert not manager.is_redo_active()
        assert get_health_status()["kill_switches"] == ["file"]

    def test_settings_of_the_guide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The guide's variables have its defaults, and the process's manager obeys them."""
        assert load_settings().fallback == FallbackConfig()
        for name, text in {
            "REDO_HEALTH_CHECK_INTERVAL": "10",
            "REDO_MAX_CONSECUTIVE_FAILURES": "1",
            "REDO_CIRCUIT_BREAKER_RESET": "2.5",
            "REDO_FALLBACK_TIMEOUT": "1",
        }.items():
            monkeypatch.setenv(name, text)
        config = get_fallback_manager().config
        assert config == FallbackConfig(
            health_check_interval_seconds=10,
            max_consecutive_failures=1,
            circuit_breaker_reset_seconds=2.5,
            fallback_timeout_seconds=1,
        )

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("REDO_HEALTH_CHECK_INTERVAL", "0"),
            ("REDO_MAX_CONSECUTIVE_FAILURES", "1.5"),
            ("REDO_CIRCUIT_BREAKER_RESET", "soon"),
            ("REDO_FALLBACK_TIMEOUT", "inf"),
        ],
    )
    def test_bad_setting_is_named(self, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first question to the guard says which variable cannot be used."""
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigError, match=f"{name}: .*{text}"):
            is_redo_active()

    def test_admin_token_is_never_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither the settings' text nor the message about one that is too short holds it."""
        assert load_settings().admin_token is None
        monkeypatch.setenv("REDO_ADMIN_TOKEN", "a token of the tests")
        settings = load_settings()
        assert settings.admin_token == "a token of the tests"  # noqa: S105 - not one that opens anything
        assert "a token" not in f"{settings} {settings!r}"
        monkeypatch.setenv("REDO_ADMIN_TOKEN", "a token")
        with pytest.raises(ConfigError, match=r"REDO_ADMIN_TOKEN: .*at least 16 characters") as caught:
            load_settings()
        assert "a token" not in str(caught.value)

    def test_bad_flag_variable_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A flag's variable is read when the guard is made."""
        monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "perhaps")
        with pytest.raises(FlagError, match="ORCHESTRATOR_REDO_ENABLED"):
            is_redo_active()

    def test_flag_variable_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment switches REDO on where nobody has set the flag."""
        monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "true")
        assert is_redo_active()

    def test_budget_of_a_query_is_when_it_is_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A valid answer later than `ORCHESTRATION_TIME_BUDGET_MS` is slow."""
        monkeypatch.setenv("ORCHESTRATION_TIME_BUDGET_MS", "250")
        assert surroundings().slow_call_s == 0.25

    def test_who_acts(self) -> None:
        """A user on a host, and for leases a process on it; neither is empty."""
        around = surroundings()
        user, _, host = around.actor.partition("@")
        assert user
        assert around.owner == f"{host}:{os.getpid()}"


class TestProcessManager:
    """`get_fallback_manager`."""

    def test_is_one(self) -> None:
        """Whoever asks gets the same, threads that ask at once too."""
        found: list[RedoFallbackManager] = []
        barrier = threading.Barrier(4)

        def ask() -> None:
            barrier.wait()
            found.append(get_fallback_manager())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, [*found, get_fallback_manager()]))) == 1

    def test_stays_valid_after_a_reset(self) -> None:
        """A manager taken before sees the reset."""
        manager = get_fallback_manager()
        simulate_orchestrator_failure()
        assert manager.get_health_status()["consecutive_failures"] == 3
        reset_fallback_state()
        assert get_fallback_manager() is manager
        assert manager.get_health_status()["consecutive_failures"] == 0

    def test_a_manager_of_ones_own_shares_the_state(self) -> None:
        """The guide's `RedoFallbackManager(config)` sees what the process's manager does."""
        mine = RedoFallbackManager(FallbackConfig(max_consecutive_failures=5))
        set_feature_flag("orchestrator.redo_enabled", value=True)
        mine.refresh()
        assert mine.is_redo_active()
        mine.simulate_orchestrator_failure()
        assert get_health_status()["consecutive_failures"] == 5

    def test_another_home_is_another_state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that is pointed elsewhere, as a test is, starts afresh there."""
        set_feature_flag("orchestrator.redo_enabled", value=True)
        assert is_redo_active()
        monkeypatch.setenv("REDO_HOME", str(tmp_path / "elsewhere"))
        assert not is_redo_active()

    def test_functions_and_manager_are_the_same(self) -> None:
        """The guide's functions ask the process's manager."""
        with safe_orchestrator_execution() as redo, safe_ledger_execution() as ledger:
            assert (redo.allowed, ledger.allowed) == (False, False)
        set_feature_flag("orchestrator.redo_enabled", value=True)
        with pytest.raises(ZeroDivisionError), safe_orchestrator_execution():
            raise ZeroDivisionError
        assert get_health_status()["consecutive_failures"] == 1

    def test_unreadable_state_is_off_and_told(self, redo_home: Path) -> None:
        """A file that is no database costs no exception where queries are answered; an order says that it failed."""
        redo_home.mkdir()
        (redo_home / "state.sqlite").write_bytes(b"no database " * 100)
        assert not is_redo_active({"orchestrator.redo_enabled": True})
        assert "file is not a database" in str(get_health_status()["stale_because"])
        with pytest.raises(StoreError):
            set_feature_flag("orchestrator.redo_enabled", value=True)


class TestProbes:
    """The real checks."""

    def test_all_well_on_a_fresh_machine(self) -> None:
        """The orchestrator answers its self-test; an empty ledger and an empty state are no failures."""
        found = get_fallback_manager().run_health_checks()
        assert found == {Component.ORCHESTRATOR: None, Component.LEDGER: None, Component.STATE: None}

    def test_ledger_that_is_no_folder(self, redo_home: Path) -> None:
        """It is told, and takes nobody out."""
        redo_home.mkdir()
        (redo_home / "ledger").write_text("in the way")
        found = get_fallback_manager().run_health_checks()
        assert "expected a folder" in str(found[Component.LEDGER])
        assert is_redo_active({"orchestrator.redo_enabled": True})

    def test_state_that_cannot_be_read(self, redo_home: Path) -> None:
        """The probe reads it as everybody does."""
        redo_home.mkdir()
        (redo_home / "state.sqlite").write_bytes(b"no database " * 100)
        found = get_fallback_manager().run_health_checks()
        assert "file is not a database" in str(found[Component.STATE])

    def test_index_that_is_gone_and_back(self, tmp_path: Path) -> None:
        """The passage index is checked where one is named, and REDO comes back with it."""
        manager = get_fallback_manager()
        probes = health_probes(load_settings(), state_store(), index=tmp_path / "index")
        assert "cannot open the passage index" in str(manager.run_health_checks(probes)[Component.INDEX])
        assert not is_redo_active({"orchestrator.redo_enabled": True})
        build_index(tmp_path)
        assert manager.run_health_checks(probes)[Component.INDEX] is None
        assert is_redo_active({"orchestrator.redo_enabled": True})


def build_index(folder: Path) -> None:
    """Build an index of one passage at `folder/index`."""
    from core.adapters.bm25 import ensure_index  # noqa: PLC0415  a second that the other tests do not need
    from core.model import Passage  # noqa: PLC0415

    ensure_index(folder, "index", lambda _: [Passage("p-1", "The first query has words.")])
