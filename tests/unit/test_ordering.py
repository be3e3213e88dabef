"""Which passage comes first: relevance, support, disputes and dates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from core.model import (
    Agreement,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Evidence,
    Passage,
    Query,
    Ranking,
    ScoredPassage,
    Span,
    Standing,
)
from core.ordering import SupportOrderer

QUERY = Query("q", "What?")
NOTHING_FOUND = Detection()
WORDS = (
    "alder birch cedar date elder fig ginkgo hazel iris jasmine kale larch maple nettle oak pine quince rose".split()
)


def passage(name: str, *, source: str | None = None, year: int | None = None, text: str | None = None) -> Passage:
    """A passage whose text no other passage shares a word with, unless a text is given."""
    published_at = None if year is None else datetime(year, 1, 1, tzinfo=UTC)
    return Passage(name, text or f"{name}one {name}two {name}three", source, published_at)


def ranking(*passages: Passage, scores: Sequence[float] | None = None) -> Ranking:
    """A ranking of passages; all of the same score unless scores are given."""
    given = scores or [1.0] * len(passages)
    return Ranking(tuple(ScoredPassage(*item) for item in zip(passages, given, strict=True)))


def claim(passage_id: str) -> Claim:
    """Whatever a passage says."""
    return Claim(passage_id, "x", Span(0, 1), "x", Span(0, 1))


def against(*pairs: tuple[str, str]) -> tuple[Contradiction, ...]:
    """Contradictions between passages."""
    return tuple(
        Contradiction(ContradictionKind.NUMERIC, 0.9, "test", claim(left), claim(right)) for left, right in pairs
    )


def agreeing(*pairs: tuple[str, str]) -> tuple[Agreement, ...]:
    """Agreements between passages."""
    return tuple(Agreement(left, right, "x") for left, right in pairs)


def order(ranked: Ranking, detection: Detection = NOTHING_FOUND) -> dict[str, Evidence]:
    """The evidence by its passage, in its order."""
    found = SupportOrderer().order(QUERY, ranked, detection)
    assert sorted(item.passage.passage_id for item in found) == sorted(i.passage.passage_id for i in ranked.items)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    assert all(item.score == item.score_parts.total for item in found)
    return {item.passage.passage_id: item for item in found}


def test_nothing_to_order() -> None:
    """An empty ranking gives no evidence."""
    assert SupportOrderer().order(QUERY, Ranking(()), Detection()) == ()


def test_retrievers_order() -> None:
    """Without findings and dates, relevance alone decides; equal scores stand in the retriever's order."""
    assert SupportOrderer().version == "support-2"
    found = order(ranking(*map(passage, "abcd"), scores=[4.0, 2.0, 2.0, 1.0]))
    assert list(found) == ["a", "b", "c", "d"]
    assert [item.score for item in found.values()] == [1.0, 0.5, 0.5, 0.25]
    assert [item.rank_in for item in found.values()] == [1, 2, 3, 4]
    assert [item.tokens for item in found.values()] == [3, 3, 3, 3]
    assert {item.support for item in found.values()} == {1}


@pytest.mark.parametrize(
    ("scores", "relevance"),
    [
        ([4.0, 1.0], [1.0, 0.25]),
        ([0.0, 0.0], [1.0, 1.0]),
        ([-1.0, -3.0, -5.0], [1.0, 0.5, 0.0]),
        ([3.0, -1.0], [1.0, 0.0]),
        ([-2.0], [1.0]),
        ([0.5, 0.5], [1.0, 1.0]),
    ],
)
def test_relevance(scores: list[float], relevance: list[float]) -> None:
    """Scores are scaled so that the best is 1; where one is negative, the lowest is 0."""
    found = order(ranking(*map(passage, "abc"[: len(scores)]), scores=scores))
    assert [item.score_parts.relevance for item in found.values()] == relevance


def test_support() -> None:
    """Each further independent voice that says the same adds to the score, less and less."""
    found = order(ranking(*map(passage, "abcd")), Detection(agreements=agreeing(("a", "b"), ("b", "c"))))
    assert {name: item.support for name, item in found.items()} == {"a": 2, "b": 3, "c": 2, "d": 1}
    assert list(found) == ["b", "a", "c", "d"]
    assert found["b"].score_parts.support == 1 + 0.15 * math.log2(3)
    assert found["a"].score_parts.support == 1.15


