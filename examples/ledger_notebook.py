"""The ten questions of docs/ledger.md, drawn: `marimo edit examples/ledger_notebook.py`.

Needs the extra `notebook`. The SQL is that of the page; the ledger is LEDGER_URI, or what is typed into the field.
"""

# ruff: noqa: ANN001, ANN202, N803, PLC0415 - cells are functions of the names that they use, and marimo calls them
import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="The ledger")


@app.cell
def _():
    import re
    from pathlib import Path

    import altair as alt
    import marimo as mo

    from core.errors import RedoError
    from ledger.query import run_query
    from tasks.settings import load_settings

    page = (Path(__file__).parents[1] / "docs" / "ledger.md").read_text()
    found = re.findall(r"^### (\d+)\. (.*?)\n.*?^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    questions = {int(number): (title, sql) for number, title, sql in found}
    return RedoError, alt, load_settings, mo, questions, run_query


@app.cell
def _(load_settings, mo):
    place = mo.ui.text(value=load_settings().ledger, label="ledger", full_width=True)
    mo.vstack([mo.md("# The ledger"), place])
    return (place,)


@app.cell
def _(RedoError, mo, place, run_query):
    sql = "select distinct unnest([code_version, batch_id]) as version from decisions order by version"
    try:
        versions = [str(row[0]) for row in run_query(place.value, sql).rows]
    except RedoError as error:
        mo.stop(predicate=True, output=mo.callout(str(error), kind="danger"))
    mo.stop(not versions, mo.callout("The ledger is empty.", kind="warn"))
    version_a = mo.ui.dropdown(versions, value=versions[0], label="compare")
    version_b = mo.ui.dropdown(versions, value=versions[-1], label="with")
    mo.hstack([version_a, version_b], justify="start")
    return version_a, version_b


@app.cell
def _(alt):
    def told(records):
        """Every value of the answer, for whoever points at a mark."""
        return [alt.Tooltip(field=name, type="nominal") for name in records[0]]

    def bars(records, *, x, y, color=None):
        """Bars that grow to the right, in the order of the answer; `x` and `y` may name their type, as `n:Q`."""
        encoded = {"x": x, "y": alt.Y(y, sort=None), "tooltip": told(records)}
        if color:
            encoded["color"] = color
        return alt.Chart(alt.Data(values=records)).mark_bar().encode(**encoded).properties(width=560)

    def timeline(records, *, x, y, color):
        """One mark a minute or day."""
        chart = alt.Chart(alt.Data(values=records)).mark_bar(size=6)
        return chart.encode(x=x, y=y, color=color, tooltip=told(records)).properties(width=560, height=180)

    def latency(records):
        """From the median to p99, a version and decision a line."""
        named = [{**row, "version": f"{row['code_version']} {row['config']} {row['decision']}"} for row in records]
        base = alt.Chart(alt.Data(values=named)).encode(y=alt.Y("version:N", sort=None), color="decision:N")
        span = base.mark_rule(strokeWidth=3).encode(x=alt.X("p50:Q", title="ms, p50 to p99"), x2="p99")
        tick = base.mark_tick(thickness=3).encode(x="p95:Q", tooltip=["n:Q", "p50:Q", "p95:Q", "p99:Q"])
        return (span + tick).properties(width=560)

    charts = {
        1: latency,
        2: lambda rows: bars(rows, x="budget_percent:Q", y="stage:N", color="arm:N"),
        3: lambda rows: bars(rows, x="findings:Q", y="kind:N"),
        4: lambda rows: bars(rows, x="lost:Q", y="source:N"),
        5: lambda rows: bars(rows, x="passages:Q", y="because:N", color="selection_arm:N"),
        6: lambda rows: timeline(rows, x="minute:T", y="queries:Q", color="breaker:N"),
        7: lambda rows: bars(rows, x="queries:Q", y="churn:N"),
        8: lambda rows: bars(rows, x="queries:Q", y="phase:N", color="decision:N"),
        9: lambda rows: timeline(rows, x="dt:T", y="traces:Q", color="objects_missing:O"),
        10: lambda rows: timeline(rows, x="dt:T", y="queries:Q", color="decision:N"),
    }
    return (charts,)


@app.cell
def _(charts, mo, place, questions, run_query, version_a, version_b):
    def section(number):
        """A question, its drawing and its answer."""
        title, sql = questions[number]
        for printed, chosen in (("'0.1.0'", version_a.value), ("'0.2.0'", version_b.value)):
            sql = sql.replace(printed, "'" + chosen.replace("'", "''") + "'")
        records = run_query(place.value, sql).records()
        heading = mo.md(f"## {number}. {title}")
        if not records:
            return mo.vstack([heading, mo.md("*no answer: nothing of the kind is in this ledger*")])
        drawn = charts[number](records)
        return mo.vstack(
            [heading, drawn, mo.accordion({"rows": mo.plain_text(_lines(records)), "SQL": mo.md(f"```sql\n{sql}```")})]
        )

    def _lines(records):
        return "\n".join(", ".join(f"{name} {value}" for name, value in row.items()) for row in records[:50])

    mo.vstack([section(number) for number in questions], gap=2)


if __name__ == "__main__":
    app.run()
