"""Each rule on pairs of sentences: what it must find, and what it must leave alone."""

from __future__ import annotations

import pytest

from core.contradictions.edits import edited_copy
from core.contradictions.finding import Context, Finding
from core.contradictions.lexical import contradiction_in
from core.contradictions.pairing import SentencePair
from core.contradictions.polarity import opposite_polarity
from core.contradictions.rules import (
    Rule,
    counted_things,
    event_dates,
    licences,
    required_versions,
    role_names,
)
from core.contradictions.sentences import Sentence, read_sentences
from core.contradictions.subject import share_subject, subject_of
from core.model import ContradictionKind
from core.similarity import similarity_matrix


def sentence(text: str) -> Sentence:
    """The one sentence of a text."""
    (found,) = read_sentences(text)
    return found


def context(query: str, left: str, right: str, *, same_setting: bool = True) -> Context:
    """What the detector would tell the rules about two texts."""
    subject = subject_of(query)
    return Context(
        similarity=float(similarity_matrix((left, right))[0, 1]),
        same_subject=share_subject(subject, left, right),
        same_setting=same_setting,
        about=subject.about,
        query_topic=subject.topic,
        attribute=subject.attribute,
    )


def apply(rule: Rule, query: str, left: str, right: str) -> tuple[str, str, ContradictionKind] | None:
    """What the rule says on two texts of one sentence: both values as they stand there, and the kind.

    A rule must say the same with the sides exchanged.
    """
    finding = rule(SentencePair(0, 1, sentence(left), sentence(right), 1.0), context(query, left, right))
    mirrored = rule(SentencePair(0, 1, sentence(right), sentence(left), 1.0), context(query, right, left))
    assert (finding is None) == (mirrored is None)
    if finding is None or mirrored is None:
        return None
    assert (finding.left, finding.right, finding.kind) == (mirrored.right, mirrored.left, mirrored.kind)
    assert 0.0 < finding.score <= 1.0
    return (*values(finding, left, right), finding.kind)


def values(finding: Finding, left: str, right: str) -> tuple[str, str]:
    """What the finding's spans hold."""
    return left[finding.left.start : finding.left.end], right[finding.right.start : finding.right.end]


POPULATION = "What is the population of Broken Bow?"


@pytest.mark.parametrize(
    ("query", "left", "right", "expected"),
    [
        (
            POPULATION,
            "Broken Bow had a population of 3,559 people",
            "The population of Broken Bow is 4,120 people",
            ("3,559", "4,120"),
        ),
        (
            POPULATION,
            "Broken Bow had a population of 3,559 people in 2010",
            "In 2010 the population of Broken Bow was 4,120 people",
            ("3,559", "4,120"),
        ),
        (
            "What share of the population is Hispanic?",
            "In Broken Bow 12% of the population is Hispanic",
            "Some 25 percent of the population is Hispanic",
            ("12%", "25 percent"),
        ),
        (
            "How high is the median income?",
            "The median income is $35,000",
            "The median income lies at $52,000 now",
            ("$35,000", "$52,000"),
        ),
        (
            "How many people visit Broken Bow?",
            "Each year 2 million people visit it",
            "Some 900,000 people visit the town",
            ("2 million", "900,000"),
        ),
    ],
)
def test_counted_things(query: str, left: str, right: str, expected: tuple[str, str]) -> None:
    """What the query asks about, counted differently: numbers with units, shares, money, scales."""
    assert apply(counted_things, query, left, right) == (*expected, ContradictionKind.NUMERIC)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Broken Bow had a population of 3,559 people", "The population of Broken Bow is 3,559 people"),
        ("Broken Bow had a population of 3,559 people", "The population of Broken Bow is about 3,600 people"),
        ("Broken Bow had a population of 3,559 people in 2010", "It had a population of 3,200 people in 1960"),
        ("A population of 3,000 people and 500 people outside", "The population of Broken Bow is 4,120 people"),
        ("A population of 3,000 to 4,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of 3,000-4,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of 3,000–4,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population between 3,000 and 4,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of over 3,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of more than 3,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of up to 5,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of >5,000 people", "The population of Broken Bow is 3,559 people"),
        ("The population grew by 500 people more than before", "The population of Broken Bow is 3,559 people"),
        ("The rural population is 900 people", "The urban population is 3,559 people"),
        ("A population of at least 2,000 people", "The population of Broken Bow is 3,559 people"),
        ("A population of 3,559 people", "The population is 1,200 families"),
        ("Its population of two people grew", "The population of Broken Bow is 4,120 people"),
        ("It has 12 schools", "Broken Bow has 3 schools"),
        ("The population is 12", "The population is 13"),
        ("The population of 3,559 people" + " once again" * 12 + " bought 9 cars", "The population has 40 cars"),
    ],
    ids=lambda text: text[:40],
)
def test_counts_that_do_not_contradict(left: str, right: str) -> None:
    """Rounding, other years, lists, ranges, bounds, other units, and what was not asked are no contradictions."""
    assert apply(counted_things, POPULATION, left, right) is None


