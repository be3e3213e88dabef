"""How well REDO reads answers: `python benchmarks/slots.py --data FOLDER`.

The folder has `ramdocs/ramdocs-dev.jsonl`. The reader is trained anew for each fifth of the questions on the other four
(`--shipped` measures the packaged weights instead, which makes sense on questions that they were not trained on). Each
figure has a 95 % interval from resampling the questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.machine import describe
from benchmarks.quality_parts.conflicts import RECALLS
from benchmarks.quality_parts.metrics import (
    Flags,
    Measure,
    Numbers,
    Places,
    Ranked,
    auc,
    estimate,
    pooled,
    selection_figures,
)
from benchmarks.quality_parts.ramdocs import Case, bm25, read_cases
from benchmarks.quality_parts.tables import text_of
from core.contradictions.slots.question import SlotKind
from core.contradictions.slots.reader import shipped_reader
from core.contradictions.slots.spans import read_spans
from core.contradictions.slots.support import Support, weigh
from core.model import Detection, Passage, Query, Ranking, ScoredPassage, Standing
from core.ordering import SupportOrderer
from core.similarity import similarity_matrix
from training.slots.fit import pairs_of

_RESAMPLES = 200
_MANY = 20


def precision_at(score: Numbers, positive: Flags, *, wanted: float) -> float:
    """Precision where that share of the positives has been found, best scores first.

    `precision_at_recall` takes equal scores together. Here scores are equal only where a resample drew a question
    twice, and its pairs count one by one, so that intervals stay those that were published.
    """
    right = np.cumsum(positive[np.argsort(-score, kind="stable")])
    place = int(np.searchsorted(right, wanted * right[-1]))
    return float(right[place] / (place + 1))


def selection(types: Sequence[str], answers: Sequence[str], score: Numbers) -> tuple[float, ...]:
    """The figures named in `SELECTION` of the order by score, without the last."""
    order = np.argsort(-score, kind="stable")
    labels = list(zip(types, answers, strict=True))
    return selection_figures(
        Ranked(
            types=tuple(types[place] for place in order),
            answers=tuple(answers[place] for place in order),
            correct=types.count("correct"),
            gold=frozenset(answer for kind, answer in labels if kind == "correct"),
            known=frozenset(types),
        )
    )[:4]


def interval(count: int, measure: Callable[[Places], float]) -> str:
    """A figure on all questions, and its 95 % interval from resampled ones."""
    return text_of(estimate(count, measure, resamples=_RESAMPLES))


def print_pairs(cases: Sequence[Case]) -> None:
    """Table of conflict pairs, for all questions and each kind."""
    print("\n| conflict pairs | pairs | P at R 0.1 | P at R 0.25 | P at R 0.5 | AUC |\n|---|---|---|---|---|---|")
    measures: list[Measure] = [*(partial(precision_at, wanted=recall) for recall in RECALLS), auc]
    for name in ("all", *SlotKind):
        chosen = [(case, case.conflict_pairs()) for case in cases if name in {"all", case.item.question.kind}]
        chosen = [(case, pairs) for case, pairs in chosen if pairs]
        labels = [np.array([conflict for *_, conflict in pairs]) for _, pairs in chosen]
        if len({conflict for _, pairs in chosen for *_, conflict in pairs}) < len((True, False)):
            continue
        scores = [
            np.array([case.table.different[left, right] for left, right, _ in pairs], float) for case, pairs in chosen
        ]
        cells = [interval(len(chosen), partial(pooled, measure, scores, labels)) for measure in measures]
        print(f"| {name} | {sum(map(len, labels))} | {' | '.join(cells)} |")


def print_calibration(cases: Sequence[Case]) -> None:
    """How often answers differ, for each tenth of the probability; all pairs of passages that answer."""
    print("\n| probability that answers differ | pairs | differ |\n|---|---|---|")
    pairs = [
        (float(case.table.different[left, right]), different)
        for case in cases
        for left, right, different in pairs_of(case.item)
    ]
    for tenth in range(10):
        inside = [different for score, different in pairs if tenth <= score * 10 < tenth + 1]
        if inside:
            print(f"| {tenth / 10:.1f} to {(tenth + 1) / 10:.1f} | {len(inside)} | {np.mean(inside):.2f} |")


def print_answers(cases: Sequence[Case]) -> None:
    """Share of passages whose best span states the answer, and how well noise is told."""
    print("\n| kind | passages | best span is the answer | mass on the answer |\n|---|---|---|---|")
    rows: dict[str, list[tuple[float, float]]] = {}
    answered, noise = [], []
    for case in cases:
        for number, reading in enumerate(case.table.readings):
            answered.append(reading.answered)
            noise.append(case.item.types[number] == "noise")
            if noise[-1]:
                continue
            spans, places = case.item.prepared.passages[number], case.item.prepared.chosen[number]
            right = {spans.values[place] for place in places[case.item.is_answer[number][:-1]]}
            best = bool(reading.answers) and reading.answers[0].value in right
            mass = sum(answer.probability for answer in reading.answers if answer.value in right)
            for name in ("all", case.item.question.kind.value):
                rows.setdefault(name, []).append((float(best), mass))
    for name, found in rows.items():
        best_share, mass_share = np.mean(found, axis=0)
        print(f"| {name} | {len(found)} | {best_share:.3f} | {mass_share:.3f} |")
    print(f"\nA passage that answers against noise: AUC {1 - auc(np.array(answered), np.array(noise)):.3f}")


def print_selection(cases: Sequence[Case]) -> None:
    """Table of orders with each question's own candidates, shuffled."""
    relevance = [bm25(case.item.question.text, case.texts) for case in cases]
    supports = [weigh(case.table) for case in cases]
    rows: dict[str, list[Numbers]] = {
        "BM25": relevance,
        "answered": [support.answered for support in supports],
        "REDO": [_ordered(*parts) for parts in zip(cases, relevance, supports, strict=True)],
        "ceiling (passages an answer)": [_ceiling(case, score) for case, score in zip(cases, relevance, strict=True)],
    }
    for title, chosen in (
        ("all questions", [number for number, case in enumerate(cases) if "correct" in case.item.types]),
        (
            "questions with a wrong passage",
            [n for n, case in enumerate(cases) if "correct" in case.item.types and set(case.item.types) != {"correct"}],
        ),
    ):
        print(f"\n| order, {title} ({len(chosen)}) | MAP | P@1 | misinfo in top n | noise in top n |")
        print("|---|---|---|---|---|")
        for name, scores in rows.items():
            figures = np.array([selection(cases[n].item.types, cases[n].item.answers, scores[n]) for n in chosen])
            cells = [interval(len(chosen), partial(_mean_of, column)) for column in figures.T]
            print(f"| {name} | {' | '.join(cells)} |")


