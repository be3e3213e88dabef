"""The gate: which sentence pairs a model is asked about, and in which order."""

from __future__ import annotations

import pytest

from core.contradictions.gate import Candidate, Gate
from core.model import Passage

QUERY = "How does coffee work for the heart?"
GOOD = "Coffee is good for the heart of most adults."
BAD = "Coffee is bad for the heart of most adults."
FAR = "The heart of the city has a coffee house on every corner."


def passages(*texts: str) -> list[Passage]:
    """Passages p0, p1, ..., best first."""
    return [Passage(f"p{place}", text) for place, text in enumerate(texts)]


def pick(*texts: str, gate: Gate | None = None, query: str = QUERY, decided: tuple[str, ...] = ()) -> list[Candidate]:
    """What the gate picks; `decided` has pairs such as `p0 p1`."""
    settled = {frozenset(pair.split()) for pair in decided}
    return list((gate or Gate(min_worth=0.0)).pick(query, passages(*texts), settled))


def sentences(found: list[Candidate]) -> list[tuple[str, str]]:
    """The texts of the pairs."""
    return [(one.left.text, one.right.text) for one in found]


def test_sentences_about_the_subject_are_picked() -> None:
    """Two sentences about what is asked, of two passages."""
    assert sentences(pick(GOOD, BAD)) == [(GOOD, BAD)]


def test_places_count_in_the_ranking() -> None:
    """A passage between them that is about something else takes its place with it."""
    (found,) = pick(GOOD, "Rye is a grass.", BAD)
    assert (found.left_passage, found.right_passage) == (0, 2)


def test_the_more_alike_and_the_better_placed_come_first() -> None:
    """Worth falls with the share of the topic that both have, and with the places of the passages."""
    found = pick(GOOD, BAD, FAR)
    assert (found[0].left_passage, found[0].right_passage) == (0, 1)
    assert found == sorted(found, key=lambda one: -one.worth)
    others = ["Rye is a grass."] * 10
    (high,), (low,) = pick(GOOD, BAD, *others), pick(*others, GOOD, BAD)
    assert low.worth == pytest.approx(high.worth * (1.1 / (2.0 * 2.1)) ** 0.5, abs=1e-6)


def test_below_the_least_worth_nothing_is_picked() -> None:
    """Most queries need few calls."""
    (found,) = pick(GOOD, BAD)
    assert pick(GOOD, BAD, gate=Gate(min_worth=found.worth)) == [found]
    assert pick(GOOD, BAD, gate=Gate(min_worth=found.worth + 1e-5)) == []


def test_decided_passages_are_passed_over() -> None:
    """In whichever order the two are named."""
    assert pick(GOOD, BAD, decided=("p1 p0",)) == []


@pytest.mark.parametrize("other", [GOOD, f"{BAD} {GOOD}", "Coffee is good for the hearts of most adults!"])
def test_the_same_sentence_is_no_pair(other: str) -> None:
    """Word for word, anywhere in the other passage, or but for signs and endings."""
    assert pick(GOOD, other) == []


def test_one_word_of_difference_is_a_pair() -> None:
    """That is where contradictions are."""
    assert len(pick(GOOD, GOOD.replace("good", "harmful"))) == 1


@pytest.mark.parametrize(
    ("query", "one", "other"),
    [
        # Only one names it.
        (
            "Which version of zict is there?",
            "The current version of zict is new.",
            "The current version of dask is old.",
        ),
        # A compound is another thing.
        (
            "Which version of rich is there?",
            "The current version of rich is new.",
            "The current version of rich-rst is old.",
        ),
        # The name is missing, and other words of the query do not stand in for it.
        ("Is MarkupSafe ready for production?", "Flask is ready for production.", "Production ready is Flask not."),
        # The other one begins with a thing of its own.
        ("What does zict need?", "The package zict needs no other package.", "Dask needs the package zict."),
    ],
)
def test_sentences_of_two_things_are_no_pair(query: str, one: str, other: str) -> None:
    """Both must name what is asked about, in the same words, and begin with nothing of their own."""
    name = next(word for word in query.replace("?", "").split() if word in ("zict", "rich", "MarkupSafe"))
    about = f" We like {name}. People praise {name} too."
    found = sentences(pick(one + about, other + about.replace("We", "They"), query=query))
    assert (one, other) not in found


