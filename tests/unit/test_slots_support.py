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


def test_the_better_supported_answer_leads() -> None:
    """Two against one: both passages of the pair are above the single one, however relevant that is."""
    weighed = weigh(_table("aba"), (0.9, 1.0, 0.8))
    assert np.argsort(-weighed.score).tolist() == [0, 2, 1]
    assert weighed.support.tolist() == [1, 0, 1]
    assert weighed.opposition.tolist() == [1, 2, 1]


def test_a_tie_is_left_to_relevance() -> None:
    """One against one: support and opposition say nothing, the more relevant passage leads."""
    weighed = weigh(_table("ab"), (0.5, 1.0))
    assert weighed.support[0] == weighed.support[1]
    assert weighed.opposition[0] == weighed.opposition[1]
    assert weighed.score[1] > weighed.score[0]


def test_copies_share_one_vote() -> None:
    """Three copies of one text support an answer no more than one passage does."""
    alone = weigh(_table("ab"), (1.0, 1.0))
    copied = weigh(_table("abbb", copies=((1, 2), (2, 3), (1, 3))), (1.0, 1.0, 1.0, 1.0))
    independent = weigh(_table("abbb"), (1.0, 1.0, 1.0, 1.0))
    assert copied.support[1] < alone.support[0] + 1
    assert copied.support[1] == pytest.approx(2 / 3)
    assert independent.support[1] == 2
    assert copied.opposition[0] < independent.opposition[0]


def test_passages_of_one_source_share_one_vote() -> None:
    """Whatever their wording; where no source is known, nothing is shared."""
    table = _table("abb")
    assert weigh(table, (1.0,) * 3, (None, "s", "s")).support[1] == pytest.approx(0.5)
    assert weigh(table, (1.0,) * 3, (None, None, None)).support[1] == 1


def test_passages_about_another_thing_do_not_oppose() -> None:
    """Namesakes have different answers and are both right."""
    assert weigh(_table("ab", same_subject=0.0), (1.0, 1.0)).opposition.tolist() == [0, 0]


def test_what_answers_nothing_comes_last() -> None:
    """It neither supports nor opposes, and relevance does not lift it above an answer."""
    weighed = weigh(_table("a."), (0.1, 1.0))
    assert weighed.score[0] > weighed.score[1]
    assert weighed.support[0] == 0
    assert weighed.opposition[0] == 0


def test_no_relevance_and_no_passages_are_fine() -> None:
    """Zero relevance counts nothing; an empty list weighs nothing."""
    assert np.isfinite(weigh(_table("ab"), (0.0, 0.0)).score).all()
    assert weigh(_table(""), ()).score.shape == (0,)
