"""The ledger's schema: what it promises to those who read it later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ledger.schema
from ledger.encode import encode_traces
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION, TRACE_SCHEMA, dropped_at_min, golden_schema, mapping_table
from tests.ledger_samples import RECORDED_AT, a_result, a_run

GOLDEN = Path(ledger.schema.__file__).with_name(f"schema_v{SCHEMA_VERSION}.json")
VERSIONS = range(1, SCHEMA_VERSION + 1)
TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
    "map<string, string>": pa.map_(pa.string(), pa.string()),
    "map<string, int32>": pa.map_(pa.string(), pa.int32()),
    "list<element: string not null>": pa.list_(pa.field("element", pa.string(), nullable=False)),
}


def golden(version: int) -> dict[str, Any]:
    """The golden file of a version."""
    document: dict[str, Any] = orjson.loads(GOLDEN.with_name(f"schema_v{version}.json").read_bytes())
    return document


def golden_field(described: dict[str, Any]) -> pa.Field:
    """A field as a golden file describes it."""
    if described["type"] == "list<struct>":
        kind = pa.list_(pa.field("element", pa.struct(map(golden_field, described["fields"])), nullable=False))
    else:
        kind = TYPES[described["type"]]
    return pa.field(described["name"], kind, nullable=described["nullable"])


def file_of(version: int, folder: Path) -> Path:
    """A file with one row, as that version wrote it: with its columns only, and its number."""
    payload = encode_traces([a_result(version)], run=a_run(), recorded_at=RECORDED_AT)
    schema = pa.schema(map(golden_field, golden(version)["fields"]))
    table = pq.read_table(pa.BufferReader(payload)).select(schema.names).cast(schema)
    place = schema.get_field_index("schema_version")
    table = table.set_column(place, schema.field(place), pa.array([version], pa.int32()))
    path = folder / f"v{version}.parquet"
    pq.write_table(table, path)
    return path


def without_words(described: dict[str, Any]) -> dict[str, Any]:
    """What readers depend on: name, type, nullability and convention, at every depth."""
    kept = {name: described[name] for name in ("name", "type", "nullable", "semconv") if name in described}
    return kept | {"fields": [without_words(child) for child in described.get("fields", ())]}


def all_fields(fields: list[pa.Field]) -> Iterator[pa.Field]:
    """The fields, and those of the structs in them."""
    for field in fields:
        yield field
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            yield from all_fields(list(field.type.value_type))


def test_the_schema_is_the_golden_one() -> None:
    """A change of the schema shows in the golden file of its version, and is seen in review."""
    assert golden_schema() == GOLDEN.read_bytes()


def test_the_golden_file_describes_every_field() -> None:
    """The golden file holds each field with name, type, nullability and description, nested ones too."""
    document = orjson.loads(GOLDEN.read_bytes())
    named = {field["name"]: field for field in document["fields"]}
    assert document["schema_version"] == SCHEMA_VERSION
    assert list(named) == TRACE_SCHEMA.names
    assert [field["name"] for field in named["documents"]["fields"]][:3] == ["id", "score", "source"]
    for field in [*document["fields"], *named["documents"]["fields"], *named["conflicts"]["fields"]]:
        assert {"name", "type", "nullable", "description"} <= field.keys()


def test_every_field_says_what_it_holds() -> None:
    """Each description is a sentence, at every depth."""
    for field in all_fields(list(TRACE_SCHEMA)):
        assert field.metadata[b"description"].decode().endswith("."), field.name


def test_names_are_plain_sql() -> None:
    """No column or field needs quotes in SQL."""
    for field in all_fields(list(TRACE_SCHEMA)):
        assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name), field.name


def test_names_of_conventions_are_kept() -> None:
    """A field that follows a convention says which attribute it is."""
    followed = {
        field.name: field.metadata[b"semconv"].decode()
        for field in all_fields(list(TRACE_SCHEMA))
        if b"semconv" in field.metadata
    }
    assert followed["query_text"] == "gen_ai.retrieval.query.text"
    assert followed["documents"] == "gen_ai.retrieval.documents"
    assert followed["content"] == "document.content"


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_version_only_adds_columns_that_may_be_null(version: int) -> None:
    """Each version is the one before it, unchanged, and behind it columns that may be null."""
    before = [without_words(field) for field in golden(version - 1)["fields"]]
    after = [without_words(field) for field in golden(version)["fields"]]
    assert after[: len(before)] == before
    assert all(field["nullable"] for field in after[len(before) :])


def test_golden_files_say_what_files_are_written_with() -> None:
    """From the golden file alone the schema of the files can be built."""
    assert pa.schema(map(golden_field, golden(SCHEMA_VERSION)["fields"])).equals(FILE_SCHEMA)


@pytest.mark.parametrize("order", [VERSIONS, VERSIONS[::-1]], ids=["oldest first", "newest first"])
def test_files_of_all_versions_are_read_together(tmp_path: Path, order: range) -> None:
    """DuckDB reads them in either order; what an older file does not have is null there."""
    paths = [str(file_of(version, tmp_path)) for version in order]
    together = duckdb.read_parquet(paths, union_by_name=True).order("schema_version")
    rows = together.project("schema_version, query_id, level, documents[1].id").fetchall()
    assert rows == [(1, "q-0001", None, "p-0001-0"), (2, "q-0002", "full", "p-0002-0")]


def test_min_drops_what_may_be_null() -> None:
    """What level min leaves out is a field that may be null, and is named with its column."""
    assert "documents.content" in dropped_at_min()
    for name in dropped_at_min():
        column, _, field = name.partition(".")
        assert TRACE_SCHEMA.field(column).type.value_type.field(field).nullable, name


def test_the_mapping_names_every_followed_convention() -> None:
    """The table for the documentation has a row for every field that follows a convention."""
    lines = mapping_table().splitlines()
    assert "| `documents.content` | `document.content` | OpenInference | The passage's text, secrets masked. |" in lines
    assert len(lines) == 2 + sum(b"semconv" in field.metadata for field in all_fields(list(TRACE_SCHEMA)))


def test_files_carry_no_descriptions() -> None:
    """What a file is written with has the same names, types and nullability, and no metadata."""
    assert FILE_SCHEMA.equals(TRACE_SCHEMA)
    assert all(field.metadata is None for field in all_fields(list(FILE_SCHEMA)))


def test_what_later_versions_fill_is_there_and_may_be_null() -> None:
    """Columns whose writers come later exist from the first version on."""
    for name in ("phase", "breaker_state", "evaluations", "payload_bytes", "original_bytes", "truncated_fields"):
        assert TRACE_SCHEMA.field(name).nullable
    for name in ("redactions", "spooled", "extra_json", "query_text"):
        assert TRACE_SCHEMA.field(name).nullable
