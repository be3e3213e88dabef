"""What a raw record must be to become a query, a passage or a label."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from core.errors import RecordError
from core.model import Passage, Query
from core.records import (
    MAX_CANDIDATES,
    MAX_ID_CHARS,
    MAX_PASSAGE_CHARS,
    MAX_QUERY_CHARS,
    MAX_SOURCE_CHARS,
    Label,
    LabelKind,
    json_type,
    parse_label,
    parse_passage,
    parse_query,
)

QUERY: Mapping[str, object] = {"query_id": "q1", "text": "Which Python does it need?"}
PASSAGE: Mapping[str, object] = {"passage_id": "p1", "text": "It needs Python 3.10."}
LABEL: Mapping[str, object] = {"query_id": "q1", "passage_id": "p1", "label": "correct"}

Parser = Callable[[object], object]


def refusal(parse: Parser, record: object) -> str:
    """The message of the error that the record must give."""
    with pytest.raises(RecordError) as caught:
        parse(record)
    return str(caught.value)


def candidate(number: int, **fields: object) -> dict[str, object]:
    """A candidate with an id of its own."""
    return {"passage_id": f"p{number}", "text": f"Passage {number}.", **fields}


def candidates_of(*records: object) -> list[tuple[str, float]]:
    """Ids and scores of a query's candidates once they are read."""
    query = parse_query({**QUERY, "candidates": list(records)})
    assert query.candidates is not None
    return [(item.passage.passage_id, item.score) for item in query.candidates]


def test_smallest_query() -> None:
    """A query needs an id and a text, and asks for retrieval where it brings no candidates."""
    assert parse_query(QUERY) == Query("q1", "Which Python does it need?")


def test_full_query() -> None:
    """Every field of a query arrives where it belongs."""
    record = {
        **QUERY,
        "session_id": "s",
        "user_id": "u",
        "metadata": {"team": "search"},
        "candidates": [candidate(1, score=2.5, source="a")],
    }
    query = parse_query(record)
    assert (query.session_id, query.user_id, query.metadata) == ("s", "u", {"team": "search"})
    assert query.candidates is not None
    assert query.candidates[0].passage == Passage("p1", "Passage 1.", source="a")


def test_text_is_carried_as_it_is() -> None:
    """White space around a text belongs to it: spans count its characters."""
    assert parse_query({**QUERY, "text": "  why? \n"}).text == "  why? \n"


@pytest.mark.parametrize("value", [None, ""])
def test_optional_field_without_value_is_missing(value: object) -> None:
    """Null and the empty string both say that an optional field has no value: nobody shares the session `""`."""
    record = {**QUERY, "session_id": value, "user_id": value, "metadata": value, "candidates": value}
    assert parse_query(record) == parse_query(QUERY)
    assert parse_passage({**PASSAGE, "source": value, "published_at": value}) == parse_passage(PASSAGE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_id": None}, "query_id: missing, expected a non-blank string"),
        ({"query_id": ""}, "query_id: empty, expected a non-blank string"),
        ({"query_id": 7}, "query_id: wrong type, expected a non-blank string, got a number"),
        ({"query_id": "q" * 257}, "query_id: too long, expected at most 256 characters, got 257"),
        ({"query_id": "q\n1"}, "query_id: control character, expected none, got U+000A at character 2"),
        ({"query_id": "q\x9b1"}, "query_id: control character, expected none, got U+009B at character 2"),
        ({"text": " \t\n"}, "text: empty, expected a non-blank string"),
        ({"text": ["a"]}, "text: wrong type, expected a non-blank string, got a list"),
        ({"text": "x" * 4_001}, "text: too long, expected at most 4,000 characters, got 4,001"),
        ({"text": "a\ud800"}, "text: invalid UTF-8, lone surrogate at character 2"),
        ({"session_id": 3}, "session_id: wrong type, expected a string, got a number"),
        ({"user_id": "u" * 257}, "user_id: too long, expected at most 256 characters, got 257"),
        ({"user_id": "\udfff"}, "user_id: invalid UTF-8, lone surrogate at character 1"),
        ({"metadata": [1]}, "metadata: wrong type, expected an object or JSON text of one, got a list"),
        ({"candidates": {}}, "candidates: wrong type, expected a list or JSON text of one, got an object"),
    ],
)
def test_query_that_cannot_be_used(changes: Mapping[str, object], message: str) -> None:
    """Each broken field is named, with what is wrong and what was expected."""
    assert refusal(parse_query, {**QUERY, **changes}) == message


