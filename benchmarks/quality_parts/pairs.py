"""Part A: pairs of sentences. Does one contradict the other?

The rules of the detector know a query; a pair has none. They are told what the makers of these sets say of every pair:
both sentences are about one thing, which is what they both name. Where no rule fires, a hypothesis all of whose topic
words are in the premise is taken to follow from it, and any other one is taken to be open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality_parts.metrics import LABELS, STANCE, Numbers, confusion, stance_estimates
from benchmarks.quality_parts.tables import Cell, Table
from core.contradictions.entailment_stage import EntailmentModel
from core.contradictions.finding import Context, Finding
from core.contradictions.lexical import contradiction_in
from core.contradictions.pairing import SentencePair
from core.contradictions.sentences import Sentence, read_sentences
from core.similarity import similarity_matrix
from training.nli.pairs import Pair, read_pairs

SETS = (
    ("snli_test", "SNLI test"),
    ("mnli_devA_eval", "MultiNLI slice"),
    ("breaking_eval", "Breaking NLI, evaluation part"),
    ("scifact_dev", "SciFact dev, stance of the given sentences to the claim"),
)
_MIN_SCORE = 0.6
"""As the lexical detector has it."""


def rule_finding(premise: str, hypothesis: str) -> tuple[SentencePair, Finding] | None:
    """What the detector's rules say of two texts about one thing: the surest finding of all pairs of sentences."""
    similarity = float(similarity_matrix((premise, hypothesis))[0, 1])
    found: list[tuple[SentencePair, Finding]] = []
    for left in read_sentences(premise):
        for right in read_sentences(hypothesis):
            pair = SentencePair(0, 1, left, right, 1.0)
            finding = contradiction_in(pair, _one_thing(left, right, similarity))
            if finding is not None and finding.score >= _MIN_SCORE:
                found.append((pair, finding))
    return max(found, key=lambda one: one[1].score, default=None)


def _one_thing(left: Sentence, right: Sentence, similarity: float) -> Context:
    shared, together = left.topic & right.topic, left.topic | right.topic
    return Context(
        similarity=similarity,
        same_subject=True,
        same_setting=True,
        about=shared,
        query_topic=together,
        attribute=together,
    )


def by_rules(pair: Pair) -> str:
    """The label that the rules give."""
    if rule_finding(pair.premise, pair.hypothesis) is not None:
        return "c"
    said, asked = (
        frozenset[str]().union(*(sentence.topic for sentence in read_sentences(text)))
        for text in (pair.premise, pair.hypothesis)
    )
    return "e" if asked <= said else "n"


def read_set(folder: Path, name: str, *, every: int) -> tuple[Pair, ...]:
    """The pairs of `nli/NAME.tsv.gz`; with `every` 5, each fifth of them."""
    return read_pairs(folder / "nli", name)[::every]


def stance_tables(folder: Path, model: EntailmentModel | str, *, every: int) -> list[Table]:
    """One table a data set."""
    tables = []
    for name, title in SETS:
        try:
            pairs = read_set(folder, name, every=every)
        except FileNotFoundError as error:
            tables.append(Table(title, STANCE, (("missing", (f"{error.filename}: no such file",)),)))
            continue
        tables.append(_table(title, pairs, model))
    return tables


def _table(title: str, pairs: Sequence[Pair], model: EntailmentModel | str) -> Table:
    labels = [pair.label for pair in pairs]
    commonest = max(LABELS, key=labels.count)
    ruled = [by_rules(pair) for pair in pairs]
    rows: list[tuple[str, tuple[Cell, ...]]] = [
        (f"majority ({commonest})", _cells(pairs, [commonest] * len(pairs))),
        ("all contradictions", _cells(pairs, ["c"] * len(pairs))),
        ("lexical rules", _cells(pairs, ruled)),
    ]
    notes = [f"{len(pairs):,} pairs, of them {labels.count('c'):,} contradictions"]
    if isinstance(model, str):
        rows += [("embedded model", (model,)), ("rules, then model", (model,))]
    else:
        given, ms_per_pair = _ask(model, pairs)
        said = [LABELS[place] for place in given.argmax(axis=1)]
        both = ["c" if rule == "c" else one for rule, one in zip(ruled, said, strict=True)]
        rows += [("embedded model", _cells(pairs, said)), ("rules, then model", _cells(pairs, both))]
        notes.append(f"the model took {ms_per_pair:.1f} ms a pair")
    return Table(title, STANCE, tuple(rows), tuple(notes))


def _ask(model: EntailmentModel, pairs: Sequence[Pair]) -> tuple[Numbers, float]:
    begun = time.perf_counter()
    given = model.score([(pair.premise, pair.hypothesis) for pair in pairs])
    return given.astype(np.float64), (time.perf_counter() - begun) * 1e3 / max(1, len(pairs))


def _cells(pairs: Sequence[Pair], said: Sequence[str]) -> tuple[Cell, ...]:
    counts = confusion([pair.label for pair in pairs], said, [pair.premise for pair in pairs])
    return stance_estimates(counts)
