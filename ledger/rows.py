"""One trace as a row: its columns, and its lists of structs field by field.

A list of structs is a `Table`: one list of values a field, all of one length, so that the lists of many rows become
one Arrow column without a dict for any element. What is null may be missing: a column, or a field of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar

import orjson
import pyarrow as pa

from core.digest import text_digest
from core.model import Ambiguity, Claim, Contradiction, Evidence, Selection
from core.trace import Trace
from ledger.redaction import Redaction
from ledger.schema import TRACE_SCHEMA, is_table

Table = dict[str, Sequence[Any]]
_Value = TypeVar("_Value")

TABLES: Final[Mapping[str, pa.DataType]] = {field.name: field.type for field in TRACE_SCHEMA if is_table(field.type)}
"""The columns that are lists of structs, with their types."""

SIZES: Final = ("payload_bytes", "original_bytes")
"""The columns that a row's size leaves out: they tell it."""

_NULLABLE: Final = {
    name: frozenset(field.name for field in kind.value_type if field.nullable) for name, kind in TABLES.items()
}
_JSON: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A score of one answer, for the column `evaluations`.

    Attributes:
        name: what was measured.
        score: the value, where it is a number.
        label: the value in words, where it has one.
        explanation: how the value came about.
    """

    name: str
    score: float | None = None
    label: str | None = None
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class _NoEvidence:
    """Stands for the evidence of a passage that was left out: all of it is null."""

    score: None = None
    score_parts: None = None
    support: None = None
    conflict_group: None = None
    disputed_by: None = None


_LEFT_OUT: Final = _NoEvidence()


class Shared:
    """The columns that all rows of a run share, and their size, counted once.

    Args:
        columns: the values that are not null, by column.
    """

    __slots__ = ("columns", "json_bytes")

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns: Final = {name: value for name, value in columns.items() if value is not None}
        self.json_bytes: Final = json_bytes(self.columns)

    def without(self, name: str) -> Shared:
        """The same but for one column."""
        return Shared({known: value for known, value in self.columns.items() if known != name})


@dataclass(slots=True)
class Row:
    """One row in the making.

    Attributes:
        shared: what it shares with the other rows; none of these columns is in `columns` too.
        columns: the values of its own that are not null, by column; maps are dicts.
        tables: the lists of structs, by column.
        payload_bytes, original_bytes: its size, and the size before it was shortened.
    """

    shared: Shared
    columns: dict[str, Any]
    tables: dict[str, Table]
    payload_bytes: int | None = None
    original_bytes: int | None = None

    def get(self, name: str) -> Any:  # noqa: ANN401 - whatever the column holds
        """The value of a column that is no table; `None` where it is null."""
        if name in SIZES:
            return getattr(self, name)
        return self.columns.get(name, self.shared.columns.get(name))

    def set(self, name: str, value: object) -> None:
        """Give a column a value of this row's own, or `None`."""
        if name in self.shared.columns:
            self.shared = self.shared.without(name)
        if value is None:
            self.columns.pop(name, None)
        else:
            self.columns[name] = value

    def copy(self) -> Row:
        """A row that can be changed without changing this one."""
        return replace(
            self, columns=dict(self.columns), tables={name: dict(table) for name, table in self.tables.items()}
        )


_MOST_TEXTS: Final = 20_000
"""So many texts are remembered, of each kind; then the memory begins anew. With passages of 1,000 characters, 20 MB."""


