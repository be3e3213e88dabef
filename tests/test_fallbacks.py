"""The promises of the rollout guide, as behaviour. `python3 tests/test_fallbacks.py` runs this file alone.

Everything happens in a folder of its own; nothing of this machine's flags, breakers or health is seen or changed. Time
is real here; what depends on time passing is tested with a clock that stands still in tests/unit/test_guard_*.py.
"""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import FlagError
from core.fallbacks import (
    Component,
    FallbackConfig,
    RedoFallbackManager,
    SafeExecution,
    aexecute_with_fallback,
    execute_with_fallback,
    get_fallback_manager,
    get_health_status,
    is_redo_active,
    reset_fallback_state,
    safe_ledger_execution,
    safe_orchestrator_execution,
    simulate_db_failure,
    simulate_orchestrator_failure,
)
from feature_flags import get_all_flags, get_feature_flag, set_feature_flag, set_feature_flags
from tasks.wiring import surroundings

ON = {"orchestrator.redo_enabled": True}
OFF_BY_DEFAULT = {"orchestrator.redo_enabled": False, "ledger.enabled": False, "rollout_percentage": 100}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep away from this machine's settings: an empty home, and neither REDO's variables nor a Prefect API."""
    for name in tuple(os.environ):
        if name.startswith(("REDO_", "LEDGER_", "ORCHESTRATOR_", "ORCHESTRATION_", "PREFECT_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("REDO_HOME", str(home / "redo"))
    return home


def in_bash(command: str) -> str:
    """Run a command as the guide prints it, and return what it prints."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    completed = subprocess.run(
        ["bash", "-c", textwrap.dedent(command)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def in_python(program: str) -> str:
    """Run a program in another process, and return what it prints."""
    completed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def fail_in(block: SafeExecution, error: Exception) -> None:
    """Enter a block, see that the work may be done, and let it raise."""
    with block as execution:
        assert execution.allowed
        raise error


class TestFlags:
    """Feature flags: defaults, setting, checking, rolling back."""

    def test_everything_is_off_by_default(self, own_home: Path) -> None:
        """REDO that has just been deployed does nothing, and looking leaves no trace."""
        assert get_all_flags() == OFF_BY_DEFAULT
        assert is_redo_active() is False
        assert not own_home.exists()

    def test_enabling_the_flag_alone_activates_redo(self) -> None:
        """The rollout percentage is 100 unless somebody lowers it."""
        set_feature_flag("orchestrator.redo_enabled", value=True)
        assert is_redo_active() is True
        assert get_feature_flag("orchestrator.redo_enabled") is True

    def test_flags_given_with_the_question_hold_for_it(self) -> None:
        """`is_redo_active` takes flags, and changes none."""
        assert is_redo_active({"orchestrator.redo_enabled": True, "ledger.enabled": True}) is True
        assert is_redo_active({"orchestrator.redo_enabled": False, "ledger.enabled": True}) is False
        assert get_all_flags() == OFF_BY_DEFAULT

    def test_emergency_rollback_is_immediate(self) -> None:
        """Both flags off in one step, and the next question says so."""
        set_feature_flags({"orchestrator.redo_enabled": True, "ledger.enabled": True})
        assert is_redo_active()
        set_feature_flags({"orchestrator.redo_enabled": False, "ledger.enabled": False})
        assert not is_redo_active()
        assert get_all_flags() == OFF_BY_DEFAULT

    def test_components_are_rolled_back_alone(self) -> None:
        """The ledger without REDO, REDO without the ledger: the flags do not depend on each other."""
        set_feature_flags({"orchestrator.redo_enabled": False, "ledger.enabled": True})
        with safe_ledger_execution() as ledger:
            assert ledger.allowed
        assert not is_redo_active()
        set_feature_flags({"orchestrator.redo_enabled": True, "ledger.enabled": False})
        with safe_ledger_execution() as ledger:
            assert not ledger.allowed
        assert is_redo_active()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("orchestrator.redo", True),
            ("orchestrator.redo_enabled", "true"),
            ("ledger.enabled", 1),
            ("rollout_percentage", 100.5),
            ("rollout_percentage", 12.3456),
            ("rollout_percentage", True),
        ],
    )
    def test_what_makes_no_sense_is_refused_and_changes_nothing(self, name: str, value: object) -> None:
        """Unknown flag, wrong type, out of range, too many decimals: an error names it, and all stays as it was."""
        with pytest.raises(FlagError, match=name):
            set_feature_flags({"ledger.enabled": True, name: value})
        assert get_all_flags() == OFF_BY_DEFAULT
        with pytest.raises(FlagError, match=r"no\.such\.flag"):
            get_feature_flag("no.such.flag")

    def test_changes_are_recorded(self) -> None:
        """Who, why, before, after, newest first."""
        set_feature_flag("ledger.enabled", value=True, actor="ann", reason="phase 2")
        set_feature_flag("ledger.enabled", value=False)
        second, first = get_fallback_manager().flags.history()
        assert (first.actor, first.reason, first.after) == ("ann", "phase 2", {"ledger.enabled": True})
        assert (second.before, second.after) == ({"ledger.enabled": True}, {"ledger.enabled": False})
        assert "@" in second.actor

    @pytest.mark.process
    def test_a_change_in_one_process_is_seen_by_the_others(self) -> None:
        """Set there, seen here; set here, seen there; both in the history."""
        in_python("import feature_flags; feature_flags.set_feature_flag('orchestrator.redo_enabled', True, actor='x')")
        assert get_feature_flag("orchestrator.redo_enabled") is True
        set_feature_flag("rollout_percentage", 12.5)
        flags = ast.literal_eval(in_python("import feature_flags; print(feature_flags.get_all_flags())"))
        assert flags == {"orchestrator.redo_enabled": True, "ledger.enabled": False, "rollout_percentage": 12.5}
        assert [change.actor == "x" for change in get_fallback_manager().flags.history()] == [False, True]


