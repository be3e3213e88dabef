"""How much of a trace the ledger keeps."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MIN_TRACE_BYTES: Final = 3_000
"""The smallest limit of a trace: ids and decisions take up to 2,800 bytes, with ids as long as records may be."""


class Level(StrEnum):
    """How much of a trace the ledger keeps, from nothing to everything."""

    OFF = "off"
    MIN = "min"
    FULL = "full"
