"""Two things of one name: both passages can be right, so that nothing of it is a contradiction."""

from __future__ import annotations

import pytest

from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.lexical import LexicalDetector
from core.contradictions.subject import different_meanings, is_about, meaning_of, share_subject, subject_of
from core.model import Detection, Passage, Query, Ranking, ScoredPassage
from core.text import stem


def detect(query: str, *texts: str) -> Detection:
    """What the detector finds among passages named p0, p1, ..."""
    passages = [Passage(f"p{place}", text) for place, text in enumerate(texts)]
    ranking = Ranking(tuple(ScoredPassage(passage, 10.0 - place) for place, passage in enumerate(passages)))
    (found,) = LexicalDetector().detect([Query("q", query)], [ranking], [Deadline(1.0, clock=ManualClock())])
    assert found.complete
    return found


POPULATION = "What is the population of Broken Bow?"
NEBRASKA = (
    "Broken Bow, Nebraska is a city on the Burlington railway. Broken Bow had a population of 3,559 people. It is the"
    " seat of Custer County and holds a cattle sale every week."
)
OKLAHOMA = (
    "Broken Bow, Oklahoma was founded by lumbermen in McCurtain County beside the mountains. The population of Broken"
    " Bow was 4,120 people. Visitors come for the lake, the trout and the railway of old."
)
DIRECTOR = "Who directed Night Harbour?"
FILM_1931 = (
    "Night Harbour is a 1931 film shot in Lisbon by the Atlantic company. Night Harbour was directed by Paula Reis."
    " The prints were lost when the studio burnt down."
)
FILM_1987 = (
    "Night Harbour was a 1987 television film made in Lisbon. Night Harbour was directed by John Carver, who had been"
    " working for the stage until then."
)


@pytest.mark.parametrize(
    ("query", "left", "right", "left_value", "right_value"),
    [
        (POPULATION, NEBRASKA, OKLAHOMA, "Broken Bow, Nebraska", "Broken Bow, Oklahoma"),
        (
            POPULATION,
            NEBRASKA.replace("Bow, Nebraska", "Bow (Nebraska)"),
            OKLAHOMA.replace("Bow, Oklahoma", "Bow (Oklahoma)"),
            "Broken Bow (Nebraska)",
            "Broken Bow (Oklahoma)",
        ),
        (DIRECTOR, FILM_1931, FILM_1987, "Night Harbour is a 1931", "Night Harbour was a 1987"),
    ],
    ids=["places behind a comma", "places in brackets", "years of the films"],
)
def test_namesakes(query: str, left: str, right: str, left_value: str, right_value: str) -> None:
    """Two towns, or films of different years, with one name are an ambiguity and never a contradiction."""
    for texts in ((left, right), (right, left)):
        found = detect(query, *texts)
        assert found.contradictions == ()
        assert found.agreements == ()
        (ambiguity,) = found.ambiguities
        assert (ambiguity.left.passage_id, ambiguity.right.passage_id) == ("p0", "p1")
        assert {ambiguity.left.value, ambiguity.right.value} == {left_value, right_value}
        for claim, text in zip((ambiguity.left, ambiguity.right), texts, strict=True):
            assert text[claim.value_span.start : claim.value_span.end] == claim.value
            assert text[claim.sentence_span.start : claim.sentence_span.end] == claim.sentence
            assert claim.sentence_span.start <= claim.value_span.start < claim.sentence_span.end


def test_same_thing_is_a_contradiction() -> None:
    """The same passages without what tells the towns apart do contradict each other."""
    found = detect(
        POPULATION,
        NEBRASKA.replace("Broken Bow, Nebraska is", "Broken Bow is"),
        OKLAHOMA.replace("Broken Bow, Oklahoma was", "Broken Bow was"),
    )
    assert [(item.left.value, item.right.value) for item in found.contradictions] == [("3,559", "4,120")]
    assert found.ambiguities == ()


def test_one_meaning_is_a_contradiction() -> None:
    """Two passages that mean the same town do contradict each other."""
    found = detect(POPULATION, NEBRASKA, OKLAHOMA.replace("Oklahoma", "Nebraska"))
    assert len(found.contradictions) == 1
    assert found.ambiguities == ()


def test_edited_copy_is_a_contradiction() -> None:
    """A text that was copied and edited disputes the original, even where the edit moves the town."""
    found = detect(POPULATION, NEBRASKA, NEBRASKA.replace("3,559", "4,120"))
    assert [(item.left.value, item.right.value) for item in found.contradictions] == [("3,559", "4,120")]
    assert found.ambiguities == ()