class TestScenarios:
    """The guide's table of fallback scenarios."""

    @pytest.fixture(autouse=True)
    def switched_on(self) -> None:
        """REDO and the ledger are on."""
        set_feature_flags({"orchestrator.redo_enabled": True, "ledger.enabled": True})

    def test_orchestrator_failure(self) -> None:
        """Legacy answers each query, and after three failures in a row REDO is not even tried."""
        calls: list[int] = []

        def broken() -> str:
            calls.append(1)
            raise ZeroDivisionError

        assert [execute_with_fallback(broken, lambda: "legacy") for _ in range(5)] == ["legacy"] * 5
        assert len(calls) == 3
        assert not is_redo_active()
        reset_fallback_state()
        assert execute_with_fallback(lambda: "redo", lambda: "legacy") == "redo"

    def test_orchestrator_failure_in_a_coroutine(self) -> None:
        """The same for coroutine functions."""

        async def broken() -> str:
            raise ZeroDivisionError

        async def five() -> list[str]:
            return [await aexecute_with_fallback(broken, lambda: "legacy") for _ in range(5)]

        assert asyncio.run(five()) == ["legacy"] * 5
        assert get_health_status()["consecutive_failures"] == 3

    def test_orchestrator_recovers_by_itself(self) -> None:
        """After the reset period one call is let through, and its success lets all in again."""
        manager = RedoFallbackManager(FallbackConfig(circuit_breaker_reset_seconds=1e-6))
        manager.simulate_orchestrator_failure()
        assert manager.get_health_status()["consecutive_failures"] == 3
        assert manager.execute_with_fallback(lambda: "redo", lambda: "legacy") == "redo"
        assert manager.get_health_status()["orchestrator_healthy"] is True
        assert manager.get_health_status()["consecutive_failures"] == 0

    def test_ledger_failure(self) -> None:
        """The caller learns of it, REDO goes on, and the next request tries again."""
        for _ in range(2):
            with pytest.raises(OSError, match="full"):
                fail_in(safe_ledger_execution(), OSError("disk full"))
            assert is_redo_active()
        for _ in range(3):
            with pytest.raises(OSError, match="full"), safe_ledger_execution():
                raise OSError("disk full")
        with safe_ledger_execution() as ledger:
            assert not ledger.allowed
        status = get_health_status()
        assert (status["ledger_healthy"], status["orchestrator_healthy"]) == (False, True)
        assert is_redo_active()

    def test_database_unavailable(self) -> None:
        """Legacy answers until the index is back; no reset is needed."""
        manager = get_fallback_manager()

        def index_is_gone() -> None:
            raise FileNotFoundError("index")

        manager.run_health_checks({Component.INDEX: index_is_gone})
        assert not is_redo_active()
        assert get_health_status()["database_healthy"] is False
        assert execute_with_fallback(lambda: "redo", lambda: "legacy") == "legacy"
        manager.run_health_checks({Component.INDEX: lambda: None})
        assert is_redo_active()

    def test_hanging_call(self) -> None:
        """Legacy answers after the time limit; the late result is dropped, and the process goes on."""
        release = threading.Event()
        try:
            answer = execute_with_fallback(lambda: release.wait(60) and "redo", lambda: "legacy", timeout_s=0.01)
            assert answer == "legacy"
            assert get_health_status()["abandoned_calls"] == 1
            assert execute_with_fallback(lambda: "redo", lambda: "legacy") == "redo"
        finally:
            release.set()

    def test_high_latency(self) -> None:
        """Answers that are valid but late take REDO out once they are half of at least twenty."""
        manager = RedoFallbackManager(surroundings=replace(surroundings(), slow_call_s=1e-9))
        answers = [manager.execute_with_fallback(lambda: "redo", lambda: "legacy") for _ in range(21)]
        assert answers == ["redo"] * 20 + ["legacy"]
        assert manager.get_health_status()["circuit_breaker"]["cause"] == "slow_calls"  # type: ignore[index]
        assert not manager.is_redo_active()


