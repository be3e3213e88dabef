"""A picture of both arms: how long their queries took, and on how many they broke. SVG, with nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from typing import Final

from tasks.rollout.arms import FIRST_MS, Arm, Arms, place_of

_WIDTH: Final = 820
_HEIGHT: Final = 330
_LEFT: Final = 56
_TOP: Final = 64
_PLOT_W: Final = 440
_PLOT_H: Final = 200
_TABLE_X: Final = 540
_COLOURS: Final = {"redo": "#2563eb", "legacy": "#d97706"}
_INK: Final = "#1f2937"
_FAINT: Final = "#6b7280"
_LINE: Final = "#dc2626"


def chart_svg(arms: Arms, title: str) -> str:
    """The picture as SVG.

    Left: which share of an arm's queries took how long, against the budget. Right: the numbers.

    Args:
        arms: what both did.
        title: what the picture is about.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="13">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#ffffff"/>'
        f"{_text(20, 30, title, size=16, weight=600)}"
        f"{''.join(_plot(arms))}{''.join(_table(arms))}</svg>"
    )


def data_uri(svg: str) -> str:
    """The picture as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _plot(arms: Arms) -> Iterator[str]:
    shares = {name: _shares(arm) for name, arm in _named(arms)}
    highest = max((max(values) for values in shares.values()), default=0.0) or 1.0
    bottom = _TOP + _PLOT_H
    yield f'<line x1="{_LEFT}" y1="{bottom}" x2="{_LEFT + _PLOT_W}" y2="{bottom}" stroke="{_FAINT}"/>'
    for part in (0.5, 1.0):
        y = bottom - part * _PLOT_H
        yield f'<line x1="{_LEFT}" y1="{y}" x2="{_LEFT + _PLOT_W}" y2="{y}" stroke="#e5e7eb"/>'
        yield _text(_LEFT - 8, y + 4, f"{part * highest:.0%}", anchor="end", fill=_FAINT)
    for name, values in shares.items():
        yield _area(values, highest, _COLOURS[name])
    tick_ms = FIRST_MS
    while (place := place_of(tick_ms, arms.budget_ms)) <= 1:
        x = _LEFT + place * _PLOT_W
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="{_FAINT}"/>'
        yield _text(x, bottom + 19, f"{tick_ms:g}", anchor="middle", fill=_FAINT)
        tick_ms *= 10
    yield _text(_LEFT + _PLOT_W / 2, bottom + 42, "milliseconds of a query, logarithmic", anchor="middle", fill=_FAINT)
    x = _LEFT + place_of(arms.budget_ms, arms.budget_ms) * _PLOT_W
    yield f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{_LINE}" stroke-dasharray="5 4"/>'
    yield _text(x - 6, _TOP + 4, "budget", anchor="end", fill=_LINE)


def _area(shares: list[float], highest: float, colour: str) -> str:
    """One arm's histogram as steps."""
    width, bottom = _PLOT_W / len(shares), _TOP + _PLOT_H
    points = [f"{_LEFT},{bottom}"]
    for place, share in enumerate(shares):
        y = bottom - share / highest * _PLOT_H
        points += [f"{_LEFT + place * width:.1f},{y:.1f}", f"{_LEFT + (place + 1) * width:.1f},{y:.1f}"]
    points.append(f"{_LEFT + _PLOT_W},{bottom}")
    return f'<polygon points="{" ".join(points)}" fill="{colour}" fill-opacity="0.28" stroke="{colour}"/>'


def _table(arms: Arms) -> Iterator[str]:
    columns = (_TABLE_X + 170, _TABLE_X + 255)
    for x, (name, _) in zip(columns, _named(arms), strict=True):
        yield f'<rect x="{x - 66}" y="{_TOP - 9}" width="10" height="10" rx="2" fill="{_COLOURS[name]}"/>'
        yield _text(x, _TOP, name, anchor="end", weight=600)
    rows = (
        ("queries", "{arm.queries:,}"),
        ("broken", "{arm.failed:,}"),
        ("share broken", "{arm.failed_share:.2%}"),
        ("fell back", "{arm.fell_back:,}"),
        ("p50, ms", "{arm.p50_ms:.1f}"),
        ("p95, ms", "{arm.p95_ms:.1f}"),
        ("p99, ms", "{arm.p99_ms:.1f}"),
    )
    for place, (words, form) in enumerate(rows, start=1):
        y = _TOP + 27 * place
        yield f'<line x1="{_TABLE_X}" y1="{y - 18}" x2="{columns[-1]}" y2="{y - 18}" stroke="#e5e7eb"/>'
        yield _text(_TABLE_X, y, words, fill=_FAINT)
        for x, (_, arm) in zip(columns, _named(arms), strict=True):
            is_bad = words.startswith(("broken", "share")) and arm.failed > 0
            shown = form.format(arm=arm) if arm.queries else "none"
            yield _text(x, y, shown, anchor="end", fill=_LINE if is_bad else _INK, weight=600 if is_bad else 400)
    runs = f"{arms.runs:,} run{'' if arms.runs == 1 else 's'}, budget {arms.budget_ms:g} ms"
    yield _text(_TABLE_X, _TOP + 27 * (len(rows) + 1) + 6, runs, fill=_FAINT)


def _named(arms: Arms) -> tuple[tuple[str, Arm], ...]:
    return (("redo", arms.redo), ("legacy", arms.legacy))


def _shares(arm: Arm) -> list[float]:
    total = sum(arm.histogram)
    return [count / total if total else 0.0 for count in arm.histogram]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: int = 400, fill: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{escape(text)}</text>'
    )
