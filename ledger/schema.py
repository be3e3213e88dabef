"""The columns of the ledger: one row for every query, whichever arm answered it.

Names follow the OpenTelemetry conventions (those for generative AI are still in development) and OpenInference where
these have one: the key `semconv` in a field's metadata says which. Dots are no part of a plain SQL name, so
`document.id` is the field `id` of a struct in `documents`. Every field says in its metadata what it holds, and the key
`kept` says `full` where a row of level min leaves it null.

A version only ever adds nullable columns behind those that were there, so that files of any two versions are read
together. The partition `dt` is part of an object's key, not a column of the file.

    python -m ledger.schema             the schema as JSON: the golden file of its version
    python -m ledger.schema --mapping   the table of conventions for the documentation
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import orjson
import pyarrow as pa

SCHEMA_VERSION = 2
CONVENTIONS = (
    "OpenTelemetry semantic conventions 1.45.0, those for generative AI 0.1.0 (development), and OpenInference"
)
"""What the names were compared with. `document.*` are OpenInference's; all others are OpenTelemetry's."""

_TEXT = pa.string()
_COUNT = pa.int64()
_SMALL = pa.int32()
_REAL = pa.float64()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_TEXT_MAP = pa.map_(_TEXT, _TEXT)
_TEXT_LIST = pa.list_(pa.field("element", _TEXT, nullable=False))


def _field(name: str, kind: pa.DataType, description: str, *, semconv: str | None = None) -> pa.Field:
    """A field that every row fills."""
    metadata = {"description": description} | ({"semconv": semconv} if semconv else {})
    return pa.field(name, kind, nullable=False, metadata=metadata)


def _optional(name: str, kind: pa.DataType, description: str, *, semconv: str | None = None) -> pa.Field:
    """A field that may be null."""
    return _field(name, kind, description, semconv=semconv).with_nullable(nullable=True)


def _full_only(name: str, kind: pa.DataType, description: str, *, semconv: str | None = None) -> pa.Field:
    """A field that rows of level min leave null."""
    field = _optional(name, kind, description, semconv=semconv)
    return field.with_metadata(field.metadata | {b"kept": b"full"})


def _list_of(*fields: pa.Field) -> pa.ListType:
    """A list of structs with these fields."""
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


DOCUMENT_FIELDS: tuple[pa.Field, ...] = (
    _field("id", _TEXT, "Id of the passage.", semconv="document.id"),
    _field("score", _REAL, "Score that the retriever gave, on its own scale.", semconv="document.score"),
    _full_only("source", _TEXT, "Where the passage comes from."),
    _full_only("published_at", _TIME, "When the passage was published."),
    _field("rank_in", _SMALL, "Place in the retriever's ranking, from 1."),
    _optional("rank_out", _SMALL, "Place in the selection, from 1; null where the passage was left out."),
    _field("selected", _FLAG, "Whether the passage is in the selection."),
    _optional("exclusion_reason", _TEXT, "Why left out: budget, near_duplicate, dispute_does_not_fit or too_long."),
    _optional("excluded_because_of", _TEXT, "Id of the passage that made this one superfluous."),
    _full_only("support", _SMALL, "How many independent sources say the same, its own included; null where left out."),
    _full_only("conflict_group", _SMALL, "Number of the dispute that it takes part in, from 1; null without one."),
    _full_only("disputed", _FLAG, "Whether that dispute is open, so that both sides are in; null where left out."),
    _full_only("disputed_by", _TEXT_LIST, "Ids of the passages that say otherwise with about as much support."),
    _optional("tokens", _SMALL, "Length in tokens as the budget counts them; null where left out."),
    _full_only("content_digest", _TEXT, "SHA-256 of the passage's text in UTF-8, before secrets were masked."),
    _full_only("content", _TEXT, "The passage's text, secrets masked.", semconv="document.content"),
    _full_only("order_score", _REAL, "Score that it was ordered by; null where left out."),
    _full_only("score_relevance", _REAL, "Part of order_score: the retriever's score by the ranking's best, 0 to 1."),
    _full_only("score_support", _REAL, "Part of order_score: at least 1, grows with the support."),
    _full_only(
        "score_contradiction", _REAL, "Part of order_score: at most 1, lower where better supported ones differ."
    ),
    _full_only("score_recency", _REAL, "Part of order_score: at least 1, grows with the date of publication."),
)


def _claim_fields(side: str) -> tuple[pa.Field, ...]:
    """What one side of a finding says, and where. Spans count characters (code points) of the passage's text."""
    return (
        _field(f"{side}_passage_id", _TEXT, f"Id of the {side} passage.", semconv="document.id"),
        _field(f"{side}_sentence", _TEXT, f"The sentence of the {side} passage."),
        _field(f"{side}_sentence_start", _SMALL, f"First character of {side}_sentence in the passage's text, from 0."),
        _field(f"{side}_sentence_end", _SMALL, f"Character behind the end of {side}_sentence."),
        _field(f"{side}_value", _TEXT, f"What in {side}_sentence the other side disputes."),
        _field(f"{side}_value_start", _SMALL, f"First character of {side}_value in the passage's text, from 0."),
        _field(f"{side}_value_end", _SMALL, f"Character behind the end of {side}_value."),
    )


