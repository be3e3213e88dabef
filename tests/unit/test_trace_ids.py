"""What makes two traces the same."""

from __future__ import annotations

from dataclasses import replace

from core.model import Passage, Query, ScoredPassage
from core.trace import identify, input_digest, passage_digest

QUERY = Query("q", "What?", session_id="s", user_id="u")
CANDIDATES = (ScoredPassage(Passage("p", "A text."), 1.5),)


def test_passage_digest() -> None:
    """A passage's digest is the SHA-256 of its text, whatever its id."""
    expected = "3b6444e203f18aca2e805df7fe60bda9bf6f34254f4f366232a7efec87a44754"
    assert passage_digest(Passage("a", "A text.")) == passage_digest(Passage("b", "A text.")) == expected
    assert passage_digest(Passage("a", "A text!")) != passage_digest(Passage("a", "A text."))


def test_input_digest_sees_all_input() -> None:
    """Whatever the caller sent changes the digest; metadata, which decides nothing, does not."""
    others = [
        replace(QUERY, query_id="r"),
        replace(QUERY, text="Why?"),
        replace(QUERY, session_id=None),
        replace(QUERY, user_id=None),
        replace(QUERY, candidates=()),
        replace(QUERY, candidates=CANDIDATES),
        replace(QUERY, candidates=(replace(CANDIDATES[0], score=1.0),)),
        replace(QUERY, candidates=(replace(CANDIDATES[0], passage=Passage("p", "Another text.")),)),
    ]
    digests = {input_digest(query) for query in (QUERY, *others)}
    assert len(digests) == 1 + len(others)
    assert input_digest(replace(QUERY, metadata={"a": 1})) == input_digest(QUERY)


def test_identity() -> None:
    """The same batch, query, input and configuration give the same 32 hexadecimal digits, anything else others."""
    found = identify("b", QUERY, config_digest="c")
    assert found == identify("b", replace(QUERY), config_digest="c")
    assert found.input_digest == input_digest(QUERY)
    assert len(found.trace_id) == 32
    assert int(found.trace_id, 16)
    others = (
        identify("x", QUERY, config_digest="c"),
        identify("b", QUERY, config_digest="x"),
        identify("b", replace(QUERY, candidates=CANDIDATES), config_digest="c"),
    )
    assert len({found.trace_id, *(other.trace_id for other in others)}) == 1 + len(others)
