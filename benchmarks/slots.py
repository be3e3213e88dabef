"""How well REDO reads answers: `python benchmarks/slots.py --data FOLDER`.

The folder has `ramdocs/ramdocs-dev.jsonl`. The reader is trained anew for each fifth of the questions on the other four
(`--shipped` measures the packaged weights instead, which makes sense on questions that they were not trained on). Each
figure has a 95 % interval from resampling the questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.machine import describe
from core.contradictions.slots.question import SlotKind
from core.contradictions.slots.reader import FEATURE_NAMES, SlotReader, SlotTable, shipped_reader
from core.contradictions.slots.spans import read_spans
from core.contradictions.slots.support import Support, weigh
from core.contradictions.slots.weights import weights_of
from core.model import Detection, Passage, Query, Ranking, ScoredPassage, Standing
from core.ordering import SupportOrderer
from core.similarity import similarity_matrix
from core.text import STOPWORDS, WORD, stem
from training.slots.data import LabelledQuestion, load
from training.slots.fit import folds, pairs_of, train

_FOLDS = 5
_RESAMPLES = 200
_RECALLS = (0.1, 0.25, 0.5)
_MANY = 20

Numbers = NDArray[np.float64]
Measure = Callable[[Numbers, NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Read:
    """A question with what the reader said."""

    item: LabelledQuestion
    table: SlotTable

    @property
    def texts(self) -> list[str]:
        """The passages."""
        return [spans.text for spans in self.item.prepared.passages]


def read_all(questions: Sequence[LabelledQuestion], *, shipped: bool) -> list[Read]:
    """Read every question, with weights that were trained on others unless `shipped`."""
    found: dict[int, Read] = {}
    for held in folds(len(questions), _FOLDS, seed=0):
        if shipped:
            reader = shipped_reader()
        else:
            kept = sorted(set(range(len(questions))) - set(held))
            reader = SlotReader(weights_of(train([questions[number] for number in kept], "fold"), FEATURE_NAMES))
        for number in held:
            item = questions[number]
            table = reader.read(item.question, item.prepared.passages, item.prepared.similarity)
            found[number] = Read(item, table)
    return [found[number] for number in range(len(questions))]


def conflict_pairs(read: Read) -> list[tuple[float, bool]]:
    """How likely the answers of each two passages differ, and whether they do.

    Pairs of a correct and a misinformation passage (true) and of two correct ones with one answer (false).
    """
    types = read.item.types
    found = []
    for left, right, different in pairs_of(read.item):
        kinds = {types[left], types[right]}
        if kinds == {"correct", "misinfo"} or (kinds == {"correct"} and not different):
            found.append((float(read.table.different[left, right]), kinds != {"correct"}))
    return found


def auc(score: Numbers, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve."""
    ranks, count = rankdata(score), int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def precision_at(score: Numbers, positive: NDArray[np.bool_], recall: float) -> float:
    """Precision where that share of the positives has been found, best scores first."""
    right = np.cumsum(positive[np.argsort(-score, kind="stable")])
    place = int(np.searchsorted(right, recall * right[-1]))
    return float(right[place] / (place + 1))


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


def selection(types: Sequence[str], score: Numbers) -> tuple[float, float, float, float]:
    """Average precision and first place of the correct; misinformation and noise among the first n (NaN: has none)."""
    order = np.argsort(-score, kind="stable")
    correct = np.array([types[number] == "correct" for number in order])
    found = np.cumsum(correct)
    first = [types[number] for number in order[: found[-1]]]
    precision = float((found / np.arange(1, len(order) + 1))[correct].mean())
    wrong = [float(kind in first) if kind in types else np.nan for kind in ("misinfo", "noise")]
    return precision, float(correct[0]), wrong[0], wrong[1]


