"""Statements denied or turned into their opposite, in other words than a copy's."""

from __future__ import annotations

import pytest

from core.contradictions.antonyms import are_opposites, exclusion
from core.contradictions.finding import Context
from core.contradictions.pairing import SentencePair
from core.contradictions.polarity import opposed_words, opposite_polarity
from core.contradictions.sentences import Sentence, read_sentences
from core.model import ContradictionKind
from core.text import stem

NOTHING = Context(
    similarity=0.2,
    same_subject=True,
    same_setting=True,
    about=frozenset(),
    query_topic=frozenset(),
    attribute=frozenset(),
)


def sentence(text: str) -> Sentence:
    """The one sentence of a text."""
    (found,) = read_sentences(text)
    return found


def opposed(left: str, right: str) -> tuple[str, str] | None:
    """The two words that the rule names; it says the same with the sides exchanged."""
    finding = opposed_words(SentencePair(0, 1, sentence(left), sentence(right), 1.0), NOTHING)
    mirrored = opposed_words(SentencePair(0, 1, sentence(right), sentence(left), 1.0), NOTHING)
    if finding is None or mirrored is None:
        assert finding is mirrored
        return None
    assert (finding.left, finding.right) == (mirrored.right, mirrored.left)
    assert finding.kind is ContradictionKind.POLARITY
    return left[finding.left.start : finding.left.end], right[finding.right.start : finding.right.end]


def denied(left: str, right: str) -> bool:
    """Whether one is said to deny the other; the same with the sides exchanged."""
    finding = opposite_polarity(SentencePair(0, 1, sentence(left), sentence(right), 1.0), NOTHING)
    mirrored = opposite_polarity(SentencePair(0, 1, sentence(right), sentence(left), 1.0), NOTHING)
    assert (finding is None) == (mirrored is None)
    return finding is not None


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("The drug increases the risk of falls", "The risk of falls is decreased by it", None),
        ("The drug increases the risk of falls", "This drug decreased the risk of falls", ("increases", "decreased")),
        ("The harbour of Leith is safe for ships", "Leith harbour is dangerous for ships", None),
        ("Leith harbour is safe for ships", "Leith harbour was dangerous for the ships", ("safe", "dangerous")),
        ("The council accepted the plan of 1921", "The council rejected the plan of 1921", ("accepted", "rejected")),
    ],
)
def test_opposed_words(left: str, right: str, expected: tuple[str, str] | None) -> None:
    """The same statement with an opposite at one place; another order of words may say another thing."""
    assert opposed(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The council accepted the plan of 1921", "The council rejected the plan of 1934"),
        ("The council accepted the plan of Reis", "The council rejected the plan of Carver"),
        ("Leith harbour is safe for ships", "Leith harbour is not dangerous for ships"),
        ("Leith harbour is often safe for ships", "Leith harbour is dangerous for ships"),
        ("Leith harbour is safe for ships", "If it storms, Leith harbour is dangerous for ships"),
        ("Leith harbour is safe for ships", "The dangerous road above Leith harbour was closed to ships and carts"),
        ("The old mill is safe", "The new mill is dangerous"),
        ("The harbour of Leith looks safe", "The harbour of Leith avoids to look dangerous"),
        ("Leith harbour is safe for ships", "Leith harbour is large for ships"),
        ("It is safe", "It is dangerous"),
    ],
)
def test_opposites_that_do_not_contradict(left: str, right: str) -> None:
    """Other figures and names, denials, conditions, other statements, two opposites at once, too little in common."""
    assert opposed(left, right) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The mayor of Leith is elected by the council", "The mayor of Leith is not elected by the council"),
        ("The mayor of Leith is elected by the council", "The mayor of Leith is never elected"),
        ("The harbour is closed in winter", "The harbour isn't closed in winter"),
    ],
)
def test_denials(left: str, right: str) -> None:
    """What is denied with fewer words is denied with more."""
    assert denied(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The harbour of Leith is closed", "The harbour of Leith is not closed on market days"),
        ("The loom reads linen and cotton", "The loom reads linen and cotton but not silk"),
        ("The loom reads linen and cotton", "Not all looms read linen and cotton"),
        ("The harbour was closed in 1921", "The harbour was not closed in 1934"),
        ("The harbour was closed by Reis", "The harbour was not closed by Carver"),
        ("The harbour is closed in winter", "No other harbour is closed in winter"),
        ("The harbour is closed in winter", "The harbour is not closed if winter is mild"),
        ("The harbour is closed in winter", "It is never said that no harbour is closed in winter"),
        ("The council sued the mill owner", "The mill owner did not sue the council"),
        ("It is closed", "It is not closed"),
    ],
)
def test_denials_that_do_not_contradict(left: str, right: str) -> None:
    """Denials of more, of part, of another year, name or thing, under a condition, twice, or the other way round."""
    assert not denied(left, right)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("increase", "decreased"),
        ("higher", "lower"),
        ("won", "lost"),
        ("effective", "ineffective"),
        ("presence", "absence"),
        ("stability", "instability"),
        ("successfully", "unsuccessfully"),
        ("always", "never"),
    ],
)
def test_the_table(one: str, other: str) -> None:
    """Opposites are found by the stems of their forms, in either order."""
    assert are_opposites(stem(one), stem(other))
    assert are_opposites(stem(other), stem(one))
    assert exclusion(stem(one), stem(other)) is ContradictionKind.POLARITY


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("high", "high"),
        ("high", "tall"),
        ("north", "south"),
        ("dawn", "dusk"),
        ("mother", "father"),
        ("first", "last"),
        ("came", "went"),
        ("public", "local"),
    ],
)
def test_what_is_not_in_the_table(one: str, other: str) -> None:
    """Synonyms, sides, nouns, people, order and changes of view are no opposites across texts."""
    assert not are_opposites(stem(one), stem(other))


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("north", "south", ContradictionKind.ENTITY),
        ("red", "blue", ContradictionKind.ENTITY),
        ("gray", "grey", None),
        ("May", "August", ContradictionKind.DATE),
        ("Monday", "May", None),
        ("red", "red", None),
        ("inside", "outside", ContradictionKind.POLARITY),
    ],
)
def test_exclusive_sets(one: str, other: str, kind: ContradictionKind | None) -> None:
    """Of two words of one set a thing has one; spellings of one word, and words of two sets, exclude nothing."""
    assert exclusion(stem(one), stem(other)) is kind