def _mean_of(column: Numbers, numbers: Places) -> float:
    return float(np.nanmean(column[numbers]))


def _ordered(case: Case, relevance: Numbers, support: Support) -> Numbers:
    """The scores that REDO's orderer gives the passages."""
    passages = [Passage(str(number), text) for number, text in enumerate(case.texts)]
    parts = zip(passages, support.answered, support.support, support.opposition, strict=True)
    detection = Detection(standings=tuple(Standing(one.passage_id, *map(float, given)) for one, *given in parts))
    items = tuple(ScoredPassage(one, float(score)) for one, score in zip(passages, relevance, strict=True))
    evidence = SupportOrderer().order(Query("q", case.item.question.text), Ranking(items), detection)
    scores = {int(item.passage.passage_id): item.score for item in evidence}
    return np.array([scores[number] for number in range(len(passages))])


def _ceiling(case: Case, relevance: Numbers) -> Numbers:
    """Passages for each answer, known from the labels; noise last."""
    answers = case.item.answers
    passages = np.array([answers.count(answer) if answer else -1 for answer in answers], np.float64)
    return passages + 0.5 * relevance / max(1e-9, float(relevance.max()))


def print_times(cases: Sequence[Case]) -> None:
    """Milliseconds a query with each question's own candidates and with 20, passages read before and not."""
    reader = shipped_reader()
    texts = [text for case in cases for text in case.texts]
    print("\n| milliseconds | p50 | p95 |\n|---|---|---|")
    read_spans.cache_clear()
    alone = [_milliseconds(partial(read_spans, text)) for text in texts[:300]]
    rows = {"reading one passage (once)": alone}
    for name, count in (("own candidates", 0), (f"{_MANY} candidates", _MANY)):
        times = []
        for number, case in enumerate(cases[:100]):
            chosen = case.texts if not count else (case.texts + texts[number:])[:count]
            for text in chosen:
                read_spans(text)
            similarity_matrix(tuple(chosen))
            reader.read_texts(case.item.question.text, chosen)
            times.append(_milliseconds(partial(reader.read_texts, case.item.question.text, chosen)))
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
    cases = read_cases(given.data, shipped=given.shipped)
    print(f"{len(cases)} questions, {sum(len(case.item.types) for case in cases)} passages")
    print_pairs(cases)
    print_calibration(cases)
    print_answers(cases)
    print_selection(cases)
    print_times(cases)


if __name__ == "__main__":
    main()
