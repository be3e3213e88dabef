"""Edited copies: replacements that change nothing, or change what the sentence is about, are no contradictions."""

from __future__ import annotations

import pytest

from core.contradictions.edits import edited_copy
from core.contradictions.finding import Context, Finding
from core.contradictions.lexical import contradiction_in
from core.contradictions.pairing import SentencePair
from core.contradictions.sentences import Sentence, read_sentences
from core.contradictions.values import number_word
from core.model import ContradictionKind


def sentence(text: str) -> Sentence:
    """The one sentence of a text."""
    (found,) = read_sentences(text)
    return found


def judged(one: str, other: str, *, same_source: bool = False) -> Finding | None:
    """What the replacement means between passages that are much alike; the same with the sides exchanged."""
    left, right = sentence(one), sentence(other)
    finding = edited_copy(left, right, similarity=0.9, same_source=same_source)
    mirrored = edited_copy(right, left, similarity=0.9, same_source=same_source)
    assert (finding and (finding.kind, finding.score)) == (mirrored and (mirrored.kind, mirrored.score))
    return finding


def said(finding: Finding | None, one: str, other: str) -> tuple[str, str, str] | None:
    """Kind and both values of a finding."""
    if finding is None:
        return None
    return (
        finding.kind.value,
        one[finding.left.start : finding.left.end],
        other[finding.right.start : finding.right.end],
    )


MILL = "The mill by the river {} and keeps its old wheel in the yard"


@pytest.mark.parametrize(
    ("gone", "come", "kind"),
    [
        ("is open in summer", "is closed in summer", "polarity"),
        ("was regularly flooded", "was irregularly flooded", "polarity"),
        ("accepted the grant", "rejected the grant", "polarity"),
        ("won the prize", "lost the prize", "polarity"),
        ("has the higher roof", "has the lower roof", "polarity"),
        ("has white walls", "has yellow walls", "entity"),
        ("faces the northern bank", "faces the southern bank", "entity"),
        ("opens on Monday", "opens on Friday", "date"),
        ("has two stones", "has three stones", "numeric"),
        ("has two stones", "has 5 stones", "numeric"),
        ("was the third one there", "was the 5th one there", "numeric"),
    ],
)
def test_words_that_exclude_each_other(gone: str, come: str, kind: str) -> None:
    """Opposites, colours, directions, days and number words of a copy are a contradiction of their kind."""
    one, other = MILL.format(gone), MILL.format(come)
    assert (found := said(judged(one, other), one, other)) is not None
    assert found[0] == kind
    assert found[1] != found[2]


@pytest.mark.parametrize(
    ("gone", "come"),
    [
        ("can be open in winter", "can be closed in winter"),
        ("has white or grey walls", "has yellow or grey walls"),
        ("has grey walls", "has gray walls"),
        ("has two stones", "has 2 stones"),
        ("has old walls", "has walls"),
        ("grinds flour", "is grinding flour"),
        ("was sold for 39.2 pounds", "was sold for 39 pounds"),
        ("was sold for 3,559 pounds", "was sold for about 3,600 pounds"),
        ("was sold for 55 pounds", "was sold for over 50 pounds"),
        ("was sold to Bin Laden", "was sold to Bin Ladin"),
        ("was sold to the United States", "was sold to the U.S"),
        ("was sold to Ann Reis-Hay", "was sold to Reis"),
        ("stands in Leith or Perth", "stands in Ayr or Perth"),
        ("is called Reis's mill", "is called Reis 's mill"),
    ],
)
def test_replacements_that_change_nothing(gone: str, come: str) -> None:
    """Possibilities, alternatives, spellings, forms of a word, rounding, bounds, short forms and parts of a name."""
    assert judged(MILL.format(gone), MILL.format(come)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Step 2: open the valve of the boiler slowly", "Step 3: open the valve of the boiler slowly"),
        ("In version 1.2 the loom reads 5 files at once", "In version 1.3 the loom reads 7 files at once"),
        ("The loom reads files by loom1 on port 80 of a host", "The loom reads files by loom2 on port 90 of a host"),
        ("The loom takes the lowest of 3 values of a row", "The loom takes the highest of 9 values of a row"),
        ("Loom, Cotton Thread: A cotton guide is also sold", "Loom, Linen Thread: A linen guide is also sold"),
        ("Threads of the loom 12 percent of men like", "Threads of the loom 24 percent of women like"),
    ],
)
def test_other_things(one: str, other: str) -> None:
    """Another step, release, program, measure, section or group: what is said of both may be right."""
    assert judged(one, other) is None


def test_sections_of_one_pattern() -> None:
    """Within one source, opposite words tell sections apart: `Encode a file`, `Decode a file`."""
    one, other = MILL.format("reads the encoded file"), MILL.format("reads the decoded file")
    assert judged(one, other) is not None
    assert judged(one, other, same_source=True) is None


def test_first_word_is_no_name() -> None:
    """A capital that the place demands makes no name of a verb, and two instructions are no statements."""
    assert judged("Loom tools: Polish the single thread now", "Loom tools: Cut the single thread now") is None
    assert judged("Loom tools: Upload the single file now", "Loom tools: Download the single file now") is None
    assert judged("The mill of Leith keeps its wheel", "The mill of Perth keeps its wheel") is not None


@pytest.mark.parametrize(
    ("one", "other", "denied"),
    [
        (MILL.format("is open"), MILL.format("is not open"), True),
        (MILL.format("is open"), MILL.format("isn't open"), True),
        (MILL.format("was sold"), MILL.format("was never sold"), True),
        (MILL.format("has some visitors"), MILL.format("has no visitors"), True),
        (MILL.format("was begun"), MILL.format("was begun but never finished"), False),
        (MILL.format("may be open"), MILL.format("may or may not be open"), False),
        (MILL.format("chose Leith over Perth"), MILL.format("chose Leith not Perth"), False),
        (MILL.format("is not open on any day"), MILL.format("is not open on no day"), False),
        (MILL.format("is not for sale"), MILL.format("is not for sale because none asked"), False),
    ],
)
def test_denials(one: str, other: str, *, denied: bool) -> None:
    """A negation alone makes the contradiction; an added statement, a choice or a second negation does not."""
    finding = judged(one, other)
    assert (finding is not None) == denied
    assert finding is None or finding.kind is ContradictionKind.POLARITY


@pytest.mark.parametrize("name", ["loom-inspection", "loom-inspect"])
def test_names_with_one_stem(name: str) -> None:
    """Two packages whose names have one stem are two packages; one package with two versions is a contradiction."""
    told = Context(
        similarity=0.9,
        same_subject=True,
        same_setting=True,
        about=frozenset({"loom-inspect"}),
        query_topic=frozenset({"loom-inspect"}),
        attribute=frozenset(),
    )
    left = sentence("The installed version of loom-inspect is 0.9.0")
    right = sentence(f"The installed version of {name} is 0.4.5")
    finding = contradiction_in(SentencePair(0, 1, left, right, 1.0), told)
    assert (finding is None) == (name == "loom-inspection")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("seven", ("count", 7)),
        ("12", ("count", 12)),
        ("forty", ("count", 40)),
        ("third", ("order", 3)),
        ("22nd", ("order", 22)),
        ("one", None),
        ("2nds", None),
        ("²", None),
        ("mill", None),
    ],
)
def test_number_words(word: str, expected: tuple[str, int] | None) -> None:
    """Cardinals and ordinals, as words or in digits; `one` counts nothing."""
    assert number_word(word) == expected
