"""An answer in the words of the evidence: the sentences nearest to the question, cited, with open disputes shown.

Nothing is generated. Near is who shares the most topic words with the question, by `core.text`. A further sentence is
quoted only where it is about the same and brings a word of the question that no sentence before it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from core.model import Claim, Contradiction, Evidence, Passage
from core.text import content_stems, sentence_spans
from core.trace import QueryResult
from deployments.service.schemas import Citation, Dispute, DisputeSide

_READ_PASSAGES: Final = 5
_QUOTED_SENTENCES: Final = 3


@dataclass(frozen=True, slots=True)
class Extract:
    """An answer.

    Attributes:
        text: the sentences with the numbers of their citations; `None` where no sentence shares a word with the
            question.
        citations: where each sentence stands.
        disputes: open disputes about what is quoted.
    """

    text: str | None
    citations: tuple[Citation, ...] = ()
    disputes: tuple[Dispute, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sentence:
    passage: Passage
    start: int
    end: int
    near: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return self.passage.text[self.start : self.end]

    def overlaps(self, claim: Claim) -> bool:
        """Whether the claim is made in it."""
        span = claim.sentence_span
        return claim.passage_id == self.passage.passage_id and span.start < self.end and self.start < span.end


def extract(result: QueryResult) -> Extract:
    """Answer the question from its evidence."""
    evidence = result.selection.evidence
    quoted = _nearest(list(_sentences(evidence, content_stems(result.query.text))))
    if not quoted:
        return Extract(None)
    disputes = [found for found in _open_disputes(result) if any(_is_about(found, sentence) for sentence in quoted)]
    passages = {item.passage.passage_id: item.passage for item in result.trace.ranking.items}
    for claim in (side for found in disputes for side in (found.left, found.right)):
        if not any(sentence.overlaps(claim) for sentence in quoted):
            span = claim.sentence_span
            quoted.append(_Sentence(passages[claim.passage_id], span.start, span.end))
    return Extract(
        text=_text(quoted, disputes),
        citations=tuple(_citation(number, sentence) for number, sentence in enumerate(quoted, start=1)),
        disputes=tuple(_dispute(found, quoted, passages) for found in disputes),
    )


def _sentences(evidence: Sequence[Evidence], question: frozenset[str]) -> Iterator[_Sentence]:
    for item in evidence[:_READ_PASSAGES]:
        text = item.passage.text
        for start, end in sentence_spans(text):
            near = content_stems(text[start:end]) & question
            if near:
                yield _Sentence(item.passage, start, end, near)


def _nearest(sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """The sentences to quote, nearest first; equally near ones in the order of the evidence."""
    quoted: list[_Sentence] = []
    covered: frozenset[str] = frozenset()
    left = list(sentences)
    while left and len(quoted) < _QUOTED_SENTENCES:
        best = max(left, key=lambda sentence: len(sentence.near - covered))  # the first of equals
        if not best.near - covered:
            break
        quoted.append(best)
        covered |= best.near
        left = [sentence for sentence in left if sentence is not best and sentence.near & covered]
    return quoted


def _open_disputes(result: QueryResult) -> Iterator[Contradiction]:
    """Those that the evidence leaves open: a reader needs both sides."""
    disputed_by = {item.passage.passage_id: item.disputed_by for item in result.selection.evidence}
    for found in result.selection.contradictions:
        left, right = found.left.passage_id, found.right.passage_id
        if right in disputed_by.get(left, ()) or left in disputed_by.get(right, ()):
            yield found


def _is_about(found: Contradiction, sentence: _Sentence) -> bool:
    return sentence.overlaps(found.left) or sentence.overlaps(found.right)


def _number(claim: Claim, quoted: Sequence[_Sentence]) -> int:
    return next(number for number, sentence in enumerate(quoted, start=1) if sentence.overlaps(claim))


def _text(quoted: Sequence[_Sentence], disputes: Sequence[Contradiction]) -> str:
    """The quotes in their order; what is disputed is said first, and as a dispute."""
    disputed = [(_number(found.left, quoted), _number(found.right, quoted)) for found in disputes]
    parts = [f"Sources disagree: {_quote(left, quoted)} But: {_quote(right, quoted)}" for left, right in disputed]
    told = {number for pair in disputed for number in pair}
    parts += [_quote(number, quoted) for number in range(1, len(quoted) + 1) if number not in told]
    return " ".join(parts)


def _quote(number: int, quoted: Sequence[_Sentence]) -> str:
    return f"{' '.join(quoted[number - 1].text.split())} [{number}]"


def _citation(number: int, sentence: _Sentence) -> Citation:
    return Citation(
        number=number,
        passage_id=sentence.passage.passage_id,
        source=sentence.passage.source,
        published_at=sentence.passage.published_at,
        quote=sentence.text,
        start=sentence.start,
        end=sentence.end,
    )


def _dispute(found: Contradiction, quoted: Sequence[_Sentence], passages: dict[str, Passage]) -> Dispute:
    def side(claim: Claim) -> DisputeSide:
        return DisputeSide(
            citation=_number(claim, quoted),
            passage_id=claim.passage_id,
            source=passages[claim.passage_id].source,
            sentence=claim.sentence,
            value=claim.value,
        )

    return Dispute(kind=found.kind, score=found.score, left=side(found.left), right=side(found.right))