def interval(count: int, measure: Callable[[NDArray[np.intp]], float]) -> str:
    """A figure on all questions, and its 95 % interval from resampled ones."""
    draw = np.random.default_rng(0)
    values = [measure(draw.integers(0, count, count)) for _ in range(_RESAMPLES)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{measure(np.arange(count)):.3f} [{low:.3f}, {high:.3f}]"


def print_pairs(reads: Sequence[Read]) -> None:
    """Table of conflict pairs, for all questions and each kind."""
    print("\n| conflict pairs | pairs | P at R 0.1 | P at R 0.25 | P at R 0.5 | AUC |\n|---|---|---|---|---|---|")
    for name in ("all", *SlotKind):
        chosen = [conflict_pairs(read) for read in reads if name in {"all", read.item.question.kind}]
        chosen = [pairs for pairs in chosen if pairs]
        flat = [pair for pairs in chosen for pair in pairs]
        if len({positive for _, positive in flat}) < len((True, False)):
            continue
        scores = [np.array([score for score, _ in pairs]) for pairs in chosen]
        labels = [np.array([positive for _, positive in pairs]) for pairs in chosen]

        functions: list[Measure] = [partial(precision_at, recall=recall) for recall in _RECALLS]
        functions.append(auc)
        cells = [interval(len(chosen), partial(_on_pairs, scores, labels, function)) for function in functions]
        print(f"| {name} | {len(flat)} | {' | '.join(cells)} |")


def _on_pairs(
    scores: Sequence[Numbers],
    labels: Sequence[NDArray[np.bool_]],
    function: Measure,
    numbers: NDArray[np.intp],
) -> float:
    score, label = (np.concatenate([part[number] for number in numbers]) for part in (scores, labels))
    return function(score, label) if label.any() and not label.all() else np.nan


def print_calibration(reads: Sequence[Read]) -> None:
    """How often answers differ, for each tenth of the probability; all pairs of passages that answer."""
    print("\n| probability that answers differ | pairs | differ |\n|---|---|---|")
    pairs = [
        (float(read.table.different[left, right]), different)
        for read in reads
        for left, right, different in pairs_of(read.item)
    ]
    for tenth in range(10):
        inside = [different for score, different in pairs if tenth <= score * 10 < tenth + 1]
        if inside:
            print(f"| {tenth / 10:.1f} to {(tenth + 1) / 10:.1f} | {len(inside)} | {np.mean(inside):.2f} |")


def print_answers(reads: Sequence[Read]) -> None:
    """Share of passages whose best span states the answer, and how well noise is told."""
    print("\n| kind | passages | best span is the answer | mass on the answer |\n|---|---|---|---|")
    rows: dict[str, list[tuple[float, float]]] = {}
    answered, noise = [], []
    for read in reads:
        for number, reading in enumerate(read.table.readings):
            answered.append(reading.answered)
            noise.append(read.item.types[number] == "noise")
            if noise[-1]:
                continue
            spans, places = read.item.prepared.passages[number], read.item.prepared.chosen[number]
            right = {spans.values[place] for place in places[read.item.is_answer[number][:-1]]}
            best = bool(reading.answers) and reading.answers[0].value in right
            mass = sum(answer.probability for answer in reading.answers if answer.value in right)
            for name in ("all", read.item.question.kind.value):
                rows.setdefault(name, []).append((float(best), mass))
    for name, found in rows.items():
        best_share, mass_share = np.mean(found, axis=0)
        print(f"| {name} | {len(found)} | {best_share:.3f} | {mass_share:.3f} |")
    print(f"\nA passage that answers against noise: AUC {1 - auc(np.array(answered), np.array(noise)):.3f}")


def print_selection(reads: Sequence[Read]) -> None:
    """Table of orders with each question's own candidates, shuffled."""
    relevance = [bm25(read.item.question.text, read.texts) for read in reads]
    supports = [weigh(read.table) for read in reads]
    rows: dict[str, list[Numbers]] = {
        "BM25": relevance,
        "answered": [support.answered for support in supports],
        "REDO": [_ordered(*parts) for parts in zip(reads, relevance, supports, strict=True)],
        "ceiling (passages an answer)": [_ceiling(read, score) for read, score in zip(reads, relevance, strict=True)],
    }
    for title, chosen in (
        ("all questions", [number for number, read in enumerate(reads) if "correct" in read.item.types]),
        (
            "questions with a wrong passage",
            [n for n, read in enumerate(reads) if "correct" in read.item.types and set(read.item.types) != {"correct"}],
        ),
    ):
        print(f"\n| order, {title} ({len(chosen)}) | MAP | P@1 | misinfo in top n | noise in top n |")
        print("|---|---|---|---|---|")
        for name, scores in rows.items():
            figures = np.array([selection(reads[number].item.types, scores[number]) for number in chosen])
            cells = [interval(len(chosen), partial(_mean_of, column)) for column in figures.T]
            print(f"| {name} | {' | '.join(cells)} |")


def _mean_of(column: Numbers, numbers: NDArray[np.intp]) -> float:
    return float(np.nanmean(column[numbers]))


def _ordered(read: Read, relevance: Numbers, support: Support) -> Numbers:
    """The scores that REDO's orderer gives the passages."""
    passages = [Passage(str(number), text) for number, text in enumerate(read.texts)]
    parts = zip(passages, support.answered, support.support, support.opposition, strict=True)
    detection = Detection(standings=tuple(Standing(one.passage_id, *map(float, given)) for one, *given in parts))
    items = tuple(ScoredPassage(one, float(score)) for one, score in zip(passages, relevance, strict=True))
    evidence = SupportOrderer().order(Query("q", read.item.question.text), Ranking(items), detection)
    scores = {int(item.passage.passage_id): item.score for item in evidence}
    return np.array([scores[number] for number in range(len(passages))])


def _ceiling(read: Read, relevance: Numbers) -> Numbers:
    """Passages for each answer, known from the labels; noise last."""
    answers = read.item.answers
    passages = np.array([answers.count(answer) if answer else -1 for answer in answers], np.float64)
    return passages + 0.5 * relevance / max(1e-9, float(relevance.max()))


def print_times(reads: Sequence[Read]) -> None:
    """Milliseconds a query with each question's own candidates and with 20, passages read before and not."""
    reader = shipped_reader()
    texts = [text for read in reads for text in read.texts]
    print("\n| milliseconds | p50 | p95 |\n|---|---|---|")
    read_spans.cache_clear()
    alone = [_milliseconds(partial(read_spans, text)) for text in texts[:300]]
    rows = {"reading one passage (once)": alone}
    for name, count in (("own candidates", 0), (f"{_MANY} candidates", _MANY)):
        times = []
        for number, read in enumerate(reads[:100]):
            chosen = read.texts if not count else (read.texts + texts[number:])[:count]
            for text in chosen:
                read_spans(text)
            similarity_matrix(tuple(chosen))
            reader.read_texts(read.item.question.text, chosen)
            times.append(_milliseconds(partial(reader.read_texts, read.item.question.text, chosen)))
        rows[f"a query, {name}, passages read before"] = times
    for name, times in rows.items():
        print(f"| {name} | {np.percentile(times, 50):.1f} | {np.percentile(times, 95):.1f} |")


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with ramdocs/ramdocs-dev.jsonl")
    parser.add_argument("--shipped", action="store_true", help="measure the packaged weights, for questions not seen")
    given = parser.parse_args()
    print(describe("redo", "numpy", "scipy"), flush=True)
    questions = load(given.data)
    reads = read_all(questions, shipped=given.shipped)
    print(f"{len(questions)} questions, {sum(len(item.types) for item in questions)} passages")
    print_pairs(reads)
    print_calibration(reads)
    print_answers(reads)
    print_selection(reads)
    print_times(reads)


if __name__ == "__main__":
    main()
