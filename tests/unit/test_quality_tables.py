"""Tables of the quality benchmark as Markdown and as JSON."""

from __future__ import annotations

import json
import math

from benchmarks.quality_parts.metrics import Estimate
from benchmarks.quality_parts.tables import Table, markdown, record

TABLE = Table(
    "Things",
    ("share", "count", "ms"),
    (
        ("first", (Estimate(0.5, 0.25, 0.75), 1234, 2.345)),
        ("second", (Estimate(math.nan, math.nan, math.nan), 0, 0.0)),
        ("third", ("no model",)),
    ),
    ("a note",),
)


def test_markdown_has_every_cell() -> None:
    """Intervals in brackets, an undefined figure in words, rows that say why as wide as the others."""
    assert markdown(TABLE).splitlines() == [
        "### Things",
        "",
        "|  | share | count | ms |",
        "|---|---|---|---|",
        "| first | 0.500 [0.250, 0.750] | 1,234 | 2.3 |",
        "| second | not reached | 0 | 0.0 |",
        "| third | no model |  |  |",
        "",
        "- a note",
    ]


def test_record_is_strict_json() -> None:
    """An undefined figure is null: JSON has no NaN."""
    rows = json.loads(json.dumps(record(TABLE), allow_nan=False))["rows"]
    assert rows[0]["cells"] == [{"value": 0.5, "low": 0.25, "high": 0.75}, 1234, 2.345]
    assert rows[1]["cells"][0] is None
    assert rows[2] == {"name": "third", "cells": ["no model"]}
