"""From files to queries, passages and labels, with a quarantine for the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.adapters.intake import read_labels, read_passages, read_queries
from core.adapters.quarantine import QuarantinedRecord, QuarantineFile, reason_class
from core.errors import BatchError
from core.records import LabelKind

ONE_GOOD_SIX_BROKEN = b"\n".join(
    [
        b'{"query_id": "good", "text": "Which licence has it?"}',
        b'{"query_id": "q2", "text": ',
        b'{"query_id": "good", "text": "Asked again?"}',
        b'{"query_id": "q4", "text": "  "}',
        b'{"query_id": 5, "text": "A number as id?"}',
        b'{"query_id": "q6", "text": "' + b"x" * 4_001 + b'"}',
        b'{"query_id": "q7", "text": "\xff"}',
    ]
)


def entries(path: Path) -> list[dict[str, Any]]:
    """The lines of a quarantine file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def entry(line: int, reason: str) -> QuarantinedRecord:
    """A record to put into a quarantine."""
    return QuarantinedRecord(file="q.jsonl", kind="query", line=line, id=None, reason=reason, excerpt="{")


def test_one_good_and_six_broken_lines(tmp_path: Path) -> None:
    """The good query is read, and each of six differently broken lines is quarantined with a reason of its own."""
    path = tmp_path / "q.jsonl"
    path.write_bytes(ONE_GOOD_SIX_BROKEN)
    with QuarantineFile(tmp_path / "out" / "quarantine.jsonl") as quarantine:
        queries = list(read_queries(path, quarantine=quarantine))
    assert [query.text for query in queries] == ["Which licence has it?"]
    assert quarantine.count == 6
    assert quarantine.reasons == dict.fromkeys(
        [
            "bad JSON",
            "query_id: duplicate of an earlier record",
            "text: empty",
            "query_id: wrong type",
            "text: too long",
            "invalid UTF-8",
        ],
        1,
    )
    found = entries(quarantine.path)
    assert [(item["line"], item["id"]) for item in found] == [
        (2, None),
        (3, "good"),
        (4, "q4"),
        (5, None),
        (6, "q6"),
        (7, None),
    ]
    assert {(item["file"], item["kind"]) for item in found} == {("q.jsonl", "query")}
    assert found[2]["reason"] == "text: empty, expected a non-blank string"
    assert found[3]["excerpt"] == '{"query_id": 5, "text": "A number as id?"}'
    assert len(found[4]["excerpt"]) == 200


def test_nothing_to_quarantine_makes_no_file(tmp_path: Path) -> None:
    """A clean file leaves no quarantine behind, not even the one of an earlier reading."""
    path, kept = tmp_path / "q.jsonl", tmp_path / "quarantine.jsonl"
    path.write_text('{"query_id": "q", "text": "t"}')
    kept.write_text("from an earlier reading\n")
    with QuarantineFile(kept) as quarantine:
        assert len(list(read_queries(path, quarantine=quarantine))) == 1
    assert (quarantine.count, quarantine.reasons, kept.exists()) == (0, {}, False)


def test_file_without_usable_query(tmp_path: Path) -> None:
    """A file of broken records is one clear error, with counts, the main reason and where to look."""
    path = tmp_path / "q.jsonl"
    path.write_text('{"query_id": "a"}\n{"query_id": "b"}\n[]\n')
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine, pytest.raises(BatchError) as caught:
        list(read_queries(path, quarantine=quarantine))
    assert str(caught.value) == (
        "no usable query in q.jsonl: 3 of 3 records were quarantined, most often for 'text: missing', "
        f"see {quarantine.path}"
    )
    assert quarantine.count == 3


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file(tmp_path: Path, data: bytes) -> None:
    """A file without records is an error and quarantines nothing."""
    path = tmp_path / "p.jsonl"
    path.write_bytes(data)
    with (
        QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine,
        pytest.raises(BatchError, match=r"^no usable passage in p\.jsonl: the file holds no records$"),
    ):
        list(read_passages(path, quarantine=quarantine))
    assert not quarantine.path.exists()


def test_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    """A missing file is found before the first record is asked for."""
    with (
        QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine,
        pytest.raises(BatchError, match=r"^passages file not found: .*p\.jsonl$"),
    ):
        read_passages(tmp_path / "p.jsonl", quarantine=quarantine)


def test_records_are_read_one_at_a_time(tmp_path: Path) -> None:
    """The first query is there before the rest of the file is looked at."""
    path = tmp_path / "q.jsonl"
    path.write_bytes(ONE_GOOD_SIX_BROKEN)
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        queries = read_queries(path, quarantine=quarantine)
        assert next(queries).query_id == "good"
        assert quarantine.count == 0


def test_name_of_a_copy(tmp_path: Path) -> None:
    """A file that was fetched first is called by the name that the user gave."""
    path = tmp_path / "tmp1234.jsonl"
    path.write_bytes(ONE_GOOD_SIX_BROKEN)
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        list(read_queries(path, quarantine=quarantine, name="q.jsonl"))
    assert {item["file"] for item in entries(quarantine.path)} == {"q.jsonl"}


