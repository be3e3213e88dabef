"""The detector that fails on purpose, and how the pipeline comes by it."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from core.adapters.doubles import FixedDetector
from core.adapters.faults import DrillError, Fault, FaultyDetector
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.errors import ConfigError
from core.model import Detection, Query, Ranking
from core.pipeline import PipelineConfig
from tasks.settings import load_settings
from tasks.wiring import build_pipeline, health_probes, state_store

QUERIES = [Query(f"q{number}", "What is asked?") for number in range(3)]


def detect(detector: FaultyDetector, deadlines: list[Deadline]) -> list[Any]:
    """What it says about three queries without passages."""
    return list(detector.detect(QUERIES, [Ranking(())] * 3, deadlines))


@pytest.fixture
def deadlines() -> list[Deadline]:
    """One a query, on a clock that stands still."""
    return [Deadline(0.4, clock=ManualClock()) for _ in QUERIES]


def faulty(fault: Fault) -> FaultyDetector:
    """One that stands in for a detector that finds nothing."""
    return FaultyDetector(FixedDetector(), fault)


def test_it_raises(deadlines: list[Deadline]) -> None:
    """What says that it is a drill."""
    with pytest.raises(DrillError, match="a drill"):
        detect(faulty("raise"), deadlines)


def test_it_answers_nonsense(deadlines: list[Deadline]) -> None:
    """As many answers as queries, none of them a detection."""
    answers = detect(faulty("garbage"), deadlines)
    assert [isinstance(answer, Detection) for answer in answers] == [False] * 3


def test_it_is_slow(deadlines: list[Deadline]) -> None:
    """The answer is right, and each query's time is over without anybody having waited."""
    assert detect(faulty("slow"), deadlines) == [Detection()] * 3
    assert all(deadline.expired for deadline in deadlines)


def test_it_hangs_until_it_is_released() -> None:
    """On the first query, whose time runs; then it answers, and hangs no more."""
    clock = ManualClock()
    deadlines = [Deadline(0.4, clock=clock) for _ in QUERIES]
    detector, answers = faulty("hang"), list[Any]()
    begun = threading.Event()

    class Watched(Deadline):
        """Says when its time begins to run."""

        __slots__ = ()

        def running(self) -> Any:
            """As ever."""
            begun.set()
            return super().running()

    deadlines[0] = Watched(0.4, clock=clock)
    thread = threading.Thread(target=lambda: answers.extend(detect(detector, deadlines)), daemon=True)
    thread.start()
    assert begun.wait(10)
    assert (thread.is_alive(), answers) == (True, [])
    detector.release()
    thread.join(10)
    assert answers == [Detection()] * 3
    assert detect(detector, deadlines) == [Detection()] * 3


@pytest.mark.parametrize("fault", ["raise", "hang", "garbage", "slow"])
def test_the_version_names_the_fault(fault: str) -> None:
    """Nobody takes a trace of a drill for one of an outage."""
    assert faulty(cast("Fault", fault)).version == f"fixed-1 with fault {fault}"


class TestPipeline:
    """`REDO_FAULT` is part of what a pipeline is kept for."""

    def test_none_by_default(self) -> None:
        """No pipeline fails unless somebody says so."""
        assert "fault" not in build_pipeline(None, PipelineConfig()).versions["detector"]

    def test_a_fault_comes_and_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next pipeline has it, and the one after its end is the healthy one again."""
        healthy = build_pipeline(None, PipelineConfig())
        monkeypatch.setenv("REDO_FAULT", "raise")
        drill = build_pipeline(None, PipelineConfig())
        assert drill.versions["detector"] == f"{healthy.versions['detector']} with fault raise"
        assert build_pipeline(None, PipelineConfig()) is drill
        monkeypatch.delenv("REDO_FAULT")
        assert build_pipeline(None, PipelineConfig()) is healthy

    def test_the_health_check_sees_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The orchestrator's probe fails with it."""
        monkeypatch.setenv("REDO_FAULT", "garbage")
        probes = {str(name): probe for name, probe in health_probes(load_settings(), state_store()).items()}
        assert probes["orchestrator"]() is False

    def test_an_unknown_fault_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message names the variable and what it may be."""
        monkeypatch.setenv("REDO_FAULT", "explode")
        with pytest.raises(ConfigError, match=r"REDO_FAULT: .*'raise', 'hang', 'garbage' or 'slow', not 'explode'"):
            load_settings()