@pytest.mark.parametrize("record", [None, [], "text", 7])
def test_record_is_an_object(record: object) -> None:
    """What is no object is refused as a whole, without a field."""
    for parse in (parse_query, parse_passage, parse_label):
        assert refusal(parse, record) == f"not an object, got {json_type(record)}"


def test_limits_are_inclusive() -> None:
    """A field of exactly the longest length is accepted."""
    query = parse_query({"query_id": "q" * MAX_ID_CHARS, "text": "x" * MAX_QUERY_CHARS})
    passage = parse_passage({**PASSAGE, "text": "x" * MAX_PASSAGE_CHARS, "source": "s" * MAX_SOURCE_CHARS})
    assert (len(query.query_id), len(query.text), len(passage.text)) == (256, 4_000, 50_000)


def test_unknown_fields_become_metadata() -> None:
    """A column that nobody knows is carried in the metadata; one that the metadata has already does not replace it."""
    record = {**QUERY, "team": "a", "rank": 3, "nothing": None, "metadata": {"team": "b"}}
    assert parse_query(record).metadata == {"rank": 3, "team": "b"}
    assert parse_passage({**PASSAGE, "score": 0.5}).metadata == {"score": 0.5}


def test_metadata_as_json_text() -> None:
    """A CSV gives metadata and candidates as JSON text."""
    query = parse_query({**QUERY, "metadata": '{"a": 1}', "candidates": '[{"passage_id": "p", "text": "t"}]'})
    assert query.metadata == {"a": 1}
    assert query.candidates is not None
    assert query.candidates[0].passage == Passage("p", "t")


def test_metadata_text_that_is_no_json() -> None:
    """A text that is no JSON is refused with its place."""
    message = refusal(parse_query, {**QUERY, "metadata": "{"})
    assert message.startswith("metadata: bad JSON, expected an object or JSON text of one, at column ")


def test_metadata_is_made_json() -> None:
    """Values that only Parquet has are carried in a form that the ledger can write."""
    record = {**PASSAGE, "price": Decimal("1.50"), "hash": b"\x00\xff", "seen": date(2026, 1, 31)}
    assert parse_passage(record).metadata == {"price": "1.50", "hash": "00ff", "seen": "2026-01-31"}


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"a": 2**70}, {1: "a"}])
def test_metadata_that_json_cannot_hold(value: object) -> None:
    """What could not be written to the ledger is refused here, not after the work is done."""
    assert refusal(parse_query, {**QUERY, "metadata": value}).startswith("metadata: not JSON, cannot be carried: ")


def test_metadata_is_not_shared_with_the_caller() -> None:
    """Changing the raw record later does not change the query."""
    metadata = {"tags": ["a"]}
    query = parse_query({**QUERY, "metadata": metadata})
    metadata["tags"].append("b")
    assert query.metadata == {"tags": ["a"]}


def test_candidates_without_scores_keep_their_order() -> None:
    """Candidates without scores are scored 1/rank."""
    assert candidates_of(candidate(3), candidate(1), candidate(2)) == [("p3", 1.0), ("p1", 0.5), ("p2", 1 / 3)]


def test_candidates_are_ordered_by_score() -> None:
    """Candidates stand by falling score; equal scores keep the caller's order."""
    records = (candidate(1, score=0), candidate(2, score=5), candidate(3, score=0.0), candidate(4, score=7))
    assert candidates_of(*records) == [("p4", 7.0), ("p2", 5.0), ("p1", 0.0), ("p3", 0.0)]


def test_no_candidates_is_not_the_same_as_an_empty_list() -> None:
    """An empty list says that the caller found nothing, so REDO does not retrieve either."""
    assert parse_query({**QUERY, "candidates": []}).candidates == ()
    assert parse_query(QUERY).candidates is None


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (["p1"], "candidates[0]: not an object, got a string"),
        ([candidate(1), candidate(2, text="")], "candidates[1].text: empty, expected a non-blank string"),
        ([{"text": "t"}], "candidates[0].passage_id: missing, expected a non-blank string"),
        (
            [candidate(1), candidate(2), candidate(1)],
            "candidates[2].passage_id: duplicate, expected another than candidates[0] has",
        ),
        ([candidate(1, score="9")], "candidates[0].score: wrong type, expected a finite number, got a string"),
        ([candidate(1, score=True)], "candidates[0].score: wrong type, expected a finite number, got a boolean"),
        ([candidate(1, score=math.nan)], "candidates[0].score: not finite, expected a finite number"),
        ([candidate(1, score=-math.inf)], "candidates[0].score: not finite, expected a finite number"),
        ([candidate(1, score=10**400)], "candidates[0].score: not finite, expected a finite number"),
        (
            [candidate(1, score=1), candidate(2)],
            "candidates[1].score: missing, expected a score on every candidate or on none",
        ),
        ([candidate(n) for n in range(201)], "candidates: too many, expected at most 200, got 201"),
    ],
)
def test_candidates_that_cannot_be_used(records: list[object], message: str) -> None:
    """One broken candidate makes the query unusable, and is named by its place."""
    assert refusal(parse_query, {**QUERY, "candidates": records}) == message


