"""What every detector promises, the official test doubles included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from core.adapters.doubles import FailingDetector, FixedDetector, SlowDetector
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.cascade import CascadeDetector
from core.contradictions.entailment_stage import EntailmentStage
from core.contradictions.lexical import LexicalDetector
from core.contradictions.slot_stage import SlotStage
from core.model import Claim, Contradiction, ContradictionKind, Detection, Passage, Query, Ranking, ScoredPassage, Span
from core.ports import ContradictionDetector

TEXTS = (
    "The town of Broken Bow lies in Custer County on the railway. Broken Bow had a population of 3,559 people.",
    "In Custer County ranchers sell their cattle. The population of Broken Bow is 4,120 people. Broken Bow is old.",
    "Whales are mammals.",
)
PASSAGES = tuple(Passage(f"p{number}", text) for number, text in enumerate(TEXTS))
RANKING = Ranking(tuple(ScoredPassage(passage, 3.0 - place) for place, passage in enumerate(PASSAGES)))
QUERIES = tuple(Query(name, "What is the population of Broken Bow?") for name in ("disputed", "empty", "single"))
RANKINGS = (RANKING, Ranking(()), Ranking(RANKING.items[:1]))


def claim(place: int, value: str) -> Claim:
    """What one of the passages says."""
    text = TEXTS[place]
    at = text.index(value)
    return Claim(f"p{place}", text, Span(0, len(text)), value, Span(at, at + len(value)))


def sides(found: Detection) -> list[tuple[Claim, Claim]]:
    """Both sides of everything that was found."""
    disputes = [(item.left, item.right) for item in found.contradictions]
    return disputes + [(item.left, item.right) for item in found.ambiguities]


KNOWN = {
    "disputed": Detection(
        (Contradiction(ContradictionKind.NUMERIC, 0.9, "told", claim(0, "3,559"), claim(1, "4,120")),)
    )
}


class Undecided:
    """An entailment model to which everything is open."""

    version = "undecided-1"

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Neutral, surely."""
        return np.tile(np.array([0, 1, 0], np.float32), (len(pairs), 1))


@dataclass(frozen=True)
class Case:
    """A detector; of the queries the first has a dispute in its ranking."""

    detector: ContradictionDetector
    clock: ManualClock

    def detect(self, *places: int, budget_s: float = 10.0) -> Sequence[Detection]:
        """The findings on some of the queries."""
        deadlines = [Deadline(budget_s, clock=self.clock) for _ in places]
        found = self.detector.detect(
            [QUERIES[place] for place in places], [RANKINGS[place] for place in places], deadlines
        )
        spent_s = [deadline.spent_s for deadline in deadlines]
        self.clock.advance(100.0)
        assert [deadline.spent_s for deadline in deadlines] == spent_s, "a deadline was left running"
        return found


def lexical(_: ManualClock) -> ContradictionDetector:
    """The rules on sentence pairs."""
    return LexicalDetector()


def cascade(_: ManualClock) -> ContradictionDetector:
    """The rules, the answers, and a model that finds nothing."""
    return CascadeDetector(LexicalDetector(), [SlotStage(), EntailmentStage(Undecided())])


def fixed(_: ManualClock) -> ContradictionDetector:
    """The double that answers what it was told."""
    return FixedDetector(KNOWN)


def failing(_: ManualClock) -> ContradictionDetector:
    """The double that fails, asked about queries that it does not fail on."""
    return FailingDetector(ValueError("poison"), poison={"other"}, otherwise=FixedDetector(KNOWN))


def slow(clock: ManualClock) -> ContradictionDetector:
    """The double that takes its time."""
    return SlowDetector(0.25, clock=clock, otherwise=FixedDetector(KNOWN))


@pytest.fixture(params=[lexical, cascade, fixed, failing, slow], ids=lambda make: str(make.__name__))
def case(request: pytest.FixtureRequest) -> Case:
    """Each implementation in turn."""
    clock = ManualClock()
    make: Callable[[ManualClock], ContradictionDetector] = request.param
    return Case(make(clock), clock)


