"""What a run leaves in the Prefect UI: its numbers, a chart of latency against budget, the contradictions found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.run_folder import RunFolder, read_rows
from tasks.run_spec import RunSpec
from tasks.summary import Summary

_BARS = 40
_CONFLICTS = 25
_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 1000, 5000)


def publish(folder: RunFolder, summary: Summary) -> None:
    """Leave the artifacts of a finished run."""
    spec = RunSpec.load(folder.spec)
    create_table_artifact(
        key="redo-batch", table=run_table(summary), description=f"Batch {summary.batch_id} in numbers."
    )
    create_markdown_artifact(
        key="redo-latency",
        markdown=latency_chart(_latencies(folder, spec), summary),
        description=f"Latency of batch {summary.batch_id} against its budget.",
    )
    create_markdown_artifact(
        key="redo-conflicts",
        markdown=conflict_list(_conflicts(folder, spec), summary),
        description=f"What passages of batch {summary.batch_id} contradict each other about.",
    )


def run_table(summary: Summary) -> list[dict[str, Any]]:
    """The run's numbers, a row each."""
    latency = summary.latency_ms
    rows: list[tuple[str, object]] = [
        ("queries", summary.queries),
        ("answered", summary.answered),
        *((f"answered by {decision}", count) for decision, count in summary.decisions.items()),
        *((f"because {reason}", count) for reason, count in summary.reasons.items()),
        ("quarantined records", sum(summary.quarantined.values())),
        ("latency p50 / p95 / p99", " / ".join(f"{latency[name]:.1f} ms" for name in latency)),
        ("budget", f"{summary.budget_ms:.0f} ms"),
        ("out of time", summary.deadline_hits),
        *((f"contradictions: {kind}", count) for kind, count in summary.contradictions.items()),
        ("ambiguities", summary.ambiguities),
        ("output", summary.output),
        ("ledger", "off" if summary.ledger is None else f"{summary.ledger['uri']}, {summary.ledger['rows']} rows"),
    ]
    return [{"what": what, "value": str(value)} for what, value in rows]


def latency_chart(latencies_ms: Sequence[float], summary: Summary) -> str:
    """A histogram in Markdown: how many queries took how long, with the budget as a line."""
    bounds = [bound for bound in _BOUNDS_MS if bound < summary.budget_ms] + [summary.budget_ms]
    counts = [0] * (len(bounds) + 1)
    for latency in latencies_ms:
        counts[sum(latency > bound for bound in bounds)] += 1
    most = max([1, *counts])
    lines = []
    for place, count in enumerate(counts):
        within = place < len(bounds)
        label = f"<= {bounds[place]:g} ms" if within else f" > {bounds[-1]:g} ms"
        bar = "█" * max(bool(count), round(_BARS * count / most))
        lines.append(f"{label:>12} {count:>8,}  {bar}")
    lines.insert(len(bounds), f"{'budget':>12} {'':>8}  {'─' * _BARS}")
    numbers = ", ".join(f"{name} {value:.1f} ms" for name, value in summary.latency_ms.items())
    return f"## Latency against budget\n\n{numbers}; budget {summary.budget_ms:.0f} ms.\n\n```text\n" + (
        "\n".join(lines) + "\n```\n"
    )


def conflict_list(records: Iterable[dict[str, Any]], summary: Summary) -> str:
    """The first contradictions in Markdown, each with both sentences and the values that differ."""
    total = sum(summary.contradictions.values())
    parts = [f"## Contradictions\n\n{total:,} found, {summary.ambiguities:,} ambiguities beside them."]
    shown = 0
    for record in records:
        for found in record["contradictions"]:
            if shown == _CONFLICTS:
                others = "the run's folder" if summary.ledger is None else "the ledger"
                return "\n\n".join([*parts, f"The first {_CONFLICTS} are shown; {others} has all."])
            shown += 1
            asked = f"{_code(record['query_id'])}: {_quoted(record['query'])}"
            parts.append(
                f"**{found['kind']}** ({found['score']:.2f}), {asked}\n\n"
                f"- {_code(found['left']['passage_id'])} {_marked(found['left'])}\n"
                f"- {_code(found['right']['passage_id'])} {_marked(found['right'])}"
            )
    return "\n\n".join(parts)


def _marked(claim: dict[str, Any]) -> str:
    """The sentence with the disputed value in bold, as plain text: nothing in it is taken for Markdown."""
    sentence = str(claim["sentence"])
    start, end = (claim[place] - claim["sentence_start"] for place in ("value_start", "value_end"))
    return f"{_quoted(sentence[:start])}**{_quoted(sentence[start:end]).strip()}**{_quoted(sentence[end:])}"


def _code(text: str) -> str:
    """An id as code, whose fence is longer than any in it."""
    fence = "`" * (1 + max((len(found) for found in re.findall("`+", text)), default=0))
    return f"`{text}`" if fence == "`" else f"{fence} {text} {fence}"


def _quoted(text: str) -> str:
    flat = " ".join(text.split())
    spaced = f"{' ' if text[:1].isspace() else ''}{flat}{' ' if flat and text[-1:].isspace() else ''}"
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#+!|<>~&" else sign for sign in spaced)


def _conflicts(folder: RunFolder, spec: RunSpec) -> Iterator[dict[str, Any]]:
    for number in range(spec.chunks):
        yield from read_rows(folder.chunk(number).conflicts)


def _latencies(folder: RunFolder, spec: RunSpec) -> list[float]:
    return [row["latency_ms"] for number in range(spec.chunks) for row in read_rows(folder.chunk(number).decisions)]