CONFLICT_FIELDS: tuple[pa.Field, ...] = (
    _field(
        "kind",
        _TEXT,
        "numeric, date, entity or polarity: both passages cannot be true. ambiguity: two things of one name, no "
        "contradiction.",
    ),
    _field("score", _REAL, "How sure the detector is, 0 to 1."),
    _field("stage", _TEXT, "Which stage of the detector found it."),
    _optional("name", _TEXT, "The shared name of an ambiguity; null for contradictions."),
    *_claim_fields("left"),
    *_claim_fields("right"),
)

STAGE_FIELDS: tuple[pa.Field, ...] = (
    _field("name", _TEXT, "retrieve, detect, order or select."),
    _field("arm", _TEXT, "redo or legacy: whose stage it was."),
    _field("latency_ms", _REAL, "Time that the query's own work took, in milliseconds."),
    _field("items_in", _SMALL, "How many passages went in."),
    _field("items_out", _SMALL, "How many passages, or findings of detect, came out."),
    _field("complete", _FLAG, "False where the stage stopped because time ran out."),
)

EVALUATION_FIELDS: tuple[pa.Field, ...] = (
    _field("name", _TEXT, "What was measured.", semconv="gen_ai.evaluation.name"),
    _optional("score", _REAL, "The value.", semconv="gen_ai.evaluation.score.value"),
    _optional("label", _TEXT, "The value in words.", semconv="gen_ai.evaluation.score.label"),
    _optional("explanation", _TEXT, "How the value came about.", semconv="gen_ai.evaluation.explanation"),
)

_IDENTITY = (
    _field("schema_version", _SMALL, "Version of this schema that the row was written with."),
    _field("trace_id", _TEXT, "Hash of batch, query, input and configuration: 32 hexadecimal digits."),
    _field("batch_id", _TEXT, "Id of the batch."),
    _field("query_id", _TEXT, "Id of the query, unique in its batch."),
    _optional("flow_run_id", _TEXT, "Id of the Prefect flow run; null outside one."),
    _field("attempt", _SMALL, "Which attempt of the task wrote the row, from 1."),
    _field("input_digest", _TEXT, "SHA-256 of all that the caller sent for the query."),
    _field("config_digest", _TEXT, "SHA-256 of the configuration that the run used."),
    _field("code_version", _TEXT, "Version of the code that ran.", semconv="service.version"),
    _field("model_versions", _TEXT_MAP, "Version of each part that can be replaced, by its name."),
)

_TIMES = (
    _field("recorded_at", _TIME, "When the row was written."),
    _field("started_at", _TIME, "When the run started."),
    _field("latency_ms", _REAL, "Time that the query's own work took, both arms together, in milliseconds."),
    _field("budget_ms", _REAL, "Time that the query was given, in milliseconds."),
    _field("deadline_hit", _FLAG, "Whether time ran out."),
)

_QUERY = (
    _optional("query_text", _TEXT, "The question; null where it is not kept.", semconv="gen_ai.retrieval.query.text"),
    _field("query_sha256", _TEXT, "SHA-256 of the question's text in UTF-8."),
    _optional("session_hash", _TEXT, "HMAC-SHA256 of the session id; null without one.", semconv="session.id"),
    _optional("user_hash", _TEXT, "HMAC-SHA256 of the user id; null without one.", semconv="user.hash"),
)

_DECISION = (
    _field("decision", _TEXT, "Who answered in the end: redo, legacy or fallback."),
    _field("reason", _TEXT, "Why that one answered.", semconv="feature_flag.result.reason"),
    _field("guard_decision", _TEXT, "What the guard decided before any work: redo or legacy."),
    _field("guard_reason", _TEXT, "Why the guard decided so."),
    _field("shadow", _FLAG, "Whether both selections were asked for though legacy was served."),
    _optional("error", _TEXT, "Type and message of the exception that REDO fell back on.", semconv="exception.message"),
    _field("flags", _TEXT_MAP, "The flags of the run by name, each as JSON.", semconv="feature_flag.key"),
    _optional("rollout_percentage", _REAL, "Share of keys that get REDO, 0 to 100, with up to three decimals."),
    _optional("bucket", _SMALL, "Rollout bucket of the query's key, 1 to 100; null without a key."),
    _optional("phase", _TEXT, "Phase of the rollout."),
    _optional("breaker_state", _TEXT, "State of the orchestrator's breaker: closed, open or half_open."),
)

