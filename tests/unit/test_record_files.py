"""Reading raw records from JSON Lines, CSV and Parquet."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.adapters.raw_record import MAX_EXCERPT_CHARS, MAX_LINE_BYTES, printable
from core.adapters.record_files import RawRecord, read_records
from core.errors import BatchError

INVALID_TEXT = b"a\xff\xfeb"


def records_of(path: Path, data: bytes | None = None) -> list[RawRecord]:
    """All records of the file, once `data` is written to it."""
    if data is not None:
        path.write_bytes(data)
    return list(read_records(path, what="queries"))


def outline(path: Path, data: bytes) -> list[tuple[int, object]]:
    """Line and value, or line and the class of the error, of each record."""
    return [
        (record.line, record.value if record.error is None else record.error.partition(",")[0])
        for record in records_of(path, data)
    ]


def broken_table(texts: list[bytes | None]) -> pa.Table:
    """A table whose column `text` holds these bytes, valid UTF-8 or not."""
    column = pa.array(texts, type=pa.binary())
    buffers = column.buffers()
    text = pa.Array.from_buffers(pa.string(), len(texts), buffers)
    return pa.table({"query_id": [f"q{number}" for number in range(len(texts))], "text": text})


@pytest.mark.parametrize("name", ["q.json", "q.txt", "q.jsonl.gz", "q"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    """A file of another kind is refused at once, and the message names the suffixes that work."""
    path = tmp_path / name
    path.touch()
    with pytest.raises(BatchError, match=r"unknown suffix .*, expected one of \.jsonl, \.ndjson, \.csv, \.parquet"):
        read_records(path, what="queries")


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_missing_file_and_directory(tmp_path: Path, suffix: str) -> None:
    """A file that is not there, and a directory, are refused at once, before anything is read."""
    path = tmp_path / f"q{suffix}"
    with pytest.raises(BatchError, match=r"^queries file not found: .*q\."):
        read_records(path, what="queries")
    path.mkdir()
    with pytest.raises(BatchError, match=r"^queries file .*: is a directory, expected a file$"):
        read_records(path, what="queries")


def test_path_that_the_system_refuses(tmp_path: Path) -> None:
    """A path that cannot even be looked up is an error of the batch."""
    with pytest.raises(BatchError, match=r"^queries file .*: cannot be read: "):
        read_records(tmp_path / ("q" * 300 + ".jsonl"), what="queries")


def test_file_that_goes_away(tmp_path: Path) -> None:
    """A file that is removed between the check and the reading is an error of the batch."""
    path = tmp_path / "q.jsonl"
    path.touch()
    records = read_records(path, what="queries")
    path.unlink()
    with pytest.raises(BatchError, match=r"^queries file .*: cannot be read: "):
        next(records)


def test_jsonl(tmp_path: Path) -> None:
    """Lines are numbered from 1, blank ones are counted and skipped; a BOM and CRLF are accepted."""
    data = b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \t\n{"b": "\xc3\xa9"}'
    assert outline(tmp_path / "q.JSONL", data) == [(1, {"a": 1}), (4, {"b": "é"})]


def test_jsonl_broken_lines(tmp_path: Path) -> None:
    """Each broken line is reported with its own reason, and the lines between them are read."""
    lines = [b'{"a": ', b'{"a": "\xff"}', b"[1]", b"7", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": 1} {', b'{"a": 2}']
    assert outline(tmp_path / "q.ndjson", b"\n".join(lines)) == [
        (1, "bad JSON"),
        (2, "invalid UTF-8"),
        (3, "not an object"),
        (4, "not an object"),
        (5, "bad JSON"),
        (6, "bad JSON"),
        (7, "bad JSON"),
        (8, {"a": 2}),
    ]


def test_jsonl_says_where_in_the_line(tmp_path: Path) -> None:
    """The reason names the column of bad JSON, the byte of bad UTF-8 and the type of what is no object."""
    errors = [record.error or "" for record in records_of(tmp_path / "q.jsonl", b'{"a": }\n{"\xff\n[]\n')]
    assert errors[0].startswith("bad JSON, at column 7: ")
    assert errors[1:] == ["invalid UTF-8, at byte 3", "not an object, got a list"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_long_line_is_not_loaded(tmp_path: Path, suffix: str) -> None:
    """Of a line of many times the limit no more than the limit is in memory, and the next line is read."""
    path = tmp_path / f"q{suffix}"
    with path.open("wb") as file:
        file.write(b"a\n1\n" if suffix == ".csv" else b'{"a": "1"}\n\n')
        for _ in range(8):
            file.write(b"x" * MAX_LINE_BYTES)
        file.write(b"\n2\n" if suffix == ".csv" else b'\n{"a": "2"}\n')
    tracemalloc.start()
    try:
        found = [(record.line, record.value or record.error) for record in read_records(path, what="queries")]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    first = 2 if suffix == ".csv" else 1
    assert found == [(first, {"a": "1"}), (3, "too long, expected at most 8,388,608 bytes"), (4, {"a": "2"})]
    assert peak < 4 * MAX_LINE_BYTES


def test_longest_line(tmp_path: Path) -> None:
    """A line of exactly the limit, its end included, is read."""
    line = b'{"a": "' + b"x" * (MAX_LINE_BYTES - 10) + b'"}\n'
    assert [record.error for record in records_of(tmp_path / "q.jsonl", line + line)] == [None, None]


def test_excerpt_is_short_and_safe(tmp_path: Path) -> None:
    """An excerpt holds at most 200 characters, none of which a terminal obeys."""
    line = b'{"a": "\x1b[31m\xff\xe2\x80\xae\t' + "é".encode() * 300
    (record,) = records_of(tmp_path / "q.jsonl", line)
    assert len(record.excerpt) == MAX_EXCERPT_CHARS
    assert record.excerpt.startswith('{"a": "\ufffd[31m\ufffd\ufffd é')
    assert record.excerpt.isprintable()


def test_excerpt_of_a_value() -> None:
    """Without bytes of the file the excerpt shows the value, whatever it holds."""
    assert RawRecord(1, {"a": datetime(2026, 1, 31, tzinfo=UTC), "b": b"x"}).excerpt.startswith('{"a":"2026-01-31')
    assert RawRecord(1, {"a": 2**70}).excerpt == f"{{'a': {2**70}}}"


def test_printable_replaces_lone_surrogates() -> None:
    """A text that could not be written as UTF-8 can be after it."""
    assert printable("a\ud800\nb\u00a0", 10) == "a\ufffd b "


def test_csv(tmp_path: Path) -> None:
    """Rows take their names from the header; quotes, line ends inside quotes, a BOM and CRLF are understood."""
    data = b'\xef\xbb\xbfquery_id, text\r\nq1,plain\r\n\r\nq2,"a ""b"",\r\nc"\r\nq3,"last"'
    assert outline(tmp_path / "q.csv", data) == [
        (2, {"query_id": "q1", "text": "plain"}),
        (4, {"query_id": "q2", "text": 'a "b",\r\nc'}),
        (6, {"query_id": "q3", "text": "last"}),
    ]


def test_csv_empty_cells_are_missing(tmp_path: Path) -> None:
    """An empty cell says nothing, so the record does not have the field."""
    assert outline(tmp_path / "q.csv", b'a,b,c\n1,,""\n,,\n') == [(2, {"a": "1"}), (3, {})]


def test_csv_broken_rows(tmp_path: Path) -> None:
    """Each broken row is reported at its first line, and reading goes on behind it."""
    rows = [
        b"a,b",
        b"1,x,y",
        b"2",
        b"3,\xff",
        b'4,"\xff',
        b'still 4"',
        b'5,"x"y',
        b"6,a\rb",
        b"7," + b"x" * 131_073,
        b'8,"good"',
        b'9,"never closed',
    ]
    assert outline(tmp_path / "q.csv", b"\n".join(rows)) == [
        (2, "wrong number of fields"),
        (3, "wrong number of fields"),
        (4, "invalid UTF-8"),
        (5, "invalid UTF-8"),
        (7, "bad CSV"),
        (8, "bad CSV"),
        (9, "too long"),
        (10, {"a": "8", "b": "good"}),
        (11, "unclosed quote"),
    ]


def test_csv_unclosed_quote_costs_one_row(tmp_path: Path) -> None:
    """A quote that is never closed does not swallow the rows behind it, however many follow."""
    rows = [b"a,b", b'1,"open', *(b"%d,row" % number for number in range(2, 20_000)), b'20000,"quoted"']
    found = outline(tmp_path / "q.csv", b"\n".join(rows))
    assert found[0] == (2, "unclosed quote")
    assert found[1:] == [
        *((number + 1, {"a": str(number), "b": "row"}) for number in range(2, 20_000)),
        (20_001, {"a": "20000", "b": "quoted"}),
    ]


def test_csv_rest_of_a_broken_field_is_no_record(tmp_path: Path) -> None:
    """The second line of a field with a stray quote does not pass for a row, though its number of fields is right."""
    data = b'a,b\n1,"first line\nsays "hi", ok"\n2,good\n3,6" pipe\n'
    assert outline(tmp_path / "q.csv", data) == [
        (2, "unclosed quote"),
        (3, "stray quote"),
        (4, {"a": "2", "b": "good"}),
        (5, {"a": "3", "b": '6" pipe'}),
    ]


def test_csv_made_to_be_slow(tmp_path: Path) -> None:
    """Rows that each open a quote for the rest of the file are given up in linear time, and the loss is reported."""
    records = records_of(tmp_path / "q.csv", b"a,b\n" + b'a","b\n' * 50_000)
    assert {(record.error or "").partition(",")[0] for record in records} == {"unclosed quote"}
    assert [record.line for record in records] == [2, 3, 4]
    assert records[-1].error == "unclosed quote, looked for its end up to line 50001, lines 4 to 50001 are skipped"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty, expected a header row"),
        (b"\n\n", "empty, expected a header row"),
        (b"a,,b\n", "column 2 has no name"),
        (b"a,b, a\n1,2,3\n", "column 3 is a second 'a'"),
        (b"a,\xff\n", "the header row is not UTF-8"),
        (b'"a"b\n', "the header row cannot be read"),
    ],
)
def test_csv_without_header(tmp_path: Path, data: bytes, message: str) -> None:
    """Without a header row with one name for each column the file cannot be used."""
    with pytest.raises(BatchError, match=rf"^queries file .*q\.csv: {message}"):
        records_of(tmp_path / "q.csv", data)


def test_parquet(tmp_path: Path) -> None:
    """Rows are numbered from 1 across batches and row groups; nested columns and maps become JSON's types."""
    count = 700
    table = pa.table(
        {
            "query_id": [f"q{number}" for number in range(count)],
            "metadata": pa.array([[("a", number)] for number in range(count)], pa.map_(pa.string(), pa.int64())),
            "candidates": [[{"passage_id": "p", "text": "t", "score": None}]] * count,
            "published_at": pa.array([1_769_860_800_000_000_001] * count, pa.timestamp("ns", tz="UTC")),
        }
    )
    path = tmp_path / "q.parquet"
    pq.write_table(table, path, row_group_size=300)
    records = records_of(path)
    assert [record.line for record in records] == list(range(1, count + 1))
    value = records[-1].value
    assert isinstance(value, dict)
    assert value["metadata"] == {"a": count - 1}
    assert value["candidates"] == [{"passage_id": "p", "text": "t", "score": None}]
    assert value["published_at"].isoformat().startswith("2026-01-31T12:00:00")