BORN = "When was Marie Tolliver born?"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("Tolliver was born in 1871", "Marie Tolliver, born in 1874, painted", ("1871", "1874")),
        ("She was born on 3 May 1871", "She was born in June 1871", ("3 May 1871", "June 1871")),
        ("She was born 1871-05-03", "Marie was born on 4 May 1871", ("1871-05-03", "4 May 1871")),
        ("The club was founded in 1901", "It was established in 1911", ("1901", "1911")),
        ("The film premiered in 1931", "It was released in 1932", ("1931", "1932")),
        ("The bridge was opened in 1931", "It was inaugurated in 1932", ("1931", "1932")),
        ("The tower was built in 1931", "It was completed in 1932", ("1931", "1932")),
        ("The cell was invented in 1931", "It was patented in 1932", ("1931", "1932")),
        ("The school closed in 1931", "It was demolished in 1932", ("1931", "1932")),
        ("He died in 1931", "He passed away in 1932", ("1931", "1932")),
        ("In 1931 he died", "He died in 1932", ("1931", "1932")),
    ],
)
def test_event_dates(left: str, right: str, expected: tuple[str, str]) -> None:
    """One event at two dates, whatever the words for the event."""
    assert apply(event_dates, BORN, left, right) == (*expected, ContradictionKind.DATE)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("She was born in 1871", "She was born on 3 May 1871"),
        ("She was born on 3 May 1871", "She was born May 3, 1871"),
        ("She was born in 1871", "She died in 1930"),
        ("She was born in 1871 and went to school in 1878", "She was born in 1874"),
        ("She was born between 1870 and 1872", "She was born in 1874"),
        ("She was born in the 1870s", "She was born in 1884"),
        ("She was born in Leith" + " by the sea" * 8 + " before 1900", "She was born in 1874"),
        ("She lived in 1871", "She lived in 1874"),
        ("She was born in Leith", "She was born in 1874"),
    ],
    ids=lambda text: text[:40],
)
def test_dates_that_do_not_contradict(left: str, right: str) -> None:
    """Less exact dates, other events, ranges, decades and dates that stand far away are no contradictions."""
    assert apply(event_dates, BORN, left, right) is None


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("It was directed by Paula Reis", "A film directed by John Carver", ("Paula Reis", "John Carver")),
        ("It was written by Paula Reis", "The author is John Carver", ("Paula Reis", "John Carver")),
        ("It was founded by Paula Reis", "It was founded by the Carver Trust", ("Paula Reis", "Carver Trust")),
        ("She was married to Paul Reis", "She was married to John Carver", ("Paul Reis", "John Carver")),
        ("The capital is Leith", "The capital was Perth", ("Leith", "Perth")),
        ("It was directed by Ann Lee in Perth", "It was directed by John Carver in Perth", ("Ann Lee", "John Carver")),
        ("It was directed by Ann Lee, Jo Hay", "It was directed by John Carver", ("Ann Lee", "John Carver")),
    ],
)
def test_role_names(left: str, right: str, expected: tuple[str, str]) -> None:
    """One role, held by different names."""
    assert apply(role_names, "Who was it?", left, right) == (*expected, ContradictionKind.ENTITY)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It was directed by Paula Reis", "It was directed by Reis"),
        ("It was directed by Paula Reis", "It was produced by John Carver"),
        ("It was directed by Paula Reis and John Carver", "It was directed by John Carver"),
        ("It was directed by Paula Reis, John Carver", "It was directed by John Carver"),
        ("It was directed by Ann Lee, Paula Reis, and John Carver", "It was directed by John Carver"),
        ("It was directed by Ann Lee, Jo Hay & John Carver", "It was directed by John Carver and Paula Reis"),
        ("It was recorded by the British Broadcasting Corporation", "It was recorded by the BBC"),
        ("It was recorded by the British Broadcasting Corporation", "It was recorded by the B.B.C"),
        ("It was directed by somebody", "It was directed by John Carver"),
        ("It was directed by a man whom Paula Reis knew", "It was directed by John Carver"),
        ("Paula Reis left", "John Carver left"),
    ],
)
def test_roles_that_do_not_contradict(left: str, right: str) -> None:
    """Parts of a name, abbreviations, other roles and lists with a name in common are no contradictions."""
    assert apply(role_names, "Who was it?", left, right) is None


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("It is licensed under MIT", "It is licensed under Apache 2.0", ("MIT", "Apache")),
        (
            "It is released under the MIT License",
            "Licensed under the Apache License",
            ("MIT License", "Apache License"),
        ),
        ("The license is MIT", "It is distributed under the terms of the GPL", ("MIT", "GPL")),
        (
            "It is licensed under the GNU General Public License",
            "The licence of widgetry is the Mozilla Public License",
            ("GNU General Public License", "Mozilla Public License"),
        ),
        ("It is licensed under MIT, BSD", "It is licensed under Apache", ("MIT", "Apache")),
    ],
)
def test_licences(left: str, right: str, expected: tuple[str, str]) -> None:
    """Two licences, however they are introduced; words that many licences share do not make them one."""
    assert apply(licences, "What is the license of widgetry?", left, right) == (*expected, ContradictionKind.ENTITY)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It is licensed under MIT", "It is released under the MIT License"),
        ("It is licensed under BSD", "It is licensed under the Berkeley Software Distribution"),
        ("The license is BSD-3-Clause", "It is released under the BSD License"),
        ("The license is BSD-3-Clause", "It is released under the New BSD License"),
        ("The license is Apache-2.0", "It is released under the Apache License"),
        ("The license is GPLv3", "It is released under the GNU General Public License"),
        ("The license is GPL-3.0-or-later", "It is released under the GPLv3"),
        ("The license is LGPL", "It is released under the GNU Lesser General Public License"),
        ("The license is MPL-2.0", "It is released under the Mozilla Public License"),
        ("The license is MIT", "Licensed under the Massachusetts Institute of Technology License"),
        ("It is released under a Public License", "It is licensed under MIT"),
        ("Licensed under Apache License, MIT License and Mozilla Public License", "Licensed under MPL and MIT"),
        ("It is licensed under terms that nobody knows", "It is licensed under MIT"),
        ("It is free", "It is licensed under MIT"),
    ],
)
def test_licences_that_do_not_contradict(left: str, right: str) -> None:
    """Abbreviations, versions and spellings of one licence, lists with one in common, and no name at all."""
    assert apply(licences, "What is the license of widgetry?", left, right) is None


