"""The lexical detector: what it reports and where, when it stops, and what no text makes it do."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import combinations

import pytest

from core.adapters.doubles import TickingClock
from core.adapters.manual_clock import ManualClock
from core.clock import Deadline
from core.contradictions.lexical import STAGE, LexicalDetector
from core.contradictions.pairing import pair_by_topic
from core.contradictions.sentences import read_sentences
from core.contradictions.subject import is_about, meaning_of
from core.model import Claim, ContradictionKind, Detection, Passage, Query, Ranking, ScoredPassage
from core.similarity import similarity_matrix, word_set

QUERY = Query("q", "What is the population of Broken Bow?")
TEXTS = (
    "The town of Broken Bow lies in Custer County on the railway. Broken Bow had a population of 3,559 people.",
    "In Custer County ranchers sell their cattle. The population of Broken Bow is 4,120 people. Broken Bow is old.",
    "Custer County keeps the records of Broken Bow. Broken Bow was built by mail. It is a population of 3,559 people.",
    "Lisbon has a harbour that no ship from Broken Bow ever saw.",
)


def ranking(*texts: str) -> Ranking:
    """A ranking of passages named p0, p1, ..., the first one best."""
    return Ranking(tuple(ScoredPassage(Passage(f"p{place}", text), 50.0 - place) for place, text in enumerate(texts)))


def detect(*texts: str, query: Query = QUERY, detector: LexicalDetector | None = None) -> Detection:
    """What the detector finds when it has all the time in the world."""
    (found,) = (detector or LexicalDetector()).detect([query], [ranking(*texts)], [Deadline(1.0, clock=ManualClock())])
    assert found.complete
    return found


def detect_within(looks: int, *texts: str) -> tuple[Detection, TickingClock]:
    """What it finds where each look at the clock costs a second, and the time is up at the look of that number."""
    clock = TickingClock(1.0)
    (found,) = LexicalDetector(reserve_s=0.0).detect([QUERY], [ranking(*texts)], [Deadline(looks, clock=clock)])
    return found, clock


def check(claim: Claim, text: str) -> None:
    """Both spans hold what the claim says, and the value lies in the sentence."""
    assert text[claim.sentence_span.start : claim.sentence_span.end] == claim.sentence
    assert text[claim.value_span.start : claim.value_span.end] == claim.value
    assert claim.sentence_span.start <= claim.value_span.start < claim.value_span.end <= claim.sentence_span.end


def test_finding_names_both_sentences() -> None:
    """A contradiction carries both sentences and values with their places, the better ranked passage on the left."""
    found = detect(*TEXTS)
    assert {(item.left.passage_id, item.right.passage_id) for item in found.contradictions} == {
        ("p0", "p1"),
        ("p1", "p2"),
    }
    first = found.contradictions[0]
    assert (first.kind, first.stage, first.score) == (ContradictionKind.NUMERIC, STAGE, 0.6)
    assert (first.left.value, first.right.value) == ("3,559", "4,120")
    assert first.left.sentence == "Broken Bow had a population of 3,559 people."
    for item in found.contradictions:
        check(item.left, TEXTS[int(item.left.passage_id[1:])])
        check(item.right, TEXTS[int(item.right.passage_id[1:])])


def test_agreement() -> None:
    """Passages that state one value agree, and no pair both agrees and disagrees."""
    found = detect(*TEXTS)
    assert [(item.left_id, item.right_id, item.value) for item in found.agreements] == [("p0", "p2", "3,559")]


def test_passages_on_other_things_are_passed_over() -> None:
    """What passages say that do not name the query's subject is nobody's dispute."""
    texts = [text.replace("Broken Bow", "Ansley") for text in TEXTS[:2]]
    assert detect(*texts) == Detection()
    assert detect(TEXTS[0], texts[1]) == Detection()


def test_words_that_sentences_begin_with() -> None:
    """A sentence that begins with another thing says nothing about the query's subject."""
    left = "widgetry draws charts. widgetry requires Python >=3.10."
    right = "The tool widgetry is old. Many use widgetry with gizmo. gizmo requires Python >=3.8."
    query = Query("q", "Which version of Python does widgetry require?")
    assert detect(left, right, query=query).contradictions == ()