def test_parquet_invalid_text_costs_one_row(tmp_path: Path) -> None:
    """A text that is no UTF-8 is reported for its row, and the other rows of the batch are read."""
    path = tmp_path / "q.parquet"
    pq.write_table(broken_table([b"one", INVALID_TEXT, None, b"four"]), path)
    first, second, *others = records_of(path)
    assert first.value == {"query_id": "q0", "text": "one"}
    assert (second.line, second.error) == (2, "invalid UTF-8, in column 'text' at byte 2")
    assert second.excerpt == '{"query_id":"q1"}'
    assert [record.value for record in others] == [{"query_id": "q2", "text": None}, {"query_id": "q3", "text": "four"}]


def test_parquet_value_that_python_does_not_have(tmp_path: Path) -> None:
    """A time beyond the year 9999 and a map with a key twice cost their rows."""
    path = tmp_path / "q.parquet"
    table = pa.table(
        {
            "at": pa.array([0, 2**62, 0], pa.timestamp("us")),
            "map": pa.array([[("a", 1)], [], [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, path)
    records = records_of(path)
    assert records[0].error is None
    assert [(record.error or "").partition(":")[0] for record in records[1:]] == [
        "bad value, in column 'at'",
        "bad value, in column 'map'",
    ]


@pytest.mark.parametrize("data", [b"", b"PAR1", b'{"query_id": "q1"}\n' * 20])
def test_parquet_that_is_none(tmp_path: Path, data: bytes) -> None:
    """A file that is no Parquet is an error of the batch."""
    with pytest.raises(BatchError, match=r"^queries file .*q\.parquet: not a Parquet file that can be read: "):
        records_of(tmp_path / "q.parquet", data)


def test_parquet_with_damage_behind_the_footer(tmp_path: Path) -> None:
    """Damage that shows only while reading is an error of the batch, too."""
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"query_id": ["q"] * 1000, "text": [f"text {n}" for n in range(1000)]}), path)
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    with pytest.raises(BatchError, match=r"^queries file .*q\.parquet: "):
        records_of(path, bytes(data))


def test_parquet_with_one_name_twice(tmp_path: Path) -> None:
    """Two columns of one name leave open which one counts."""
    path = tmp_path / "q.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), path)
    with pytest.raises(BatchError, match="two columns have one name"):
        records_of(path)
