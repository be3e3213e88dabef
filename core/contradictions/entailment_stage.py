"""The third stage: an entailment model reads the few sentence pairs that are worth it.

It sees what rules and answers do not: statements as wholes. Which pairs it is asked about, `core.contradictions.gate`
says. Contradiction is symmetric in meaning, a model's answer only nearly: what looks like one in the first direction is
asked in the other too, and the mean of both decides. The model comes in as a parameter.

Sentences that follow from each other are no `Agreement`: of those found on installed packages' documentation, most were
about something else than what was asked, and would have counted as support for the answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.clock import Deadline
from core.contradictions.gate import Candidate, Gate, values_apart
from core.contradictions.sentences import Sentence
from core.contradictions.stage import Asked, decided_pairs
from core.contradictions.values import ValueKind
from core.model import Claim, Contradiction, ContradictionKind, Detection, Passage, Span

STAGE = "entailment"
GROUP = 4
"""Pairs that are asked between two looks at the clock."""

_CONTRADICTION = 2
"""The column of a score that counts."""

_KINDS = {
    ValueKind.DATE: ContradictionKind.DATE,
    ValueKind.QUANTITY: ContradictionKind.NUMERIC,
    ValueKind.VERSION: ContradictionKind.NUMERIC,
    ValueKind.NAME: ContradictionKind.ENTITY,
}


class EntailmentModel(Protocol):
    """Says of pairs of sentences whether the second follows from the first, is open, or contradicts it."""

    @property
    def version(self) -> str:
        """Name and version. The same version gives the same scores."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return calibrated probabilities of shape (n, 3): entailment, neutral, contradiction.

        A pair's score must not depend on its companions.
        """
        ...


class EntailmentStage:
    """Asks an entailment model about sentence pairs, best first, in groups of `GROUP`, while time lasts.

    It adds contradictions between passages that are not decided yet. A group is begun only where as much time is left
    as the slowest group of this query took; what could not be asked makes the detection incomplete. The other direction
    is asked only where the first one leaves the mean a chance.

    Args:
        model: the model. One stage may be shared by threads where the model may.
        gate: picks the pairs.
        max_pairs: most calls of the model for a query, both directions counted.
        reserve_s: seconds of a query's budget that are left to ordering and selecting.
        group_s: seconds that the first group is expected to take.
        min_score: mean of both directions from which a pair is a contradiction.
    """

    def __init__(
        self,
        model: EntailmentModel,
        *,
        gate: Gate | None = None,
        max_pairs: int = 24,
        reserve_s: float = 0.04,
        group_s: float = 0.03,
        min_score: float = 0.95,
    ) -> None:
        if max_pairs < 1:
            raise ValueError(f"max_pairs is {max_pairs}, expected at least 1")
        self._model = model
        self._gate = gate or Gate(max_pairs=max_pairs)
        self._max_pairs = max_pairs
        self._reserve_s = reserve_s
        self._group_s = group_s
        self._min_score = min_score

    @property
    def version(self) -> str:
        """Name and version, with the model's."""
        return f"entailment-1({self._model.version})"

    def refine(self, asked: Asked) -> Detection:
        """Add what the model sees; see `DetectionStage`."""
        with asked.deadline.running():
            return self._refined(asked)

    def _refined(self, asked: Asked) -> Detection:
        passages = [item.passage for item in asked.ranking.items]
        if len(passages) < 2:  # noqa: PLR2004 - nothing to compare
            return asked.detection
        if not asked.deadline.leaves(self._reserve_s + self._group_s):
            return replace(asked.detection, complete=False)
        candidates = self._gate.pick(asked.query.text, passages, decided_pairs(asked.detection))
        if not candidates:
            return asked.detection
        reading = _Reading(passages, candidates, min_score=self._min_score)
        in_time = self._ask(reading, asked.deadline)
        return reading.add_to(asked.detection, complete=asked.detection.complete and in_time)

    def _ask(self, reading: _Reading, deadline: Deadline) -> bool:
        """Ask until nothing is left to ask, and say whether it came to that. Calls used up are no lack of time."""
        left, need_s = self._max_pairs, self._group_s
        while group := reading.next_group(min(GROUP, left)):
            if not deadline.leaves(self._reserve_s + need_s):
                return False
            begun_s = deadline.spent_s
            reading.hear(group, self._model.score([ask.texts for ask in group]))
            took_s = deadline.spent_s - begun_s
            need_s = took_s if left == self._max_pairs else max(need_s, took_s)
            left -= len(group)
        return True


