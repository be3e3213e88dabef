"""The gate reports that were made: one folder each in `REDO_HOME/gates`, with its JSON and its Data Docs."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from core.errors import StoreError
from core.rollout.gates import GateReport
from core.rollout.state import RolloutState
from tasks.rollout.arms import Arms
from tasks.run_folder import read_json, write_json

_FOLDER: Final = "gates"
_FILE: Final = "report.json"
_ARMS: Final = "arms"
_ID: Final = re.compile(r"g-\d{8}-\d{6}-[0-9a-f]{8}")
_KEPT: Final = 100
"""Reports that are kept beside those that a decision rests on."""


def new_report_id(now: datetime) -> str:
    """An id that no other report has, and that sorts by time."""
    return f"g-{now.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report, with how both arms did; `arms` is `None` where no run counted."""

    report: GateReport
    arms: Arms | None


@dataclass(frozen=True, slots=True)
class Reports:
    """The reports of one `REDO_HOME`.

    Attributes:
        home: that folder.
    """

    home: Path

    def folder(self, report_id: str) -> Path:
        """Where a report is, or would be."""
        return self.home / _FOLDER / report_id

    def docs(self, report_id: str) -> Path:
        """Where its Data Docs are, or would be: `index.html` is the first page."""
        return self.folder(report_id) / "docs"

    def save(self, stored: StoredReport) -> Path:
        """Keep a report. Returns the file."""
        path = self.folder(stored.report.report_id) / _FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, stored.report.to_dict() | {_ARMS: None if stored.arms is None else stored.arms.to_dict()})
        return path

    def load(self, report_id: str) -> StoredReport | None:
        """A report by its id; `None` where this home does not have it, or it cannot be read."""
        if not _ID.fullmatch(report_id):
            return None
        try:
            record = read_json(self.folder(report_id) / _FILE)
            arms = record.get(_ARMS)
            return StoredReport(GateReport.from_dict(record), None if arms is None else Arms.from_dict(arms))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, StoreError):
            return None

    def newest(self, *, step: RolloutState | None = None) -> StoredReport | None:
        """The newest report, of the rollout's present step and attempt where a state is given."""
        for stored in self.newest_first():
            known = stored.report
            if step is None or (known.phase, known.attempt, known.step) == (step.phase, step.attempt, step.step):
                return stored
        return None

    def newest_first(self) -> Iterator[StoredReport]:
        """All reports that can be read."""
        for report_id in sorted(self._ids(), reverse=True):
            stored = self.load(report_id)
            if stored is not None:
                yield stored

    def prune(self, evidence: Collection[str], *, kept: int = _KEPT) -> int:
        """Remove old reports that no decision rests on.

        Args:
            evidence: ids of those that one does.
            kept: how many of the newest ones stay in any case.

        Returns:
            How many were removed.
        """
        old = [report_id for report_id in sorted(self._ids(), reverse=True)[kept:] if report_id not in evidence]
        for report_id in old:
            shutil.rmtree(self.folder(report_id), ignore_errors=True)
        return len(old)

    def _ids(self) -> list[str]:
        return [path.name for path in (self.home / _FOLDER).glob("g-*") if _ID.fullmatch(path.name)]
