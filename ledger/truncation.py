"""Rows that are too long are shortened, in a fixed order, and say so.

The size of a row is that of its canonical JSON in UTF-8, all columns but the nulls. `shorten` takes these away, one
after the other, and no more of each than it takes to fit:

 1. `documents.content` of the passages that were left out, the lowest in the ranking first
 2. `documents.content` of the chosen passages, the last in the selection first
 3. `conflicts.sentence`: the sentences of a finding become empty, the last finding first; the spans stay
 4. `evaluations.explanation`, the last first
 5. `error`, `query_text`: what is behind the first 200 characters
 6. `conflicts.value`: what is behind the first 40 characters of values and names
 7. `documents.detail`: of a passage all goes but id, scores, ranks, whether it was selected and why not, the lowest in
    the ranking first

What is left after that are ids, scores and decisions. Only where they do not fit either, which with the default limit
takes some hundred passages with ids of the greatest length, whole things go, and `extra_json` counts them as
`left_out`: `conflicts`, `documents` that were left out, `documents` that were chosen, the `legacy_selection`,
`evaluations`, `stages`, `error`, `query_text`, what else `extra_json` holds, `flags`, `model_versions`. Identity,
times, decisions, reasons and digests always stay; `MIN_TRACE_BYTES` is enough for them.

A row is marked: `truncated_fields` names what was shortened, `payload_bytes` is the size as stored, `original_bytes`
the size before. Texts are cut between characters, so they stay valid UTF-8. A row that fits is not touched, so
shortening a shortened row changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import orjson

from core.digest import canonical_json
from ledger.rows import Row, Table, element, json_bytes, length_of, row_bytes, with_valid_texts

_SIZES_BYTES = 64  # what the two columns that tell the size take themselves
_TEXT_CHARS = 200
_VALUE_CHARS = 40
_DETAIL = (
    "source",
    "published_at",
    "excluded_because_of",
    "disputed_by",
    "conflict_group",
    "support",
    "disputed",
    "tokens",
    "content_digest",
    "score_relevance",
    "score_support",
    "score_contradiction",
    "score_recency",
)

_Step = Callable[[Row, int], bool]
"""Takes at least so many bytes from the row, or all that it may; says whether there was anything to take."""


def shorten(row: Row, limit: int) -> Row:
    """Return the row at no more than `limit` bytes of canonical JSON, with its sizes and marks filled in.

    Args:
        row: the row; it is not changed.
        limit: at least `MIN_TRACE_BYTES`.

    Returns:
        A row that fits, whatever the row holds; see the module for what goes first.
    """
    try:
        size = row_bytes(row)
    except TypeError:
        row = with_valid_texts(row)
        size = row_bytes(row)
    if size + _SIZES_BYTES <= limit:
        if row.payload_bytes == size and row.original_bytes is not None:
            return row
        return Row(row.shared, row.columns, row.tables, size, size)
    short = row.copy()
    if short.original_bytes is None:
        short.original_bytes = size
    for name, step in _STEPS:
        size = _take(short, name, step, limit - _SIZES_BYTES)
        if size + _SIZES_BYTES <= limit:
            break
    short.payload_bytes = size
    return short


def _take(row: Row, name: str, step: _Step, limit: int) -> int:
    """Do one step and mark it, where there is something to do. Returns the row's size."""
    before: list[str] = row.columns.get("truncated_fields", [])
    row.set("truncated_fields", before if name in before else [*before, name])
    if not step(row, row_bytes(row) - limit):
        row.set("truncated_fields", before or None)
    return row_bytes(row)


# --- steps: what a row may lose ------------------------------------------------------------------------------------


def _null_contents(row: Row, over: int, *, selected: bool) -> bool:
    documents = row.tables["documents"]
    if selected:
        ranks = documents.get("rank_out", [])
        places = sorted((place for place, rank in enumerate(ranks) if rank is not None), key=ranks.__getitem__)
    else:
        places = [place for place, chosen in enumerate(documents.get("selected", ())) if not chosen]
    return _null_fields(documents, ("content",), reversed(places), over)


def _null_detail(row: Row, over: int) -> bool:
    documents = row.tables["documents"]
    return _null_fields(documents, _DETAIL, range(length_of(documents) - 1, -1, -1), over)


def _null_explanations(row: Row, over: int) -> bool:
    evaluations = row.tables.get("evaluations", {})
    return _null_fields(evaluations, ("explanation",), range(length_of(evaluations) - 1, -1, -1), over)


def _null_fields(table: Table, fields: Sequence[str], places: Iterable[int], over: int) -> bool:
    """Set the fields of the elements to null, one element after the other, until enough is gone."""
    names = [field for field in fields if field in table]
    lists = {field: list(table[field]) for field in names}
    taken = False
    for place in places:
        if over <= 0:
            break
        for field, values in lists.items():
            if values[place] is not None:
                over -= json_bytes(values[place]) + len(field) + 4
                values[place] = None
                taken = True
    table.update(lists)
    return taken


