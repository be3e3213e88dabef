"""What a person changed in a block, told from the value that the block showed before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from core.digest import canonical_json
from tasks.block_types import StateBlock

_LONGEST_NOTICE: Final = 500
_LARGEST_WHOLE: Final = 2.0**53  # up to here a float has a place for every whole number


def edited(
    kind: type[StateBlock],
    fields: Mapping[str, object],
    *,
    base: Mapping[str, object],
    newest: Mapping[str, object],
) -> dict[str, object] | None:
    """Return the newest value with a person's changes on top, `None` where that changes nothing.

    Changed is what differs between the fields and the value that they showed when the person opened the page. Only
    that is put on top, key by key: a page that was open while others made changes does not undo those.

    Args:
        kind: class of the block.
        fields: the block's fields as they are stored. One that is missing or null counts as left empty.
        base: the value that the fields showed.
        newest: the value that holds now.

    Raises:
        ValidationError: the fields show no value that the block can have.
    """
    given = {name: fields[name] for name in kind.fields_of({}) if fields.get(name) is not None}
    after = kind.model_validate(given).shown_value()
    before = kind.model_validate(kind.fields_of(base)).shown_value()
    removed = before.keys() - after.keys()
    changed = {key: item for key, item in after.items() if key not in before or not alike(before[key], item)}
    joined = {key: item for key, item in newest.items() if key not in removed} | changed
    return None if not (removed or changed) or alike(joined, newest) else joined


def alike(one: object, other: object) -> bool:
    """Whether two values are the same to a browser, which writes 25.0 as 25. What JSON cannot hold is like nothing."""
    try:
        return canonical_json(_plain(one)) == canonical_json(_plain(other))
    except TypeError:
        return False


def refusal(error: ValidationError) -> str:
    """Say to the person why the edit was not taken."""
    wrong = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}, not {found['input']!r}" for found in error.errors())
    return f"Your edit was not taken. {'; '.join(wrong)}"[:_LONGEST_NOTICE]


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_WHOLE:
        return int(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