def test_queries_from_csv_and_parquet_are_the_same(tmp_path: Path) -> None:
    """The same batch gives the same queries from all three kinds of file."""
    (tmp_path / "q.jsonl").write_text(
        '{"query_id": "7", "text": "a?", "session_id": "s", "team": "x"}\n{"query_id": "8", "text": "b?"}\n'
    )
    (tmp_path / "q.csv").write_text("query_id,text,session_id,team\n7,a?,s,x\n8,b?,,\n")
    columns = {"query_id": ["7", "8"], "text": ["a?", "b?"], "session_id": ["s", None], "team": ["x", None]}
    pq.write_table(pa.table(columns), tmp_path / "q.parquet")
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        from_jsonl, from_csv, from_parquet = (
            list(read_queries(tmp_path / name, quarantine=quarantine)) for name in ("q.jsonl", "q.csv", "q.parquet")
        )
    assert from_jsonl == from_csv == from_parquet
    assert from_jsonl[0].metadata == {"team": "x"}


def test_dates_of_a_parquet_file(tmp_path: Path) -> None:
    """A column of dates or of nanoseconds gives plain times in UTC, which any process can read back."""
    path = tmp_path / "p.parquet"
    for type_, number in ((pa.date32(), 20_484), (pa.timestamp("ns"), 1_769_817_600_000_000_001)):
        column = pa.array([number], type_)
        pq.write_table(pa.table({"passage_id": ["p"], "text": ["t"], "published_at": column}), path)
        with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
            (passage,) = read_passages(path, quarantine=quarantine)
        assert passage.published_at == datetime(2026, 1, 31, tzinfo=UTC)
        assert type(passage.published_at) is datetime


def test_passages_of_two_files_share_a_quarantine(tmp_path: Path) -> None:
    """One quarantine collects the records of several files, and ids are unique within each file only."""
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"passage_id": "p", "text": "t"}\n{"passage_id": "p", "text": "t"}\n')
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        for name in ("a.jsonl", "b.jsonl"):
            assert len(list(read_passages(tmp_path / name, quarantine=quarantine))) == 1
    assert [(item["file"], item["kind"], item["id"]) for item in entries(quarantine.path)] == [
        ("a.jsonl", "passage", "p"),
        ("b.jsonl", "passage", "p"),
    ]
    assert quarantine.reasons == {"passage_id: duplicate of an earlier record": 2}


def test_labels_are_unique_by_query_and_passage(tmp_path: Path) -> None:
    """A query may have many labels and a passage too; the same pair twice is a duplicate, whatever the labels say."""
    path = tmp_path / "labels.csv"
    path.write_text("query_id,passage_id,label,answer\nq,p,correct,3.10\nq,p2,misinfo,3.8\nq2,p,noise,\nq,p,noise,\n")
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        labels = list(read_labels(path, quarantine=quarantine))
    assert [(label.query_id, label.passage_id, label.label) for label in labels] == [
        ("q", "p", LabelKind.CORRECT),
        ("q", "p2", LabelKind.MISINFO),
        ("q2", "p", LabelKind.NOISE),
    ]
    (bad,) = entries(quarantine.path)
    assert (bad["kind"], bad["line"], bad["id"]) == ("label", 5, "q")
    assert bad["reason"] == "query_id and passage_id: duplicate of an earlier record"


def test_id_in_the_quarantine_is_safe_to_print(tmp_path: Path) -> None:
    """An id that was refused for its control characters or length does not carry them into the quarantine."""
    path = tmp_path / "q.jsonl"
    lines = [
        {"query_id": "a", "text": "t"},
        {"query_id": "b\x1b[2J", "text": "t"},
        {"query_id": "c" * 999, "text": "t"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        list(read_queries(path, quarantine=quarantine))
    assert [item["id"] for item in entries(quarantine.path)] == ["b\ufffd[2J", "c" * 256]


def test_quarantine_writes_at_once(tmp_path: Path) -> None:
    """A record is on disk as soon as it is added, so that a killed run leaves what it found."""
    with QuarantineFile(tmp_path / "deep" / "er" / "quarantine.jsonl") as quarantine:
        quarantine.add(entry(1, "bad JSON, at column 1: x"))
        assert len(entries(quarantine.path)) == 1


def test_quarantine_goes_on_after_closing(tmp_path: Path) -> None:
    """A record that is added after closing stands behind the earlier ones."""
    with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
        quarantine.add(entry(1, "bad JSON"))
        quarantine.close()
        quarantine.add(entry(2, "bad JSON"))
    assert [item["line"] for item in entries(quarantine.path)] == [1, 2]


def test_quarantine_replaces_an_earlier_one(tmp_path: Path) -> None:
    """Reading a batch again does not count its broken records twice."""
    for _ in range(2):
        with QuarantineFile(tmp_path / "quarantine.jsonl") as quarantine:
            quarantine.add(entry(1, "bad JSON"))
    assert len(entries(quarantine.path)) == 1


def test_reason_classes() -> None:
    """Reasons are counted without what differs from record to record, the most frequent first."""
    assert reason_class("candidates[12].text: too long, expected at most 1, got 2") == "candidates[].text: too long"
    assert reason_class("bad JSON, at column 7: x") == "bad JSON"
    assert reason_class("text: empty") == "text: empty"