def test_licences_that_nobody_asked_about() -> None:
    """The rule speaks only where the query asks about the licence."""
    left, right = "It is licensed under MIT", "It is licensed under Apache"
    assert apply(licences, "What does widgetry do?", left, right) is None


VERSION = "Which version of Python does widgetry require?"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("It requires Python >=3.10", "It supports Python 3.8 and newer", ("3.10", "3.8 and newer")),
        ("It requires Python >=3.10", "It supports Python 3.8 and 3.9", ("3.10", "3.8")),
        ("It requires Python >=3.10", "It runs on Python 3.9, 3.10 and 3.11", ("3.10", "3.9")),
        ("python_requires Python 3.9+", "It needs Python 3.11 or later", ("3.9+", "3.11 or later")),
    ],
)
def test_required_versions(left: str, right: str, expected: tuple[str, str]) -> None:
    """The lowest versions that are needed differ, and the higher one is a bound."""
    assert apply(required_versions, VERSION, left, right) == (*expected, ContradictionKind.NUMERIC)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It requires Python >=3.10", "It dropped support for Python 3.8 and newer"),
        ("It requires Python >=3.10", "It dropped support for 3.8"),
        ("It requires Python >=3.10", "Python 3.8 and older are no longer supported"),
        ("It requires Python >=3.10", "The last release that supports Python 3.8+ is 1.2"),
        ("It requires Python >=3.10", "It needs Python 3.10 or later"),
        ("It requires Python >=3.10", "It needs Python 3.10.4 or later"),
        ("It requires Python >=3.10", "It was tested on Python 3.8"),
        ("It requires Python >=3.10", "It supports Python 3.10 to 3.13"),
        ("It requires Python >=3.8,<3.12", "It supports Python 3.8 and newer"),
        ("It requires Python >=3.10", "It needs pip 21.3 or later"),
        ("It requires pip >=20.1", "It needs pip 21.3 or later"),
        ("Python >=3.10 is great", "Python >=3.8 is too"),
        ("It requires Python >=3.10", "Clearing the cache works (Python 3.4 and up)"),
        ("It requires Python >=3.10", "On Python 3.14+, streams are supported by the standard library"),
        ("It requires Python >=3.10", "Its versions 0.19 to 0.21 require Python 3.7 or later"),
        ("It requires Python >=3.10", "Type checking requires Python 3.12 or later"),
        ("It requires Python >=3.10", "Version 2.1 of the package requires Python 3.7 or later"),
        ("It requires Python >=3.10", "It was tested with Python 3.8, 3.9 and 3.10"),
    ],
)
def test_versions_that_do_not_contradict(left: str, right: str) -> None:
    """Dropped and former versions, patch levels, examples, upper bounds, other products and mere mentions."""
    assert apply(required_versions, VERSION, left, right) is None


