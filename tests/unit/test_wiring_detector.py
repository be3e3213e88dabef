"""`REDO_DETECTOR` and the models: which stages a pipeline gets, and what is refused before any query is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.model import Decision, FallbackDecision, Passage, Query, Reason, ScoredPassage
from core.pipeline import DetectorKind
from tasks.settings import load_settings
from tasks.wiring import build_pipeline

JUDGE = {"REDO_JUDGE_URL": "http://127.0.0.1:9/v1", "REDO_JUDGE_MODEL": "wise", "ORCHESTRATION_TIME_BUDGET_MS": "5000"}
MILL = Query(
    "mill",
    "When was the Harlow Mill built?",
    candidates=tuple(
        ScoredPassage(Passage(f"p{place}", text), 9.0 - place)
        for place, text in enumerate(
            (
                "The Harlow Mill was built in 1904, an old guide says, and has 40 looms.",
                "The history of the Harlow Mill goes back to Thomas Harlow, who built it in 1871. It was sold in 1922.",
                "Records of the town say that the Harlow Mill was built in 1871 beside the weir.",
            )
        )
    ),
)


def detector_version() -> str:
    """Of the pipeline that the environment asks for."""
    return build_pipeline(None, load_settings().pipeline).versions["detector"]


def test_the_whole_cascade_by_default() -> None:
    """Rules, answers, and the embedded model with its hash."""
    rules, slots, entailment = detector_version().split("+")
    assert (rules.partition("-")[0], slots.partition("-")[0]) == ("lexical", "slots")
    assert "nli-minilm-l6-" in entailment


@pytest.mark.parametrize(("kind", "stages"), [(DetectorKind.RULES, 1), (DetectorKind.SLOTS, 2)])
def test_less_where_less_is_asked_for(kind: DetectorKind, stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step leaves the dearest stage out."""
    monkeypatch.setenv("REDO_DETECTOR", kind)
    assert len(detector_version().split("+")) == stages


def test_the_better_supported_answer_leads_in_the_whole_pipeline() -> None:
    """Two records against an old guide that the retriever liked best."""
    pipeline = build_pipeline(None, load_settings().pipeline)
    (result,) = pipeline.run([MILL], [FallbackDecision(Decision.REDO, Reason.ENABLED)])
    assert result.decision is Decision.REDO
    assert result.selection.passage_ids[-1] == "p0"


def test_a_judge_is_the_last_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an endpoint is set, it is named with its model, and its key is nowhere."""
    for name, value in {**JUDGE, "REDO_JUDGE_API_KEY": "very-secret"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert detector_version().endswith("+judge-1(wise)")
    assert "very-secret" not in repr(settings) + repr(settings.models)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"REDO_JUDGE_MODEL": ""}, "REDO_JUDGE_MODEL"), ({"ORCHESTRATION_TIME_BUDGET_MS": "400"}, "never be asked")],
)
def test_a_judge_that_could_not_work_is_refused(
    changed: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a query is asked, with the setting that is wrong."""
    for name, value in {**JUDGE, **changed}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        detector_version()


def test_another_model_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds no model is refused with its path."""
    monkeypatch.setenv("REDO_NLI_MODEL", str(tmp_path))
    with pytest.raises(ConfigError, match=str(tmp_path)):
        detector_version()
