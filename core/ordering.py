"""Which passage comes first: relevance, support, disputes and dates, each a factor that the evidence keeps.

    score = relevance * support * contradiction * recency

Where the passages' answers to the question were compared (`Detection.standings`):

relevance      exp(1.5 (r - 1)) * sqrt(o / o1): r is the retriever's score, scaled so that the best of the ranking is 1
               (and the lowest 0 if any is negative); o = (a + 0.02) / (1.02 - a) are the odds that the passage answers
               the question, o1 those of a = 1. What answers nothing comes last.
support        (1 + s)^2, where s counts the independent passages that give the same answer.
contradiction  (1 + w)^-2, where w is the weight of the strongest passage about the same thing that answers otherwise.
               Two sides of equal support cancel out, and relevance decides: a tie stays a tie.

Where they were not (claims, key words, no time):

relevance      r.
support        1 + 0.15 * log2(n), where n counts the independent sources that say the same, the passage's own included.
               Near-copies and passages of one source count once: a text copied ten times is one voice.
contradiction  1 where nobody with more support says otherwise; 0.8 where somebody does, 0.5 where the lead is settled.

In both:

recency        1 to 1.1, linear in the place among the dated passages; 1 where fewer than two dates are known.

A contradiction is settled when one side leads by at least two independent sources. Otherwise it is open: a reader needs
both sides. Without answers the weights are small on purpose: they decide between passages of similar relevance. The
numbers for answers are round ones, chosen on RAMDocs with answers read by weights that were trained on other questions.
2 to 3 for the exponent of support with 1 to 3 for that of opposition change MAP by at most 0.004 among a question's own
passages and by 0.014 in the pool of all; 1 to 2 instead of 1.5 by at most 0.005 and 0.004.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from core.model import Detection, Evidence, Passage, Query, Ranking, ScoreParts, Standing
from core.similarity import NEAR_COPY, similarity_matrix
from core.text import count_tokens

SETTLED_LEAD = 2
"""Independent sources by which one side of a contradiction must lead to settle it."""
_SUPPORT_GAIN = 0.15
_BEHIND = 0.8
_SETTLED = 0.5
_RECENCY_GAIN = 0.1
_SMOOTHING = 0.02
_RELEVANCE_GAIN = 1.5
_ANSWER_POWER = 0.5
_SUPPORT_POWER = 2.0
_OPPOSITION_POWER = -2.0


class SupportOrderer:
    """Orders by relevance, corrected for who agrees and who contradicts. The module gives the formula."""

    @property
    def version(self) -> str:
        """Name and version."""
        return "support-2"

    def order(self, query: Query, ranking: Ranking, detection: Detection) -> tuple[Evidence, ...]:
        """Return every passage of the ranking once, best first; equal scores stand in the retriever's order."""
        del query
        passages = [item.passage for item in ranking.items]
        if not passages:
            return ()
        places = {passage.passage_id: place for place, passage in enumerate(passages)}
        against = [
            (places[found.left.passage_id], places[found.right.passage_id]) for found in detection.contradictions
        ]
        agreeing = [(places[found.left_id], places[found.right_id]) for found in detection.agreements]
        relevance = _relevance([item.score for item in ranking.items])
        if detection.standings:
            known = {standing.passage_id: standing for standing in detection.standings}
            weighed = _by_answers(relevance, [known[passage.passage_id] for passage in passages], against)
        else:
            weighed = _by_sources(relevance, passages, agreeing, against)
        recency = _recency(passages)
        groups = _components(len(passages), against)
        evidence = [
            Evidence(
                passage=passage,
                score=parts.total,
                score_parts=parts,
                rank_in=place + 1,
                tokens=count_tokens(passage.text),
                support=weighed.voices[place],
                conflict_group=groups[place] if any(place in pair for pair in against) else None,
                disputed_by=tuple(passages[opponent].passage_id for opponent in sorted(weighed.opponents[place])),
            )
            for place, passage in enumerate(passages)
            for parts in [
                ScoreParts(
                    relevance=weighed.relevance[place],
                    support=weighed.support[place],
                    contradiction=weighed.contradiction[place],
                    recency=recency[place],
                )
            ]
        ]
        return _renumber_groups(sorted(evidence, key=lambda item: (-item.score, item.rank_in)))


