"""Play a scenario in a process of its own: `python -m tasks.drills.child SCENARIO HOME`.

The process knows no Prefect API, no ledger and no home but those of the drill: it can touch nothing else. If it dies,
hangs or prints no result, the scenario has failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Final

import orjson

from core.clock import SystemClock
from core.errors import InputError
from tasks.drills.report import ScenarioResult

_TIME_S: Final = 120
_OURS: Final = ("REDO_", "LEDGER_", "ORCHESTRATOR_", "ORCHESTRATION_", "PREFECT_", "AWS_")
_ERROR_CHARS: Final = 2_000
_SETTINGS: Final = {
    "PREFECT_API_URL": "",  # none, whatever a profile says
    "ORCHESTRATION_TIME_BUDGET_MS": "60000",  # a busy machine makes no query late; what is slow is so by its fault
    "REDO_CIRCUIT_BREAKER_RESET": "1",  # nobody wants to watch a drill wait for a minute
}


def play(name: str, folder: Path) -> ScenarioResult:
    """Play a scenario in another process.

    Args:
        name: the scenario's.
        folder: where it may write; a folder of its own.

    Raises:
        InputError: there is no such scenario.
    """
    from tasks.drills.scenarios import SCENARIOS  # noqa: PLC0415 - the parent needs the names, and little else

    if name not in SCENARIOS:
        raise InputError(f"scenario {name!r}: expected one of {', '.join(SCENARIOS)}")
    scenario = SCENARIOS[name]
    started_at = SystemClock().now()
    try:
        process = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "tasks.drills.child", name, str(folder)],
            env={**environment(folder), **scenario.settings},
            capture_output=True,
            check=False,
            timeout=_TIME_S,
        )
        found = ScenarioResult.from_dict(orjson.loads(process.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        error = f"it did not end within {_TIME_S} s"
    except (IndexError, KeyError, TypeError, ValueError):
        said = process.stderr.decode(errors="replace").strip()[-_ERROR_CHARS:]
        error = f"it ended with code {process.returncode} and no result\n{said}"
    else:
        return found
    return ScenarioResult(
        name=name,
        guide=scenario.guide,
        injected=scenario.injected,
        queries=0,
        unanswered=0,
        checks=(),
        error=error,
        seconds=round(SystemClock().now() - started_at, 1),
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment of a scenario: nothing of REDO's, Prefect's or an object store's configuration is left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | _SETTINGS | {"REDO_HOME": str(folder), "PREFECT_HOME": str(folder / "prefect")}


def main() -> None:
    """Play the scenario that the arguments name, and print its result as one line of JSON."""
    from tasks.drills.bench import Bench  # noqa: PLC0415 - as above
    from tasks.drills.scenarios import SCENARIOS  # noqa: PLC0415

    scenario, bench = SCENARIOS[sys.argv[1]], Bench(Path(sys.argv[2]))
    started_at, error = SystemClock().now(), None
    try:
        scenario.play(bench)
    except Exception:  # noqa: BLE001 - a scenario that breaks has failed, whatever broke it
        error = traceback.format_exc()[-_ERROR_CHARS:]
    result = ScenarioResult(
        name=scenario.name,
        guide=scenario.guide,
        injected=scenario.injected,
        queries=bench.queries,
        unanswered=bench.unanswered,
        checks=tuple(bench.checks),
        error=error,
        seconds=round(SystemClock().now() - started_at, 1),
    )
    sys.stdout.write(orjson.dumps(result.as_dict()).decode() + "\n")


if __name__ == "__main__":
    main()