class TestManager:
    """The fallback manager and its safe execution."""

    def test_the_guides_defaults(self) -> None:
        """The configuration that the guide prints is the default one."""
        config = FallbackConfig(
            enable_health_checks=True,
            health_check_interval_seconds=30.0,
            max_consecutive_failures=3,
            fallback_timeout_seconds=5.0,
            enable_circuit_breaker=True,
            circuit_breaker_reset_seconds=60.0,
        )
        assert config == FallbackConfig() == get_fallback_manager().config

    def test_health_status_has_the_guides_keys(self) -> None:
        """All well: healthy, healthy, none."""
        status = get_health_status()
        assert status == get_fallback_manager().get_health_status()
        assert status["orchestrator_healthy"] is True
        assert status["ledger_healthy"] is True
        assert status["database_healthy"] is True
        assert status["consecutive_failures"] == 0
        assert status["circuit_breaker"]["state"] == "closed"  # type: ignore[index]
        assert {"last_errors", "last_check", "flags", "stale"} <= status.keys()

    @pytest.mark.parametrize("simulate", [simulate_db_failure, simulate_orchestrator_failure])
    def test_simulations_and_reset(self, simulate: Callable[[], None]) -> None:
        """Each one takes REDO out whatever the flags say, until it is reset; the flags stay as they are."""
        set_feature_flag("orchestrator.redo_enabled", value=True)
        manager = get_fallback_manager()
        simulate()
        assert is_redo_active(ON) is False
        reset_fallback_state()
        assert is_redo_active(ON) is True
        assert manager.is_redo_active()
        assert get_all_flags()["orchestrator.redo_enabled"] is True

    @pytest.mark.process
    def test_simulation_and_reset_from_other_processes(self) -> None:
        """What one command line breaks and another puts right is seen by a process that is running."""
        manager = get_fallback_manager()
        assert manager.is_redo_active(ON)
        in_python("import core.fallbacks as f; f.simulate_orchestrator_failure(); f.simulate_db_failure()")
        manager.refresh()
        assert not manager.is_redo_active(ON)
        status = manager.get_health_status()
        assert (status["consecutive_failures"], status["database_healthy"]) == (3, False)
        in_python("from core.fallbacks import reset_fallback_state; reset_fallback_state()")
        manager.refresh()
        assert manager.is_redo_active(ON)

    def test_safe_execution_swallows_nothing(self) -> None:
        """The caller's exception comes out of the block as it went in, once."""
        set_feature_flags({"orchestrator.redo_enabled": True, "ledger.enabled": True})
        for block in (safe_orchestrator_execution, safe_ledger_execution):
            error = ZeroDivisionError("mine")
            with pytest.raises(ZeroDivisionError) as caught:
                fail_in(block(), error)
            assert caught.value is error


