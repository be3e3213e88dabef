"""The second stage: do passages give the same answer to the question?

Passages that disagree about an answer say it in different words, far apart, where no rule on two sentences sees it. So
the stage reads what each passage answers (`core.contradictions.slots`) and compares the answers. It speaks up only on
questions: a claim has no answer slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.contradictions.slots.answers import Answer
from core.contradictions.slots.question import Question, SlotKind, is_question, name_in, read_question
from core.contradictions.slots.reader import SlotComparison, SlotReader, SlotTable, SlotVerdict, shipped_reader
from core.contradictions.slots.spans import PassageSpans, read_spans
from core.contradictions.slots.support import weigh
from core.contradictions.stage import Asked, decided_pairs
from core.contradictions.subject import about_subject
from core.model import (
    Agreement,
    Ambiguity,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Passage,
    Span,
    Standing,
)
from core.similarity import similarity_matrix
from core.text import sentence_spans

STAGE = "slots"
_KINDS = {
    SlotKind.DATE: ContradictionKind.DATE,
    SlotKind.NUMBER: ContradictionKind.NUMERIC,
    SlotKind.PERSON: ContradictionKind.ENTITY,
    SlotKind.PLACE: ContradictionKind.ENTITY,
    SlotKind.CATEGORY: ContradictionKind.ENTITY,
}
"""Questions whose answers are compared, and what a difference is called. Answers to the other kinds are read too badly:
comparing them made the order of the installed packages' documentation worse than the retriever's."""
_MOST_PASSAGES = 40
"""Passages whose answers are compared; those behind them in the ranking have none."""
_PAIR_S = 1e-4
"""Seconds that comparing one passage with one other may take: 20 passages took 40 ms in the slowest twentieth."""


class SlotStage:
    """Compares the answers that passages give to a question.

    It adds contradictions, ambiguities and agreements on the pairs that are not decided yet, and a `Standing` for every
    passage, by which the orderer lets the better supported answer lead. It reads passage by passage while time lasts,
    and compares only where that fits into what is left; otherwise it adds nothing.

    Args:
        reader: reads the answers; with the packaged weights by default.
        reserve_s: seconds of a query's budget that are left to ordering and selecting.
        min_score: contradictions that are less likely are not reported; they still count in the standings.
        min_other: the same for ambiguities and agreements. docs/decisions/008 has what both thresholds give.
    """

    def __init__(
        self,
        reader: SlotReader | None = None,
        *,
        reserve_s: float = 0.04,
        min_score: float = 0.9,
        min_other: float = 0.75,
    ) -> None:
        self._reader = reader or shipped_reader()
        self._reserve_s = reserve_s
        self._least = dict.fromkeys(SlotVerdict, min_other) | {SlotVerdict.DIFFERENT: min_score}

    @property
    def version(self) -> str:
        """Name and version of the weights."""
        return self._reader.version

    def refine(self, asked: Asked) -> Detection:
        """Add what the passages' answers show; see `DetectionStage`."""
        with asked.deadline.running():
            return self._refined(asked)

    def _refined(self, asked: Asked) -> Detection:
        passages = [item.passage for item in asked.ranking.items]
        if len(passages) < 2 or not is_question(asked.query.text):  # noqa: PLR2004 - nothing to compare
            return asked.detection
        question = read_question(asked.query.text)
        if question.kind not in _KINDS:
            return asked.detection
        compared = passages[:_MOST_PASSAGES]
        table = self._read(asked, question, compared)
        if table is None:
            return replace(asked.detection, complete=False)
        support = weigh(table, [passage.source for passage in compared])
        standings = [
            Standing(passage.passage_id, *map(float, parts))
            for passage, *parts in zip(compared, support.answered, support.support, support.opposition, strict=True)
        ]
        behind = [Standing(passage.passage_id, 0.0, 0.0, 0.0) for passage in passages[_MOST_PASSAGES:]]
        known = replace(asked.detection, standings=(*standings, *behind))
        return _Reading(compared, table, self._least).add_to(known)

    def _read(self, asked: Asked, question: Question, passages: Sequence[Passage]) -> SlotTable | None:
        """What the passages answer about the question's subject; `None` where there is not the time to tell."""
        to_compare_s = self._reserve_s + _PAIR_S * len(passages) ** 2
        spans: list[PassageSpans] = []
        for passage in passages:
            if not asked.deadline.leaves(to_compare_s):
                return None
            spans.append(read_spans(passage.text))
        if not asked.deadline.leaves(to_compare_s):
            return None
        size = len(passages)
        similarity = similarity_matrix(tuple(item.passage.text for item in asked.ranking.items))[:size, :size]
        table = self._reader.read(question, spans, similarity)
        about = about_subject(question.text, [passage.text for passage in passages])
        readings = zip(table.readings, about, strict=True)
        return replace(table, readings=tuple(replace(one, answered=one.answered * share) for one, share in readings))


