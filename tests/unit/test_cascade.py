"""The cascade: in which order the stages see a query, and what they see."""

from __future__ import annotations

from dataclasses import replace

from core.adapters.doubles import FixedDetector
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.cascade import CascadeDetector
from core.contradictions.stage import Asked, decided_pairs
from core.model import (
    Agreement,
    Ambiguity,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Passage,
    Query,
    Ranking,
    ScoredPassage,
    Span,
)

QUERIES = (Query("one", "What?"), Query("two", "Where?"))
RANKING = Ranking((ScoredPassage(Passage("p0", "Some text."), 1.0),))


class Adding:
    """A stage that adds an agreement with its name to each detection, and keeps what it was asked."""

    def __init__(self, name: str) -> None:
        self.version = name
        self.asked: list[Asked] = []

    def refine(self, asked: Asked) -> Detection:
        """Add the agreement."""
        self.asked.append(asked)
        said = Agreement("p0", "p1", self.version)
        return replace(asked.detection, agreements=(*asked.detection.agreements, said))


def claim(passage_id: str) -> Claim:
    """Whatever a passage says."""
    return Claim(passage_id, "x", Span(0, 1), "x", Span(0, 1))


def test_each_stage_sees_what_the_ones_before_found() -> None:
    """Each query of the chunk in its turn, with its own deadline."""
    first, second = Adding("first"), Adding("second")
    rules = FixedDetector({"two": Detection(agreements=(Agreement("p0", "p1", "rules"),))})
    deadlines = [Deadline(1.0, clock=ManualClock()) for _ in QUERIES]
    found = CascadeDetector(rules, [first, second]).detect(QUERIES, [RANKING, RANKING], deadlines)
    assert [[item.value for item in one.agreements] for one in found] == [
        ["first", "second"],
        ["rules", "first", "second"],
    ]
    assert [one.query for one in second.asked] == list(QUERIES)
    assert [one.deadline for one in second.asked] == deadlines
    assert [len(one.detection.agreements) for one in second.asked] == [1, 2]


def test_the_version_names_every_stage() -> None:
    """A trace tells which stages there were."""
    rules = FixedDetector({})
    assert CascadeDetector(rules, [Adding("a"), Adding("b")]).version == f"{rules.version}+a+b"
    assert CascadeDetector(rules, []).version == rules.version


def test_decided_pairs_know_every_sort_of_finding() -> None:
    """In any order of the two."""
    detection = Detection(
        (Contradiction(ContradictionKind.DATE, 0.9, "s", claim("b"), claim("a")),),
        (Ambiguity("x", 0.9, "s", claim("a"), claim("c")),),
        (Agreement("c", "b", "x"),),
    )
    assert decided_pairs(detection) == {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    assert decided_pairs(Detection()) == frozenset()
