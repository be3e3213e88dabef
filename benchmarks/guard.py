"""What the guard costs a query, beside other breakers and a flag client: one process, everything closed and cached.

    python benchmarks/guard.py [--rounds 5]

The median is that of blocks of 1,000 calls, the 99th percentile that of single calls, less what reading the clock
takes. Rounds go through all rows in turn, so that a busy moment of the machine hits every row; the median round is
shown. Each breaker guards a function that does nothing, and opens after 3 failures for 60 s. Below: how long the first
line of the rollout guide takes as a process of its own. The goals are 2 us for a decision and 1 s for that line,
without Prefect; the exit code says whether they were met.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from statistics import median
from typing import Final, NamedTuple

from benchmarks.machine import describe

_BLOCKS: Final = 40
_BLOCK: Final = 1_000
_SINGLE: Final = 20_000
_DECISION: Final = "decide: flags cached, breaker closed"
_GOAL_US: Final = 2.0
_GOAL_S: Final = 1.0
_LINE: Final = "from core.fallbacks import is_redo_active; print(is_redo_active())"
_STARTS: Final = 5


class Cost(NamedTuple):
    """What a call takes, in microseconds."""

    median_us: float
    p99_us: float


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often every row is measured")
    arguments = parser.parse_args(argv)
    print(describe("redo", "mmh3", "pybreaker", "circuitbreaker", "interlock-cb", "openfeature-sdk"), flush=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["REDO_HOME"] = home
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            del os.environ[name]
        calls = {**_ours(), **_peers()}
        rounds = [{name: _cost(call) for name, call in calls.items()} for _ in range(arguments.rounds)]
    costs = {name: Cost(*map(median, zip(*(row[name] for row in rounds), strict=True))) for name in calls}
    print(f"\n{'one call':44} {'median us':>10} {'p99 us':>8}")
    for name, cost in costs.items():
        print(f"{name:44} {cost.median_us:10.3f} {cost.p99_us:8.3f}")
    seconds, loads_prefect = _start()
    print(f'\npython -c "{_LINE}"')
    print(f"  {median(seconds):.2f} s median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s", end="")
    print(f", {'imports' if loads_prefect else 'does not import'} Prefect")
    met = costs[_DECISION].median_us <= _GOAL_US and median(seconds) <= _GOAL_S and not loads_prefect
    return 0 if met else 1


def _nothing() -> bool:
    """What the breakers guard."""
    return True


def _ours() -> Mapping[str, Callable[[], object]]:
    """The guard over its local store, half rolled out."""
    from openfeature import api  # noqa: PLC0415 - the environment comes first
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415

    from core.adapters.openfeature import RedoFlagProvider  # noqa: PLC0415
    from core.breaker import CircuitBreaker, Permit  # noqa: PLC0415
    from core.fallbacks import get_fallback_manager  # noqa: PLC0415
    from core.flags import in_rollout  # noqa: PLC0415
    from core.model import Query  # noqa: PLC0415
    from tasks.wiring import surroundings  # noqa: PLC0415

    manager, around = get_fallback_manager(), surroundings()
    manager.flags.set({"orchestrator.redo_enabled": True, "rollout_percentage": 50})
    inside = next(key for key in map(str, range(100)) if in_rollout(key, 50))
    query = Query("q-1", "What is it?", session_id=inside)
    if not manager.decide(query).runs_redo:
        raise SystemExit("the guard does not let REDO run: nothing here would be the hot path")
    breaker = CircuitBreaker(
        "benchmark",
        store=around.store,
        clock=around.clock,
        random=around.random,
        owner=around.owner,
        config=manager.config.breaker(slow_call_s=around.slow_call_s),
    )

    def acquire_and_succeed() -> None:
        permit = breaker.acquire()
        if isinstance(permit, Permit):
            permit.success()

    api.set_provider_and_wait(RedoFlagProvider(manager), "redo")
    client, context = api.get_client("redo"), EvaluationContext(targeting_key=inside)
    flag = "orchestrator.redo_enabled"
    return {
        "a function that does nothing": _nothing,
        "in_rollout: the bucket alone": partial(in_rollout, inside, 50),
        _DECISION: partial(manager.decide, query),
        "breaker: acquire and success": acquire_and_succeed,
        "breaker: call": partial(breaker.call, _nothing),
        "OpenFeature client, RedoFlagProvider": partial(
            client.get_boolean_value, flag, default_value=False, evaluation_context=context
        ),
    }


def _peers() -> Mapping[str, Callable[[], object]]:
    """The same by others."""
    import circuitbreaker  # noqa: PLC0415 - the environment comes first
    import interlock  # noqa: PLC0415
    import pybreaker  # noqa: PLC0415
    from openfeature import api  # noqa: PLC0415
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider  # noqa: PLC0415

    api.set_provider_and_wait(InMemoryProvider({"flag": InMemoryFlag("on", {"on": True, "off": False})}), "memory")
    config = interlock.Config(
        failure_rate_threshold=1.0, minimum_number_of_calls=3, window_size=3, permitted_calls_in_half_open=1
    )
    guarded_by_circuitbreaker = circuitbreaker.CircuitBreaker(failure_threshold=3, recovery_timeout=60)(_nothing)
    return {
        "pybreaker: call": partial(pybreaker.CircuitBreaker(fail_max=3, reset_timeout=60).call, _nothing),
        "circuitbreaker: decorated function": guarded_by_circuitbreaker,
        "interlock-cb: call_sync": partial(interlock.CircuitBreaker(name="peer", config=config).call_sync, _nothing),
        "OpenFeature client, in-memory provider": partial(
            api.get_client("memory").get_boolean_value, "flag", default_value=False
        ),
    }


def _cost(call: Callable[[], object]) -> Cost:
    for _ in repeat(None, _BLOCK):
        call()
    blocks = []
    for _ in range(_BLOCKS):
        begun = time.perf_counter_ns()
        for _ in repeat(None, _BLOCK):
            call()
        blocks.append((time.perf_counter_ns() - begun) / _BLOCK)
    clock_ns = median(_single(None, _BLOCK))
    p99_ns = sorted(_single(call, _SINGLE))[round(0.99 * _SINGLE)] - clock_ns
    return Cost(median(blocks) / 1e3, p99_ns / 1e3)


def _single(call: Callable[[], object] | None, count: int) -> Sequence[int]:
    """How many nanoseconds each of so many calls took, reading the clock included; without a call, that alone."""
    taken = []
    for _ in repeat(None, count):
        begun = time.perf_counter_ns()
        if call is not None:
            call()
        taken.append(time.perf_counter_ns() - begun)
    return taken


def _start() -> tuple[Sequence[float], bool]:
    """How many seconds the guide's first line takes on a machine where nothing is set, and whether Prefect is in it."""
    ours = ("REDO_", "LEDGER_", "ORCHESTRAT", "PREFECT_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    seconds = []
    with tempfile.TemporaryDirectory() as home:
        clean |= {"HOME": home, "REDO_HOME": f"{home}/redo"}
        for _ in range(_STARTS):
            begun = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", _LINE], env=clean, capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - begun)
            if done.stdout != "False\n":
                raise SystemExit(f"expected False, got {done.stdout!r}")
        listing = [sys.executable, "-X", "importtime", "-c", _LINE]
        imported = subprocess.run(listing, env=clean, capture_output=True, text=True, check=True).stderr
    return seconds, any(line.rsplit("|", 1)[-1].strip() == "prefect" for line in imported.splitlines())


if __name__ == "__main__":
    raise SystemExit(main())
