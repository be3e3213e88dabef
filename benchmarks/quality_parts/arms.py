"""What is compared: REDO's detector with any of its stages, and the order that follows from what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.clock import Clock, Deadline, SystemClock
from core.contradictions.cascade import CascadeDetector
from core.contradictions.entailment_stage import EntailmentModel, EntailmentStage
from core.contradictions.lexical import LexicalDetector
from core.contradictions.slot_stage import SlotStage
from core.contradictions.slots.reader import SlotReader
from core.contradictions.stage import DetectionStage
from core.errors import ConfigError
from core.model import Detection, Query, Ranking
from core.ordering import SupportOrderer
from core.ports import ContradictionDetector

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLENTY_S = 600.0
"""A budget that no query uses up: where quality is measured, not time."""


class Nothing:
    """A detector that finds nothing: what is measured behind it is a stage alone."""

    @property
    def version(self) -> str:
        """Name and version."""
        return "nothing-1"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return an empty detection a query."""
        del rankings, deadlines
        return [Detection() for _ in queries]


class RememberingModel:
    """An entailment model that computes a pair once. For quality only: never where time is measured."""

    def __init__(self, model: EntailmentModel) -> None:
        self._model = model
        self._known: dict[tuple[str, str], NDArray[np.float32]] = {}

    @property
    def version(self) -> str:
        """That of the model."""
        return self._model.version

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """As the model."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if new:
            self._known |= dict(zip(new, self._model.score(new), strict=True))
        return np.array([self._known[pair] for pair in pairs], np.float32).reshape(len(pairs), 3)


def load_model(folder: Path | None, *, threads: int) -> EntailmentModel | str:
    """The embedded model, or in words why there is none."""
    from core.adapters.onnx_nli import OnnxNli  # noqa: PLC0415 - onnxruntime takes its time to import

    try:
        return OnnxNli(folder, threads=threads)
    except ConfigError as error:
        return f"no embedded model: {error}"


@dataclass(frozen=True, slots=True)
class Arm:
    """Which stages take part. With `all_scores`, stages say what they think even of pairs they would not flag."""

    name: str
    rules: bool = False
    slots: bool = False
    entailment: bool = False
    all_scores: bool = False

    def detector(self, reader: SlotReader, model: EntailmentModel | None) -> ContradictionDetector:
        """The detector.

        Args:
            reader: reads the answers.
            model: the entailment model. Without one this arm must not need it.
        """
        stages: list[DetectionStage] = []
        if self.slots:
            stages.append(SlotStage(reader, min_score=0.0) if self.all_scores else SlotStage(reader))
        if self.entailment:
            if model is None:
                raise ValueError(f"{self.name}: the entailment stage needs a model")
            said = EntailmentStage(model, min_score=0.0)
            stages.append(said if self.all_scores else EntailmentStage(model))
        return CascadeDetector(LexicalDetector() if self.rules else Nothing(), stages)


FULL = Arm("REDO, all stages", rules=True, slots=True, entailment=True)
READING = Arm("REDO without entailment", rules=True, slots=True)
ABLATIONS = (
    Arm("REDO, rules alone", rules=True),
    Arm("REDO, slots alone", slots=True),
    Arm("REDO, entailment alone", entailment=True),
    Arm("REDO without rules", slots=True, entailment=True),
    Arm("REDO without slots", rules=True, entailment=True),
    READING,
    FULL,
)


def no_support(detection: Detection) -> Detection:
    """The detection, as if no passage had others on its side."""
    return replace(detection, standings=tuple(replace(one, support=0.0) for one in detection.standings))


def no_opposition(detection: Detection) -> Detection:
    """The detection, as if nobody disagreed."""
    return replace(
        detection, contradictions=(), standings=tuple(replace(one, opposition=0.0) for one in detection.standings)
    )


VARIANTS: tuple[tuple[str, Callable[[Detection], Detection]], ...] = (
    ("REDO, support not counted", no_support),
    ("REDO, opposition not counted", no_opposition),
    ("REDO, neither counted", lambda detection: no_support(no_opposition(detection))),
)
"""Ways to order after all stages that leave a part of the score out."""


def detect(detector: ContradictionDetector, query: Query, ranking: Ranking, *, clock: Clock | None = None) -> Detection:
    """What the detector finds with all the time it wants."""
    (found,) = detector.detect([query], [ranking], [Deadline(PLENTY_S, clock=clock or SystemClock())])
    return found


def redo_order(query: Query, ranking: Ranking, detection: Detection) -> list[str]:
    """Ids of all passages in the order that REDO gives them."""
    return [item.passage.passage_id for item in SupportOrderer().order(query, ranking, detection)]
