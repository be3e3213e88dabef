"""The output as one file: the same records in both forms, and never half of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.model import Selection
from core.output import output_record
from core.trace import QueryResult
from ledger.objects import download
from tasks.output_files import OUTPUT_SCHEMA, write_output
from tests.batch_samples import read_jsonl, write_jsonl
from tests.ledger_samples import a_result


def bare_result() -> QueryResult:
    """A result with nothing in it, and a question with every kind of line break."""
    result = a_result(9)
    query = replace(result.query, text="one\ntwo\r\nthree\u2028four\x85 \U0001d518")
    return replace(result, query=query, selection=Selection())


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Three chunks' parts: two queries, none, and one."""
    chunks: list[list[QueryResult]] = [[a_result(1), a_result(2, redo=False)], [], [bare_result()]]
    return [
        write_jsonl(tmp_path / "parts" / f"{number}.jsonl", map(output_record, results))
        for number, results in enumerate(chunks)
    ]


def records_of(parts: list[Path]) -> list[dict[str, object]]:
    """What the parts hold, in order."""
    return [record for part in parts for record in read_jsonl(part)]


@pytest.mark.parametrize("name", ["out.jsonl", "out.NDJSON"])
def test_json_lines_are_the_parts_one_after_the_other(name: str, parts: list[Path], tmp_path: Path) -> None:
    """Byte for byte, in a folder that is made for it."""
    place = tmp_path / "new" / "folder" / name
    assert write_output(parts, str(place)) == str(place)
    assert place.read_bytes() == b"".join(part.read_bytes() for part in parts)


@pytest.mark.parametrize("name", ["out.parquet", "out.PARQUET"])
def test_parquet_holds_the_same_records(name: str, parts: list[Path], tmp_path: Path) -> None:
    """Every field of every record of the JSON lines, with its nesting; no field is lost on the way."""
    place = tmp_path / "new" / name
    write_output(parts, str(place))
    table = pq.read_table(place)
    assert table.schema.equals(OUTPUT_SCHEMA)
    assert table.to_pylist() == records_of(parts)


def test_the_place_is_told_as_an_absolute_path(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the summary says can be opened from any folder."""
    monkeypatch.chdir(tmp_path)
    assert write_output(parts, "out.jsonl") == str(tmp_path / "out.jsonl")
    assert write_output(parts, (tmp_path / "url.jsonl").as_uri()) == str(tmp_path / "url.jsonl")


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_output_is_replaced(name: str, parts: list[Path], tmp_path: Path) -> None:
    """The second run's output stands in the place of the first one's."""
    write_output(parts, str(tmp_path / name))
    write_output(parts[:1], str(tmp_path / name))
    again = tmp_path / "again" / name
    write_output(parts[:1], str(again))
    assert (tmp_path / name).read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_write_that_fails_leaves_the_old_output(name: str, parts: list[Path], tmp_path: Path) -> None:
    """A part that is missing costs neither the output that was there nor leaves a beginning of the new one."""
    place = tmp_path / "out" / name
    write_output(parts[:1], str(place))
    before = place.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_output([*parts, tmp_path / "missing.jsonl"], str(place))
    assert place.read_bytes() == before
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_a_first_write_that_fails_leaves_nothing(name: str, parts: list[Path], tmp_path: Path) -> None:
    """Nothing is seen before all is written."""
    place = tmp_path / "out" / name
    with pytest.raises(FileNotFoundError):
        write_output([*parts, tmp_path / "missing.jsonl"], str(place))
    assert list(place.parent.iterdir()) == []


def test_a_value_of_another_type_is_no_parquet(tmp_path: Path) -> None:
    """A record that the columns cannot hold is an error, not a null."""
    record = output_record(a_result(1)) | {"evidence": [{"passage_id": "p", "tokens": "many"}]}
    part = write_jsonl(tmp_path / "part.jsonl", [record])
    with pytest.raises(pa.ArrowInvalid, match="int"):
        write_output([part], str(tmp_path / "out.parquet"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_an_output_in_s3(name: str, parts: list[Path], s3_bucket: str, tmp_path: Path) -> None:
    """What arrives in the bucket is what would stand on the disk."""
    place = f"s3://{s3_bucket}/some/where/{name}"
    assert write_output(parts, place) == place
    write_output(parts, str(tmp_path / name))
    download(place, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / name).read_bytes()
