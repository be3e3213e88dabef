"""Makes Data Docs readable without a network, and gives them a first page that says what all gates came to.

Pages of Great Expectations ask nine public hosts for styles and scripts, and build their own first page by script. All
that goes, with 4 MB of fonts and pictures; a small style of our own takes its place, and what is left needs no script.
"""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path
from typing import Final

from core.rollout.gates import GateReport, GateResult

_SCRIPT: Final = re.compile(r"<script\b.*?</script>", re.IGNORECASE | re.DOTALL)
_LOOKS: Final = re.compile(r"<style\b.*?</style>|<(?:link|img)\b[^>]*>", re.IGNORECASE | re.DOTALL)
_LINK_OUT: Final = re.compile(r"<a\b[^>]*href=[\"']https?:[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL)
_FOOTER: Final = re.compile(r"<footer\b.*?</footer>", re.IGNORECASE | re.DOTALL)
_HEAD_END: Final = re.compile(r"</head>", re.IGNORECASE)

_STYLE: Final = """<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; background: #fff; }
body { margin: 0 auto; max-width: 1100px; padding: 16px; }
h1 { font-size: 22px; } h4, h5, h6 { font-size: 16px; margin: .8em 0 .3em; }
table { border-collapse: collapse; width: 100%; margin: .5em 0 1.2em; }
th, td { border: 1px solid #d5dae2; padding: 6px 10px; text-align: left; vertical-align: top; }
th { background: #f2f4f8; } td.number { text-align: right; white-space: nowrap; }
a { color: #0b5cad; } ul { padding-left: 1.2em; } ol { padding: 0; } ol li { display: inline-block; margin-right: 1em; }
code, pre { background: #f2f4f8; padding: 1px 4px; border-radius: 3px; white-space: pre-wrap; }
.modal, button, .collapse, [data-toggle=collapse], .card:has([type=radio]) { display: none; }
.card, .alert { border: 1px solid #d5dae2; border-radius: 6px; padding: 4px 12px 8px; margin: 8px 0; }
.badge { background: #e6e9ef; border-radius: 4px; padding: 1px 6px; }
.text-success, .pass { color: #1a7f37; } .text-danger, .fail, .error { color: #b42318; }
.text-warning, .pending, .inconclusive { color: #9a6700; }
td .text-success::before { content: "holds"; } td .text-danger::before { content: "fails"; }
td .text-warning::before { content: "error"; }
.nav { list-style: none; padding: 0; } .nav li { display: inline-block; margin-right: 12px; }
</style></head>"""


def finish_docs(folder: Path, report: GateReport) -> None:
    """Rewrite all pages below a folder so that they ask no other host, and write the first page."""
    for page in folder.rglob("*.html"):
        page.write_text(offline(page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.rmtree(folder / "static", ignore_errors=True)
    (folder / "index.html").write_text(_first_page(report, folder), encoding="utf-8")


def offline(page: str) -> str:
    """The page without anything that asks another host."""
    for pattern in (_SCRIPT, _LOOKS, _FOOTER):
        page = pattern.sub("", page)
    page = _LINK_OUT.sub(lambda found: found[1], page)
    return _HEAD_END.sub(lambda _: _STYLE, page, count=1)


def _first_page(report: GateReport, folder: Path) -> str:
    pages = {page.parents[2].name: page.relative_to(folder) for page in sorted(folder.glob("validations/*/*/*/*.html"))}
    rows = "\n".join(_row(result, pages.get(result.name)) for result in report.results)
    verdict = report.verdict.value
    arms = ", ".join(f"{arm} {count:,}" for arm, count in report.samples.items())
    head = "".join(f"<th>{name}</th>" for name in ("gate", "verdict", "value", "asked for", "n", "detail"))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Gates: {verdict}</title>{_STYLE}
<body>
<h1>Gates of step {report.step}, {report.phase.value}: <span class="{verdict}">{verdict}</span></h1>
<p>Report {escape(report.report_id)}, attempt {report.attempt}, evaluated {report.created_at:%Y-%m-%d %H:%M} UTC.
Data of {report.window_start:%Y-%m-%d %H:%M} to {report.window_end:%Y-%m-%d %H:%M}; queries: {escape(arms)}.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table>
<p>A guardrail that fails steps the rollout back, a signal that fails pauses it. Observed gates decide nothing.</p>
</body></html>
"""


def _row(result: GateResult, page: Path | None) -> str:
    name = escape(result.name) if page is None else f'<a href="{escape(page.as_posix())}">{escape(result.name)}</a>'
    value = "" if result.value is None else f"{result.value:.4g}"
    cells = (
        f"<td>{name}<br>{result.kind.value}{'' if result.is_enforced else ', observed'}</td>",
        f'<td class="{result.counted.value}">{result.counted.value}</td>',
        f'<td class="number">{value}</td>',
        f"<td>{escape(result.threshold)}</td>",
        f'<td class="number">{result.n:,}</td>',
        f"<td>{escape(result.detail)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"