def test_opposite_polarity() -> None:
    """The same words, denied on one side: the whole sentences are what differs."""
    left, right = "Broken Bow is the seat of the county", "Broken Bow is not the seat of the county"
    found = apply(opposite_polarity, "Is Broken Bow the seat?", left, right)
    assert found == (left, right, ContradictionKind.POLARITY)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Broken Bow is the seat of the county", "Broken Bow isn't the seat of the county"),
        ("Broken Bow was the seat of the county", "Broken Bow was never the seat of the county"),
        ("Broken Bow is the seat of the county", "Broken Bow cannot be the seat of the county"),
        ("Broken Bow is the seat of the county", "Broken Bow isn’t the seat of the county"),
    ],
)
def test_ways_to_deny(left: str, right: str) -> None:
    """Contractions and other words deny as well as `not` does."""
    assert apply(opposite_polarity, "Is Broken Bow the seat?", left, right) is not None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Broken Bow is not the seat of the county", "Broken Bow is never the seat of the county"),
        ("Broken Bow is the seat of the county", "Broken Bow is not only the seat of the county"),
        ("Broken Bow is the seat of the county", "The mayor does not live in Broken Bow"),
        ("Broken Bow is the seat of the county", "Broken Bow is the seat of the county"),
    ],
)
def test_polarity_that_does_not_contradict(left: str, right: str) -> None:
    """Both sides denied, `not only`, and denied statements about something else."""
    assert apply(opposite_polarity, "Is Broken Bow the seat?", left, right) is None


FRAME = "The town of Broken Bow lies on the railway in Custer County, {}, and keeps {} cattle on its {} meadows"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (("Nebraska", "3,559", "green"), ("Oklahoma", "3,559", "green"), ("Nebraska", "Oklahoma", "entity")),
        (("Nebraska", "3,559", "green"), ("Nebraska", "4,120", "green"), ("3,559", "4,120", "numeric")),
        (("since 1884", "few", "green"), ("since 1894", "few", "green"), ("1884", "1894", "date")),
        (("Nebraska", "many", "green"), ("Nebraska", "many", "brown"), ("green", "brown", "entity")),
        (("Nebraska", "many", "dry"), ("Nebraska", "many", "wet"), ("dry", "wet", "polarity")),
        (("Nebraska", "two", "green"), ("Nebraska", "seven", "green"), ("two", "seven", "numeric")),
        (("Nebraska", "many", "green"), ("Nebraska", "many", "barren"), None),
        (("Nebraska", "not", "green"), ("Nebraska", "", "green"), None),
        (("Nebraska", "3,559", "green"), ("Nebraska", "3,559", "green"), None),
        (("Nebraska", "3,559", "green"), ("Nebraska", "3559", "green"), None),
        (("Nebraska", "3,559", "green"), ("Nebraska", "many", "green"), None),
        (("Nebraska", "its", "green"), ("Nebraska", "the", "green"), None),
    ],
)
def test_edited_copy(
    left: tuple[str, str, str], right: tuple[str, str, str], expected: tuple[str, str, str] | None
) -> None:
    """The words that an edit replaced are what two copies disagree about; spelling and stop words are no edit."""
    one, other = FRAME.format(*left), FRAME.format(*right)
    finding = edited_copy(sentence(one), sentence(other), similarity=0.9)
    if expected is None and finding is not None:
        assert finding.kind is ContradictionKind.POLARITY
        assert "not" in left + right
    else:
        assert (finding and (*values(finding, one, other), finding.kind.value)) == expected


