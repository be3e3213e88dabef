"""The lexical detector: rules on sentence pairs, no model. Always runs, costs a few milliseconds, says what it saw."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.clock import Deadline
from core.contradictions.edits import edited_copy
from core.contradictions.finding import Context, Finding
from core.contradictions.pairing import SentencePair, pairs_of_texts
from core.contradictions.rules import RULES_IN_ONE_SETTING, RULES_ON_PRODUCTS
from core.contradictions.sentences import Sentence, read_sentences
from core.contradictions.subject import (
    ASKING,
    Meaning,
    Subject,
    different_meanings,
    is_about,
    meaning_of,
    share_subject,
    subject_of,
)
from core.contradictions.values import Value, ValueKind
from core.model import Agreement, Ambiguity, Claim, Contradiction, Detection, Passage, Query, Ranking, Span
from core.similarity import similarity_matrix
from core.text import stem

STAGE = "lexical"
_SHARED_NAMES = 0.15
"""Share of the shorter list of names, the subject's aside, that two passages of one setting have in common."""


_COMPOUND = re.compile(r"[-_]")


class LexicalDetector:
    """Finds contradictions by comparing sentences about one thing, word by word and value by value.

    Passages that do not name the query's subject are passed over: nobody asked what they dispute. Sentences of
    different passages are paired where they share topic words with each other and with the query. On each pair, `edits`
    and `rules` look for typed evidence. Where two independent passages take the query's subject for different things, a
    finding becomes an `Ambiguity`. Pairs that state the same value agree.

    It checks the deadline between pairs, keeps `reserve_s` for the stages behind it, and returns what it has by then.

    Args:
        reserve_s: seconds of the query's budget that are left to the later stages.
        min_score: findings below this score are dropped.
    """

    def __init__(self, *, reserve_s: float = 0.04, min_score: float = 0.6) -> None:
        self._reserve_s = reserve_s
        self._min_score = min_score

    @property
    def version(self) -> str:
        """Name and version."""
        return "lexical-3"

    def detect(
        self, queries: Sequence[Query], rankings: Sequence[Ranking], deadlines: Sequence[Deadline]
    ) -> Sequence[Detection]:
        """Return one detection a query; see `ContradictionDetector`."""
        found = []
        for query, ranking, deadline in zip(queries, rankings, deadlines, strict=True):
            with deadline.running():
                found.append(self._detect_one(query, ranking, deadline))
        return found

    def _detect_one(self, query: Query, ranking: Ranking, deadline: Deadline) -> Detection:
        subject = subject_of(query.text)
        passages: list[Passage] = []
        read: list[tuple[Sentence, ...]] = []
        complete = True
        for item in ranking.items:
            if not deadline.leaves(self._reserve_s):
                complete = False
                break
            if is_about(item.passage.text, subject):
                passages.append(item.passage)
                read.append(read_sentences(item.passage.text))
        findings = _Findings(passages, subject, read)
        for pair in pairs_of_texts(tuple(passage.text for passage in passages), subject.topic):
            if not deadline.leaves(self._reserve_s):
                complete = False
                break
            findings.look_at(pair)
        return findings.detection(min_score=self._min_score, complete=complete)


def contradiction_in(pair: SentencePair, context: Context) -> Finding | None:
    """Return what the two sentences disagree about, or nothing.

    A sentence that the other passage has as well is no side of a contradiction: both passages say it.
    """
    if pair.left.text in pair.right.passage_text or pair.right.text in pair.left.passage_text:
        return None
    if context.is_one_text:
        finding = edited_copy(pair.left, pair.right, similarity=context.similarity, same_source=context.same_source)
        same_thing = pair.left.lead == pair.right.lead and _named(pair.left, context) == _named(pair.right, context)
        return finding if same_thing else None
    if not context.same_subject:
        return None
    rules = (*RULES_ON_PRODUCTS, *RULES_IN_ONE_SETTING) if context.same_setting else RULES_ON_PRODUCTS
    finding = next((found for rule in rules if (found := rule(pair, context)) is not None), None)
    return None if finding is None or _is_about_another(pair, finding, context) else finding


def _named(sentence: Sentence, context: Context) -> frozenset[str]:
    """What the query is about, as far as the sentence names it, compounds such as `name-tools` included.

    Compounds count as they are written: `name-inspect` and `name-inspection` have one stem, and are two packages.
    """
    compounds = (
        (stemmed, word.lower.removesuffix("'s").removesuffix("’s"))
        for word, stemmed in zip(sentence.words, sentence.stems, strict=True)
        if stemmed in sentence.topic and _COMPOUND.search(word.text)
    )
    written = {name for stemmed, name in compounds if {stemmed, *map(stem, _COMPOUND.split(name))} & context.about}
    return (sentence.topic & context.about) | written


def _is_about_another(pair: SentencePair, finding: Finding, context: Context) -> bool:
    """Whether the sentences name different subjects, or one names the query's and the other begins with another."""
    in_left, in_right = _named(pair.left, context), _named(pair.right, context)
    if in_left == in_right:
        return pair.left.lead != pair.right.lead and not {pair.left.lead, pair.right.lead} & (
            context.query_topic | ASKING
        )
    if not (in_left < in_right or in_right < in_left):
        return True
    lacking, value, other = (
        (pair.right, finding.right, pair.left) if in_left > in_right else (pair.left, finding.left, pair.right)
    )
    known = other.topic | context.query_topic | ASKING
    in_front = zip(lacking.words, lacking.stems, strict=True)
    return any(stemmed in lacking.topic - known for word, stemmed in in_front if word.end <= value.start)


