"""What the entailment model is trained on: reading, holding out, keeping evaluation pairs away, self-made pairs."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from training.nli.calibration import best_temperature, calibration_error, probabilities
from training.nli.mixture import batches, mixture, passes
from training.nli.opposites import affirmed, negated, with_counterpart
from training.nli.pairs import EVALUATION_SETS, TRAINING_SETS, Pair, read_pairs, sorted_out, without_known
from training.nli.scores import scores_of
from training.nli.swaps import changed_date, changed_number, made_pairs, opposed_claims, rewritten, shortened


def seeded(seed: int) -> Random:
    """Chance that repeats itself."""
    return Random(seed)  # noqa: S311 - nothing here is secret


def write(folder: Path, name: str, *rows: str) -> None:
    """Write a data file with its header."""
    with gzip.open(folder / f"{name}.tsv.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(["premise\thypothesis\tlabel", *rows]) + "\n")


def test_pairs_are_read(tmp_path: Path) -> None:
    """A row becomes a pair that knows its file."""
    write(tmp_path, "snli_dev", "A dog runs.\tAn animal runs.\te")
    assert read_pairs(tmp_path, "snli_dev") == (Pair("A dog runs.", "An animal runs.", "e", "snli_dev"),)


@pytest.mark.parametrize("row", ["one field", "a\tb\tx", "a\tb\te\tmore"])
def test_a_bad_row_is_named(tmp_path: Path, row: str) -> None:
    """A row that is no pair is refused with file and line."""
    write(tmp_path, "snli_dev", "a\tb\te", row)
    with pytest.raises(ValueError, match=r"snli_dev\.tsv\.gz, line 3"):
        read_pairs(tmp_path, "snli_dev")


def test_a_premise_falls_on_one_side() -> None:
    """All pairs of one premise are trained on, or all are held out, and about the wanted share is."""
    pairs = [Pair(f"premise {number}", f"h{which}", "e", "snli_dev") for number in range(1_000) for which in range(3)]
    train, held_out = sorted_out(pairs)
    assert not {pair.premise for pair in train} & {pair.premise for pair in held_out}
    assert len(train) + len(held_out) == len(pairs)
    assert 0.05 < len(held_out) / len(pairs) < 0.11


def test_evaluation_pairs_are_kept_away() -> None:
    """A pair of an evaluation file is dropped in either order, whatever its label, case and punctuation."""
    known = [Pair("The sky is blue.", "It is red", "c", "snli_test")]
    kept = Pair("The sky is blue.", "It is green", "c", "snli_dev")
    pairs = [
        kept,
        Pair("the sky is BLUE", "It is red!", "e", "made"),
        Pair("It is red", "The sky is blue.", "c", "made"),
    ]
    assert without_known(pairs, known) == (kept,)


def test_nothing_of_the_evaluation_files_is_trained_on(tmp_path: Path) -> None:
    """A claim's opposite that stands in an evaluation file is neither trained on nor held out."""
    for name in (*TRAINING_SETS, *EVALUATION_SETS):
        write(tmp_path, name)
    sentences = [f"Sentence number {number} is about the old town of Bergen in Norway." for number in range(200)]
    write(tmp_path, "mnli_devB_train", *(f"{text}\tIt is about Norway.\te" for text in sentences))
    write(
        tmp_path,
        "scifact_train",
        *(f"Evidence {number} is clear.\tDose {number} increases it.\te" for number in range(9)),
    )
    write(
        tmp_path,
        "scifact_dev",
        *(f"Evidence {number} is clear.\tDose {number} decreases it.\tc" for number in range(9)),
    )
    made = mixture(tmp_path)
    trained = {(pair.premise, pair.hypothesis) for pairs in made.by_origin.values() for pair in pairs}
    assert trained
    assert not {pair for pair in trained if "decreases" in pair[1]}
    assert made.dropped > 0
    assert mixture(tmp_path) == made


def test_passes_go_on_where_the_last_one_ended() -> None:
    """An origin read at a half in each pass is read once, all of it, in two passes."""
    pairs = tuple(Pair(str(number), "h", "e", "neg_snli") for number in range(100))
    first, second = passes({"neg_snli": pairs}, count=2)
    assert len(first) == len(second) == 50
    assert {*first, *second} == {*pairs}


def test_a_pass_reads_as_much_of_snli_as_it_is_told() -> None:
    """With 1.6, all of it once and six of ten pairs twice; the other origins stay as they are."""
    by_origin = {name: tuple(Pair(str(n), "h", "e", name) for n in range(10)) for name in ("snli_dev", "neg_snli")}
    (one,) = passes(by_origin, count=1, snli=1.6)
    read = Counter(pair.premise for pair in one if pair.origin == "snli_dev")
    assert sorted(read.values()) == [1] * 4 + [2] * 6
    assert sum(pair.origin == "neg_snli" for pair in one) == 5