@pytest.mark.process
class TestCommandsOfTheGuide:
    """Every Python snippet and one-liner of the guide, as it is printed there."""

    def test_redo_is_inactive_by_default(self) -> None:
        """Phase 1, step 2."""
        printed = in_bash("""
            python3 -c "
            from core.fallbacks import is_redo_active
            print('REDO active:', is_redo_active())
            "
        """)
        assert printed == "REDO active: False\n"

    def test_setting_flags(self) -> None:
        """Feature Flag Management, Setting Flags."""
        in_python("""
            from feature_flags import set_feature_flag

            # Enable REDO orchestrator
            set_feature_flag("orchestrator.redo_enabled", True)

            # Enable ledger persistence
            set_feature_flag("ledger.enabled", True)
        """)
        assert get_all_flags() == {
            "orchestrator.redo_enabled": True,
            "ledger.enabled": True,
            "rollout_percentage": 100,
        }

    def test_checking_status(self) -> None:
        """Feature Flag Management, Checking Status."""
        printed = in_python("""
            from core.fallbacks import is_redo_active, get_fallback_manager

            # Check if REDO is active
            feature_flags = {"orchestrator.redo_enabled": True, "ledger.enabled": True}
            is_active = is_redo_active(feature_flags)

            # Get detailed health status
            manager = get_fallback_manager()
            health = manager.get_health_status()
            print(f"Orchestrator healthy: {health['orchestrator_healthy']}")
            print(f"Ledger healthy: {health['ledger_healthy']}")
            print(f"Consecutive failures: {health['consecutive_failures']}")
        """)
        assert printed == "Orchestrator healthy: True\nLedger healthy: True\nConsecutive failures: 0\n"

    def test_simulated_failures_and_manual_reset(self) -> None:
        """Testing Procedures, Pre-Rollout Testing; then Troubleshooting, Circuit Breaker Stuck Open."""
        printed = in_bash("""
            python3 -c "
            from core.fallbacks import simulate_db_failure, simulate_orchestrator_failure
            from core.fallbacks import is_redo_active

            # Test DB failure fallback
            simulate_db_failure()
            print('After DB failure:', is_redo_active({'orchestrator.redo_enabled': True}))

            # Test orchestrator failure fallback
            simulate_orchestrator_failure()
            print('After orchestrator failure:', is_redo_active({'orchestrator.redo_enabled': True}))
            "
        """)
        assert printed == "After DB failure: False\nAfter orchestrator failure: False\n"
        assert not is_redo_active(ON)
        in_bash('python3 -c "from core.fallbacks import reset_fallback_state; reset_fallback_state()"')
        get_fallback_manager().refresh()
        assert is_redo_active(ON)

    def test_configuration(self) -> None:
        """Configuration, Fallback Configuration."""
        in_python("""
            from core.fallbacks import FallbackConfig, RedoFallbackManager

            config = FallbackConfig(
                enable_health_checks=True,
                health_check_interval_seconds=30.0,
                max_consecutive_failures=3,
                fallback_timeout_seconds=5.0,
                enable_circuit_breaker=True,
                circuit_breaker_reset_seconds=60.0
            )

            manager = RedoFallbackManager(config)
        """)

    def test_environment_variables(self) -> None:
        """Configuration, Environment Variables; with other values, which are obeyed."""
        printed = in_bash("""
            # REDO configuration
            export ORCHESTRATOR_REDO_ENABLED=false
            export LEDGER_ENABLED=false
            export ORCHESTRATION_TIME_BUDGET_MS=400
            export LEDGER_MAX_TRACE_BYTES=100000

            # Fallback configuration
            export REDO_HEALTH_CHECK_INTERVAL=30
            export REDO_MAX_CONSECUTIVE_FAILURES=3
            export REDO_CIRCUIT_BREAKER_RESET=60
            python3 -c 'from core.fallbacks import *; print(is_redo_active(), get_fallback_manager().config)'
            export ORCHESTRATOR_REDO_ENABLED=true REDO_MAX_CONSECUTIVE_FAILURES=7
            python3 -c 'from core.fallbacks import *; print(is_redo_active(), get_fallback_manager().config)'
        """)
        first, second = printed.splitlines()
        assert first == f"False {FallbackConfig()}"
        assert second == f"True {FallbackConfig(max_consecutive_failures=7)}"

    def test_debug_commands(self) -> None:
        """Troubleshooting, Debug Commands."""
        flags, health, active = (
            in_bash(command)
            for command in (
                """
                # Check feature flags
                python3 -c "
                from feature_flags import get_all_flags
                print('Feature flags:', get_all_flags())
                "
                """,
                """
                # Check health status
                python3 -c "
                from core.fallbacks import get_fallback_manager
                manager = get_fallback_manager()
                print('Health status:', manager.get_health_status())
                "
                """,
                """
                # Test REDO activation
                python3 -c "
                from core.fallbacks import is_redo_active
                flags = {'orchestrator.redo_enabled': True, 'ledger.enabled': True}
                print('REDO active:', is_redo_active(flags))
                "
                """,
            )
        )
        assert ast.literal_eval(flags.removeprefix("Feature flags: ")) == OFF_BY_DEFAULT
        assert ast.literal_eval(health.removeprefix("Health status: "))["orchestrator_healthy"] is True
        assert active == "REDO active: True\n"


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, *sys.argv[1:]]))
