"""The extractive answer: which sentences are quoted, in what order, and which disputes are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Decision, FallbackDecision, Passage, Query, Reason
from core.pipeline import Pipeline
from core.trace import QueryResult
from deployments.service.extract import Extract, extract
from tests.service_samples import COUNCIL, GUIDE, MARKET, QUERY_ID, QUESTION, a_pipeline, a_plain_pipeline

_REDO = FallbackDecision(Decision.REDO, Reason.ENABLED)
_LEGACY = FallbackDecision(Decision.LEGACY, Reason.FLAG_OFF)


def answered(question: str, pipeline: Pipeline, guard: FallbackDecision = _REDO) -> tuple[Extract, QueryResult]:
    """The answer to a question, and what it was made from."""
    (result,) = pipeline.run([Query(QUERY_ID, question)], [guard])
    return extract(result), result


def texts(question: str, *passages: str) -> Extract:
    """The answer from passages that nobody disputes."""
    made = (Passage(f"p{number}", text, f"source {number}") for number, text in enumerate(passages, start=1))
    return answered(question, a_plain_pipeline(*made))[0]


class TestNearness:
    """Which sentence."""

    def test_the_one_with_most_words_of_the_question(self) -> None:
        """Wherever it stands in its passage."""
        found = texts("Who built the bridge?", "The bridge is old. It was Ada Holt who built the bridge. Ships pass.")
        assert found.text == "It was Ada Holt who built the bridge. [1]"

    def test_it_may_stand_in_a_later_passage(self) -> None:
        """Better evidence wins only among equals."""
        found = texts("Who built the bridge?", "The bridge is old.", "Ada Holt built the bridge.")
        assert found.text == "Ada Holt built the bridge. [1]"
        assert [item.passage_id for item in found.citations] == ["p2"]

    def test_among_equals_the_better_evidence(self) -> None:
        """And within a passage the earlier sentence."""
        found = texts("Who built the bridge?", "Ada built the bridge. Bob built the bridge.", "Cid built the bridge.")
        assert found.text == "Ada built the bridge. [1]"

    def test_words_are_compared_by_their_stems(self) -> None:
        """Stop words do not count."""
        found = texts("Which bridges were being built?", "They were which. She is building a bridge.")
        assert found.text == "She is building a bridge. [1]"

    def test_nothing_in_common_is_no_answer(self) -> None:
        """Nothing is invented."""
        assert texts("What is it?", "The bridge is old.") == Extract(None)


class TestFurtherSentences:
    """What more is quoted."""

    def test_one_that_brings_another_word_of_the_question(self) -> None:
        """About the same thing, each with its own number."""
        found = texts(
            "When was the bridge built and repaired?", "The bridge was built in 1871.", "The bridge was repaired."
        )
        assert found.text == "The bridge was built in 1871. [1] The bridge was repaired. [2]"

    def test_not_one_that_repeats(self) -> None:
        """However near it is."""
        found = texts(
            "When was the bridge built?", "The bridge was built in 1871.", "The bridge was built in 1871 indeed."
        )
        assert len(found.citations) == 1

    def test_not_one_about_something_else(self) -> None:
        """A single word in common with the question is not enough."""
        found = texts("How many people live in Broken Bow?", "Broken Bow is a town.", "People like cake.")
        assert found.text == "Broken Bow is a town. [1]"

    def test_at_most_three(self) -> None:
        """An answer, not a report."""
        passages = [f"The bridge has {word}." for word in ("towers", "cables", "lamps", "gates", "rails")]
        found = texts("Has the bridge towers, cables, lamps, gates, rails?", *passages)
        assert len(found.citations) == 3


class TestDisputes:
    """Both sides, where the dispute is open and the answer is about it."""

    def test_both_sides_are_quoted_and_shown(self) -> None:
        """Each side names its citation."""
        found, _ = answered(QUESTION, a_pipeline())
        assert found.text is not None
        assert found.text.startswith("Sources disagree: The bridge of Arden is 400 metres long. [1] But: ")
        (dispute,) = found.disputes
        assert [dispute.left.citation, dispute.right.citation] == [1, 2]
        assert [item.quote for item in found.citations] == [dispute.left.sentence, dispute.right.sentence]
        assert (dispute.left.source, dispute.right.source) == ("council", "guide")

    def test_not_one_about_something_else(self) -> None:
        """The passages disagree, but not about what is quoted."""
        found, result = answered("When is the market of Arden held?", a_pipeline())
        assert result.selection.contradictions == ()
        assert (found.text, found.disputes) == ("The market of Arden is held every Tuesday. [1]", ())

    def test_not_in_a_legacy_answer(self) -> None:
        """It knows of none."""
        found, _ = answered(QUESTION, a_pipeline(), _LEGACY)
        assert (found.text, found.disputes) == ("The bridge of Arden is 400 metres long. [1]", ())


_WORDS = st.lists(st.sampled_from("the bridge Arden is 400 long . ! ? of built".split()), max_size=30).map(" ".join)


@given(question=_WORDS.filter(str.strip), passages=st.lists(_WORDS.filter(str.strip), max_size=4))
def test_every_quote_is_in_its_passage(question: str, passages: list[str]) -> None:
    """To the character, with numbers from 1 that the answer has."""
    made = {f"p{number}": Passage(f"p{number}", text) for number, text in enumerate(passages)}
    found, _ = answered(question, a_plain_pipeline(*made.values()))
    assert (found.text is None) is (not found.citations)
    for number, item in enumerate(found.citations, start=1):
        assert item.number == number
        assert made[item.passage_id].text[item.start : item.end] == item.quote
        assert f"[{number}]" in str(found.text)


@pytest.mark.parametrize("passage", [COUNCIL, GUIDE, MARKET])
def test_one_passage_is_enough(passage: Passage) -> None:
    """Each answers what it is about."""
    found, _ = answered(passage.text, a_plain_pipeline(passage))
    assert {item.passage_id for item in found.citations} == {passage.passage_id}