def test_batches_hold_every_place_once_and_like_lengths() -> None:
    """Each place of a pass is in one batch, and inside a batch lengths are close."""
    pairs = [Pair(str(number), "h", "e", "x") for number in range(1_000)]
    lengths = [seeded(number).randint(5, 90) for number in range(1_000)]
    cut = batches(pairs, lengths, rows=10, chance=seeded(0))
    assert sorted(place for batch in cut for place in batch) == list(range(1_000))
    assert max(max(lengths[place] for place in batch) - min(lengths[place] for place in batch) for batch in cut) < 15


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_number_is_another_number(seed: int) -> None:
    """One number changes, in its own way of writing; the rest stays."""
    assert (changed_number("It cost 1,200 crowns.", seeded(seed)) or "").startswith("It cost ")
    assert changed_number("It cost 1,200 crowns.", seeded(seed)) != "It cost 1,200 crowns."
    assert changed_number("The three men left.", seeded(seed)) not in {None, "The three men left."}
    assert changed_number("He was born in 1954.", seeded(seed)) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_date_is_another_date(seed: int) -> None:
    """A year or a month changes; decades and plain numbers do not."""
    assert changed_date("He was born in 1954.", seeded(seed)) not in {None, "He was born in 1954."}
    assert changed_date("It opened on 5 May 1999.", seeded(seed)) != "It opened on 5 May 1999."
    assert changed_date("It was common in the 1970s.", seeded(seed)) is None


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("It opened on May 5, 1999.", "It opened on 5 May 1999."),
        ("It opened on 5 May 1999.", "It opened on May 5, 1999."),
        ("It rose by 5 percent.", "It rose by 5%."),
        ("It cost 1,200 crowns.", "It cost 1200 crowns."),
        ("The three men left.", "The 3 men left."),
        ("All 7 left.", "All seven left."),
    ],
)
def test_a_rewritten_text_says_the_same(text: str, other: str) -> None:
    """Numbers and dates are written in another way."""
    assert rewritten(text, seeded(0)) == other


def test_a_part_is_left_out() -> None:
    """A bracket goes; a text without one, or without a clause, gives nothing."""
    assert shortened("The town (founded early in its time) is small.", seeded(0)) == "The town is small."
    assert shortened("The town is small.", seeded(0)) is None


@pytest.mark.parametrize(
    ("text", "other"),
    [("It is open.", "It is not open."), ("It has been sold.", "It has not been sold."), ("It is never open.", None)],
)
def test_a_negation_is_put_in(text: str, other: str | None) -> None:
    """The first verb that takes a `not` gets one; a negated text gets none."""
    assert negated(text) == other


@pytest.mark.parametrize(
    ("text", "other"),
    [("It is not open.", "It is open."), ("It cannot fly.", "It can fly."), ("It is open.", None)],
)
def test_a_negation_is_taken_out(text: str, other: str | None) -> None:
    """The only `not` goes; a text without one gives nothing."""
    assert affirmed(text) == other


def test_a_counterpart_keeps_the_case() -> None:
    """A word gives way to its counterpart, capital and all."""
    assert with_counterpart("Northern towns", seeded(0)) == "Southern towns"
    assert with_counterpart("Towns", seeded(0)) is None


@pytest.mark.parametrize(("label", "others"), [("e", {"c"}), ("c", {"e"}), ("n", {"n"})])
def test_an_opposed_claim_turns_its_label(label: str, others: set[str]) -> None:
    """What supports a claim contradicts its opposite; a denied claim need not be true, so it is not used."""
    made = opposed_claims([Pair("E.", "The dose is higher.", label, "scifact_train")], seeded(0))
    assert {pair.label for pair in made} == others
    assert ("The dose is not higher." in {pair.hypothesis for pair in made}) == (label != "c")


def test_self_made_pairs_are_the_same_each_time() -> None:
    """The same seed gives the same pairs, with every label among them."""
    texts = [f"The {number} houses of the town are old, which is not rare in Norway." for number in range(3, 300)]
    made = made_pairs(texts, of_each=10, chance=seeded(1))
    assert made == made_pairs(texts, of_each=10, chance=seeded(1))
    assert {pair.label for pair in made} == {"e", "n", "c"}
    assert all(pair.premise != pair.hypothesis for pair in made if pair.origin != "made_itself")


def test_scores_of_contradictions() -> None:
    """Accuracy over all labels; precision, recall, F1 and AUC of the third."""
    given = np.array([[0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
    scores = scores_of(given, np.array([2, 0, 0, 2]))
    assert scores.accuracy == pytest.approx(0.5)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx((0.5, 0.5, 0.5))
    assert scores.auc == pytest.approx(0.75)


def test_the_temperature_is_found_again() -> None:
    """Labels drawn from logits at a temperature lead back to it, and the probabilities are then calibrated."""
    chance = np.random.default_rng(0)
    logits = chance.normal(0, 3, (20_000, 3))
    drawn = (probabilities(logits, 1.7).cumsum(axis=1) < chance.random((20_000, 1))).sum(axis=1)
    found = best_temperature(logits, drawn, np.ones(len(drawn)))
    assert found == pytest.approx(1.7, abs=0.06)
    assert calibration_error(probabilities(logits, found), drawn) < 0.02
