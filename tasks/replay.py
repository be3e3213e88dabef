"""Stored traces through today's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from core.pipeline import Pipeline, PipelineConfig
from ledger.query import find_trace
from ledger.replay import Replay, replay
from ledger.replay_rows import newest_rows
from tasks.settings import load_settings
from tasks.wiring import build_pipeline


def replay_trace(uri: str, wanted: str) -> Replay:
    """Run one stored trace again.

    Args:
        uri: the ledger.
        wanted: a trace id, the beginning of one, or a query id.

    Raises:
        InputError: there is no such trace, or more than one.
        StoreError: the ledger cannot be read.
    """
    return _replayed([find_trace(uri, wanted)])[0]


def replay_newest(uri: str, *, batch_id: str | None, limit: int) -> list[Replay]:
    """Run the newest traces again, of one batch or of all; arguments and errors as for `newest_rows`."""
    return _replayed(newest_rows(uri, batch_id=batch_id, limit=limit))


def _replayed(rows: Sequence[dict[str, Any]]) -> list[Replay]:
    today, code_version = load_settings().pipeline, version("redo")
    return [replay(row, pipeline_of=_pipeline, today=today, code_version=code_version) for row in rows]


def _pipeline(config: PipelineConfig) -> Pipeline:
    return build_pipeline(None, config)
