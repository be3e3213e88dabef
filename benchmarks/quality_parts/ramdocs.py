"""RAMDocs as the benchmark asks it: questions with their own passages, and with all passages pooled.

Passages are shuffled by a seed of the question's text, and ids say nothing: in the file the order gives the label away.
Readers of answers are trained for each fifth of the questions on the other four.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.quality_parts.metrics import Numbers, Ranked
from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.clock import Deadline, SystemClock
from core.contradictions.slots.reader import FEATURE_NAMES, SlotReader, SlotTable, shipped_reader
from core.contradictions.slots.weights import weights_of
from core.model import Passage, Query, Ranking, ScoredPassage
from core.text import STOPWORDS, WORD, stem
from training.slots.data import LabelledQuestion, load
from training.slots.fit import folds, train

FOLDS = 5
POOLED_K = 20
Fit = Callable[[Sequence[LabelledQuestion], str], Mapping[str, object]]
FILE = Path("ramdocs") / "ramdocs-dev.jsonl"


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        number: its place in the file.
        item: the question and its passages, read and labelled.
        reader: reads answers; trained on other questions.
    """

    number: int
    item: LabelledQuestion
    reader: SlotReader

    @property
    def texts(self) -> list[str]:
        """Its passages."""
        return [spans.text for spans in self.item.prepared.passages]

    @cached_property
    def table(self) -> SlotTable:
        """What its own passages answer."""
        return self.reader.read(self.item.question, self.item.prepared.passages, self.item.prepared.similarity)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of its passages, by their content: a text that several questions have is one passage."""
        return [content_id(text) for text in self.texts]

    @cached_property
    def labels(self) -> dict[str, tuple[str, str]]:
        """Type and answer of each of its passages, by id; a text that it labels in two ways is left out."""
        found: dict[str, tuple[str, str]] = {}
        twice: set[str] = set()
        for name, kind, answer in zip(self.ids, self.item.types, self.item.answers, strict=True):
            if found.setdefault(name, (kind, answer))[0] != kind:
                twice.add(name)
        return {name: label for name, label in found.items() if name not in twice}

    @property
    def has_correct(self) -> bool:
        """Whether there is a right passage to find."""
        return any(kind == "correct" for kind, _ in self.labels.values())

    @cached_property
    def own(self) -> Ranking:
        """Its own passages, by BM25 with statistics of this list alone."""
        scores = bm25(self.item.question.text, self.texts)
        in_order = np.argsort(-scores, kind="stable")
        unique = dict.fromkeys(self.ids[place] for place in in_order)
        first = {self.ids[place]: place for place in reversed(in_order)}
        return Ranking(
            tuple(ScoredPassage(Passage(name, self.texts[first[name]]), float(scores[first[name]])) for name in unique)
        )

    @property
    def query(self) -> Query:
        """The question, as REDO is asked it."""
        return Query(f"q-{self.number}", self.item.question.text)

    def ranked(self, order: Sequence[str], *, pooled: bool) -> Ranked:
        """An order of passage ids with the labels."""
        labels = [self.labels.get(name, ("other", "")) for name in order]
        kinds = {kind for kind, _ in self.labels.values()}
        correct = [answer for kind, answer in self.labels.values() if kind == "correct"]
        return Ranked(
            types=tuple(kind for kind, _ in labels),
            answers=tuple(answer for _, answer in labels),
            correct=len(correct),
            gold=frozenset(correct),
            known=frozenset(kinds | {"other"} if pooled else kinds),
        )

    def conflict_pairs(self) -> list[tuple[int, int, bool]]:
        """Numbers of two passages, and whether they conflict.

        A correct and a misinformation passage with different answers do; two correct ones with one answer do not.
        """
        found = []
        for left, one in enumerate(self.item.answers):
            for right in range(left):
                kinds = {self.item.types[left], self.item.types[right]}
                same = one == self.item.answers[right]
                if kinds == {"correct", "misinfo"} and not same:
                    found.append((left, right, True))
                elif kinds == {"correct"} and same:
                    found.append((left, right, False))
        return found


def bm25(question: str, texts: Sequence[str]) -> Numbers:
    """BM25 (k1 1.2, b 0.75) with statistics of this list alone."""
    listed = [[stem(word) for word in WORD.findall(text) if word.lower() not in STOPWORDS] for text in texts]
    mean = sum(map(len, listed)) / len(listed)
    score = np.zeros(len(texts))
    for term in {stem(word) for word in WORD.findall(question) if word.lower() not in STOPWORDS}:
        having = sum(term in words for words in listed)
        rarity = np.log(1 + (len(listed) - having + 0.5) / (having + 0.5))
        for number, words in enumerate(listed):
            count = words.count(term)
            score[number] += rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean))
    return score


def content_id(text: str) -> str:
    """The first 16 hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_cases(folder: Path, *, every: int = 1, shipped: bool = False, fit: Fit = train) -> list[Case]:
    """Read the questions, and train a reader for each fifth of them on the others.

    Args:
        folder: has `ramdocs/ramdocs-dev.jsonl`.
        every: with 5, only every fifth question is asked; readers are trained on all.
        shipped: take the packaged weights instead, which saw these questions: quick, and flattering.
        fit: makes weights from questions.
    """
    questions = load(folder)
    if shipped:
        return [Case(number, questions[number], shipped_reader()) for number in range(0, len(questions), every)]
    readers: dict[int, SlotReader] = {}
    for held in folds(len(questions), FOLDS, seed=0):
        wanted = [number for number in held if number % every == 0]
        if not wanted:
            continue
        kept = sorted(set(range(len(questions))) - set(held))
        reader = SlotReader(weights_of(fit([questions[number] for number in kept], "fold"), FEATURE_NAMES))
        readers |= dict.fromkeys(wanted, reader)
    return [Case(number, questions[number], readers[number]) for number in sorted(readers)]


def pool(folder: Path, cases: Sequence[Case]) -> Path:
    """The index of all passages of these questions, sorted by id."""
    texts = {name: text for case in cases for name, text in zip(case.ids, case.texts, strict=True)}
    passages = [Passage(name, texts[name]) for name in sorted(texts)]
    return ensure_index(folder, f"ramdocs-{content_id(' '.join(sorted(texts)))}", lambda _: passages)


def pooled_rankings(index: Path, cases: Sequence[Case]) -> list[Ranking]:
    """The best of the pool for each question, by BM25."""
    retriever, clock = Bm25Retriever(index), SystemClock()
    return [retriever.retrieve([case.query], POOLED_K, [Deadline(60.0, clock=clock)])[0] for case in cases]


def filled(case: Case, pooled: Ranking, count: int) -> Ranking:
    """Its own passages and, up to `count` in all, the best others of the pool; by BM25 of this list."""
    own = {item.passage.passage_id: item.passage for item in case.own.items[:count]}
    others = [item.passage for item in pooled.items if item.passage.passage_id not in own]
    passages = [*own.values(), *others[: count - len(own)]]
    scores = bm25(case.item.question.text, [passage.text for passage in passages])
    scored = [ScoredPassage(passage, float(score)) for passage, score in zip(passages, scores, strict=True)]
    return Ranking(tuple(sorted(scored, key=lambda item: -item.score)))
