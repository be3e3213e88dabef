"""Keep the ledger in order, on a schedule: deliver, forget, compact, collect, verify.

Every step is tried, also after one that failed, and the artifact says what each did. Whatever is wrong makes the run
Failed with the first of it in its message: a ledger that is not what was written is no warning.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import Field

from core.errors import RedoError
from tasks.upkeep import (
    Look,
    Step,
    attempted,
    collect_step,
    compact_step,
    drain_step,
    first_problems,
    forget_step,
    ready_store,
    upkeep_store,
    verify_step,
)


class MaintenanceError(RedoError):
    """A step of the upkeep failed, or the ledger is not what was written. The artifact has all of it."""


@flow(name="maintain-ledger", persist_result=False)
def maintain_ledger(
    *,
    ledger: str | None = None,
    compact_before: date | None = None,
    grace_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24,
    verify: Look = "full",
    drain: bool = True,
) -> dict[str, Any]:
    """Deliver what waits, take out what came of forgotten people, compact closed days, collect garbage, verify.

    Args:
        ledger: The ledger: s3://bucket/prefix or a path. Empty: the configured one.
        compact_before: Compact the days before this one. Empty: all days that are over, in UTC.
        grace_hours: What was replaced stays so many hours, for readers that are at it.
        verify: full reads every object; quick looks for them and walks the chains; off does neither.
        drain: Send the traces that wait in the spool of this machine first.

    Returns:
        What each step did.

    Raises:
        MaintenanceError: a step failed, or `verify` found an error.
        ConfigError: the ledger's place cannot be used.
    """
    store = upkeep_store(ledger)
    steps = [_drain()] if drain else []
    steps += [
        _forget(store.uri),
        _compact(store.uri, compact_before),
        _collect(store.uri, timedelta(hours=grace_hours)),
    ]
    if verify != "off":
        steps.append(_verify(store.uri, deep=verify == "full"))
    return _published(store.uri, steps)


@task(name="drain-spool", cache_policy=NO_CACHE, persist_result=False)
def _drain() -> Step:
    return attempted("drain", drain_step)


@task(name="forget-again", cache_policy=NO_CACHE, persist_result=False)
def _forget(uri: str) -> Step:
    return attempted("forget", lambda: forget_step(ready_store(uri)))


@task(name="compact-days", cache_policy=NO_CACHE, persist_result=False)
def _compact(uri: str, before: date | None) -> Step:
    return attempted("compact", lambda: compact_step(ready_store(uri), before=before))


@task(name="collect-garbage", cache_policy=NO_CACHE, persist_result=False)
def _collect(uri: str, grace: timedelta) -> Step:
    return attempted("gc", lambda: collect_step(ready_store(uri), grace=grace))


@task(name="verify-ledger", cache_policy=NO_CACHE, persist_result=False)
def _verify(uri: str, *, deep: bool) -> Step:
    return attempted("verify", lambda: verify_step(ready_store(uri), deep=deep))


def _published(uri: str, steps: list[Step]) -> dict[str, Any]:
    table = [
        {"step": step.name, "state": "FAILED" if step.problems else "done", "what": text}
        for step in steps
        for text in (step.did, *step.problems)
    ]
    create_table_artifact(key="redo-upkeep", table=table, description=f"What was done to keep {uri} in order.")
    for step in steps:
        get_run_logger().info("%s: %s", step.name, step.did)
        for problem in step.problems:
            get_run_logger().error("%s: %s", step.name, problem)
    wrong = first_problems(steps)
    if wrong:
        raise MaintenanceError(f"{uri}: {wrong}")
    return {"ledger": uri, "steps": [asdict(step) for step in steps]}