class _Weighed(NamedTuple):
    """What speaks for and against each passage: three factors, how many voices say it, and its open opponents."""

    relevance: list[float]
    support: list[float]
    contradiction: list[float]
    voices: list[int]
    opponents: list[set[int]]


def _by_answers(
    relevance: Sequence[float], standings: Sequence[Standing], against: Sequence[tuple[int, int]]
) -> _Weighed:
    voices = [1 + round(standing.support) for standing in standings]
    behind, opponents = _disputes(voices, against)
    opposed = [(1 + standing.opposition) ** _OPPOSITION_POWER for standing in standings]
    return _Weighed(
        [
            math.exp(_RELEVANCE_GAIN * (r - 1)) * _answering(standing.answered)
            for r, standing in zip(relevance, standings, strict=True)
        ],
        [(1 + standing.support) ** _SUPPORT_POWER for standing in standings],
        list(map(min, behind, opposed)),
        voices,
        opponents,
    )


def _by_sources(
    relevance: list[float],
    passages: Sequence[Passage],
    agreeing: Iterable[tuple[int, int]],
    against: Sequence[tuple[int, int]],
) -> _Weighed:
    voices = _voices(passages, agreeing, against)
    behind, opponents = _disputes(voices, against)
    return _Weighed(relevance, [1 + _SUPPORT_GAIN * math.log2(count) for count in voices], behind, voices, opponents)


def _relevance(scores: Sequence[float]) -> list[float]:
    low, high = min(0.0, *scores), max(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]


def _answering(answered: float) -> float:
    """How much a passage's relevance counts by the odds that it answers: 0.02 to 1."""
    odds, highest = (answered + _SMOOTHING) / (1 + _SMOOTHING - answered), (1 + _SMOOTHING) / _SMOOTHING
    return math.pow(odds / highest, _ANSWER_POWER)


def _recency(passages: Sequence[Passage]) -> list[float]:
    dates = sorted({passage.published_at for passage in passages if passage.published_at is not None})
    if len(dates) < 2:  # noqa: PLR2004 - one date compares with nothing
        return [1.0] * len(passages)
    return [
        1.0
        if passage.published_at is None
        else 1.0 + _RECENCY_GAIN * dates.index(passage.published_at) / (len(dates) - 1)
        for passage in passages
    ]


def _voices(
    passages: Sequence[Passage], agreeing: Iterable[tuple[int, int]], against: Sequence[tuple[int, int]]
) -> list[int]:
    """How many independent voices say what each passage says.

    Near-copies are one voice unless they contradict each other: an edited copy takes the other side.
    """
    similarity = similarity_matrix(tuple(passage.text for passage in passages))
    opposed = {frozenset(pair) for pair in against}
    together = [
        (one, other)
        for one in range(len(passages))
        for other in range(one)
        if frozenset((one, other)) not in opposed
        and (similarity[one, other] >= NEAR_COPY or _same_source(passages[one], passages[other]))
    ]
    voices = _components(len(passages), together)
    heard = [{voice} for voice in voices]
    for one, other in agreeing:
        heard[one].add(voices[other])
        heard[other].add(voices[one])
    return [len(voices_heard) for voices_heard in heard]


def _same_source(one: Passage, other: Passage) -> bool:
    return one.source is not None and one.source == other.source


def _disputes(support: Sequence[int], against: Iterable[tuple[int, int]]) -> tuple[list[float], list[set[int]]]:
    """The contradiction factor of each passage, and its opponents in open disputes."""
    factors = [1.0] * len(support)
    opponents: list[set[int]] = [set() for _ in support]
    for one, other in against:
        weaker, stronger = sorted((one, other), key=lambda place: support[place])
        lead = support[stronger] - support[weaker]
        if lead >= SETTLED_LEAD:
            factors[weaker] = min(factors[weaker], _SETTLED)
            continue
        if lead > 0:
            factors[weaker] = min(factors[weaker], _BEHIND)
        opponents[one].add(other)
        opponents[other].add(one)
    return factors, opponents


def _components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Number of the connected component of each of `count` nodes: its smallest node."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(node) for node in range(count)]


def _renumber_groups(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Number the conflict groups from 1, in the order in which a reader meets them."""
    numbers: dict[int, int] = {}
    return tuple(
        item
        if item.conflict_group is None
        else replace(item, conflict_group=numbers.setdefault(item.conflict_group, len(numbers) + 1))
        for item in evidence
    )
