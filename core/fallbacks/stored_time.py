"""Times in stored values: texts that people can read and edit."""

from __future__ import annotations

from datetime import datetime


def stored_time(value: object) -> datetime | None:
    """The date and time that a stored value says in ISO 8601 with a time zone; `None` where it says none."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if time.tzinfo is None else time
