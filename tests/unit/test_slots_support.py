"""Weighing passages by who gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest

from core.contradictions.slots.answers import SlotReading
from core.contradictions.slots.question import read_question
from core.contradictions.slots.reader import SlotTable
from core.contradictions.slots.support import weigh


def _table(answers: str, *, copies: tuple[tuple[int, int], ...] = (), same_subject: float = 1.0) -> SlotTable:
    """A table in which each letter is a passage's answer; a dot is a passage that answers nothing."""
    count = len(answers)
    different = np.array([[float(one != other) for other in answers] for one in answers], np.float32)
    similarity = np.eye(count, dtype=np.float32)
    for left, right in copies:
        similarity[left, right] = similarity[right, left] = 0.8
    readings = tuple(SlotReading((), 0.0 if answer == "." else 1.0) for answer in answers)
    subject = np.full((count, count), same_subject, np.float32)
    return SlotTable(read_question("When was the Harlow Mill built?"), readings, different, subject, similarity)


def test_two_against_one() -> None:
    """Each of the pair has the other's support; the single one has none, and two against it."""
    weighed = weigh(_table("aba"))
    assert weighed.support.tolist() == [1, 0, 1]
    assert weighed.opposition.tolist() == [1, 2, 1]


def test_one_against_one_is_a_tie() -> None:
    """Support and opposition are the same on both sides."""
    weighed = weigh(_table("ab"))
    assert weighed.support[0] == weighed.support[1]
    assert weighed.opposition[0] == weighed.opposition[1]


def test_copies_share_one_vote() -> None:
    """Three copies of one text support an answer no more than one passage does."""
    alone = weigh(_table("ab"))
    copied = weigh(_table("abbb", copies=((1, 2), (2, 3), (1, 3))))
    independent = weigh(_table("abbb"))
    assert copied.support[1] < alone.support[0] + 1
    assert copied.support[1] == pytest.approx(2 / 3)
    assert independent.support[1] == 2
    assert copied.opposition[0] < independent.opposition[0]


def test_passages_of_one_source_share_one_vote() -> None:
    """Whatever their wording; where no source is known, nothing is shared."""
    table = _table("abb")
    assert weigh(table, (None, "s", "s")).support[1] == pytest.approx(0.5)
    assert weigh(table, (None, None, None)).support[1] == 1


def test_passages_about_another_thing_do_not_oppose() -> None:
    """Namesakes have different answers and are both right."""
    assert weigh(_table("ab", same_subject=0.0)).opposition.tolist() == [0, 0]


def test_what_answers_nothing_neither_supports_nor_opposes() -> None:
    """Its silence counts for nobody."""
    weighed = weigh(_table("a."))
    assert weighed.support[0] == 0
    assert weighed.opposition[0] == 0


def test_an_empty_list_weighs_nothing() -> None:
    """No passages, no numbers."""
    assert weigh(_table("")).support.shape == (0,)
