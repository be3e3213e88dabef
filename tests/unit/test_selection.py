"""What fits the token budget, and why the rest does not."""

from __future__ import annotations

from dataclasses import replace

from core.model import (
    Ambiguity,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Evidence,
    Exclusion,
    ExclusionReason,
    Passage,
    Ranking,
    ScoredPassage,
    ScoreParts,
    Span,
)
from core.placement import PlacementPolicy
from core.selection import legacy_selection, select
from core.text import count_tokens


def passage(name: str, tokens: int) -> Passage:
    """A passage of that many tokens, all of them its own."""
    return Passage(name, " ".join(f"{name}{number}" for number in range(tokens)))


def evidence(*sizes: int, **disputes: str) -> list[Evidence]:
    """Evidence a, b, c, ... of those sizes, best first; `a="b"` says that b disputes a."""
    items = []
    for place, tokens in enumerate(sizes):
        name = "abcdefgh"[place]
        opponents = tuple(disputes.get(name, ""))
        score = 1.0 - place / 10
        items.append(
            Evidence(
                passage(name, tokens),
                score,
                ScoreParts(score),
                place + 1,
                tokens,
                conflict_group=1 if opponents else None,
                disputed_by=opponents,
            )
        )
    return items


def chosen(items: list[Evidence], budget: int) -> tuple[str, dict[str, tuple[str, str | None]]]:
    """The names of what is selected, in order, and why the others are not."""
    found = select(items, Detection(), token_budget=budget, placement=PlacementPolicy.BEST_FIRST)
    assert sum(item.tokens for item in found.evidence) <= max(budget, 0)
    left_out = {item.passage_id: (item.reason.value, item.because_of) for item in found.exclusions}
    assert len(left_out) + len(found.evidence) == len(items)
    return "".join(found.passage_ids), left_out


def legacy(budget: int, *sizes: int) -> tuple[str, dict[str, str]]:
    """What the legacy selection takes of passages a, b, c, ..., and why the others are left out."""
    items = tuple(ScoredPassage(passage("abcdefgh"[place], tokens), 9.0 - place) for place, tokens in enumerate(sizes))
    found = legacy_selection(Ranking(items), token_budget=budget)
    return "".join(found.passage_ids), {item.passage_id: item.reason.value for item in found.exclusions}


def test_legacy_cuts_the_order() -> None:
    """The first passage that does not fit ends the selection, though a later one would fit."""
    assert legacy(10, 4, 5, 2, 1) == ("ab", {"c": "budget", "d": "budget"})


def test_legacy_fills_the_budget() -> None:
    """A passage that fits exactly is taken."""
    assert legacy(10, 4, 6) == ("ab", {})


def test_legacy_passes_over_what_never_fits() -> None:
    """A passage longer than the whole budget does not end the selection."""
    assert legacy(10, 4, 11, 5) == ("ac", {"b": "too_long"})
    assert legacy(10, 4, 11, 7, 30) == ("a", {"b": "too_long", "c": "budget", "d": "too_long"})


def test_legacy_of_nothing() -> None:
    """An empty ranking, and a budget of nothing, select nothing."""
    assert legacy(10) == ("", {})
    assert legacy(0, 1) == ("", {"a": "too_long"})


def test_legacy_evidence() -> None:
    """Legacy evidence keeps the retriever's score, place and length."""
    (item,) = legacy_selection(Ranking((ScoredPassage(passage("a", 3), 7.5),)), token_budget=5).evidence
    assert (item.score, item.score_parts.total, item.rank_in, item.tokens) == (7.5, 7.5, 1, 3)


def test_best_that_fits() -> None:
    """Best first, each passage is taken if it still fits: a later one may."""
    assert chosen(evidence(4, 5, 2, 1), 10) == ("abd", {"c": ("budget", None)})


def test_too_long() -> None:
    """A passage longer than the whole budget is told from one that found no room."""
    assert chosen(evidence(4, 11, 7), 10) == ("a", {"b": ("too_long", None), "c": ("budget", None)})


def test_near_duplicate() -> None:
    """A passage that only repeats a selected one is left out because of that one."""
    items = evidence(4, 5, 4)
    items[2] = replace(items[2], passage=Passage("c", items[0].passage.text.upper()))
    assert chosen(items, 20) == ("ab", {"c": ("near_duplicate", "a")})


def test_duplicate_of_what_was_left_out() -> None:
    """A copy of a passage that did not fit is no duplicate of anything a reader sees."""
    items = evidence(4, 9, 3)
    items[2] = replace(items[2], passage=Passage("c", items[1].passage.text + "!"), tokens=3)
    assert chosen(items, 10) == ("ac", {"b": ("budget", None)})