class _Found(NamedTuple):
    """The best finding on two passages so far, and the pair it stands on."""

    finding: Finding
    pair: SentencePair


class _Findings:
    """What is known about the passages of one query while their pairs are looked at."""

    def __init__(self, passages: Sequence[Passage], subject: Subject, read: Sequence[Sequence[Sentence]]) -> None:
        self.subject = subject
        self._passages = passages
        self._read = read
        self._similarity = similarity_matrix(tuple(passage.text for passage in passages))
        self._names: dict[int, frozenset[str]] = {}
        self._contexts: dict[tuple[int, int], Context] = {}
        self._best: dict[tuple[int, int], _Found] = {}
        self._agreed: dict[tuple[int, int], str] = {}

    def look_at(self, pair: SentencePair) -> None:
        """Keep what the pair shows, if it shows more than what is known of its two passages."""
        both = pair.left_passage, pair.right_passage
        context = self._context(*both)
        finding = contradiction_in(pair, context)
        if finding is not None:
            known = self._best.get(both)
            if known is None or finding.score > known.finding.score:
                self._best[both] = _Found(finding, pair)
        elif both not in self._agreed and context.same_subject:
            value = _shared_value(pair)
            if value is not None:
                self._agreed[both] = value

    def detection(self, *, min_score: float, complete: bool) -> Detection:
        """Everything found, in the order of the passages."""
        contradictions, ambiguities = [], []
        for (left, right), (finding, pair) in sorted(self._best.items(), key=lambda item: item[0]):
            if finding.score < min_score:
                continue
            meanings = self._different_meanings(left, right)
            if meanings is None:
                contradictions.append(
                    Contradiction(
                        kind=finding.kind,
                        score=finding.score,
                        stage=STAGE,
                        left=self._claim(left, pair.left, finding.left),
                        right=self._claim(right, pair.right, finding.right),
                    )
                )
            else:
                ambiguities.append(self._ambiguity(left, right, *meanings))
        agreements = tuple(
            Agreement(self._passages[left].passage_id, self._passages[right].passage_id, value)
            for (left, right), value in sorted(self._agreed.items())
            if (left, right) not in self._best
        )
        return Detection(tuple(contradictions), tuple(ambiguities), agreements, complete=complete)

    def _context(self, left: int, right: int) -> Context:
        known = self._contexts.get((left, right))
        if known is None:
            one, other = self._names_of(left), self._names_of(right)
            known = Context(
                similarity=float(self._similarity[left, right]),
                same_subject=share_subject(self.subject, self._passages[left].text, self._passages[right].text),
                same_setting=len(one & other) >= max(1.0, _SHARED_NAMES * min(len(one), len(other))),
                about=self.subject.about,
                query_topic=self.subject.topic,
                attribute=self.subject.attribute,
                same_source=self._passages[left].source is not None
                and self._passages[left].source == self._passages[right].source,
            )
            self._contexts[left, right] = known
        return known

    def _names_of(self, index: int) -> frozenset[str]:
        known = self._names.get(index)
        if known is None:
            values = (value for sentence in self._read[index] for value in sentence.values)
            parts = (part for value in values for part in value.stems)
            known = self._names[index] = frozenset(parts) - self.subject.topic
        return known

    def _different_meanings(self, left: int, right: int) -> tuple[Meaning, Meaning] | None:
        if not self.subject.names or self._contexts[left, right].is_one_text:
            return None
        texts = self._passages[left].text, self._passages[right].text
        one, other = (meaning_of(text, self.subject.names) for text in texts)
        if one is None or other is None or not different_meanings(one, other, *texts):
            return None
        return one, other

    def _ambiguity(self, left: int, right: int, one: Meaning, other: Meaning) -> Ambiguity:
        return Ambiguity(
            name=self._passages[left].text[one.span.start : one.span.end],
            score=0.7,
            stage=STAGE,
            left=self._claim(left, _around(self._read[left], one.span), one.span),
            right=self._claim(right, _around(self._read[right], other.span), other.span),
        )

    def _claim(self, index: int, sentence: Sentence, value: Span) -> Claim:
        passage = self._passages[index]
        return Claim(
            passage_id=passage.passage_id,
            sentence=sentence.text,
            sentence_span=Span(sentence.start, sentence.end),
            value=passage.text[value.start : value.end],
            value_span=value,
        )


def _around(sentences: Iterable[Sentence], span: Span) -> Sentence:
    return next(sentence for sentence in sentences if sentence.start <= span.start < sentence.end)


def _shared_value(pair: SentencePair) -> str | None:
    """A quantity, date or version that both sentences state, as the left one writes it."""
    right = {_identity(value) for value in pair.right.values if value.kind is not ValueKind.NAME}
    for value in pair.left.values:
        if value.kind is not ValueKind.NAME and _identity(value) in right:
            return pair.left.passage_text[value.start : value.end]
    return None


def _identity(value: Value) -> tuple[object, ...]:
    digits = value.digits[:2] if value.kind is ValueKind.VERSION else value.digits
    return value.kind, value.key, value.number, digits