def test_copies_are_one_voice() -> None:
    """Near-copies of one text count once, however many there are."""
    text = " ".join(WORDS)
    copies = [passage(f"c{number}", text=f"{text} c{number}") for number in range(5)]
    links = agreeing(*((copy.passage_id, "a") for copy in copies))
    found = order(ranking(passage("a"), *copies), Detection(agreements=links))
    assert found["a"].support == 2
    assert {found[copy.passage_id].support for copy in copies} == {2}


def test_one_source_is_one_voice() -> None:
    """Passages of one source count once; passages of unknown sources are not taken for one."""
    known = [passage("b", source="s"), passage("c", source="s"), passage("d", source="t")]
    found = order(ranking(passage("a"), *known), Detection(agreements=agreeing(("a", "b"), ("a", "c"), ("a", "d"))))
    assert found["a"].support == 3
    unknown = [passage("b"), passage("c")]
    found = order(ranking(passage("a"), *unknown), Detection(agreements=agreeing(("a", "b"), ("a", "c"))))
    assert found["a"].support == 3


def test_own_copies_add_nothing() -> None:
    """A passage is not supported by its own source or by its own copies."""
    text = " ".join(WORDS)
    passages = [passage("a", source="s"), passage("b", source="s"), passage("c", text=text), passage("d", text=text)]
    found = order(ranking(*passages), Detection(agreements=agreeing(("a", "b"), ("c", "d"))))
    assert {item.support for item in found.values()} == {1}


def test_edited_copies_are_two_voices() -> None:
    """A copy that contradicts its original is on the other side, and supports that one."""
    text = " ".join(WORDS)
    passages = [passage("a", text=text), passage("b", text=text + " not"), passage("c")]
    detection = Detection(against(("a", "b")), agreements=agreeing(("a", "c"), ("b", "c")))
    found = order(ranking(*passages), detection)
    assert found["c"].support == 3


def test_open_dispute() -> None:
    """Sides of about equal support stay open: each names its opponent, and neither is lowered."""
    found = order(ranking(*map(passage, "abc")), Detection(against(("a", "c"))))
    assert (found["a"].disputed_by, found["c"].disputed_by, found["b"].disputed_by) == (("c",), ("a",), ())
    assert found["a"].disputed
    assert not found["b"].disputed
    assert {item.score_parts.contradiction for item in found.values()} == {1.0}
    assert (found["a"].conflict_group, found["c"].conflict_group, found["b"].conflict_group) == (1, 1, None)


def test_side_behind() -> None:
    """A lead of one source lowers the weaker side and leaves the dispute open."""
    detection = Detection(against(("a", "b")), agreements=agreeing(("b", "c")))
    found = order(ranking(*map(passage, "abc")), detection)
    assert (found["a"].score_parts.contradiction, found["b"].score_parts.contradiction) == (0.8, 1.0)
    assert (found["a"].disputed_by, found["b"].disputed_by) == (("b",), ("a",))
    assert list(found) == ["b", "c", "a"]


def test_settled_dispute() -> None:
    """A lead of two sources settles it: the weaker side falls far, and nobody needs to see both."""
    detection = Detection(against(("a", "b")), agreements=agreeing(("b", "c"), ("b", "d")))
    found = order(ranking(*map(passage, "abcd")), detection)
    assert (found["a"].score_parts.contradiction, found["b"].score_parts.contradiction) == (0.5, 1.0)
    assert not found["a"].disputed
    assert not found["b"].disputed
    assert found["a"].conflict_group == found["b"].conflict_group == 1


