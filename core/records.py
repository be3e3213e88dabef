"""One raw record of a batch, checked and turned into a value.

A raw record is a mapping as JSON, CSV or Parquet gives it. The rules are the same for all three:

- A field that is null, and an optional field that is an empty string, counts as missing.
- Nothing is converted silently: a number where a string is expected is an error. (In a CSV all is text, `7` as well.)
- `metadata` and `candidates` may also be given as JSON text, because a CSV cannot hold them otherwise.
- Fields that the record's kind does not know go into `metadata`, unless `metadata` has that key already.

Every problem is a `RecordError` with the path of the field. Its reason begins with a fixed phrase up to the first comma
(`empty`, `too long`, `wrong type` ...), so that reasons can be counted; what was expected and what was found follows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import orjson

from core.errors import RecordError
from core.model import Passage, Query, ScoredPassage

MAX_ID_CHARS = 256
MAX_QUERY_CHARS = 4_000
MAX_PASSAGE_CHARS = 50_000
MAX_SOURCE_CHARS = 512
MAX_ANSWER_CHARS = 4_000
MAX_CANDIDATES = 200

_QUERY_FIELDS = frozenset({"query_id", "text", "session_id", "user_id", "metadata", "candidates"})
_PASSAGE_FIELDS = frozenset({"passage_id", "text", "source", "published_at", "metadata"})
_CANDIDATE_FIELDS = _PASSAGE_FIELDS | {"score"}

_JSON_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),  # before the numbers, because Python counts it as one
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # the Unicode category Cc


class LabelKind(StrEnum):
    """What a passage is to a query, for the evaluation only."""

    CORRECT = "correct"
    MISINFO = "misinfo"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Label:
    """What one passage is to one query. The evaluation reads it, the pipeline never does.

    Attributes:
        query_id, passage_id: which two.
        label: whether the passage answers rightly, wrongly or not at all.
        answer: the answer that the passage gives, where known.
    """

    query_id: str
    passage_id: str
    label: LabelKind
    answer: str | None = None


def parse_query(record: object) -> Query:
    """Check one record of a queries file.

    Fields: `query_id` and `text` (needed), `session_id`, `user_id`, `metadata`, `candidates`. A candidate is a passage
    with an optional `score`. Candidates with scores are put in order of their score, equal ones in the caller's order;
    candidates without are scored 1/rank, so that the caller's order is kept. An empty list of candidates says that the
    caller found nothing; it is not the same as none.

    Raises:
        RecordError: the record cannot be used.

    >>> parse_query({"query_id": "q1", "text": "How old is the universe?"}).text
    'How old is the universe?'
    """
    fields = _fields(record)
    return Query(
        query_id=_id(fields, "query_id"),
        text=_text(fields, "text", MAX_QUERY_CHARS),
        session_id=_optional_string(fields, "session_id", MAX_ID_CHARS),
        user_id=_optional_string(fields, "user_id", MAX_ID_CHARS),
        metadata=_metadata(fields, known=_QUERY_FIELDS),
        candidates=_candidates(fields),
    )


def query_record(query: Query) -> dict[str, object]:
    """The query as a record of JSON values that `parse_query` reads back to the same query."""
    return {
        "query_id": query.query_id,
        "text": query.text,
        "session_id": query.session_id,
        "user_id": query.user_id,
        "metadata": dict(query.metadata),
        "candidates": None
        if query.candidates is None
        else [{**passage_record(item.passage), "score": item.score} for item in query.candidates],
    }


def passage_record(passage: Passage) -> dict[str, object]:
    """The passage as a record of JSON values that `parse_passage` reads back to the same passage."""
    return {
        "passage_id": passage.passage_id,
        "text": passage.text,
        "source": passage.source,
        "published_at": None if passage.published_at is None else passage.published_at.isoformat(),
        "metadata": dict(passage.metadata),
    }


def parse_passage(record: object) -> Passage:
    """Check one record of a passages file.

    Fields: `passage_id` and `text` (needed), `source`, `published_at`, `metadata`. `published_at` is an ISO 8601 date
    or date and time, or a Python one; without an offset it is UTC, and the result always is.

    Raises:
        RecordError: the record cannot be used.
    """
    return _passage(_fields(record), known=_PASSAGE_FIELDS)


def parse_label(record: object) -> Label:
    """Check one record of a labels file: `query_id`, `passage_id`, `label` and optionally `answer`; others are ignored.

    Raises:
        RecordError: the record cannot be used.
    """
    fields = _fields(record)
    query_id, passage_id = _id(fields, "query_id"), _id(fields, "passage_id")
    kinds = ", ".join(LabelKind)
    label = _string(fields, "label", expected=f"one of {kinds}")
    if label not in tuple(LabelKind):
        raise RecordError("label", f"unknown value, expected one of {kinds}")
    answer = _optional_string(fields, "answer", MAX_ANSWER_CHARS)
    return Label(query_id=query_id, passage_id=passage_id, label=LabelKind(label), answer=answer)


def json_type(value: object) -> str:
    """Name the type of a value in the words of JSON, with its article: `a number`, `an object`."""
    found = (name for types, name in _JSON_TYPES if isinstance(value, types))
    return next(found, f"a value of type {type(value).__name__}")


def _fields(record: object) -> Mapping[object, object]:
    if isinstance(record, Mapping):
        return record
    raise RecordError("", f"not an object, got {json_type(record)}")


def _passage(fields: Mapping[object, object], *, known: frozenset[str]) -> Passage:
    return Passage(
        passage_id=_id(fields, "passage_id"),
        text=_text(fields, "text", MAX_PASSAGE_CHARS),
        source=_optional_string(fields, "source", MAX_SOURCE_CHARS),
        published_at=_published_at(fields),
        metadata=_metadata(fields, known=known),
    )


def _string(fields: Mapping[object, object], field: str, *, expected: str) -> str:
    """A string that can be written as UTF-8, of whatever length."""
    value = fields.get(field)
    if value is None:
        raise RecordError(field, f"missing, expected {expected}")
    if not isinstance(value, str):
        raise RecordError(field, f"wrong type, expected {expected}, got {json_type(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise RecordError(field, f"invalid UTF-8, lone surrogate at character {exc.start + 1}") from exc
    return value


def _text(fields: Mapping[object, object], field: str, limit: int, *, expected: str = "a non-blank string") -> str:
    value = _string(fields, field, expected=expected)
    if not value or value.isspace():
        raise RecordError(field, f"empty, expected {expected}")
    _check_length(value, field, limit)
    return value


def _id(fields: Mapping[object, object], field: str) -> str:
    value = _text(fields, field, MAX_ID_CHARS)
    if found := _CONTROL.search(value):
        reason = f"control character, expected none, got U+{ord(found[0]):04X} at character {found.start() + 1}"
        raise RecordError(field, reason)
    return value


def _optional_string(fields: Mapping[object, object], field: str, limit: int) -> str | None:
    if fields.get(field) in (None, ""):
        return None
    value = _string(fields, field, expected="a string")
    _check_length(value, field, limit)
    return value


def _check_length(value: str, field: str, limit: int) -> None:
    if len(value) > limit:
        raise RecordError(field, f"too long, expected at most {limit:,} characters, got {len(value):,}")


def _published_at(fields: Mapping[object, object]) -> datetime | None:
    field, expected = "published_at", "expected ISO 8601 such as 2026-01-31 or 2026-01-31T12:00:00Z"
    value = fields.get(field)
    if value is None or value == "":
        return None
    if not isinstance(value, str | date):
        raise RecordError(field, f"wrong type, {expected}, got {json_type(value)}")
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if value.utcoffset() is None:
            value = value.replace(tzinfo=UTC)
        utc = value.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise RecordError(field, f"not a date, {expected}") from exc
    # Rebuilt, because a column of nanoseconds gives a subclass that belongs to another library.
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, tzinfo=UTC)


def _metadata(fields: Mapping[object, object], *, known: frozenset[str]) -> dict[str, object]:
    field, expected = "metadata", "expected an object or JSON text of one"
    given = _decoded(fields.get(field), field, expected=expected)
    if given is not None and not isinstance(given, Mapping):
        raise RecordError(field, f"wrong type, {expected}, got {json_type(given)}")
    unknown = fields.keys() - known
    if not given and not unknown:
        return {}
    merged = {key: value for key in unknown if (value := fields[key]) is not None}
    merged |= given or {}
    # Through JSON and back: what is carried must fit the ledger, and shares nothing with the caller's record. Keys are
    # sorted, because the order of a set is not the same in every process.
    try:
        carried: dict[str, object] = orjson.loads(orjson.dumps(merged, default=_json_form, option=orjson.OPT_SORT_KEYS))
    except TypeError as exc:  # orjson's encoding error is one
        raise RecordError(field, f"not JSON, cannot be carried: {exc}") from exc
    return carried


def _json_form(value: object) -> str:
    """What stands in metadata for a value that only Parquet has: bytes as hexadecimal digits, decimals as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _decoded(value: object, field: str, *, expected: str) -> object:
    """The value, or what it says where it is JSON text."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        decoded: object = orjson.loads(value)
    except orjson.JSONDecodeError as exc:
        raise RecordError(field, f"bad JSON, {expected}, at column {exc.colno}: {exc.msg}") from exc
    return decoded


def _candidates(fields: Mapping[object, object]) -> tuple[ScoredPassage, ...] | None:
    field, expected = "candidates", "expected a list or JSON text of one"
    given = _decoded(fields.get(field), field, expected=expected)
    if given is None:
        return None
    if not isinstance(given, list | tuple):
        raise RecordError(field, f"wrong type, {expected}, got {json_type(given)}")
    if len(given) > MAX_CANDIDATES:
        raise RecordError(field, f"too many, expected at most {MAX_CANDIDATES}, got {len(given):,}")
    passages: list[Passage] = []
    scores: list[float | None] = []
    places: dict[str, int] = {}
    for place, record in enumerate(given):
        try:
            candidate = _fields(record)
            passage = _passage(candidate, known=_CANDIDATE_FIELDS)
            scores.append(_score(candidate))
        except RecordError as exc:
            raise RecordError(f"{field}[{place}]" + (f".{exc.field}" if exc.field else ""), exc.reason) from exc
        if (first := places.setdefault(passage.passage_id, place)) != place:
            raise RecordError(f"{field}[{place}].passage_id", f"duplicate, expected another than {field}[{first}] has")
        passages.append(passage)
    return _in_order(passages, scores)


def _score(fields: Mapping[object, object]) -> float | None:
    field, expected = "score", "expected a finite number"
    value = fields.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError(field, f"wrong type, {expected}, got {json_type(value)}")
    try:
        score = float(value)
    except OverflowError:
        score = math.inf
    if not math.isfinite(score):
        raise RecordError(field, f"not finite, {expected}")
    return score


def _in_order(passages: Sequence[Passage], scores: Sequence[float | None]) -> tuple[ScoredPassage, ...]:
    given = [score for score in scores if score is not None]
    if not given:
        return tuple(ScoredPassage(passage, 1.0 / rank) for rank, passage in enumerate(passages, start=1))
    if len(given) != len(scores):
        raise RecordError(
            f"candidates[{scores.index(None)}].score", "missing, expected a score on every candidate or on none"
        )
    scored = [ScoredPassage(passage, score) for passage, score in zip(passages, given, strict=True)]
    return tuple(sorted(scored, key=lambda item: -item.score))  # stable: a list in order stays as it is
