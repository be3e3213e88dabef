"""Reading mappings that JSON held: each field is checked, and an error names its place and what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from core.errors import RedoError

_Member = TypeVar("_Member", bound=StrEnum)

# The default of a field that must be there; `None` is a default of its own.
_NO_DEFAULT: Final = object()


class Fields:
    """A mapping whose fields are read one by one. A field that is null counts as missing.

    Args:
        data: the mapping. Fields that nobody asks for are passed over: a newer version may have written them.
        place: where it stands, for error messages: `rollout.plan`.
        error: the error that a field raises that is missing or cannot be used.
    """

    def __init__(self, data: object, place: str, *, error: type[RedoError]) -> None:
        self._place = place
        self._error = error
        if not isinstance(data, Mapping):
            raise error(f"{place}: {data!r} is not an object")
        self._data = data

    def refused(self, name: str, value: object, expected: str) -> RedoError:
        """The error for a value, to be raised by the caller."""
        return self._error(f"{self._place}.{name}: {value!r} is not {expected}")

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return self._data.get(name) is not None

    def raw(self, name: str) -> object:
        """The field as it is."""
        return self._data.get(name)

    def inner(self, name: str) -> Fields:
        """An object inside this one. Raises where there is none: ask `has` first."""
        return Fields(self._data.get(name), f"{self._place}.{name}", error=self._error)

    def inners(self, name: str) -> tuple[Fields, ...]:
        """A list of objects inside this one; empty where it is missing."""
        items = self._items(name)
        return tuple(Fields(item, f"{self._place}.{name}[{i}]", error=self._error) for i, item in enumerate(items))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where it is missing."""
        items = self._items(name)
        for item in items:
            if not isinstance(item, str):
                raise self.refused(name, items, "a list of texts")
        return tuple(item for item in items if isinstance(item, str))

    def counts(self, name: str) -> dict[str, int]:
        """An object whose values are whole numbers, at least 0; empty where it is missing."""
        value = self._data.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self.refused(name, value, "an object")
        return {key: Fields(value, f"{self._place}.{name}", error=self._error).whole(key) for key in value}

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        value = self._value(name, _NO_DEFAULT if default is None else default)
        if not isinstance(value, str):
            raise self.refused(name, value, "a text")
        return value

    def switch(self, name: str, *, default: bool | None = None) -> bool:
        """True or false."""
        value = self._value(name, _NO_DEFAULT if default is None else default)
        if not isinstance(value, bool):
            raise self.refused(name, value, "true or false")
        return value

    def whole(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number, at least `least`."""
        value = self._value(name, _NO_DEFAULT if default is None else default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refused(name, value, f"a whole number, at least {least}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._value(name, _NO_DEFAULT if default is None else default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refused(name, value, "a number")
        return value

    def member(self, name: str, kind: type[_Member], default: _Member | None = None) -> _Member:
        """One of the values of an enumeration."""
        value = self._value(name, _NO_DEFAULT if default is None else default)
        try:
            return kind(value)  # type: ignore[arg-type]  # what is no text is no member either
        except ValueError:
            raise self.refused(name, value, f"one of {', '.join(kind)}") from None

    def time(self, name: str) -> datetime:
        """A date and time in ISO 8601 with a time zone."""
        value = self._value(name, _NO_DEFAULT)
        try:
            time = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            raise self.refused(name, value, "a date and time with a time zone")
        return time

    def _value(self, name: str, default: object) -> object:
        value = self._data.get(name)
        if value is not None:
            return value
        if default is _NO_DEFAULT:
            raise self._error(f"{self._place}.{name}: missing")
        return default

    def _items(self, name: str) -> list[object] | tuple[object, ...]:
        value = self._data.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self.refused(name, value, "a list")
        return value
