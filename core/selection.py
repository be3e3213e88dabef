"""What fits the token budget: REDO's selection, and the legacy selection beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from core.model import Detection, Evidence, Exclusion, ExclusionReason, Ranking, ScoreParts, Selection
from core.placement import PlacementPolicy, place
from core.similarity import NEAR_DUPLICATE, similarity_matrix
from core.text import count_tokens


def legacy_selection(ranking: Ranking, *, token_budget: int) -> Selection:
    """The baseline: the retriever's order, cut where the next passage would not fit.

    Passages that are longer than the whole budget are passed over; they could never be selected.
    """
    evidence: list[Evidence] = []
    exclusions: list[Exclusion] = []
    left = token_budget
    full = False
    for rank, item in enumerate(ranking.items, start=1):
        tokens = count_tokens(item.passage.text)
        if tokens > token_budget:
            exclusions.append(Exclusion(item.passage.passage_id, ExclusionReason.TOO_LONG))
            continue
        full = full or tokens > left
        if full:
            exclusions.append(Exclusion(item.passage.passage_id, ExclusionReason.BUDGET))
            continue
        left -= tokens
        evidence.append(Evidence(item.passage, item.score, ScoreParts(item.score), rank, tokens))
    return Selection(tuple(evidence), tuple(exclusions))


def select(
    evidence: Sequence[Evidence], detection: Detection, *, token_budget: int, placement: PlacementPolicy
) -> Selection:
    """Take the best evidence that fits, and put it in its place.

    Best first, each passage is taken if it still fits and tells something new. A passage in an open dispute brings its
    best opponent along, or stays out: a reader must see a dispute, not half of one. Only where the budget holds nothing
    but one side of a dispute is that side taken alone; it stays marked by `disputed_by`.

    Args:
        evidence: every passage of the ranking, best first.
        detection: what was found among them.
        token_budget: the most tokens that the selection may have.
        placement: how the chosen passages are placed.
    """
    choice = _Choice(evidence, token_budget)
    for item in evidence:
        choice.consider(item)
    choice.correct_reasons()
    choice.never_nothing()
    chosen = [item for item in evidence if item.passage.passage_id in choice.taken]
    exclusions = tuple(
        choice.excluded[item.passage.passage_id] for item in evidence if item.passage.passage_id not in choice.taken
    )
    return Selection(place(chosen, placement), exclusions, detection.contradictions, detection.ambiguities)


@dataclass
class _Choice:
    """What is taken and what is left out, while the evidence is gone through."""

    evidence: Sequence[Evidence]
    token_budget: int
    taken: dict[str, Evidence] = field(default_factory=dict)
    excluded: dict[str, Exclusion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = self.token_budget
        self._by_id = {item.passage.passage_id: item for item in self.evidence}
        retrieved = sorted(self.evidence, key=lambda item: item.rank_in)  # as the orderer asked, whose answer is kept
        self._place = {item.passage.passage_id: place for place, item in enumerate(retrieved)}
        self._similarity = similarity_matrix(tuple(item.passage.text for item in retrieved))

    def consider(self, item: Evidence) -> None:
        """Take the passage, with an opponent where it needs one, or leave it out with the reason."""
        if item.passage.passage_id in self.taken:
            return None
        if item.tokens > self.token_budget:
            return self._leave_out(item, ExclusionReason.TOO_LONG)
        original = self._repeats(item)
        if original is not None:
            return self._leave_out(item, ExclusionReason.NEAR_DUPLICATE, because_of=original)
        if item.tokens > self._left:
            return self._leave_out(item, ExclusionReason.BUDGET)
        if not item.disputed or any(opponent in self.taken for opponent in item.disputed_by):
            return self._take(item)
        for opponent in self._opponents(item):
            if item.tokens + opponent.tokens <= self._left:
                self._take(item)
                self._take(opponent)
                return None
        return self._leave_out(item, ExclusionReason.DISPUTE_DOES_NOT_FIT, because_of=item.disputed_by[0])

    def correct_reasons(self) -> None:
        """Look again at what was left out for want of room for both sides.

        Where an opponent came in later, with a shorter one, the reason is the budget. The passage itself never fits
        then: the two did not fit when there was more room.
        """
        for item in self.evidence:
            exclusion = self.excluded.get(item.passage.passage_id)
            if exclusion is not None and exclusion.reason is ExclusionReason.DISPUTE_DOES_NOT_FIT:
                self.consider(item)

    def never_nothing(self) -> None:
        """Where no passage could be taken with its opponent, take the best that fits alone."""
        if not self.taken:
            best = next((item for item in self.evidence if item.tokens <= self.token_budget), None)
            if best is not None:
                self._take(best)

    def _take(self, item: Evidence) -> None:
        self.taken[item.passage.passage_id] = item
        self.excluded.pop(item.passage.passage_id, None)
        self._left -= item.tokens

    def _leave_out(self, item: Evidence, reason: ExclusionReason, *, because_of: str | None = None) -> None:
        self.excluded[item.passage.passage_id] = Exclusion(item.passage.passage_id, reason, because_of)

    def _opponents(self, item: Evidence) -> Iterable[Evidence]:
        """The passages that dispute it, best first."""
        return sorted((self._by_id[name] for name in item.disputed_by), key=lambda other: -other.score)

    def _repeats(self, item: Evidence) -> str | None:
        """The taken passage that it only repeats. Opponents never repeat each other: their difference is the point."""
        row = self._similarity[self._place[item.passage.passage_id]]
        for name in self.taken:
            if row[self._place[name]] >= NEAR_DUPLICATE and name not in item.disputed_by:
                return name
        return None
