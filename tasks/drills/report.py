"""What a drill found: values, the JSON file that is kept as evidence, and the page for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tasks.run_folder import read_json, write_json

FORMAT: Final = 1
_FOLDER: Final = "drills"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that had to hold: what, whether it did, and what was seen."""

    what: str
    passed: bool
    seen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """What came of one scenario.

    Attributes:
        name: the scenario's.
        guide: the row of the guide's table that it shows.
        injected: what was made to fail.
        queries: how many were asked.
        unanswered: how many of them got no selection. It has to be 0, whatever fails.
        checks: what had to hold.
        error: why the scenario could not be played to its end; it has failed then.
        seconds: how long it took.
    """

    name: str
    guide: str
    injected: str
    queries: int
    unanswered: int
    checks: tuple[Check, ...]
    error: str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it was played to its end, every query was answered, and all that had to hold did. None is no pass."""
        return (
            self.error is None
            and self.queries > 0
            and self.unanswered == 0
            and bool(self.checks)
            and all(check.passed for check in self.checks)
        )

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return asdict(self) | {"checks": [asdict(check) for check in self.checks], "passed": self.passed}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ScenarioResult:
        """Read what `as_dict` wrote. Whether it passed is computed anew."""
        fields = {name: record[name] for name in cls.__slots__ if name != "checks"}
        return cls(**fields, checks=tuple(Check(**check) for check in record["checks"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """What a drill found.

    Attributes:
        drill_id: names it.
        started_at, ended_at: when, in UTC.
        code_version: version of REDO that was drilled.
        results: one a scenario that was played.
        skipped: names of the scenarios that were not. A drill that skips some proves nothing about those.
    """

    drill_id: str
    started_at: datetime
    ended_at: datetime
    code_version: str
    results: tuple[ScenarioResult, ...]
    skipped: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether a scenario was played, and all that were have passed."""
        return bool(self.results) and all(result.passed for result in self.results)

    @property
    def queries(self) -> int:
        """How many queries were asked in all."""
        return sum(result.queries for result in self.results)

    @property
    def unanswered(self) -> int:
        """How many of them got no selection."""
        return sum(result.unanswered for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "format": FORMAT,
            "drill_id": self.drill_id,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "code_version": self.code_version,
            "passed": self.passed,
            "queries": self.queries,
            "unanswered": self.unanswered,
            "skipped": list(self.skipped),
            "results": [result.as_dict() for result in self.results],
        }

    def save(self, home: Path) -> Path:
        """Keep it as `home/drills/<id>.json`, which `newest_drill` finds."""
        path = home / _FOLDER / f"{self.drill_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.as_dict())
        return path

    @classmethod
    def load(cls, path: Path) -> DrillReport:
        """Read a report that was kept. Raises KeyError, TypeError or ValueError where the file holds none."""
        record = read_json(path)
        if record["format"] != FORMAT:
            raise ValueError(f"{path}: format {record['format']!r}, expected {FORMAT}")
        return cls(
            drill_id=record["drill_id"],
            started_at=datetime.fromisoformat(record["started_at"]),
            ended_at=datetime.fromisoformat(record["ended_at"]),
            code_version=record["code_version"],
            results=tuple(map(ScenarioResult.from_dict, record["results"])),
            skipped=tuple(record["skipped"]),
        )


def newest_drill(home: Path) -> DrillReport | None:
    """The report of the drill that ended last in this home; files that cannot be read are passed over."""
    found: list[DrillReport] = []
    for path in (home / _FOLDER).glob("*.json"):
        try:
            found.append(DrillReport.load(path))
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return max(found, key=lambda report: report.ended_at, default=None)


def drill_markdown(report: DrillReport) -> str:
    """The report for people: the verdict, a row a scenario, and what did not hold."""
    passed = sum(result.passed for result in report.results)
    verdict = "The drill passed" if report.passed else "The drill failed"
    lines = [
        f"## {verdict}: {passed} of {len(report.results)} scenarios",
        "",
        _in_short(report),
        "",
        *([f"Not played: {', '.join(report.skipped)}.", ""] if report.skipped else []),
        "| scenario | result | queries | what failed | in the guide |",
        "|---|---|---:|---|---|",
    ]
    lines += [
        f"| {result.name} | {_verdict(result)} | {result.queries} | {result.injected} | {result.guide} |"
        for result in report.results
    ]
    for result in report.results:
        lines += ["", f"### {result.name}", ""]
        if result.error is not None:
            lines += ["```text", result.error, "```"]
        if result.unanswered:
            lines.append(f"- **failed**: {result.unanswered} queries got no answer")
        lines += [_bullet(check) for check in result.checks]
    return "\n".join(lines) + "\n"


def _in_short(report: DrillReport) -> str:
    """One line, because the UI breaks lines where the text does."""
    asked = f"{report.queries:,} queries were asked, and {report.unanswered:,} got no answer."
    when = f"REDO {report.code_version}, {report.started_at:%Y-%m-%d %H:%M} UTC."
    return f"{asked} {when} Nothing of production was touched."


def _verdict(result: ScenarioResult) -> str:
    return "passed" if result.passed else "**failed**"


def _bullet(check: Check) -> str:
    seen = f": {check.seen}" if check.seen else ""
    return f"- {'held' if check.passed else '**failed**'}: {check.what}{seen}"


def failures(results: Sequence[ScenarioResult]) -> str:
    """The scenarios that did not pass, in one line."""
    return "; ".join(
        f"{result.name}: "
        + (result.error or ", ".join(check.what for check in result.checks if not check.passed) or "unanswered queries")
        for result in results
        if not result.passed
    )