def test_edit_that_denies() -> None:
    """A `not` put into a copy is a contradiction of polarity: on the side without it the sentence is shown."""
    one, other = "The old mill by the river was open to visitors", "The old mill by the river was not open to visitors"
    finding = edited_copy(sentence(one), sentence(other), similarity=0.9)
    assert finding is not None
    assert (finding.kind, *values(finding, one, other)) == (ContradictionKind.POLARITY, one, "not")


def test_rewritten_denial() -> None:
    """Where an edit changes more than the denial, it may say something else altogether."""
    one = "The old mill by the river in the valley was open to visitors from everywhere"
    other = "The old mill by the river in the valley was not sold or burnt to visitors from everywhere"
    assert edited_copy(sentence(one), sentence(other), similarity=0.9) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The mill is old", "The large white mill down by the slow river was built of stone long ago"),
        ("The mill by the river is old", "A house on a hill was white"),
        ("a b c d e f g h i j k l m n o p q r s t", "a x c d y f g z i j w l m v o p u r s q"),
        ("The old mill by the river was open to visitors", "The old white mill by the river was open to visitors"),
        ("The tool name_one reads the files of the user", "The tool name_two reads the files of the user"),
        ("Pin the exact version you want: `install 'loom==1'`", "Pin the exact version you want: `install 'weir==2'`"),
        (
            "Loom, Send files: Send a single file to a folder there",
            "Loom, Fetch files: Fetch a single file to a folder there",
        ),
    ],
)
def test_no_copy(one: str, other: str) -> None:
    """Other sentences, many edits, other identifiers, pins and sections of one pattern make no edited copy."""
    assert edited_copy(sentence(one), sentence(other), similarity=0.9) is None


REST = (
    " Ranchers drive their herds to the depot each autumn, and a small museum beside the mill shows saddles, branding"
    " irons and the letters of early settlers. The library opened later, in a former bank of red sandstone."
)


@pytest.mark.parametrize(
    ("rest", "similarity", "same_source", "expected"),
    [
        (REST, 0.9, False, ContradictionKind.ENTITY),
        (REST, 0.6, False, None),
        (REST, 0.9, True, None),
        ("", 0.9, False, None),
    ],
    ids=["copied", "less alike", "one source", "short"],
)
def test_common_word_replaced(
    rest: str, similarity: float, *, same_source: bool, expected: ContradictionKind | None
) -> None:
    """A common word is an edit only in a long copy of another source: elsewhere it is a paraphrase or a pattern."""
    one, other = (FRAME.format("Nebraska", "many", word) + "." + rest for word in ("green", "barren"))
    left, right = (read_sentences(text)[0] for text in (one, other))
    finding = edited_copy(left, right, similarity=similarity, same_source=same_source)
    assert (finding and finding.kind) == expected


def test_sentence_of_both_passages() -> None:
    """Identical passages never contradict each other, however alike their own sentences are."""
    text = "The 2019 census counted 500 people in Broken Bow. The 2020 census counted 600 people in Broken Bow."
    first, second = read_sentences(text)
    told = context(POPULATION, text, text)
    for left, right in ((first, second), (second, first), (first, first)):
        assert contradiction_in(SentencePair(0, 1, left, right, 1.0), told) is None


def test_rules_need_one_subject() -> None:
    """Texts that name different parts of the query's subject are not compared."""
    left, right = "The film Night Harbour was directed by Paula Reis", "Directed by John Carver, it was called Harbour"
    told = context("Who directed Night Harbour?", left, right)
    assert contradiction_in(SentencePair(0, 1, sentence(left), sentence(right), 1.0), told) is None


def test_most_rules_need_one_setting() -> None:
    """Where namesakes are likely, only the rules on products speak."""
    query = "Which license and which Python version does widgetry have, and when was it released?"
    dated = "widgetry was released in 2019", "In 2021 widgetry was released by its makers"
    bound = "widgetry requires Python >=3.10", "Python 3.8 and newer is supported by the widgetry of today"
    for texts, expected in ((dated, None), (bound, ContradictionKind.NUMERIC)):
        told = context(query, *texts, same_setting=False)
        finding = contradiction_in(SentencePair(0, 1, sentence(texts[0]), sentence(texts[1]), 1.0), told)
        assert (finding and finding.kind) == expected