class _Reading:
    """What the answers of one query's passages come to."""

    def __init__(self, passages: Sequence[Passage], table: SlotTable, least: Mapping[SlotVerdict, float]) -> None:
        self._passages = passages
        self._table = table
        self._least = least

    def add_to(self, known: Detection) -> Detection:
        """The detection with this stage's findings behind those of the earlier stages."""
        contradictions, ambiguities, agreements = [], [], []
        decided = decided_pairs(known)
        for right in range(len(self._passages)):
            for left in range(right):
                ids = self._passages[left].passage_id, self._passages[right].passage_id
                if frozenset(ids) in decided:
                    continue
                compared = self._table.compare(left, right)
                if compared.left is None or compared.right is None:
                    continue
                if compared.probability < self._least[compared.verdict]:
                    continue
                match compared.verdict:
                    case SlotVerdict.DIFFERENT:
                        contradictions.append(self._contradiction(left, right, compared))
                    case SlotVerdict.OTHER_SUBJECT:
                        ambiguities.append(self._ambiguity(left, right, compared))
                    case SlotVerdict.SAME:
                        agreements.append(Agreement(*ids, self._said(left, compared.left)))
                    case SlotVerdict.INCOMPARABLE:
                        pass
        return replace(
            known,
            contradictions=(*known.contradictions, *contradictions),
            ambiguities=(*known.ambiguities, *ambiguities),
            agreements=(*known.agreements, *agreements),
        )

    def _contradiction(self, left: int, right: int, compared: SlotComparison) -> Contradiction:
        return Contradiction(
            kind=_KINDS[self._table.question.kind],
            score=compared.probability,
            stage=STAGE,
            left=self._claim(left, compared.left),
            right=self._claim(right, compared.right),
        )

    def _ambiguity(self, left: int, right: int, compared: SlotComparison) -> Ambiguity:
        return Ambiguity(
            name=name_in(self._table.question),
            score=compared.probability,
            stage=STAGE,
            left=self._claim(left, compared.left),
            right=self._claim(right, compared.right),
        )

    def _claim(self, number: int, answer: Answer | None) -> Claim:
        assert answer is not None  # noqa: S101 - a pair without answers is incomparable
        passage, span = self._passages[number], answer.span
        sentence = _sentence_at(passage.text, span)
        return Claim(
            passage_id=passage.passage_id,
            sentence=passage.text[sentence.start : sentence.end],
            sentence_span=sentence,
            value=passage.text[span.start : span.end],
            value_span=span,
        )

    def _said(self, number: int, answer: Answer) -> str:
        return self._passages[number].text[answer.span.start : answer.span.end]


def _sentence_at(text: str, span: Span) -> Span:
    """The sentence in which a span begins."""
    found = next((place for place in sentence_spans(text) if place[0] <= span.start < place[1]), (span.start, span.end))
    return Span(found[0], max(found[1], span.end))
