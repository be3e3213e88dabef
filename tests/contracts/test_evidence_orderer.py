"""What every orderer promises, the official test doubles included."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core.adapters.doubles import FailingOrderer, RankOrderer
from core.model import (
    Agreement,
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
from core.ordering import SupportOrderer
from core.ports import EvidenceOrderer
from core.text import count_tokens

QUERY = Query("q", "What is the population of Broken Bow?")
PASSAGES = (
    Passage("a", "It has 3,559 people.", "census", datetime(2011, 1, 1, tzinfo=UTC)),
    Passage("b", "Some 4,120 people live there!", "almanac"),
    Passage("c", "It has 3,559 people.", "copy"),
    Passage("d", "Trout swim in the lake.", "census", datetime(2001, 1, 1, tzinfo=UTC)),
    Passage("e", "?!", None, datetime(2021, 1, 1, tzinfo=UTC)),
)
RANKING = Ranking(tuple(ScoredPassage(passage, 5.0 - place // 2) for place, passage in enumerate(PASSAGES)))


def claim(passage_id: str) -> Claim:
    """Something that a passage says."""
    return Claim(passage_id, "x", Span(0, 1), "x", Span(0, 1))


FOUND = Detection(
    (
        Contradiction(ContradictionKind.NUMERIC, 0.9, "told", claim("a"), claim("b")),
        Contradiction(ContradictionKind.NUMERIC, 0.6, "told", claim("b"), claim("c")),
    ),
    agreements=(Agreement("a", "c", "3,559"),),
)


@pytest.fixture(
    params=[
        SupportOrderer(),
        RankOrderer(),
        FailingOrderer(ValueError("poison"), poison={"other"}, otherwise=SupportOrderer()),
    ],
    ids=lambda orderer: str(orderer.version),
)
def orderer(request: pytest.FixtureRequest) -> EvidenceOrderer:
    """Each implementation in turn."""
    tested: EvidenceOrderer = request.param
    return tested


@pytest.mark.parametrize("detection", [Detection(), FOUND], ids=["nothing found", "disputes found"])
class TestEveryOrderer:
    """The contract of the port."""

    def test_every_passage_once(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """No passage is lost, doubled or changed."""
        evidence = orderer.order(QUERY, RANKING, detection)
        assert sorted(evidence, key=lambda item: item.rank_in) == sorted(
            evidence, key=lambda item: item.passage.passage_id
        )
        assert {item.passage.passage_id: item.passage for item in evidence} == {
            passage.passage_id: passage for passage in PASSAGES
        }
        assert len(evidence) == len(PASSAGES)

    def test_best_first(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """Scores never rise."""
        scores = [item.score for item in orderer.order(QUERY, RANKING, detection)]
        assert scores == sorted(scores, reverse=True)

    def test_what_evidence_says(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """Each passage keeps its place in the ranking, and has its length and the parts of its score."""
        for item in orderer.order(QUERY, RANKING, detection):
            assert PASSAGES[item.rank_in - 1] == item.passage
            assert item.tokens == count_tokens(item.passage.text)
            assert item.score == item.score_parts.total
            assert item.support >= 1

    def test_open_disputes(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """Opponents are of the ranking, name each other and share a group; who has none is marked by none."""
        evidence = {item.passage.passage_id: item for item in orderer.order(QUERY, RANKING, detection)}
        for name, item in evidence.items():
            for opponent in item.disputed_by:
                assert opponent != name
                assert name in evidence[opponent].disputed_by
                assert item.conflict_group is not None
                assert item.conflict_group == evidence[opponent].conflict_group

    def test_same_answer_again(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """The same call gives the same evidence."""
        assert orderer.order(QUERY, RANKING, detection) == orderer.order(QUERY, RANKING, detection)

    def test_nothing_to_order(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """An empty ranking gives no evidence."""
        del detection
        assert orderer.order(QUERY, Ranking(()), Detection()) == ()

    def test_version(self, orderer: EvidenceOrderer, detection: Detection) -> None:
        """The version is a name."""
        del detection
        assert orderer.version


def test_failing_double() -> None:
    """The double fails on the queries that it was told to fail on, or on all."""
    poisoned = FailingOrderer(ValueError("poison"), poison={"q"}, otherwise=RankOrderer())
    with pytest.raises(ValueError, match="poison"):
        poisoned.order(QUERY, RANKING, FOUND)
    with pytest.raises(ValueError, match="poison"):
        FailingOrderer(ValueError("poison"), poison=None, otherwise=RankOrderer()).order(QUERY, RANKING, FOUND)
    assert len(poisoned.order(Query("r", "?"), RANKING, FOUND)) == len(PASSAGES)
