"""The slot stage: what it adds on questions, what it leaves alone, and when it stops."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.adapters.doubles import TickingClock
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.slot_stage import STAGE, SlotStage
from core.contradictions.slots.question import is_question, name_in, read_question
from core.contradictions.slots.spans import read_spans
from core.contradictions.stage import Asked
from core.contradictions.subject import about_subject
from core.model import (
    Agreement,
    Claim,
    Contradiction,
    ContradictionKind,
    Detection,
    Passage,
    Query,
    Ranking,
    ScoredPassage,
    Span,
)

MILL = Query("q", "When was the Harlow Mill built?")
TEXTS = (
    "Harlow Mill is a cotton mill in Oakham. The Harlow Mill was built in 1871 by Thomas Harlow and has 40 looms.",
    "The history of the Harlow Mill goes back to Thomas Harlow, who built it in 1871. It was sold in 1922.",
    "Harlow Mill is a cotton mill in Oakham. The Harlow Mill was built in 1904 by Thomas Harlow and has 40 looms.",
    "Cotton is a soft fibre that grows in a boll around the seeds of the cotton plant.",
)


def ranking(*texts: str) -> Ranking:
    """Passages p0, p1, ..., best first."""
    return Ranking(tuple(ScoredPassage(Passage(f"p{place}", text), 9.0 - place) for place, text in enumerate(texts)))


def refine(
    query: Query = MILL, known: Detection | None = None, *, texts: tuple[str, ...] = TEXTS, min_score: float = 0.75
) -> Detection:
    """What the stage makes of a detection, with all the time in the world."""
    deadline = Deadline(10.0, clock=ManualClock())
    return SlotStage(min_score=min_score).refine(Asked(query, ranking(*texts), deadline, known or Detection()))


def test_different_answers_contradict_with_their_places() -> None:
    """Both sides name the sentence and the value, the better ranked passage on the left."""
    found = refine()
    assert found.complete
    item = next(one for one in found.contradictions if (one.left.passage_id, one.right.passage_id) == ("p0", "p2"))
    assert (item.kind, item.stage, item.left.value, item.right.value) == (ContradictionKind.DATE, STAGE, "1871", "1904")
    for claim, text in ((item.left, TEXTS[0]), (item.right, TEXTS[2])):
        assert text[claim.sentence_span.start : claim.sentence_span.end] == claim.sentence
        assert text[claim.value_span.start : claim.value_span.end] == claim.value
        assert claim.value in claim.sentence
    assert 0.75 <= item.score <= 1
    assert not refine(min_score=item.score + 0.01).contradictions


def test_what_does_not_name_the_subject_is_about_it_as_likely_as_its_neighbours() -> None:
    """A piece from the middle of a document is taken for what most of the ranking is about, a stray one is not."""
    question = "When was the Harlow Mill built?"
    named, silent = "The Harlow Mill stands.", "It was built in 1871."
    assert about_subject(question, [named, named, named, silent]) == [1, 1, 1, 0.75]
    assert about_subject(question, [silent, named, silent, silent]) == [0.25, 1, 0.25, 0.25]
    assert about_subject(question, []) == []


@pytest.mark.parametrize(
    "text", ["What did Thomas Harlow say?", "Which version does it need?", "In which repository is it?"]
)
def test_kinds_that_are_read_badly_are_passed_over(text: str) -> None:
    """Open questions, versions and links get their detection back as it was."""
    assert refine(Query("q", text)) == Detection()


def test_same_answers_agree() -> None:
    """Two wordings of one year are an agreement, and no contradiction."""
    found = refine()
    assert [(item.left_id, item.right_id, item.value) for item in found.agreements] == [("p0", "p1", "1871")]


def test_every_passage_gets_its_standing() -> None:
    """In the order of the ranking; the supported answer above the edited copy, what answers nothing below all."""
    standings = refine().standings
    assert [standing.passage_id for standing in standings] == ["p0", "p1", "p2", "p3"]
    supported, _, edited, silent = standings
    assert supported.support > edited.support
    assert edited.opposition > supported.opposition
    assert silent.answered < min(standing.answered for standing in standings[:3])


def test_passages_beyond_those_compared_have_no_standing_of_their_own() -> None:
    """A long ranking keeps its standings complete: what is not compared answers nothing."""
    filler = tuple(f"The mill of village number {number} grinds rye." for number in range(40))
    standings = refine(texts=(*filler, TEXTS[0])).standings
    assert len(standings) == 41
    assert (standings[40].answered, standings[40].support, standings[40].opposition) == (0, 0, 0)


def test_decided_pairs_are_left_alone() -> None:
    """What an earlier stage said of two passages stays, and is said once."""
    claim = Claim("p0", TEXTS[0], Span(0, len(TEXTS[0])), "1871", Span(69, 73))
    known = Detection(
        (Contradiction(ContradictionKind.DATE, 0.95, "lexical", claim, replace(claim, passage_id="p2")),),
        agreements=(Agreement("p1", "p0", "1871"),),
    )
    found = refine(known=known)
    assert found.contradictions[0] == known.contradictions[0]
    pairs = [{item.left.passage_id, item.right.passage_id} for item in found.contradictions]
    assert pairs.count({"p0", "p2"}) == 1
    assert found.agreements == known.agreements


@pytest.mark.parametrize(
    "text",
    ["The Harlow Mill was built in 1871.", "harlow mill year", "Was the Harlow Mill built in 1871?", "Is it 40 looms?"],
)
def test_what_asks_for_no_value_is_passed_over(text: str) -> None:
    """Claims, key words and questions for a yes or a no get their detection back as it was."""
    assert not is_question(text)
    assert refine(Query("q", text)) == Detection()


@pytest.mark.parametrize("text", ["When was it built?", "In which year was it built", "Name the builder of it?"])
def test_questions_are_known_by_their_wording(text: str) -> None:
    """By the word they begin with, or the mark they end with."""
    assert is_question(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("When was the Harlow Mill built?", "Harlow Mill"),
        ("Who wrote “The Long Weir” in 1911?", "The Long Weir"),
        ("how many looms are there?", "how many looms are there?"),
    ],
)
def test_the_name_that_is_asked_about(text: str, name: str) -> None:
    """As the question writes it."""
    assert name_in(read_question(text)) == name


@pytest.mark.parametrize("count", [0, 1])
def test_with_nothing_to_compare_there_is_nothing_to_say(count: int) -> None:
    """A ranking of fewer than two passages leaves the detection as it was."""
    assert refine(texts=TEXTS[:count]) == Detection()


def test_without_time_nothing_is_begun() -> None:
    """The detection comes back incomplete, with what was known."""
    known = Detection(agreements=(Agreement("p0", "p1", "1871"),))
    clock = ManualClock()
    found = SlotStage().refine(Asked(MILL, ranking(*TEXTS), Deadline(0.04, clock=clock), known))
    assert found == replace(known, complete=False)


def test_reading_stops_when_time_is_up() -> None:
    """The clock is looked at before each passage: a ranking of slow passages is given up in the middle."""
    read_spans.cache_clear()
    clock = TickingClock(0.1)
    found = SlotStage().refine(Asked(MILL, ranking(*TEXTS), Deadline(0.4, clock=clock), Detection()))
    assert found == Detection(complete=False)
    assert read_spans.cache_info().currsize < len(TEXTS)


def test_the_version_names_the_weights() -> None:
    """So that a trace tells which weights decided."""
    assert SlotStage().version.startswith("slots-")
