"""The failures of the rollout guide's table, and what must come of each.

Whatever fails, every query must get a selection; the bench counts that. What else must hold is checked here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from core.fallbacks import is_redo_active, reset_fallback_state, simulate_db_failure, simulate_orchestrator_failure
from tasks.drills.bench import CHUNK, ON, QUERIES, WITH_LEDGER, Bench
from tasks.metrics import load as load_metrics
from tasks.wiring import state_store

ScenarioName: TypeAlias = Literal[
    "flags",
    "orchestrator-raises",
    "orchestrator-garbage",
    "orchestrator-hangs",
    "orchestrator-fails-in-shadow",
    "high-latency",
    "ledger-down",
    "state-unavailable",
    "state-lost",
    "index-lost",
    "simulate-db-failure",
    "simulate-orchestrator-failure",
    "emergency-off",
    "kill-switch-file",
]
"""The names of all scenarios, as the run form offers them."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One failure.

    Attributes:
        name: names it.
        guide: the row of the guide's table, or the part of the guide, that it shows.
        injected: what is made to fail, for people.
        play: makes it fail, and checks what comes of it.
        settings: environment variables that it needs beside those of every scenario.
    """

    name: str
    guide: str
    injected: str
    play: Callable[[Bench], None]
    settings: Mapping[str, str] = field(default_factory=dict)


_ORCHESTRATOR: Final = "Orchestrator Failure"
_LEDGER: Final = "Ledger Failure"
_DATABASE: Final = "Database Unavailable"
_LATENCY: Final = "High Latency"
_FLAGS: Final = "Feature Flag Check"
_ROLLBACK: Final = "Emergency Rollback"


def _raises(bench: Bench) -> None:
    with bench.fault("raise"):
        summary = bench.run("drill", flags=ON)
    _all_fall_back(bench, summary.decisions)
    spared, failed = (summary.reasons.get(reason, 0) for reason in ("BREAKER_OPEN", "ORCHESTRATOR_ERROR"))
    bench.check(  # on a slow machine the breaker's time may be over before the batch: then a probe fails too
        "the breaker opened, and spared the other chunks the failure",
        holds=failed >= CHUNK and spared > failed / 2,
        seen=summary.reasons,
    )
    counted = load_metrics(state_store())
    bench.check(
        "the failures are in the metrics",
        holds=counted.orchestrator_failures == failed and sum(counted.fallbacks.values()) == QUERIES,
        seen=f"{counted.orchestrator_failures} failures, {sum(counted.fallbacks.values())} fallbacks",
    )
    bench.recovers()


def _garbage(bench: Bench) -> None:
    with bench.fault("garbage"):
        summary = bench.run("drill", flags=ON)
    _all_fall_back(bench, summary.decisions)
    bench.check("the breaker opened", holds="BREAKER_OPEN" in summary.reasons, seen=summary.reasons)
    bench.recovers()


def _hangs(bench: Bench) -> None:
    with bench.fault("hang", REDO_FALLBACK_TIMEOUT="0.3"):
        summary = bench.run("drill", flags=ON)
    _all_fall_back(bench, summary.decisions)
    bench.check("calls were given up in time", holds="TIMEOUT" in summary.reasons, seen=summary.reasons)
    bench.check("the breaker opened", holds="BREAKER_OPEN" in summary.reasons)
    bench.recovers()


def _is_slow(bench: Bench) -> None:
    with bench.fault("slow"):
        summary = bench.run("drill", flags=ON)
        cause = bench.breaker()["cause"]
    bench.check("slow answers opened the breaker", holds=cause == "slow_calls", seen=cause)
    bench.check("late answers were seen as late", holds=summary.deadline_hits > 0, seen=summary.deadline_hits)
    bench.recovers()


def _shadow_fails(bench: Bench) -> None:
    with bench.fault("raise"):
        summary = bench.run("drill", shadow=True)
    legacy = summary.decisions["legacy"]
    bench.check("legacy answered all, by choice", holds=legacy == QUERIES, seen=summary.decisions)


def _ledger_down(bench: Bench) -> None:
    healthy = bench.run("healthy", flags=ON)
    ledger = bench.home / "ledger"
    ledger.write_text("a drill: this file is in the ledger's place")
    summary = bench.run("drill", flags=WITH_LEDGER)
    bench.check("the orchestrator went on", holds=summary.decisions["redo"] == QUERIES, seen=summary.decisions)
    bench.check("no selection changed", holds=bench.output(summary) == bench.output(healthy))
    there = summary.ledger or {}
    bench.check("the traces wait on disk", holds=there.get("pending") == QUERIES, seen=f"{there.get('pending')} traces")
    bench.check("REDO is still active", holds=is_redo_active(ON))
    ledger.unlink()
    bench.until(
        "the next attempt delivered every trace, once",
        lambda: (bench.run("drill", flags=WITH_LEDGER).ledger or {}).get("rows") == QUERIES,
    )


def _state_gone(bench: Bench) -> None:
    state = bench.home / "state.sqlite"
    state.mkdir()  # where the file should be: it can be neither read nor written
    summary = bench.run("drill", flags=ON)
    _all_fall_back(bench, summary.decisions)
    bench.check("the reason says so", holds=set(summary.reasons) == {"DATABASE_UNAVAILABLE"}, seen=summary.reasons)
    state.rmdir()
    again = bench.run("afterwards", flags=ON)
    bench.check("REDO answers again, by itself", holds=again.decisions["redo"] == QUERIES, seen=again.decisions)


def _state_lost(bench: Bench) -> None:
    bench.manager.flags.set(ON, actor="drill", reason="a drill")
    bench.run("before")
    state, away = bench.home / "state.sqlite", bench.home / "state.away"
    state.rename(away)
    state.mkdir()
    summary = bench.run("drill")
    bench.check(
        "the last flags that were known went on to count",
        holds=summary.decisions["redo"] == QUERIES,
        seen=summary.decisions,
    )
    stale = bench.manager.get_health_status()["stale_because"]
    bench.check("the health report says that they may be old", holds=stale is not None, seen=stale or "it does not")
    state.rmdir()
    away.rename(state)
    stale = bench.manager.get_health_status()["stale_because"]
    bench.check("it is read again, by itself", holds=stale is None, seen=stale or "")


def _index_lost(bench: Bench) -> None:
    first = bench.run("before", flags=ON)
    shutil.rmtree(bench.home / "indexes")
    summary = bench.run("drill", flags=ON)
    bench.check("the index was built anew", holds=(bench.home / "indexes").exists())
    bench.check("no selection changed", holds=bench.output(summary) == bench.output(first))


def _simulated_database(bench: Bench) -> None:
    simulate_db_failure()
    bench.check("REDO is not active", holds=not is_redo_active(ON))
    summary = bench.run("drill", flags=ON)
    _all_fall_back(bench, summary.decisions)
    reset_fallback_state()
    bench.check("REDO is active after the reset", holds=is_redo_active(ON))


def _simulated_orchestrator(bench: Bench) -> None:
    simulate_orchestrator_failure()
    bench.check("REDO is not active", holds=not is_redo_active(ON))
    summary = bench.run("drill", flags=ON, queries=CHUNK)
    _all_fall_back(bench, summary.decisions, queries=CHUNK)
    bench.recovers()


def _flags(bench: Bench) -> None:
    def share(batch_id: str, percentage: int) -> int:
        values = {**ON, "rollout_percentage": percentage}
        bench.manager.flags.set(values, actor="drill", reason="a drill")
        return bench.run(batch_id).decisions["redo"]

    off = bench.run("off").reasons
    bench.check("with the flags off legacy answers", holds=set(off) == {"FLAG_OFF"}, seen=off)
    none, some, every = share("none", 0), share("half", 50), share("all", 100)
    bench.check("at 0 % nobody is in the rollout", holds=none == 0, seen=none)
    bench.check("at 50 % some are", holds=0 < some < QUERIES, seen=f"{some} of {QUERIES} sessions")
    bench.check("at 100 % everybody is", holds=every == QUERIES, seen=every)


def _emergency(bench: Bench) -> None:
    bench.manager.flags.set(ON, actor="drill", reason="a drill")

    def kill_after_the_first(number: int) -> None:
        if number == 0:
            bench.manager.flags.kill(actor="drill", reason="a drill of the emergency")

    summary = bench.run("drill", after_chunk=kill_after_the_first)
    bench.check(
        "the batch that was running was off from its next chunk on",
        holds=dict(summary.reasons) == {"ENABLED": CHUNK, "KILL_SWITCH": QUERIES - CHUNK},
        seen=summary.reasons,
    )
    bench.check("REDO is not active", holds=not is_redo_active(ON))
    bench.manager.flags.lift_kill(actor="drill", reason="the drill is over")
    bench.manager.flags.set({"orchestrator.redo_enabled": False}, actor="drill", reason="a drill")
    off = bench.run("off").reasons
    bench.check("with the flag off legacy answers", holds=set(off) == {"FLAG_OFF"}, seen=off)


def _kill_file(bench: Bench) -> None:
    (bench.home / "state.sqlite").mkdir()
    switch = bench.home / "kill-switch"
    switch.touch()
    summary = bench.run("drill", flags=ON)
    bench.check(
        "the file is enough, with the shared state down",
        holds=set(summary.reasons) == {"KILL_SWITCH"},
        seen=summary.reasons,
    )
    switch.unlink()
    (bench.home / "state.sqlite").rmdir()
    again = bench.run("afterwards", flags=ON)
    bench.check("without it REDO answers", holds=again.decisions["redo"] == QUERIES, seen=again.decisions)


def _all_fall_back(bench: Bench, decisions: Mapping[str, int], *, queries: int = QUERIES) -> None:
    bench.check("every query fell back to legacy", holds=decisions["fallback"] == queries, seen=decisions)


SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        scenario.name: scenario
        for scenario in (
            Scenario("flags", _FLAGS, "nothing; the flags go off, 0, 50 and 100 %", _flags),
            Scenario("orchestrator-raises", _ORCHESTRATOR, "the detector raises", _raises),
            Scenario("orchestrator-garbage", _ORCHESTRATOR, "the detector returns nonsense", _garbage),
            Scenario("orchestrator-hangs", _ORCHESTRATOR, "the detector never answers", _hangs),
            Scenario(
                "orchestrator-fails-in-shadow", _ORCHESTRATOR, "the detector raises in a shadow run", _shadow_fails
            ),
            Scenario("high-latency", _LATENCY, "the detector takes twice the budget", _is_slow),
            Scenario("ledger-down", _LEDGER, "the ledger takes no trace", _ledger_down),
            Scenario("state-unavailable", _DATABASE, "the shared state, from the start", _state_gone),
            Scenario("state-lost", _DATABASE, "the shared state, while runs go on", _state_lost),
            Scenario("index-lost", _DATABASE, "the passage index is deleted", _index_lost),
            Scenario(
                "simulate-db-failure",
                _DATABASE,
                "simulate_db_failure()",
                _simulated_database,
                {"REDO_CIRCUIT_BREAKER_RESET": "60"},  # it ends with the reset, and not before
            ),
            Scenario(
                "simulate-orchestrator-failure",
                _ORCHESTRATOR,
                "simulate_orchestrator_failure()",
                _simulated_orchestrator,
                {"REDO_CIRCUIT_BREAKER_RESET": "5"},  # long enough for a batch
            ),
            Scenario("emergency-off", _ROLLBACK, "nothing; everything is turned off during a batch", _emergency),
            Scenario("kill-switch-file", _ROLLBACK, "the shared state, with the kill-switch file set", _kill_file),
        )
    }
)
"""Every scenario by its name, in the order in which they are played."""