def _empty_sentences(row: Row, over: int) -> bool:
    return _cut_texts(row.tables["conflicts"], ("left_sentence", "right_sentence"), 0, over)


def _cut_values(row: Row, over: int) -> bool:
    return _cut_texts(row.tables["conflicts"], ("name", "left_value", "right_value"), _VALUE_CHARS, over)


def _cut_texts(table: Table, fields: Sequence[str], chars: int, over: int) -> bool:
    lists = {field: list(table[field]) for field in fields if field in table}
    taken = False
    for place in range(length_of(table) - 1, -1, -1):
        if over <= 0:
            break
        for values in lists.values():
            text = values[place]
            if text is not None and len(text) > chars:
                over -= json_bytes(text) - json_bytes(text[:chars])
                values[place] = text[:chars]
                taken = True
    table.update(lists)
    return taken


def _cut_column(row: Row, _: int, *, name: str) -> bool:
    text = row.get(name)
    if text is None or len(text) <= _TEXT_CHARS:
        return False
    row.set(name, text[:_TEXT_CHARS])
    return True


def _drop_column(row: Row, _: int, *, name: str) -> bool:
    if row.get(name) is None:
        return False
    row.set(name, None)
    return True


def _empty_map(row: Row, _: int, *, name: str) -> bool:
    if not row.get(name):
        return False
    row.set(name, {})
    return True


def _drop_elements(row: Row, over: int, *, name: str, keep_selected: bool = False) -> bool:
    """Take elements out of a list, the last first; of the chosen passages the last in the selection."""
    table = row.tables.get(name, {})
    places = list(range(length_of(table)))
    if name == "documents":
        ranks: Sequence[int | None] = table.get("rank_out", ())
        places = [place for place in places if (ranks[place] is None) == keep_selected]
        if not keep_selected:
            places.sort(key=lambda place: ranks[place] or 0)
    if not places:
        return False
    size = row_bytes(row)
    _count_left_out(row, name, len(places))  # as many as there can be, for the room that the count takes
    over += row_bytes(row) - size
    gone: set[int] = set()
    while places and over > 0:
        place = places.pop()
        gone.add(place)
        over -= json_bytes(element(table, place)) + 1
    _count_left_out(row, name, -len(places))
    row.tables[name] = {
        field: [value for place, value in enumerate(values) if place not in gone] for field, values in table.items()
    }
    return True


def _drop_table(row: Row, _: int, *, name: str, to_null: bool = False) -> bool:
    count = length_of(row.tables.get(name, {}))
    if not count:
        return False
    _count_left_out(row, name, count)
    if to_null:
        del row.tables[name]
    else:
        row.tables[name] = {}
    return True


def _drop_legacy_selection(row: Row, _: int) -> bool:
    ids = row.get("legacy_selection")
    if ids is None:
        return False
    row.set("legacy_selection", None)
    _count_left_out(row, "legacy_selection", len(ids))
    return True


def _drop_extras(row: Row, _: int) -> bool:
    extras = _extras(row)
    kept = {name: value for name, value in extras.items() if name == "left_out"}
    if kept == extras:
        return False
    _set_extras(row, kept)
    return True


def _count_left_out(row: Row, name: str, count: int) -> None:
    """Add to how many of these the row does not show."""
    extras = _extras(row)
    left_out = dict(extras.get("left_out", {}))
    left_out[name] = left_out.get(name, 0) + count
    _set_extras(row, {**extras, "left_out": left_out})


def _extras(row: Row) -> dict[str, Any]:
    extras: dict[str, Any] = orjson.loads(row.get("extra_json") or "{}")
    return extras


def _set_extras(row: Row, extras: dict[str, Any]) -> None:
    row.set("extra_json", canonical_json(extras).decode() if extras else None)


_STEPS: Final[tuple[tuple[str, _Step], ...]] = (
    ("documents.content", partial(_null_contents, selected=False)),
    ("documents.content", partial(_null_contents, selected=True)),
    ("conflicts.sentence", _empty_sentences),
    ("evaluations.explanation", _null_explanations),
    ("error", partial(_cut_column, name="error")),
    ("query_text", partial(_cut_column, name="query_text")),
    ("conflicts.value", _cut_values),
    ("documents.detail", _null_detail),
    # From here on it is no more a matter of texts.
    ("conflicts", partial(_drop_elements, name="conflicts")),
    ("documents", partial(_drop_elements, name="documents", keep_selected=True)),
    ("documents", partial(_drop_elements, name="documents")),
    ("legacy_selection", _drop_legacy_selection),
    ("evaluations", partial(_drop_table, name="evaluations", to_null=True)),
    ("stages", partial(_drop_table, name="stages")),
    ("error", partial(_drop_column, name="error")),
    ("query_text", partial(_drop_column, name="query_text")),
    ("extra_json", _drop_extras),
    ("flags", partial(_empty_map, name="flags")),
    ("model_versions", partial(_empty_map, name="model_versions")),
)