class TestEveryDetector:
    """The contract of the port."""

    def test_one_detection_a_query(self, case: Case) -> None:
        """Each query gets a detection, in the order of the queries; where nothing is to be found it is empty."""
        disputed, empty, single = case.detect(0, 1, 2)
        assert len(disputed.contradictions) == 1
        assert empty == single == Detection()

    def test_findings_name_passages_of_the_ranking(self, case: Case) -> None:
        """Both sides are passages of the ranking, the better ranked one is left, and no pair is named twice."""
        (found,) = case.detect(0)
        places = {item.passage.passage_id: place for place, item in enumerate(RANKING.items)}
        pairs = [(left.passage_id, right.passage_id) for left, right in sides(found)]
        pairs += [(item.left_id, item.right_id) for item in found.agreements]
        assert all(places[left] < places[right] for left, right in pairs)
        assert len(pairs) == len(set(pairs))

    def test_spans(self, case: Case) -> None:
        """Both spans of a claim hold what it says."""
        (found,) = case.detect(0)
        texts = {passage.passage_id: passage.text for passage in PASSAGES}
        for pair in sides(found):
            for side in pair:
                text = texts[side.passage_id]
                assert text[side.sentence_span.start : side.sentence_span.end] == side.sentence
                assert text[side.value_span.start : side.value_span.end] == side.value

    def test_scores_and_stages(self, case: Case) -> None:
        """A finding says how sure it is, from 0 to 1, and which stage made it."""
        (found,) = case.detect(0)
        for item in found.contradictions:
            assert 0.0 <= item.score <= 1.0
            assert item.stage

    def test_same_answer_again(self, case: Case) -> None:
        """The same call gives the same findings."""
        assert list(case.detect(0, 1, 2)) == list(case.detect(0, 1, 2))

    def test_alone_or_in_a_chunk(self, case: Case) -> None:
        """What is found for a query does not depend on the others of its chunk."""
        alone = [case.detect(place)[0] for place in range(3)]
        assert list(case.detect(0, 1, 2)) == alone
        assert list(case.detect(2, 1, 0)) == alone[::-1]

    def test_no_queries(self, case: Case) -> None:
        """An empty chunk gives no detections."""
        assert list(case.detect()) == []

    def test_no_time(self, case: Case) -> None:
        """Without time each query still gets a detection: the whole one, or one that says that it is not complete."""
        for whole, found in zip(case.detect(0, 1, 2), case.detect(0, 1, 2, budget_s=0.0), strict=True):
            assert found == whole or not found.complete

    def test_complete(self, case: Case) -> None:
        """With time enough a detection is complete."""
        assert all(found.complete for found in case.detect(0, 1, 2))

    def test_version(self, case: Case) -> None:
        """The version is a name that does not change."""
        assert case.detector.version
        assert case.detector.version == case.detector.version


def test_failing_double() -> None:
    """The double fails a call that holds a poisoned query, and every call where it was told so."""
    poisoned = FailingDetector(ValueError("poison"), poison={"empty"}, otherwise=FixedDetector(KNOWN))
    with pytest.raises(ValueError, match="poison"):
        Case(poisoned, ManualClock()).detect(0, 1)
    assert Case(poisoned, ManualClock()).detect(0) == [KNOWN["disputed"]]
    always = FailingDetector(ValueError("poison"), poison=None, otherwise=FixedDetector())
    with pytest.raises(ValueError, match="poison"):
        Case(always, ManualClock()).detect(0)


def test_versions_of_the_doubles() -> None:
    """A double says what it is, and what it stands before."""
    inner = FixedDetector(version="mine-2")
    assert inner.version == "mine-2"
    assert FailingDetector(ValueError(), poison=None, otherwise=inner).version == "failing-1+mine-2"
    assert SlowDetector(1.0, clock=ManualClock(), otherwise=inner).version == "slow-1+mine-2"