_SELECTION = (
    _field("selection_arm", _TEXT, "Whose selection documents and conflicts describe: redo where it ran, else legacy."),
    _field(
        "documents",
        _list_of(*DOCUMENT_FIELDS),
        "Every passage that was retrieved, in the retriever's order.",
        semconv="gen_ai.retrieval.documents",
    ),
    _field("conflicts", _list_of(*CONFLICT_FIELDS), "The contradictions and ambiguities found."),
    _field("stages", _list_of(*STAGE_FIELDS), "The stages in their order."),
    _optional(
        "legacy_selection",
        _TEXT_LIST,
        "Ids of the legacy selection in its order; null where it was not computed.",
    ),
    _optional("evaluations", _list_of(*EVALUATION_FIELDS), "Scores of the answer, where it was evaluated."),
)

_UPKEEP = (
    _optional("payload_bytes", _COUNT, "Size of the row as canonical JSON without nulls and without the two sizes."),
    _optional("original_bytes", _COUNT, "The same size before the row was shortened."),
    _optional(
        "truncated_fields",
        _TEXT_LIST,
        "What was shortened to fit the limit, by name and in that order; null where nothing was.",
    ),
    _optional("redactions", pa.map_(_TEXT, _SMALL), "How many secrets were masked, by pattern; null where none was."),
    _optional("spooled", _FLAG, "Always null: the object's manifest says whether its rows waited in the spool."),
    _optional("extra_json", _TEXT, "Whatever has no column yet, as one JSON object."),
)

_SINCE_2 = (
    _optional("level", _TEXT, "How much of the trace is kept: full or min; null in version 1, which knew full only."),
    _optional("phase_attempt", _SMALL, "Which attempt at that phase of the rollout, from 1."),
    _optional("forgotten_at", _TIME, "When the content was removed because its person is forgotten; null elsewhere."),
)

TRACE_SCHEMA = pa.schema(
    [*_IDENTITY, *_TIMES, *_QUERY, *_DECISION, *_SELECTION, *_UPKEEP, *_SINCE_2],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)


def _bare_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_bare_field(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_list(kind):
        return pa.list_(_bare_field(kind.value_field))
    return kind


def _bare_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _bare_type(field.type), nullable=field.nullable)


FILE_SCHEMA = pa.schema([_bare_field(field) for field in TRACE_SCHEMA])
"""The schema without its descriptions: what the files are written with, so that none of them carries the text."""


def _describe(field: pa.Field) -> dict[str, object]:
    nested = is_table(field.type)
    described: dict[str, object] = {
        "name": field.name,
        "type": "list<struct>" if nested else str(field.type),
        "nullable": field.nullable,
    }
    described |= {key.decode(): value.decode() for key, value in field.metadata.items()}
    if nested:
        described["fields"] = [_describe(child) for child in field.type.value_type]
    return described


def golden_schema() -> bytes:
    """The schema as JSON: what `ledger/schema_v2.json` holds and a test compares.

    To renew it after an addition: `python -m ledger.schema > ledger/schema_v2.json`.
    """
    fields = [_describe(field) for field in TRACE_SCHEMA]
    document = {"schema_version": SCHEMA_VERSION, "fields": fields}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def all_fields() -> Iterator[tuple[str, pa.Field]]:
    """Every column, and every field of the structs in one, as `documents.id`, in their order."""
    for field in TRACE_SCHEMA:
        yield field.name, field
        if is_table(field.type):
            yield from ((f"{field.name}.{child.name}", child) for child in field.type.value_type)


def is_table(kind: pa.DataType) -> bool:
    """Whether the type is a list of structs."""
    return bool(pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))


def dropped_at_min() -> tuple[str, ...]:
    """The fields that a row of level min leaves null, as `documents.content`."""
    return tuple(name for name, field in all_fields() if b"kept" in field.metadata)


def mapping_table() -> str:
    """The fields that follow a convention, with the attribute that each is, as a Markdown table."""
    lines = ["| column | attribute | convention | what it holds |", "|---|---|---|---|"]
    for name, field in all_fields():
        attribute = field.metadata.get(b"semconv", b"").decode()
        if attribute:
            convention = "OpenInference" if attribute.startswith("document.") else "OpenTelemetry"
            lines.append(f"| `{name}` | `{attribute}` | {convention} | {field.metadata[b'description'].decode()} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(mapping_table().encode() if sys.argv[1:] == ["--mapping"] else golden_schema())