@pytest.mark.parametrize(
    ("query", "one", "other"),
    [
        # What a claim says of a thing is no part of its name.
        ("Coffee lowers blood pressure.", "Coffee lowers blood pressure.", "Coffee raises blood pressure in adults."),
        (
            "Marlow station has step-free access.",
            "Marlow has step-free access.",
            "None of Marlow has step-free access.",
        ),
    ],
)
def test_a_claim_and_its_opposite_are_a_pair(query: str, one: str, other: str) -> None:
    """Although they do not share all words of the query, and one begins with a negation."""
    assert len(pick(one, other, query=query)) == 1


def test_long_sentences_are_left_out() -> None:
    """The model would read them in part."""
    long = GOOD[:-1] + " and of many others" * 20 + "."
    assert pick(long, BAD) == []
    assert len(pick(long, BAD, gate=Gate(min_worth=0.0, longest_tokens=200))) == 1


def test_two_pairs_of_the_same_passages() -> None:
    """However many sentences they share."""
    many = (
        "Coffee is {} for the heart. Coffee and heart {} meet. The heart on coffee beats {}. Coffee warms a {} heart."
    )
    good, bad = many.replace("{}", "well"), many.replace("{}", "badly")
    assert len(pick(good, bad)) == 2
    assert len(pick(good, bad, gate=Gate(min_worth=0.0, max_pairs_per_passages=3))) == 3


def test_never_more_than_the_most() -> None:
    """The best ones are kept."""
    texts = [f"Coffee is {word} for the heart." for word in ("good", "bad", "fine", "grim", "fair")]
    every = pick(*texts)
    assert len(every) == 10
    assert pick(*texts, gate=Gate(min_worth=0.0, max_pairs=3)) == every[:3]


def test_namesakes_are_not_compared() -> None:
    """Two towns of one name can both be right."""
    query = "What is the population of Broken Bow?"
    nebraska = "Broken Bow, Nebraska is a town. The population of Broken Bow was small in those years."
    oklahoma = "Broken Bow, Oklahoma is a town. The population of Broken Bow was large in those years."
    assert pick(nebraska, oklahoma, query=query) == []
    assert pick(nebraska, nebraska.replace("small", "large"), query=query) != []


def test_sentences_that_differ_in_more_than_one_value_are_about_two_things() -> None:
    """Two counts of two years can both be right; one count of one year cannot. The query's own words do not count."""
    query = "What is the population of Rush Township?"
    counted = "The population of Rush Township was 887 people in the census of 2010."
    one = f"{counted} Farms, mills and a brick school stood along its northern creek."
    other = f"{counted} Visitors praise old orchards, quiet roads, two churches, summer fairs."
    same_year = other.replace("887", "3171")
    assert len(pick(one, same_year, query=query)) == 1
    assert pick(one, same_year.replace("2010", "2000"), query=query) == []
    assert len(pick(one, one.replace("887", "3171").replace("2010", "2000"), query=query)) == 1, "a near-copy"


@pytest.mark.parametrize("texts", [(), (GOOD,), ("?!", "..."), ("", GOOD)])
def test_nothing_to_compare(texts: tuple[str, ...]) -> None:
    """Fewer than two passages that say something give no pairs."""
    assert pick(*texts) == []


def test_a_query_without_words() -> None:
    """Is about nothing, so nothing is picked."""
    assert pick(GOOD, BAD, query="?!") == []


@pytest.mark.parametrize("name", ["max_pairs", "max_pairs_per_passages", "longest_tokens"])
def test_limits_must_be_positive(name: str) -> None:
    """A limit of nothing is a programming error, and the message names it."""
    with pytest.raises(ValueError, match=f"{name} is 0, expected at least 1"):
        Gate(**{name: 0})
