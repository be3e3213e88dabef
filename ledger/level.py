"""How much of a trace the ledger keeps."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """How much of a trace the ledger keeps, from nothing to everything."""

    OFF = "off"
    MIN = "min"
    FULL = "full"