class Texts:
    """Masks texts, and remembers them: a passage that many queries retrieve, chunk after chunk, is looked through once.

    Args:
        redaction: what is masked.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._known: dict[str, tuple[str, Mapping[str, int]]] = {}
        self._passages: dict[str, tuple[str, str, Mapping[str, int]]] = {}

    def masked(self, text: str, counts: dict[str, int]) -> str:
        """The text without its secrets; adds to `counts` how many were masked, by pattern."""
        found = self._known.get(text)
        if found is None:
            found = _remembered(self._known, text, self._redaction.masked(text))
        if found[1]:
            add_counts(found[1], counts)
        return found[0]

    def passage(self, text: str) -> tuple[str, str, Mapping[str, int]]:
        """The text of a passage without its secrets, the SHA-256 of the text as it is, and how many were masked."""
        found = self._passages.get(text)
        if found is None:
            masked, counts = self._redaction.masked(text)
            found = _remembered(self._passages, text, (masked, text_digest(text), counts))
        return found


def _remembered(known: dict[str, _Value], text: str, value: _Value) -> _Value:
    if len(known) >= _MOST_TEXTS:
        known.clear()
    known[text] = value
    return value


def add_counts(found: Mapping[str, int], counts: dict[str, int]) -> None:
    """Add how many were found, by pattern."""
    for name, times in found.items():
        counts[name] = counts.get(name, 0) + times


def length_of(table: Table) -> int:
    """How many elements the list has."""
    return len(next(iter(table.values()), ()))


def documents_table(trace: Trace, selection: Selection, *, texts: Texts | None, counts: dict[str, int]) -> Table:
    """Every passage of the ranking, in its order; without `texts` at level min."""
    items, evidence = trace.ranking.items, selection.evidence
    count = len(items)
    ids = [item.passage.passage_id for item in items]
    at = dict(zip(ids, range(count), strict=True))
    rank_out: list[int | None] = [None] * count
    tokens: list[int | None] = [None] * count
    reasons: list[str | None] = [None] * count
    because_of: list[str | None] = [None] * count
    for rank, item in enumerate(evidence, start=1):
        if (place := at.get(item.passage.passage_id)) is not None:
            rank_out[place], tokens[place] = rank, item.tokens
    for exclusion in selection.exclusions:
        if (place := at.get(exclusion.passage_id)) is not None:
            reasons[place], because_of[place] = str(exclusion.reason), exclusion.because_of
    table: Table = {
        "id": ids,
        "score": [float(item.score) for item in items],
        "rank_in": list(range(1, count + 1)),
        "rank_out": rank_out,
        "selected": [rank is not None for rank in rank_out],
        "exclusion_reason": reasons,
        "excluded_because_of": because_of,
        "tokens": tokens,
    }
    if texts is None:
        return table
    standing = [_LEFT_OUT if rank is None else evidence[rank - 1] for rank in rank_out]
    return table | _passages(trace, texts, counts) | _standing(standing)


def _passages(trace: Trace, texts: Texts, counts: dict[str, int]) -> Table:
    passages = [item.passage for item in trace.ranking.items]
    known = [texts.passage(item.text) for item in passages]
    for _, _, found in known:
        if found:
            add_counts(found, counts)
    return {
        "source": [None if item.source is None else texts.masked(item.source, counts) for item in passages],
        "published_at": [item.published_at for item in passages],
        "content_digest": [digest for _, digest, _ in known],
        "content": [text for text, _, _ in known],
    }


def _standing(chosen: Sequence[Evidence | _NoEvidence]) -> Table:
    disputed_by = [item.disputed_by for item in chosen]
    parts = [item.score_parts for item in chosen]
    return {
        "support": [item.support for item in chosen],
        "conflict_group": [item.conflict_group for item in chosen],
        "disputed": [None if ids is None else bool(ids) for ids in disputed_by],
        "disputed_by": disputed_by,
        "order_score": [None if item.score is None else float(item.score) for item in chosen],
        "score_relevance": [None if item is None else float(item.relevance) for item in parts],
        "score_support": [None if item is None else float(item.support) for item in parts],
        "score_contradiction": [None if item is None else float(item.contradiction) for item in parts],
        "score_recency": [None if item is None else float(item.recency) for item in parts],
    }


def conflicts_table(trace: Trace, selection: Selection, *, texts: Texts, counts: dict[str, int]) -> Table:
    """The contradictions, then the ambiguities."""
    findings: tuple[Contradiction | Ambiguity, ...] = (*selection.contradictions, *selection.ambiguities)
    if not findings:
        return {}
    said = {item.passage.passage_id: item.passage.text for item in trace.ranking.items}

    def masked(text: str) -> str:
        return texts.masked(text, counts)

    table: Table = {
        "kind": ["ambiguity" if isinstance(item, Ambiguity) else str(item.kind) for item in findings],
        "score": [float(item.score) for item in findings],
        "stage": [item.stage for item in findings],
        "name": [masked(item.name) if isinstance(item, Ambiguity) else None for item in findings],
    }
    for side, claims in (("left", [item.left for item in findings]), ("right", [item.right for item in findings])):
        quoted = [_quoted(claim, said.get(claim.passage_id), texts, masked) for claim in claims]
        table |= {
            f"{side}_passage_id": [claim.passage_id for claim in claims],
            f"{side}_sentence": [sentence for sentence, _ in quoted],
            f"{side}_sentence_start": [claim.sentence_span.start for claim in claims],
            f"{side}_sentence_end": [claim.sentence_span.end for claim in claims],
            f"{side}_value": [value for _, value in quoted],
            f"{side}_value_start": [claim.value_span.start for claim in claims],
            f"{side}_value_end": [claim.value_span.end for claim in claims],
        }
    return table


def _quoted(claim: Claim, text: str | None, texts: Texts, masked: Callable[[str], str]) -> tuple[str, str]:
    """Sentence and value with what is masked in the passage they are quoted from.

    A value alone does not show what it is: of `password=...` the sentence may begin behind the sign. What is no
    quotation is masked for itself.
    """
    hidden = None if text is None else texts.passage(text)[0]  # counted with the passage

    def quote(part: str, start: int, end: int) -> str:
        if text is not None and hidden is not None and text[start:end] == part:
            return hidden[start:end]
        return masked(part)

    sentence, value = claim.sentence_span, claim.value_span
    return quote(claim.sentence, sentence.start, sentence.end), quote(claim.value, value.start, value.end)


def stages_table(trace: Trace) -> Table:
    """The stages in their order."""
    stages = trace.stages
    return {
        "name": [stage.name for stage in stages],
        "arm": [str(stage.arm) for stage in stages],
        "latency_ms": [float(stage.latency_ms) for stage in stages],
        "items_in": [stage.items_in for stage in stages],
        "items_out": [stage.items_out for stage in stages],
        "complete": [stage.complete for stage in stages],
    }


def evaluations_table(evaluations: Sequence[Evaluation], *, texts: Texts, counts: dict[str, int]) -> Table:
    """The scores of an answer."""

    def masked(text: str | None) -> str | None:
        return None if text is None else texts.masked(text, counts)

    return {
        "name": [item.name for item in evaluations],
        "score": [None if item.score is None else float(item.score) for item in evaluations],
        "label": [masked(item.label) for item in evaluations],
        "explanation": [masked(item.explanation) for item in evaluations],
    }


# --- the size ------------------------------------------------------------------------------------------------------


def row_bytes(row: Row) -> int:
    """Bytes of the row as canonical JSON in UTF-8, without nulls and without the two sizes.

    Counted without building that JSON: names are added to what the values take, field by field.

    Raises:
        TypeError: a text is no valid UTF-8.
    """
    parts: list[object] = [row.columns]
    size = row.shared.json_bytes - 1
    for name, table in row.tables.items():
        length = length_of(table)
        size += len(name) + 6
        if not length:
            continue
        names_bytes, nullable = _field_names(name, tuple(table))
        # [[...],[...]] as it is dumped, less its brackets and commas: that leaves the values. Then names, braces and
        # commas of the elements; neither name nor value of those that are null.
        size += length * (names_bytes + 2) - len(table) * (length + 2) - 2
        for field, bytes_of_null in nullable:
            size -= table[field].count(None) * bytes_of_null
        parts.append(list(table.values()))
    return size + json_bytes(parts) - 1 - len(parts)


@lru_cache(maxsize=64)
def _field_names(name: str, fields: tuple[str, ...]) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Bytes of `"name":` and a comma for all fields; and for each that may be null, the bytes of `"name":null,`."""
    nullable = tuple((field, len(field) + 8) for field in fields if field in _NULLABLE[name])
    return sum(len(field) + 4 for field in fields), nullable


def as_json_value(row: Row) -> dict[str, Any]:
    """The row as what its canonical JSON holds, without nulls and without the two sizes."""
    value = {**row.shared.columns, **row.columns}
    for name, table in row.tables.items():
        value[name] = [element(table, place) for place in range(length_of(table))]
    return value


def element(table: Table, place: int) -> dict[str, Any]:
    """One element of a list, without nulls."""
    return {field: values[place] for field, values in table.items() if values[place] is not None}


def json_bytes(value: object) -> int:
    """Bytes of a value as JSON in UTF-8."""
    return len(orjson.dumps(value, option=_JSON))


def with_valid_texts(row: Row) -> Row:
    """The row with texts that can be stored: what is no valid UTF-8, as an error can carry, is written as escapes."""
    return Row(
        row.shared,
        {name: _valid(value) for name, value in row.columns.items()},
        {
            name: {field: [_valid(value) for value in values] for field, values in table.items()}
            for name, table in row.tables.items()
        },
    )


def _valid(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_valid(name): _valid(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(part) for part in value]
    return value
