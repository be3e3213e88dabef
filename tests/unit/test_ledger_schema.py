"""The ledger's schema: what it promises to those who read it later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa

import ledger.schema
from ledger.schema import FILE_SCHEMA, SCHEMA_VERSION, TRACE_SCHEMA, golden_schema

GOLDEN = Path(ledger.schema.__file__).with_name(f"schema_v{SCHEMA_VERSION}.json")


def all_fields(fields: list[pa.Field]) -> Iterator[pa.Field]:
    """The fields, and those of the structs in them."""
    for field in fields:
        yield field
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            yield from all_fields(list(field.type.value_type))


def test_the_schema_is_the_golden_one() -> None:
    """A change of the schema shows in ledger/schema_v1.json, and is seen in review."""
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
