"""Part G: disputes to be read: what was found, where it stands in the text, and what came first.

Which ones are shown is drawn by a fixed seed, nobody picks. The texts are those of the data sets: they are for reading,
not for keeping.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.quality_parts.arms import FULL, READING, detect, redo_order
from benchmarks.quality_parts.installed import Demo
from benchmarks.quality_parts.metrics import LABELS
from benchmarks.quality_parts.pairs import SETS, by_rules, read_set, rule_finding
from benchmarks.quality_parts.ramdocs import Case
from core.contradictions.entailment_stage import EntailmentModel
from core.evaluation import labels_by_query
from core.model import Claim, Contradiction
from core.records import LabelKind
from training.nli.pairs import Pair

_WIDTH = 110
_SEED = 20_261_125


class Shown(NamedTuple):
    """One dispute to be read, and the question or premise that it is about."""

    question: str
    text: str


def drawn(items: Iterable[Shown], count: int) -> list[Shown]:
    """Some of the items, by a fixed seed, at most one a question."""
    listed = list(items)
    random.Random(_SEED).shuffle(listed)  # noqa: S311 - a sample, no secret
    return list({item.question: item for item in listed}.values())[:count]


def ramdocs_disputes(cases: Sequence[Case], model: EntailmentModel | None, count: int) -> Iterator[str]:
    """Right and wrong contradictions of RAMDocs, half of each; without a model those of rules and slots."""
    arm = FULL if model is not None else READING
    right: list[Shown] = []
    wrong: list[Shown] = []
    for case in cases:
        detection = detect(arm.detector(case.reader, model), case.query, case.own)
        order = redo_order(case.query, case.own, detection)
        types = {name: kind for name, (kind, _) in case.labels.items()}
        answers = {name: answer for name, (_, answer) in case.labels.items()}
        for found in detection.contradictions:
            ids = found.left.passage_id, found.right.passage_id
            kinds = {types.get(name, "") for name in ids}
            is_right = kinds == {"correct", "misinfo"} and answers.get(ids[0]) != answers.get(ids[1])
            text = _dispute(f"{case.query.text} [{case.item.question.kind}]", found, order, types)
            (right if is_right else wrong).append(Shown(case.query.text, text))
    yield from _halves("RAMDocs", right, wrong, count)


def installed_disputes(demo: Demo, count: int) -> Iterator[str]:
    """Right and wrong contradictions of the installed docs."""
    labels = labels_by_query(demo.labels)
    right: list[Shown] = []
    wrong: list[Shown] = []
    for one in demo.answered:
        known = labels.get(one.query.query_id, {})
        types = {name: kind.value for name, kind in known.items()}
        for found in one.contradictions:
            kinds = {known.get(found.left.passage_id), known.get(found.right.passage_id)}
            is_right = kinds == {LabelKind.CORRECT, LabelKind.MISINFO}
            text = _dispute(one.query.text, found, one.redo, types)
            (right if is_right else wrong).append(Shown(one.query.text, text))
    yield from _halves("Installed docs", right, wrong, count)


def pair_disputes(folder: Path, model: EntailmentModel, count: int, *, every: int) -> Iterator[str]:
    """Pairs of sentences: contradictions that were found; and wrongly found or missed ones."""
    for name, title in SETS:
        try:
            pairs = read_set(folder, name, every=every)
        except FileNotFoundError as error:
            yield f"\n== {title}: {error.filename}: no such file\n"
            continue
        given = model.score([(pair.premise, pair.hypothesis) for pair in pairs])
        right: list[Shown] = []
        wrong: list[Shown] = []
        for pair, scores in zip(pairs, given.tolist(), strict=True):
            by_rule = by_rules(pair) == "c"
            said = "c" if by_rule else LABELS[scores.index(max(scores))]
            if "c" in {said, pair.label}:
                text = _pair(pair, said, scores, by_rule=by_rule)
                (right if said == pair.label else wrong).append(Shown(pair.premise, text))
        yield from _halves(title, right, wrong, count)


def _halves(title: str, right: Sequence[Shown], wrong: Sequence[Shown], count: int) -> Iterator[str]:
    for name, listed in (("right", right), ("wrong", wrong)):
        shown = drawn(listed, count // 2)
        yield f"\n== {title}: {len(shown)} of {len(listed)} {name}\n"
        yield from (item.text for item in shown)


def _pair(pair: Pair, said: str, scores: Sequence[float], *, by_rule: bool) -> str:
    rule = rule_finding(pair.premise, pair.hypothesis) if by_rule else None
    by = f"rule {rule[1].kind} {rule[1].score:.2f}" if rule else "model"
    told = ", ".join(f"{label} {score:.2f}" for label, score in zip(LABELS, scores, strict=True))
    return f"label {pair.label}, said {said} by {by}; model {told}\n{_wrap(pair.premise)}\n{_wrap(pair.hypothesis)}\n"


def _dispute(question: str, found: Contradiction, order: Sequence[str], types: Mapping[str, str]) -> str:
    places = {name: place for place, name in enumerate(order, start=1)}
    listed = " ".join(
        f"{'>' if name in {found.left.passage_id, found.right.passage_id} else ''}{types.get(name, 'unlabelled')}"
        for name in order
    )
    sides = "\n".join(
        f"  {types.get(side.passage_id, 'unlabelled')}, place {places.get(side.passage_id, 'none')}:\n"
        f"{_wrap(_marked(side))}"
        for side in (found.left, found.right)
    )
    return f"{question}\n  {found.stage}, {found.kind}, {found.score:.2f}; order: {listed}\n{sides}\n"


def _marked(claim: Claim) -> str:
    start = claim.value_span.start - claim.sentence_span.start
    end = claim.value_span.end - claim.sentence_span.start
    return f"{claim.sentence[:start]}«{claim.sentence[start:end]}»{claim.sentence[end:]}"


def _wrap(text: str) -> str:
    return textwrap.indent(textwrap.fill(" ".join(text.split()), _WIDTH), "    ")