def test_identical_passages_without_words() -> None:
    """Passages of signs and stop words are duplicates where they are the same."""
    items = [replace(item, passage=Passage(item.passage.passage_id, "?! ...")) for item in evidence(5, 5, 5)]
    items[1] = replace(items[1], passage=Passage("b", "--- !"))
    assert chosen(items, 20) == ("ab", {"c": ("near_duplicate", "a")})


def test_opponents_are_no_duplicates() -> None:
    """Two passages that differ in the disputed word only are both shown: the difference is the point."""
    items = evidence(20, 20, a="b", b="a")
    items[1] = replace(items[1], passage=Passage("b", items[0].passage.text + " not"))
    assert chosen(items, 50) == ("ab", {})


def test_dispute_comes_together() -> None:
    """A disputed passage brings its opponent, which then stands beside it, before better passages."""
    assert chosen(evidence(4, 4, 4, 4, a="d", d="a"), 12) == ("adb", {"c": ("budget", None)})


def test_half_a_dispute_stays_out() -> None:
    """Where the opponent does not fit, neither side is shown, and the reason says because of whom."""
    left_out = {"b": ("dispute_does_not_fit", "c"), "c": ("budget", None)}
    assert chosen(evidence(4, 4, 7, 2, b="c", c="b"), 10) == ("ad", left_out)


def test_next_best_opponent() -> None:
    """Where the best opponent does not fit, another one shows the dispute."""
    items = evidence(4, 8, 3, a="bc", b="a", c="a")
    assert chosen(items, 10) == ("ac", {"b": ("budget", None)})


def test_best_opponent_by_score() -> None:
    """The better opponent comes along, in whatever order they are named."""
    items = evidence(4, 3, 3, a="cb", b="a", c="a")
    assert chosen(items, 7) == ("ab", {"c": ("budget", None)})


def test_further_sides() -> None:
    """Once a dispute is shown, each further side is taken if it fits, and no opponent is brought for it."""
    items = evidence(4, 3, 3, 9, a="bc", b="a", c="ad", d="c")
    assert chosen(items, 10) == ("abc", {"d": ("budget", None)})


def test_opponent_that_was_left_out_before() -> None:
    """A near-copy of a selected passage comes back in where it is the only opponent of a later one."""
    items = evidence(4, 4, 3, b="c", c="b")
    items[1] = replace(items[1], passage=Passage("b", items[0].passage.text))
    assert chosen(items, 11) == ("abc", {})
    assert chosen(items, 10) == ("a", {"b": ("near_duplicate", "a"), "c": ("dispute_does_not_fit", "b")})


def test_never_nothing() -> None:
    """Where the budget holds one side of every dispute only, the best side is shown alone."""
    items = evidence(6, 6, a="b", b="a")
    assert chosen(items, 10) == ("a", {"b": ("dispute_does_not_fit", "a")})
    found = select(items, Detection(), token_budget=10, placement=PlacementPolicy.BEST_FIRST)
    assert found.evidence[0].disputed_by == ("b",)


def test_never_nothing_takes_what_fits() -> None:
    """The side that is shown alone is the best that fits at all."""
    assert chosen(evidence(11, 6, 6, b="c", c="b"), 10)[0] == "b"


def test_nothing_fits() -> None:
    """Where every passage is too long, nothing is selected."""
    assert chosen(evidence(11, 12), 10) == ("", {"a": ("too_long", None), "b": ("too_long", None)})
    assert chosen([], 10) == ("", {})
    assert chosen(evidence(1), -5)[0] == ""


def test_findings_are_carried() -> None:
    """The selection carries what was found among all passages, selected or not."""
    claim = Claim("a", "a0", Span(0, 2), "a0", Span(0, 2))
    detection = Detection(
        (Contradiction(ContradictionKind.DATE, 0.7, "test", claim, claim),),
        (Ambiguity("a0", 0.7, "test", claim, claim),),
    )
    found = select(evidence(9), detection, token_budget=5, placement=PlacementPolicy.CHRONOLOGICAL)
    assert (found.contradictions, found.ambiguities) == (detection.contradictions, detection.ambiguities)


def test_exclusions_in_the_order_of_the_evidence() -> None:
    """What is left out is listed best first."""
    found = select(evidence(5, 9, 3, 8), Detection(), token_budget=8, placement=PlacementPolicy.BEST_FIRST)
    assert found.exclusions == (
        Exclusion("b", ExclusionReason.TOO_LONG),
        Exclusion("d", ExclusionReason.BUDGET),
    )


def test_lengths_by_the_token_counter() -> None:
    """The sizes that these tests give are what the counter counts."""
    assert count_tokens(passage("a", 7).text) == 7


def test_where_an_opponent_came_in_with_another_the_reason_is_the_budget() -> None:
    """The dispute is shown after all, by a shorter side; there was no room for this one."""
    assert chosen(evidence(10, 6, 3, a="b", b="ac", c="b"), 15) == ("bc", {"a": ("budget", None)})