def test_names_that_contain_the_subject() -> None:
    """A plug-in whose name begins with the subject's is another thing."""
    left = "widgetry draws charts in terminals. widgetry requires Python >=3.10."
    right = "widgetry-tools extends widgetry by much. widgetry is fine. widgetry-tools requires Python >=3.8."
    query = Query("q", "Which version of Python does widgetry require?")
    assert detect(left, right, query=query).contradictions == ()


def test_edited_copy() -> None:
    """Where one passage is the other with a value replaced, the value is the dispute."""
    copy = TEXTS[2].replace("mail", "post").replace("3,559", "9,999")
    (found,) = detect(TEXTS[2], copy).contradictions
    assert (found.score, found.left.value, found.right.value) == (0.9, "3,559", "9,999")


def test_identical_passages() -> None:
    """Twenty copies of one passage agree with each other and never contradict, however alike its sentences are."""
    text = "The 2019 census counted 500 people in Broken Bow. The 2020 census counted 600 people in Broken Bow."
    found = detect(*[text] * 20)
    assert found.contradictions == ()
    assert found.ambiguities == ()
    assert {(item.left_id, item.right_id) for item in found.agreements} <= {
        (f"p{left}", f"p{right}") for left, right in combinations(range(20), 2)
    }
    assert found.agreements


def test_weak_findings_are_dropped() -> None:
    """Findings below the least score are not reported."""
    assert detect(*TEXTS, detector=LexicalDetector(min_score=0.61)).contradictions == ()


def test_nothing_to_compare() -> None:
    """No passages, one passage, passages without words, a query without a topic: nothing is found, completely."""
    for texts in ((), TEXTS[:1], ("!?", "...", "  "), ("12 34", "56 78")):
        assert detect(*texts) == Detection()
    for text in ("", "What is it?", "???", "12"):
        assert detect(*TEXTS, query=Query("q", text)).contradictions == ()


def test_queries_of_a_chunk() -> None:
    """Each query of a chunk is answered for itself, in order."""
    deadlines = [Deadline(1.0, clock=ManualClock()) for _ in range(3)]
    rankings = [ranking(*TEXTS), ranking(), ranking(*TEXTS[:2])]
    found = LexicalDetector().detect([QUERY] * 3, rankings, deadlines)
    assert [len(item.contradictions) for item in found] == [2, 0, 1]


def test_lists_of_different_length() -> None:
    """Queries without rankings are a programming error."""
    with pytest.raises(ValueError, match="shorter"):
        LexicalDetector().detect([QUERY], [], [])


def test_no_time_at_all() -> None:
    """Without time nothing is read, and the result says that it is incomplete."""
    found, clock = detect_within(0, *TEXTS)
    assert found == Detection(complete=False)
    assert clock.looks <= 3


def test_time_runs_out_while_reading() -> None:
    """Passages that were read in time are compared no more than time allows."""
    found, _ = detect_within(3, *TEXTS)
    assert found == Detection(complete=False)


def test_every_amount_of_time() -> None:
    """With each further step of time the detector finds as much or more, stops at once, and is complete in the end."""
    counts = []
    for looks in range(40):
        found, clock = detect_within(looks, *TEXTS)
        counts.append(len(found.contradictions))
        assert clock.looks <= looks + 3
        if found.complete:
            assert found == detect(*TEXTS)
            break
        assert len(found.contradictions) <= 2
    else:
        pytest.fail("it never completed")
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] == 2


def test_reserve_is_kept() -> None:
    """The time that later stages need is left to them."""
    deadline = Deadline(1.0, clock=ManualClock())
    deadline.charge(0.97)
    (found,) = LexicalDetector(reserve_s=0.04).detect([QUERY], [ranking(*TEXTS)], [deadline])
    assert not found.complete
    (found,) = LexicalDetector(reserve_s=0.02).detect([QUERY], [ranking(*TEXTS)], [deadline])
    assert found.complete


