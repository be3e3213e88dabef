"""What passages answer, and which answer the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.contradictions.slots.reader import SlotVerdict, shipped_reader
from core.contradictions.slots.weights import fingerprint, weights_of

_MILL = "When was the Harlow Mill built?"
_MILL_TEXTS = (
    "Harlow Mill is a cotton mill in Oakham. The Harlow Mill was built in 1871 by Thomas Harlow and has 40 looms.",
    "The history of the Harlow Mill goes back to Thomas Harlow, who built it in 1871. It was sold in 1922.",
    "Harlow Mill is a cotton mill in Oakham. The Harlow Mill was built in 1904 by Thomas Harlow and has 40 looms.",
    "Cotton is a soft fibre that grows in a boll around the seeds of the cotton plant.",
)


def test_the_answer_of_each_passage_is_read_in_place() -> None:
    """The likeliest value is the one asked for, not the other dates, and its span cuts it out."""
    table = shipped_reader().read_texts(_MILL, _MILL_TEXTS)
    said = [
        text[reading.answers[0].span.start : reading.answers[0].span.end]
        for text, reading in zip(_MILL_TEXTS[:3], table.readings[:3], strict=True)
    ]
    assert said == ["1871", "1871", "1904"]


def test_a_passage_about_something_else_answers_nothing() -> None:
    """It has no value that fits, and says so by a low probability."""
    table = shipped_reader().read_texts(_MILL, _MILL_TEXTS)
    assert not table.readings[3].answers
    assert table.readings[3].answered < min(reading.answered for reading in table.readings[:3])
    assert table.compare(0, 3).verdict is SlotVerdict.INCOMPARABLE
    assert table.compare(0, 3).right is None


def test_same_and_different_answers_are_told_apart() -> None:
    """Two wordings of one year agree; an edited copy with another year does not."""
    table = shipped_reader().read_texts(_MILL, _MILL_TEXTS)
    assert table.compare(0, 1).verdict is SlotVerdict.SAME
    edited = table.compare(0, 2)
    assert edited.verdict is SlotVerdict.DIFFERENT
    assert edited.left is not None
    assert edited.right is not None
    assert (edited.left.value.key[0], edited.right.value.key[0]) == (1871, 1904)
    assert table.different[0, 2] > table.different[0, 1]


def test_namesakes_are_no_contradiction() -> None:
    """Two people of one name with different lives were born on different days."""
    fencer = (
        "Ada Quill (fencer) Ada Quill (born 4 March 1911) was a British fencer. She won the Olympic medal in Berlin "
        "for Britain and trained with Mary Lee in Oxford."
    )
    politician = (
        "Ada Quill (politician) Ada Quill (born 9 June 1956) is a Canadian senator from Toronto. She studied law at "
        "McGill and was elected to the Ontario legislature with the Liberal Party."
    )
    table = shipped_reader().read_texts("When was Ada Quill born?", (fencer, politician))
    assert table.compare(0, 1).verdict is SlotVerdict.OTHER_SUBJECT


@pytest.mark.parametrize(
    ("question", "one", "same", "other"),
    [
        (
            "What sport is Ada Quill associated with?",
            "Ada Quill is a British tennis player.",
            "Ada Quill won her first tennis title in Leeds in 1999.",
            "Ada Quill is a British golfer.",
        ),
        (
            "What is the population of Little Quenby?",
            "Little Quenby is a village in Rutland. The population of Little Quenby was 3,559 at the 2011 census.",
            "With 3559 inhabitants, Little Quenby is the largest village of Rutland.",
            "Little Quenby is a village in Rutland. The population of Little Quenby was 10,200 at the 2011 census.",
        ),
        (
            'Who directed the film "Tin Roofs"?',
            "Tin Roofs is a 1962 British film directed by Mary Lee and starring Tom Reed.",
            'In 1962 Mary Lee directed "Tin Roofs", her first film.',
            "Tin Roofs is a 1962 British film directed by Peter Wood and starring Tom Reed.",
        ),
    ],
)
def test_a_replaced_answer_is_likelier_to_differ_than_a_reworded_one(
    question: str, one: str, same: str, other: str
) -> None:
    """For each sort of question, another wording is closer than another value in the same wording."""
    different = shipped_reader().read_texts(question, (one, same, other)).different
    assert different[0, 2] > 0.5
    assert different[0, 1] < different[0, 2]


def test_tables_are_symmetric_and_do_not_hang_on_the_order() -> None:
    """Shuffled passages give the same numbers, shuffled."""
    table = shipped_reader().read_texts(_MILL, _MILL_TEXTS)
    order = [2, 0, 3, 1]
    again = shipped_reader().read_texts(_MILL, tuple(_MILL_TEXTS[number] for number in order))
    np.testing.assert_allclose(table.different, table.different.T, atol=1e-6)
    np.testing.assert_allclose(again.different, table.different[np.ix_(order, order)], atol=1e-4)
    np.testing.assert_allclose(again.same_subject, table.same_subject[np.ix_(order, order)], atol=1e-4)


@pytest.mark.parametrize("texts", [(), ("Harlow Mill was built in 1871.",), ("", "...")])
def test_few_or_empty_passages_are_read(texts: tuple[str, ...]) -> None:
    """No passage, one, or texts without words: a table of that size."""
    table = shipped_reader().read_texts(_MILL, texts)
    assert table.different.shape == (len(texts), len(texts))
    assert len(table.readings) == len(texts)


def test_weights_for_other_features_are_refused() -> None:
    """The error names the part and both fingerprints."""
    content = {"version": "x", "features": {"pairs": fingerprint(("a", "b"))}, "weights": {}}
    with pytest.raises(ValueError, match=r"`features\.pairs` is .+, expected .+: the weights are for other"):
        weights_of(content, {"pairs": ("b", "a")})


def test_the_unit_that_a_question_asks_for_decides() -> None:
    """A height is given in metres, whatever other numbers are nearer."""
    text = "The Quenby Tower has 20 floors and 300 windows and is 84 metres tall."
    reading = shipped_reader().read_texts("How tall is the Quenby Tower?", (text,)).readings[0]
    assert reading.answers[0].value.key == (84.0,)


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("Is the Harlow Mill open?", ("It is open.", "It is closed since 1922.")),
        ("Which Python version does tinroof need?", ("tinroof needs Python 3.9.", "tinroof needs Python 3.11.")),
    ],
)
def test_yes_and_no_and_versions_are_not_compared(question: str, texts: tuple[str, str]) -> None:
    """Nothing reads such answers: the passages are incomparable here."""
    assert shipped_reader().read_texts(question, texts).compare(0, 1).verdict is SlotVerdict.INCOMPARABLE


@pytest.mark.process
def test_the_answers_do_not_hang_on_the_order_of_sets() -> None:
    """Python orders sets anew in each process: the same passages must get the same numbers to the last digit."""
    code = (
        "import hashlib; from core.contradictions.slots.reader import shipped_reader;"
        "names = 'Ada Bea Cora Dora Ella Fay Gwen Hope Iris Jane Kate Lena Mona Nora Olga Pia'.split();"
        "texts = ['The Harlow Mill was built in 1871. ' + ' '.join(f'{one} {two} of {one}town met {three} there.'"
        " for one, two, three in zip(names[n:], names[n + 1:], names[n + 2:])) for n in range(9)];"
        "table = shipped_reader().read_texts('When was the Harlow Mill built?', texts);"
        "print(hashlib.sha256(table.different.tobytes() + table.same_subject.tobytes()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(said) == 1