def test_several_disputes() -> None:
    """The lowest factor counts; groups are joined by whom they share and numbered as a reader meets them."""
    passages = [passage(name) for name in "abcdefgh"]
    detection = Detection(
        against(("b", "h"), ("c", "d"), ("d", "e"), ("e", "d")), agreements=agreeing(("d", "f"), ("d", "g"))
    )
    found = order(ranking(*passages, scores=[8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), detection)
    assert (found["c"].score_parts.contradiction, found["e"].score_parts.contradiction) == (0.5, 0.5)
    groups = {name: item.conflict_group for name, item in found.items()}
    assert groups == {"a": None, "b": 1, "h": 1, "d": 2, "c": 2, "e": 2, "f": None, "g": None}


def test_mixed_disputes() -> None:
    """A passage can have lost one dispute and stand in another that is open."""
    detection = Detection(against(("a", "b"), ("a", "c")), agreements=agreeing(("b", "d"), ("b", "e")))
    found = order(ranking(*map(passage, "abcde")), detection)
    assert found["a"].score_parts.contradiction == 0.5
    assert found["a"].disputed_by == ("c",)
    assert found["c"].disputed_by == ("a",)
    assert found["b"].disputed_by == ()


def test_opponents_in_the_retrievers_order() -> None:
    """Several opponents are named best ranked first, each once."""
    detection = Detection(against(("d", "b"), ("b", "c"), ("a", "b"), ("b", "a")))
    assert order(ranking(*map(passage, "abcd")), detection)["b"].disputed_by == ("a", "c", "d")


def test_recency() -> None:
    """Of the dated passages the newest gains a tenth, the oldest nothing; undated ones gain nothing."""
    passages = [passage("a", year=2001), passage("b"), passage("c", year=2020), passage("d", year=2010)]
    found = order(ranking(*passages, passage("e", year=2020)))
    recency = {name: item.score_parts.recency for name, item in found.items()}
    assert recency == {"c": 1.1, "e": 1.1, "d": 1.05, "a": 1.0, "b": 1.0}
    assert list(found) == ["c", "e", "d", "a", "b"]


def test_single_date() -> None:
    """One date compares with nothing."""
    found = order(ranking(passage("a"), passage("b", year=2020), passage("c", year=2020)))
    assert list(found) == ["a", "b", "c"]


def test_finding_on_an_unknown_passage() -> None:
    """A detector that names passages of no ranking breaks its port's promise, and the orderer says so."""
    with pytest.raises(KeyError, match="z"):
        SupportOrderer().order(QUERY, ranking(passage("a")), Detection(against(("a", "z"))))


def standing(**of: tuple[float, float, float]) -> tuple[Standing, ...]:
    """Standings by passage: answered, support, opposition."""
    return tuple(Standing(name, *numbers) for name, numbers in of.items())


def test_the_better_supported_answer_leads() -> None:
    """Two against one: both passages of the pair stand above the single one, however relevant that is."""
    stood = standing(a=(1.0, 1.0, 1.0), b=(1.0, 0.0, 2.0), c=(1.0, 1.0, 1.0))
    found = order(ranking(*map(passage, "bac"), scores=[9.0, 3.0, 1.0]), Detection(standings=stood))
    assert list(found) == ["a", "c", "b"]
    assert [item.support for item in found.values()] == [2, 2, 1]


def test_a_tie_of_answers_is_left_to_relevance() -> None:
    """One against one: support and opposition cancel out, and both sides are kept where they contradict."""
    stood = standing(a=(1.0, 0.0, 1.0), b=(1.0, 0.0, 1.0))
    found = order(ranking(*map(passage, "ab"), scores=[2.0, 1.0]), Detection(against(("a", "b")), standings=stood))
    assert list(found) == ["a", "b"]
    assert found["a"].score_parts.contradiction == found["b"].score_parts.contradiction == 0.25
    assert found["a"].disputed_by == ("b",)
    assert found["b"].disputed_by == ("a",)


def test_what_answers_nothing_comes_last() -> None:
    """Relevance does not lift it above an answer."""
    stood = standing(a=(0.0, 0.0, 0.0), b=(0.9, 0.0, 0.0))
    found = order(ranking(*map(passage, "ab"), scores=[5.0, 1.0]), Detection(standings=stood))
    assert list(found) == ["b", "a"]


def test_the_formula_for_answers() -> None:
    """A passage that surely answers, alone and most relevant, has the score 1; support and opposition are squared."""
    stood = standing(a=(1.0, 0.0, 0.0), b=(1.0, 2.0, 0.0), c=(1.0, 0.0, 1.0))
    found = order(ranking(*map(passage, "abc")), Detection(standings=stood))
    assert {name: item.score for name, item in found.items()} == pytest.approx({"a": 1.0, "b": 9.0, "c": 0.25})


def test_a_lead_of_two_sources_settles_a_dispute_of_answers() -> None:
    """The weaker side is not dragged along any more."""
    stood = standing(a=(1.0, 2.0, 0.5), b=(1.0, 0.0, 3.0))
    found = order(ranking(*map(passage, "ab")), Detection(against(("a", "b")), standings=stood))
    assert [item.disputed for item in found.values()] == [False, False]
