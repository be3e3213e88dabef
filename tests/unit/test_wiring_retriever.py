"""`REDO_RETRIEVER`: what is built beside the index, and who chooses from what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.adapters.quarantine import QuarantineFile
from core.clock import SystemClock
from core.errors import BatchError, RetrieverError
from core.model import Decision, FallbackDecision, Query, Reason
from core.pipeline import RetrieverKind
from tasks.loading import load_batch
from tasks.passage_index import passage_index
from tasks.run_spec import RunRequest
from tasks.settings import load_settings
from tasks.wiring import build_pipeline

TEXTS = ("The crossing was built in 1894.", "The bridge club meets on Mondays.", "Whales eat krill.")
QUERY = Query("q", "In which year was the bridge opened?")
SHADOW = FallbackDecision(Decision.LEGACY, Reason.SHADOW, 7, shadow=True)


@pytest.fixture(autouse=True)
def _no_entailment_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contradictions play no part here."""
    monkeypatch.setenv("REDO_DETECTOR", "rules")


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    """A file of passages, of which the answer shares no word with the question."""
    path = tmp_path / "passages.jsonl"
    path.write_text(
        "".join(json.dumps({"passage_id": f"p{number}", "text": text}) + "\n" for number, text in enumerate(TEXTS))
    )
    return path


def indexed(passages: Path, tmp_path: Path, retriever: RetrieverKind) -> Path:
    """The index of the file."""
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        return passage_index(
            passages, home=tmp_path / "home", name="passages.jsonl", quarantine=quarantine, retriever=retriever
        )


def test_bm25_computes_no_vectors(passages: Path, tmp_path: Path) -> None:
    """By default nothing lies beside the index."""
    index = indexed(passages, tmp_path, RetrieverKind.BM25)
    assert list(index.parent.iterdir()) == [index]
    assert "redo_retriever" not in build_pipeline(index, load_settings().pipeline).versions


def test_hybrid_is_redo_s_alone(passages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REDO finds the passage that says it in other words; legacy goes by BM25 as before."""
    monkeypatch.setenv("REDO_RETRIEVER", "hybrid")
    index = indexed(passages, tmp_path, RetrieverKind.HYBRID)
    assert len(list(index.parent.iterdir())) == 2
    pipeline = build_pipeline(index, load_settings().pipeline)
    assert pipeline.versions["redo_retriever"].startswith("hybrid-1(bm25s-")
    assert pipeline.versions["retriever"].startswith("given-candidates-1+bm25s-")
    (result,) = pipeline.run([QUERY], [SHADOW])
    trace = result.trace
    assert trace.legacy is not None
    assert trace.redo is not None
    assert trace.legacy.passage_ids == ("p1",)
    assert set(trace.redo.passage_ids) == {"p0", "p1"}
    assert not trace.deadline_hit


def test_hybrid_without_vectors(passages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline for an index that has none is an error when it is built."""
    monkeypatch.setenv("REDO_RETRIEVER", "hybrid")
    index = indexed(passages, tmp_path, RetrieverKind.BM25)
    with pytest.raises(RetrieverError, match="cannot open the passage vectors"):
        build_pipeline(index, load_settings().pipeline)


def test_a_batch_keeps_the_retriever_it_was_begun_with(
    passages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is part of what the batch is; with another one it is not taken up."""
    monkeypatch.setenv("REDO_RETRIEVER", "hybrid")
    queries = tmp_path / "queries.jsonl"
    queries.write_text(json.dumps({"query_id": "q", "text": QUERY.text}) + "\n")
    request = RunRequest(batch_id="b-1", queries=str(queries), passages=str(passages))
    spec = load_batch(request, load_settings(), clock=SystemClock())
    assert spec.pipeline_config.retriever is RetrieverKind.HYBRID
    assert "redo_retriever" in spec.versions
    assert load_batch(request, load_settings(), clock=SystemClock()) == spec
    monkeypatch.setenv("REDO_RETRIEVER", "bm25")
    with pytest.raises(BatchError, match="other settings"):
        load_batch(request, load_settings(), clock=SystemClock())
