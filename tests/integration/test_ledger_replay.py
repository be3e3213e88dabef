"""A replay of stored traces: unchanged code gives the same, changed code is explained, and gaps are said to be such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import Deadline
from core.errors import InputError
from core.model import Detection, Query, Ranking
from core.pipeline import DetectorKind, Pipeline, PipelineConfig, RetrieverKind
from core.placement import PlacementPolicy
from ledger.query import find_trace
from ledger.replay import Outcome, replay
from ledger.replay_rows import newest_rows
from tasks.chunks import work_on_chunk
from tasks.delivery import deliver_waiting
from tasks.loading import load_batch
from tasks.replay import replay_newest, replay_trace
from tasks.run_folder import RunFolder
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.wiring import CLOCK, build_pipeline
from tests.batch_samples import write_batch

pytestmark = pytest.mark.usefixtures("patience")

QUERIES = 20


def stored(tmp_path: Path, batch_id: str = "batch-1", *, shadow: bool = False, redo: bool = True) -> str:
    """Run a batch of twenty queries and deliver its traces; returns the ledger's place."""
    files, ledger = write_batch(tmp_path, queries=QUERIES), str(tmp_path / "ledger")
    request = RunRequest(
        batch_id=batch_id,
        queries=str(files.queries),
        passages=str(files.passages),
        ledger=ledger,
        chunk_size=8,
        shadow=shadow,
        flags={"orchestrator.redo_enabled": redo, "ledger.enabled": True},
    )
    spec = load_batch(request, load_settings(), clock=CLOCK)
    folder = RunFolder.of(load_settings().home_folder, batch_id)
    for number in range(spec.chunks):
        work_on_chunk(folder, number, load_settings(), clock=CLOCK, flow_run_id=None, attempt=1)
    assert deliver_waiting().errors == ()
    return ledger


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A ledger with one batch, answered by REDO."""
    return stored(tmp_path)


class Blind:
    """A detector that finds nothing."""

    version = "blind-1"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Nothing."""
        del rankings, deadlines
        return [Detection() for _ in queries]


class Broken(Blind):
    """A detector that fails."""

    version = "broken-1"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Raise."""
        del queries, rankings, deadlines
        raise RuntimeError("no model")


def blind(config: PipelineConfig) -> Pipeline:
    """Today's pipeline with a detector that finds nothing."""
    return replace(build_pipeline(None, config), detector=Blind())


def again(row: dict[str, Any], **changes: object) -> Any:
    """Replay one row with today's pipeline, with some columns changed."""
    return replay(
        row | changes,
        pipeline_of=lambda config: build_pipeline(None, config),
        today=load_settings().pipeline,
        code_version=row["code_version"],
    )


@pytest.mark.parametrize(
    ("shadow", "redo", "arm"), [(False, True, "redo"), (True, True, "redo"), (False, False, "legacy")]
)
def test_unchanged_code_reproduces_a_batch_exactly(tmp_path: Path, *, shadow: bool, redo: bool, arm: str) -> None:
    """Order, selection and conflicts of every trace come out as they were stored, whichever arm was recorded."""
    uri = stored(tmp_path, shadow=shadow, redo=redo)
    replayed = replay_newest(uri, batch_id="batch-1", limit=100)
    assert [item.outcome for item in replayed] == [Outcome.SAME] * QUERIES
    assert {item.arm for item in replayed} == {arm}
    assert all(item.then == item.now and item.then for item in replayed)
    found = sum(len(row["conflicts"]) for row in newest_rows(uri, batch_id=None, limit=100))
    assert found == (QUERIES if arm == "redo" else 0)


def test_one_trace_by_its_query(ledger: str) -> None:
    """It is found as `redo ledger show` finds it; JSON values replay as well as the database's own."""
    item = replay_trace(ledger, "q-0003")
    assert (item.query_id, item.outcome, item.differences) == ("q-0003", Outcome.SAME, ())


def test_changed_code_is_explained(ledger: str) -> None:
    """Without its contradictions a trace differs in conflicts, and the detector's version says why."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]
    item = replay(row, pipeline_of=blind, today=load_settings().pipeline, code_version="9.9.9")
    assert item.outcome is Outcome.DIFFERENT
    assert {difference.about for difference in item.differences} >= {"conflicts"}
    (lost,) = (difference for difference in item.differences if difference.about == "conflicts")
    assert "numeric" in lost.text
    assert lost.text.endswith("was found, is not")
    assert "-council" in lost.subject
    assert any(reason.startswith("detector: ") and reason.endswith("blind-1 now") for reason in item.because)
    assert f"REDO {row['code_version']} then, 9.9.9 now" in item.because


def test_a_new_place_and_a_new_selection_are_explained(ledger: str) -> None:
    """A passage that moved is named with both places and the parts of its score that changed; so is one left out."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]
    documents = [dict(found) for found in row["documents"]]
    selected = sorted((found for found in documents if found["selected"]), key=lambda found: found["rank_out"])
    first, second = selected[:2]
    first["rank_out"], second["rank_out"] = 2, 1
    said = f"{first['score_support']:.3f}"
    first["score_support"] = 7.0
    moved = again(row, documents=documents)
    texts = {item.subject: item.text for item in moved.differences if item.about == "order"}
    assert texts[second["id"]].startswith("place 1 -> 2")
    assert texts[first["id"]].startswith(f"place 2 -> 1; support 7.000 -> {said}")

    documents = [dict(found) for found in row["documents"]]
    gone = next(found for found in documents if found["selected"])
    gone.update(selected=False, rank_out=None, exclusion_reason="budget")
    (difference,) = (item for item in again(row, documents=documents).differences if item.about == "selection")
    assert (difference.subject, difference.text) == (gone["id"], "was left out (budget), is selected")