class _Ask(NamedTuple):
    """One call of the model: which candidate, and what it said in the first direction where this is the second one."""

    candidate: Candidate
    first: float | None = None

    @property
    def texts(self) -> tuple[str, str]:
        """Premise and hypothesis."""
        left, right = self.candidate.left.text, self.candidate.right.text
        return (left, right) if self.first is None else (right, left)


class _Reading:
    """What the model has said about the pairs of one query, and what is left to ask."""

    def __init__(self, passages: Sequence[Passage], candidates: Sequence[Candidate], *, min_score: float) -> None:
        self._passages = passages
        self._min_score = min_score
        self._first = iter(candidates)
        self._second: deque[_Ask] = deque()
        self._against: dict[tuple[int, int], tuple[Candidate, float]] = {}

    def next_group(self, size: int) -> list[_Ask]:
        """The next asks, at most `size`: suspicions in the other direction first, then new pairs, best first."""
        group: list[_Ask] = []
        while len(group) < size and self._second:
            ask = self._second.popleft()
            if self._is_open(ask.candidate):
                group.append(ask)
        return [*group, *map(_Ask, self._new(size - len(group)))]

    def _new(self, size: int) -> Iterator[Candidate]:
        while size > 0:
            candidate = next(self._first, None)
            if candidate is None:
                return
            if self._is_open(candidate):
                size -= 1
                yield candidate

    def _is_open(self, candidate: Candidate) -> bool:
        """Whether its two passages are not known to contradict each other."""
        return (candidate.left_passage, candidate.right_passage) not in self._against

    def hear(self, group: Sequence[_Ask], scores: NDArray[np.float32]) -> None:
        """Take in what the model says about a group."""
        for ask, said in zip(group, scores[:, _CONTRADICTION].tolist(), strict=True):
            candidate = ask.candidate
            if ask.first is not None:
                self._decide(candidate, (ask.first + said) / 2)
            elif (said + 1.0) / 2 >= self._min_score:
                self._second.append(_Ask(candidate, said))

    def _decide(self, candidate: Candidate, score: float) -> None:
        both = candidate.left_passage, candidate.right_passage
        if score >= self._min_score and (both not in self._against or score > self._against[both][1]):
            self._against[both] = candidate, score

    def add_to(self, known: Detection, *, complete: bool) -> Detection:
        """The detection with this stage's findings behind those of the earlier stages, in the order of the passages."""
        contradictions = [
            self._contradiction(candidate, score)
            for _, (candidate, score) in sorted(self._against.items(), key=itemgetter(0))
        ]
        return replace(known, contradictions=(*known.contradictions, *contradictions), complete=complete)

    def _contradiction(self, candidate: Candidate, score: float) -> Contradiction:
        kind, left, right = difference(candidate.left, candidate.right)
        return Contradiction(
            kind=kind,
            score=min(score, 1.0),
            stage=STAGE,
            left=self._claim(candidate.left_passage, candidate.left, left),
            right=self._claim(candidate.right_passage, candidate.right, right),
        )

    def _claim(self, place: int, sentence: Sentence, value: Span) -> Claim:
        passage = self._passages[place]
        return Claim(
            passage_id=passage.passage_id,
            sentence=sentence.text,
            sentence_span=Span(sentence.start, sentence.end),
            value=passage.text[value.start : value.end],
            value_span=value,
        )


def difference(left: Sentence, right: Sentence) -> tuple[ContradictionKind, Span, Span]:
    """What two contradicting sentences differ in: their one value that is not the same, or the sentences as wholes."""
    match values_apart(left, right):
        case [one], [other] if one.kind is other.kind:
            return _KINDS[one.kind], Span(one.start, one.end), Span(other.start, other.end)
    return ContradictionKind.STATEMENT, Span(left.start, left.end), Span(right.start, right.end)
