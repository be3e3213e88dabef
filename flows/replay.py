"""Run stored traces through today's code, on a schedule or after a change: does it still decide as it did?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from pydantic import Field

from core.errors import RedoError
from ledger.replay import Outcome, Replay
from tasks.replay import replay_newest
from tasks.settings import load_settings

_SHOWN = 100
"""Rows of the artifact; the ledger's command line shows the rest of a trace."""


class ReplayDiffersError(RedoError):
    """Traces came out otherwise than they were stored, and the run was told that none may."""


@flow(name="replay", persist_result=False)
def replay(
    *,
    ledger: str | None = None,
    batch_id: str | None = None,
    traces: Annotated[int, Field(ge=1, le=1_000)] = 100,
    fail_on_difference: bool = False,
) -> dict[str, Any]:
    """Replay the newest traces and show where order, selection or conflicts differ.

    Args:
        ledger: The ledger: s3://bucket/prefix or a path. Empty: the configured one.
        batch_id: Traces of this batch only. Empty: of all.
        traces: How many.
        fail_on_difference: Let the run fail where any trace differs, as a check of unchanged code.

    Returns:
        How many came out the same, how many did not, how many cannot be reproduced, and the ids of those that differ.

    Raises:
        InputError: there is no trace of that batch.
        ReplayDiffersError: traces differ, and none may.
        StoreError: the ledger cannot be read.
    """
    uri = ledger or load_settings().ledger
    replayed = replay_newest(uri, batch_id=batch_id, limit=traces)
    counts = Counter(item.outcome for item in replayed)
    different = [item for item in replayed if item.outcome is Outcome.DIFFERENT]
    create_table_artifact(
        key="redo-replay",
        table=replay_table(replayed),
        description=f"{len(replayed):,} traces of {uri}: "
        + ", ".join(f"{counts[outcome]:,} {outcome.value.replace('_', ' ')}" for outcome in Outcome),
    )
    report: dict[str, Any] = {
        "ledger": uri,
        "traces": len(replayed),
        **{outcome.value: counts[outcome] for outcome in Outcome},
        "differing": [item.trace_id for item in different],
    }
    get_run_logger().info("%d traces: %s", len(replayed), dict(counts))
    if different and fail_on_difference:
        first = different[0]
        raise ReplayDiffersError(
            f"{len(different)} of {len(replayed)} traces differ, the first is {first.trace_id} (query "
            f"{first.query_id}): {first.differences[0].subject} {first.differences[0].text}"
        )
    return report


def replay_table(replayed: Sequence[Replay]) -> list[dict[str, str]]:
    """The differences, a row each, then why traces cannot be reproduced, by how often."""
    rows = [
        {
            "trace": item.trace_id,
            "query": item.query_id,
            "about": difference.about,
            "subject": difference.subject,
            "difference": difference.text,
            "may be because": "; ".join(item.because),
        }
        for item in replayed
        for difference in item.differences
    ]
    if len(rows) > _SHOWN:
        left = f"{len(rows) - _SHOWN:,} more differences"
        rows = [*rows[:_SHOWN], dict.fromkeys(rows[0], "") | {"difference": left}]
    reasons = Counter(
        reason for item in replayed if item.outcome is Outcome.NOT_REPRODUCIBLE for reason in item.because
    )
    rows += [
        {
            "trace": f"{count:,} traces",
            "query": "",
            "about": "not reproducible",
            "subject": "",
            "difference": reason,
            "may be because": "",
        }
        for reason, count in reasons.most_common()
    ]
    return rows or [{"trace": f"{len(replayed):,} traces", "difference": "none"}]
