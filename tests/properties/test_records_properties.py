"""Whatever a file holds, reading it accounts for every record and raises nothing but the errors of a batch."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from core.adapters.intake import read_queries
from core.adapters.quarantine import QuarantineFile
from core.adapters.record_files import read_records
from core.errors import BatchError, RecordError
from core.model import Query, ScoredPassage
from core.records import parse_label, parse_passage, parse_query

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["query_id", "passage_id", "text", "session_id", "metadata", "candidates", "score", "published_at", "label"]
)
RECORDS = st.dictionaries(FIELDS | st.text(max_size=3), JSON | st.text("0123456789T:-+Z{}[]\ud800", max_size=12))

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: not text.isspace())
IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20).filter(
    lambda text: not text.isspace()
)

FRAGMENTS = st.sampled_from(
    [b"\n", b"\r\n", b'"', b"{", b"}", b'{"query_id": "a", "text": "b"}', b"\xff", b"\xef\xbb\xbf", b",", b" ", b"\r"]
)
FILES = st.lists(FRAGMENTS | st.binary(max_size=6), max_size=30).map(b"".join)


# A busy disk or processor says nothing about the property.
on_disk = settings(deadline=None)


@contextmanager
def file_of(data: bytes, name: str) -> Iterator[Path]:
    """A file that exists for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        yield path


@on_disk
@given(FILES)
def test_any_bytes_as_jsonl(data: bytes) -> None:
    """Every line that is not blank is used or quarantined, exactly once and under its own number."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = [number for number, line in enumerate(lines, start=1) if line.strip()]
    with file_of(data, "q.jsonl") as path, QuarantineFile(path.with_name("quarantine.jsonl")) as quarantine:
        good: list[Query] = []
        try:
            good.extend(read_queries(path, quarantine=quarantine))
        except BatchError:
            assert not good
        else:
            assert good
        assert [record.line for record in read_records(path, what="queries")] == expected
        assert len(good) + quarantine.count == len(expected)
        if quarantine.count:
            bad = [json.loads(line)["line"] for line in quarantine.path.read_text(encoding="utf-8").splitlines()]
            assert len(set(bad)) == len(bad) == quarantine.count
            assert set(bad) <= set(expected)


@on_disk
@given(FILES)
def test_any_bytes_as_csv(data: bytes) -> None:
    """A CSV of any bytes is read to its end, in the order of its lines, or refused as a whole."""
    with file_of(b"query_id,text\n" + data, "q.csv") as path:
        records = list(read_records(path, what="queries"))
        lines = [record.line for record in records]
        assert lines == sorted(set(lines))
        assert all((record.value is None) == (record.error is not None) for record in records)
        assert all(record.excerpt.isprintable() for record in records)
    with file_of(data, "q.csv") as path:
        try:
            list(read_records(path, what="queries"))
        except BatchError as exc:
            assert "q.csv" in str(exc)  # noqa: PT017 - most files are fine, so nothing need be raised


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@on_disk
@given(st.lists(st.tuples(CELLS, CELLS), max_size=8))
def test_csv_round_trip(rows: list[tuple[str, str]]) -> None:
    """Rows that the csv module writes are read as they were, empty cells apart."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    with file_of(buffer.getvalue().encode(), "q.csv") as path:
        records = list(read_records(path, what="queries"))
    assert [record.error for record in records] == [None] * len(rows)
    assert [record.value for record in records] == [
        {name: cell for name, cell in zip("ab", row, strict=True) if cell} for row in rows
    ]


@on_disk
@given(st.lists(st.tuples(IDS, TEXTS), min_size=1, max_size=8), st.data())
def test_broken_row_does_not_touch_the_clean_rows_before_it(rows: list[tuple[str, str]], data: st.DataObject) -> None:
    """Whatever follows them, the rows before a broken one are read as they were."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    with file_of(buffer.getvalue().encode() + data.draw(FILES), "q.csv") as path:
        values = [record.value for record in read_records(path, what="queries")]
    assert values[: len(rows)] == [{"a": query_id, "b": text} for query_id, text in rows]


@given(RECORDS | JSON)
def test_any_record_is_parsed_or_refused(record: object) -> None:
    """A record of any shape becomes a value or a `RecordError`, and nothing else."""
    for parse in (parse_query, parse_passage, parse_label):
        try:
            parse(record)
        except RecordError as exc:
            assert exc.reason  # noqa: PT017 - some records are fine, so nothing need be raised


@on_disk
@given(
    query_id=IDS,
    text=TEXTS,
    session_id=st.none() | IDS,
    scores=st.none() | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6),
    metadata=st.dictionaries(TEXTS, TEXTS | st.booleans() | st.integers(0, 2**53), max_size=3),
)
def test_valid_query_round_trip(
    query_id: str, text: str, session_id: str | None, scores: list[float] | None, metadata: dict[str, object]
) -> None:
    """A query that is written as a JSON line is read as it was, its candidates by falling score."""
    record: dict[str, object] = {"query_id": query_id, "text": text, "session_id": session_id, "metadata": metadata}
    if scores is not None:
        record["candidates"] = [
            {"passage_id": f"p{place}", "text": text, "score": score} for place, score in enumerate(scores)
        ]
    with file_of(orjson.dumps(record), "q.jsonl") as path, QuarantineFile(path.with_name("bad.jsonl")) as quarantine:
        (query,) = read_queries(path, quarantine=quarantine)
    assert (query.query_id, query.text, query.session_id) == (query_id, text, session_id)
    assert query.metadata == metadata
    if scores is None:
        assert query.candidates is None
    else:
        assert query.candidates is not None
        assert [item.score for item in query.candidates] == sorted(scores, reverse=True)
        assert by_score_then_place(query.candidates) == list(query.candidates)


def by_score_then_place(items: tuple[ScoredPassage, ...]) -> list[ScoredPassage]:
    """The order that candidates must have: falling scores, equal ones as the caller had them."""
    return sorted(items, key=lambda item: (-item.score, int(item.passage.passage_id[1:])))