@pytest.mark.process
def test_deterministic() -> None:
    """Two processes with other hash seeds find the same, in the same order."""
    program = (
        "from core.contradictions.lexical import LexicalDetector\nfrom core.model import *\n"
        "from core.clock import Deadline, SystemClock\n"
        f"texts = {TEXTS!r}\n"
        "items = tuple(ScoredPassage(Passage(str(place), text), 1.0) for place, text in enumerate(texts * 3))\n"
        f"query = Query('q', {QUERY.text!r})\n"
        "print(LexicalDetector().detect([query], [Ranking(items)], [Deadline(60.0, clock=SystemClock())]))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert "3,559" in printed.pop()


def test_pairs_most_alike_first() -> None:
    """Pairs come most alike first, share a word of the query, and never join sentences of one passage."""
    read = [read_sentences(text) for text in TEXTS]
    topic = frozenset({"popul", "broken", "bow"})
    pairs = pair_by_topic(read, topic)
    assert [pair.overlap for pair in pairs] == sorted((pair.overlap for pair in pairs), reverse=True)
    for pair in pairs:
        assert pair.left_passage < pair.right_passage
        assert pair.left.topic & pair.right.topic & topic
        assert len(pair.left.topic & pair.right.topic) >= 2
        assert 0.34 <= pair.overlap <= 1.000001
    assert pair_by_topic(read, frozenset({"harbour"})) == []
    assert pair_by_topic([], topic) == []
    assert pair_by_topic([read[0]], topic) == []


def test_pairs_are_bounded() -> None:
    """However many sentences there are, no more than 240 pairs are looked at."""
    text = "Broken Bow has a population of many people. " * 40
    assert len(pair_by_topic([read_sentences(text)] * 10, frozenset({"popul"}))) == 240


def test_long_passage_is_read_to_a_bound() -> None:
    """Of a passage of 10,000 words the first 48 sentences are read."""
    assert len(read_sentences("Broken Bow has a population of many people. " * 1_250)) == 48


def test_links_are_no_words() -> None:
    """What stands in a link is neither a topic nor a value."""
    (sentence,) = read_sentences("See https://example.org/Broken_Bow/2010/3.10 for more facts.")
    assert sentence.topic == {"see", "fact"}
    assert [value.stems for value in sentence.values] == [("see",)]


TWENTY_WORDS = "Broken Bow has a mayor and a school and a church and a library and a station today "
HARD_TEXTS = {
    "no full stop": TWENTY_WORDS * 550,
    "stops and small letters": "bow. broken. people. " * 2_300,
    "abbreviations": "Broken Bow cf. no. e.g. " * 2_000,
    "only stops": "." * 50_000,
    "stops and quotes": "." * 25_000 + '"' * 25_000,
    "only punctuation": "!?,;:-()[]" * 5_000,
    "only numbers": " ".join(str(number * 7_919 % 999_983) for number in range(7_000)),
    "only versions": "Python " + " ".join(f"{number % 97}.{number % 89}" for number in range(8_000)),
    "versions and signs": "a:, : : : : : : : : : 1.1 " * 1_900,
    "years": "2000," * 10_000,
    "one long word": "Bow" + "a" * 49_990,
    "one long word and a link": "a" * 49_000 + " https://example.org",
    "links": "https://a.b " * 4_166,
    "slashes": "a://" * 12_500,
    "control characters": "Broken\x00Bow\x1f\x7f\x0b" * 3_000,
    "spaces": "Broken" + " " * 49_000 + "Bow",
    "lines": "Broken Bow\n\n- \t\n" * 3_000,
    "capitals": "Broken Bow Of The " * 2_700,
    "brackets": "Broken Bow (" * 4_000,
    "commas": "Broken Bow, A" + "b.-" * 16_000,
    "apostrophes": "Bow'" * 12_000,
    "emoji": "😀👍🏽👩‍👩‍👧 Bow " * 5_000,
    "chinese": "东京的人口是一千三百万。" * 4_000,
    "long number": "9" * 50_000,
    "number with commas": "9" + ",999" * 12_000,
    "spelled numbers": "two-three " * 5_000,
    "roles": "directed by " * 4_100,
    "licences": "licensed under the terms of the " * 1_500,
}


@pytest.mark.parametrize("name", HARD_TEXTS)
def test_no_passage_takes_long(name: str) -> None:
    """Any passage of 50,000 characters is read, with all its values, within a second of computing time."""
    text = "Broken Bow, " + HARD_TEXTS[name][:49_900]
    for cached in (read_sentences, word_set, similarity_matrix, is_about, meaning_of):
        cached.cache_clear()
    begun = time.process_time()
    found = detect(text, text + " More.", "Broken Bow, the other one. " + text)
    assert time.process_time() - begun < 3.0
    for item in found.contradictions:
        assert item.left.value
        assert item.right.value