def test_a_smaller_budget_leaves_passages_out(ledger: str) -> None:
    """The settings of today are used where the trace has none, and the answer says so."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0] | {"extra_json": None}
    item = replay(
        row,
        pipeline_of=lambda config: build_pipeline(None, config),
        today=replace(load_settings().pipeline, token_budget=9),
        code_version=row["code_version"],
    )
    assert item.outcome is Outcome.DIFFERENT
    assert any(difference.text.startswith("was selected, is left out (") for difference in item.differences)
    assert any("today's were used" in reason for reason in item.because)


def test_the_settings_of_the_trace_go_before_todays(ledger: str) -> None:
    """A trace that tells its settings is replayed with them."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]
    settings = '{"pipeline": {"token_budget": 1024, "placement": "best_first", "top_k": 20, "budget_s": 0.4}}'
    item = replay(
        row | {"extra_json": settings},
        pipeline_of=lambda config: build_pipeline(None, config),
        today=replace(load_settings().pipeline, token_budget=9),
        code_version=row["code_version"],
    )
    assert (item.outcome, item.because) == (Outcome.SAME, ())


def test_settings_that_are_names_are_read_as_such(ledger: str) -> None:
    """Where passages are placed, what REDO retrieves with and how it detects are those of the trace."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]
    settings = '{"pipeline": {"placement": "edges_best_last", "retriever": "hybrid", "detector": "rules"}}'
    asked: list[PipelineConfig] = []

    def pipeline_of(config: PipelineConfig) -> Pipeline:
        asked.append(config)
        return blind(config)

    replay(row | {"extra_json": settings}, pipeline_of=pipeline_of, today=load_settings().pipeline, code_version="1")
    (config,) = asked
    assert config.placement is PlacementPolicy.EDGES_BEST_LAST
    assert config.retriever is RetrieverKind.HYBRID
    assert config.detector is DetectorKind.RULES


def test_a_failure_of_today_is_a_difference(ledger: str) -> None:
    """Code that raises now says so."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]

    def broken(config: PipelineConfig) -> Pipeline:
        return replace(build_pipeline(None, config), detector=Broken())

    item = replay(row, pipeline_of=broken, today=load_settings().pipeline, code_version="0")
    assert [(found.about, found.text) for found in item.differences] == [
        ("failure", "it fails now: RuntimeError: no model")
    ]


def test_what_is_not_stored_cannot_be_reproduced(ledger: str) -> None:
    """Forgotten, shortened, masked, min and altered rows are said to be such; nothing is run."""
    row = newest_rows(ledger, batch_id=None, limit=1)[0]
    bare = [dict(found) | {"content": None} for found in row["documents"]]
    altered = [dict(found) | {"content": f"{found['content']}!"} for found in row["documents"]]
    expected: list[tuple[dict[str, object], str]] = [
        ({"forgotten_at": "2026-03-01T00:00:00+00:00"}, "at a person's request on 2026-03-01"),
        ({"level": "min", "documents": bare}, "kept at level min"),
        ({"truncated_fields": ["documents.content"]}, "shortened to fit LEDGER_MAX_TRACE_BYTES: documents.content"),
        ({"redactions": {"email": 2}}, "masked before it was stored: 2 x email"),
        ({"query_text": None}, "the query's text was not stored"),
        ({"documents": bare}, "passages were not stored"),
        ({"documents": altered}, "its digest differs"),
    ]
    for changes, reason in expected:
        item = again(row, **changes)
        assert item.outcome is Outcome.NOT_REPRODUCIBLE
        assert reason in "; ".join(item.because)
        assert (item.differences, item.now) == ((), ())


def test_time_that_ran_out_is_said(ledger: str) -> None:
    """A trace whose time ran out may differ for that alone."""
    item = again(newest_rows(ledger, batch_id=None, limit=1)[0], deadline_hit=True)
    assert any("time ran out then" in reason for reason in item.because)


def test_only_so_many_of_one_batch(ledger: str, tmp_path: Path) -> None:
    """A limit and a batch are kept to, and a batch that is not there is an error."""
    stored(tmp_path, "batch-2")
    assert {row["batch_id"] for row in newest_rows(ledger, batch_id="batch-1", limit=7)} == {"batch-1"}
    assert len(newest_rows(ledger, batch_id="batch-1", limit=7)) == 7
    assert len(newest_rows(ledger, batch_id=None, limit=100)) == 2 * QUERIES
    with pytest.raises(InputError, match="no trace of batch 'batch-3'"):
        newest_rows(ledger, batch_id="batch-3", limit=1)
    assert find_trace(ledger, newest_rows(ledger, batch_id="batch-2", limit=1)[0]["trace_id"])["batch_id"] == "batch-2"