def test_namesakes_that_say_nothing_against_each_other() -> None:
    """Without a finding there is nothing to explain away."""
    found = detect(POPULATION, "Broken Bow, Nebraska is old.", "Broken Bow, Oklahoma has a lake.")
    assert found.contradictions == ()
    assert found.ambiguities == ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Broken Bow, Nebraska is a city.", "Broken Bow, Nebraska"),
        ("Broken Bow (Oklahoma) is a city.", "Broken Bow (Oklahoma)"),
        ("Broken Bow is a 1931 film.", "Broken Bow is a 1931"),
        ("Old Fort Broken Bow Hotel is full.", "Old Fort Broken Bow Hotel"),
        ("It lies near Broken Bow, New Mexico.", "Broken Bow, New Mexico"),
        ("It lies near Broken Bow, Nebraska. Visitors like it.", "Broken Bow, Nebraska"),
        ("It lies near Broken Bow, St. Louis.", "Broken Bow, St. Louis"),
        ("It lies near Broken Bow, U.S.", "Broken Bow, U.S"),
    ],
)
def test_what_a_passage_adds_to_a_name(text: str, value: str) -> None:
    """Further words, a bracket, a place and the year of a definition say which thing of the name is meant."""
    meaning = meaning_of(text, frozenset({"broken", "bow"}))
    assert meaning is not None
    assert text[meaning.span.start : meaning.span.end] == value


@pytest.mark.parametrize(
    "text",
    [
        "Broken Bow is a city.",
        "The town lies in Nebraska.",
        "Broken Bow (born 3 May 1871) was a chief.",
        "Broken Bow (1871–1930) was a chief.",
        "Broken Bow (  ) is a city.",
        "A first sentence. A second one. A third one. Broken Bow, Nebraska is a city.",
        "",
    ],
)
def test_nothing_added_to_a_name(text: str) -> None:
    """The bare name, dates of life, and what stands further down do not tell namesakes apart."""
    assert meaning_of(text, frozenset({"broken", "bow"})) is None


def test_one_passage_without_a_meaning() -> None:
    """A passage that only uses the name may mean either thing, so that a dispute stays a dispute."""
    known = meaning_of("Broken Bow, Nebraska is a city.", frozenset({"broken", "bow"}))
    assert known is not None
    assert not different_meanings(known, None, "", "")
    assert not different_meanings(None, known, "", "")


def test_marks_that_the_other_text_has() -> None:
    """What marks one passage stands in the other as well: they mean one thing."""
    names = frozenset({"broken", "bow"})
    texts = "Broken Bow, Nebraska is a city.", "Broken Bow (city) lies in Nebraska."
    one, other = (meaning_of(text, names) for text in texts)
    assert not different_meanings(one, other, *texts)


def test_parts_of_names() -> None:
    """Names that are extended by different words are different things; with a word in common they are not."""
    names = frozenset({"tolliv"})
    cases = {
        ("Marie Tolliver painted.", "John Tolliver wrote."): True,
        ("Marie Tolliver painted.", "Ann Marie Tolliver wrote."): False,
    }
    for texts, expected in cases.items():
        one, other = ("In short " + text for text in texts)
        assert different_meanings(meaning_of(one, names), meaning_of(other, names), one, other) is expected


@pytest.mark.parametrize(
    ("query", "about", "names"),
    [
        ("What is the population of Broken Bow?", "broken bow", "broken bow"),
        ("Which Python version does pytest-cov require?", "pytest-cov", ""),
        ("Who was Admiral Horatio Nelson?", "admiral horatio nelson", "horatio nelson"),
        ("Who was King?", "king", "king"),
        ("What is the name of the place?", "name place", ""),
        ("What is it?", "", ""),
        ("", "", ""),
    ],
)
def test_subject_of_a_query(query: str, about: str, names: str) -> None:
    """The words that questions ask with are not the subject, unless there are no others; titles are no names."""
    subject = subject_of(query)
    assert subject.about == set(map(stem, about.split()))
    assert subject.names == set(map(stem, names.split()))
    assert subject.attribute == subject.topic - subject.names


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        (POPULATION, "Broken Bow is a city.", True),
        (POPULATION, "A city has a mayor. Broken Bow has too.", False),
        (POPULATION, "A city has a mayor. Broken Bow has too. Broken Bow is large.", True),
        (POPULATION, "A bow was broken.", True),
        (POPULATION, "A bow was bent.", False),
        (POPULATION, "", False),
        ("What does iso 9001 say?", "The iso 9001 standard says much. It is long.", True),
        ("What does iso 9001 say?", "Standards are long. The iso 9001 one is. The iso 9001 one is dull.", True),
        ("What is it?", "Anything at all.", True),
    ],
)
def test_passages_about_the_subject(query: str, text: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    """A passage is about the subject if it begins with it or names it again, not if it mentions it once."""
    assert is_about(text, subject_of(query)) is expected


def test_share_subject() -> None:
    """Passages share the subject if they have the same of its words."""
    subject = subject_of("Who directed the film Night Harbour?")
    assert share_subject(subject, "Night Harbour, a film", "The film Night Harbour")
    assert not share_subject(subject, "Night Harbour, a film", "Night Harbour")