def test_as_many_candidates_as_allowed() -> None:
    """Exactly the greatest number of candidates is accepted."""
    assert len(candidates_of(*(candidate(number) for number in range(MAX_CANDIDATES)))) == MAX_CANDIDATES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30:00", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00Z", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T00:30:00.25+02:00", datetime(2026, 1, 30, 22, 30, 0, 250_000, tzinfo=UTC)),
        (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, 1), datetime(2026, 1, 31, 1, tzinfo=UTC)),  # noqa: DTZ001 - naive on purpose
        (datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=-5))), datetime(2026, 1, 31, 5, tzinfo=UTC)),
    ],
)
def test_published_at(value: object, expected: datetime) -> None:
    """Dates and times of all accepted forms become UTC; without an offset they are UTC already."""
    found = parse_passage({**PASSAGE, "published_at": value}).published_at
    assert found == expected
    assert found is not None
    assert found.tzinfo is UTC


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "31.01.2026", "0001-01-01T00:00:00+10:00", "\ud800"])
def test_published_at_that_is_no_date(value: str) -> None:
    """A date that does not exist, or not in UTC, is refused with an example of the right form."""
    message = refusal(parse_passage, {**PASSAGE, "published_at": value})
    assert message.startswith("published_at: not a date, expected ISO 8601 such as 2026-01-31")


def test_published_at_of_wrong_type() -> None:
    """A number is no date: nobody knows its unit."""
    message = refusal(parse_passage, {**PASSAGE, "published_at": 1_769_817_600})
    assert message.startswith("published_at: wrong type, expected ISO 8601")
    assert message.endswith("got a number")


def test_passage_that_is_too_long() -> None:
    """A passage is refused for its length, and so is its source."""
    message = refusal(parse_passage, {**PASSAGE, "text": "x" * 50_001})
    assert message == "text: too long, expected at most 50,000 characters, got 50,001"
    message = refusal(parse_passage, {**PASSAGE, "source": "x" * 513})
    assert message == "source: too long, expected at most 512 characters, got 513"


def test_label() -> None:
    """A label names query, passage and kind; the answer is optional, and other fields are ignored."""
    assert parse_label({**LABEL, "note": 1}) == Label("q1", "p1", LabelKind.CORRECT)
    assert parse_label({**LABEL, "label": "misinfo", "answer": "3.8"}).answer == "3.8"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "wrong"}, "label: unknown value, expected one of correct, misinfo, noise"),
        ({"label": None}, "label: missing, expected one of correct, misinfo, noise"),
        ({"label": 1}, "label: wrong type, expected one of correct, misinfo, noise, got a number"),
        ({"passage_id": " "}, "passage_id: empty, expected a non-blank string"),
        ({"answer": 3.8}, "answer: wrong type, expected a string, got a number"),
    ],
)
def test_label_that_cannot_be_used(changes: Mapping[str, object], message: str) -> None:
    """Each broken field of a label is named."""
    assert refusal(parse_label, {**LABEL, **changes}) == message


def test_error_survives_pickle() -> None:
    """The error of a record crosses process borders with its field and reason."""
    with pytest.raises(RecordError) as caught:
        parse_query({})
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (copy.field, copy.reason) == ("query_id", "missing, expected a non-blank string")


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "null"), (True, "a boolean"), (1.5, "a number"), ("", "a string"), ((), "a list"), ({}, "an object")],
)
def test_json_type(value: object, name: str) -> None:
    """Types are named in the words of JSON."""
    assert json_type(value) == name


def test_json_type_of_others() -> None:
    """A type that JSON does not have is named as Python names it."""
    assert json_type(b"") == "a value of type bytes"
