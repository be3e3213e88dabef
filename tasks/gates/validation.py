"""Running suites with Great Expectations: ephemeral, on pandas frames, the result as plain values.

Great Expectations calls it a success when a suite is empty, and when a frame is: nothing was wrong. Here both are none.
An exception inside an expectation is kept apart from data that do not fit: the first says nothing about the data.

It is imported when the first suite runs: that takes 5 s and more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.rollout.verdict import Verdict
from tasks.gates.measured import Measured
from tasks.gates.suites import Rule

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

_SITE = "gates"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one expectation came to.

    Attributes:
        rule: what was expected.
        looked_at: how many values it looked at.
        unexpected: how many did not fit, missing ones included.
        error: why it could not be evaluated; `None` where it was.
        sample: some of the values that did not fit.
    """

    rule: Rule
    looked_at: int
    unexpected: int
    error: str | None = None
    sample: tuple[object, ...] = ()


class Validator(Protocol):
    """Runs one suite over one frame."""

    def validate(self, name: str, columns: Mapping[str, Sequence[object]], rules: Sequence[Rule]) -> list[Outcome]:
        """Return one outcome for each expectation that ran. Raises whatever goes wrong before any does."""
        ...


@dataclass(slots=True)
class GreatExpectations:
    """Great Expectations, with one context for all suites of a report.

    Args:
        docs: the folder for Data Docs; none are made without one.
    """

    docs: Path | None = None
    _context: Any = field(default=None, init=False, repr=False)
    _frames: Any = field(default=None, init=False, repr=False)

    def validate(self, name: str, columns: Mapping[str, Sequence[object]], rules: Sequence[Rule]) -> list[Outcome]:
        """See `Validator`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its import uses what Python has deprecated
            self._open()
            results = self._run(name, _frame(columns), rules)
        return [_outcome(result, rules) for result in results]

    def write_docs(self) -> None:
        """Render the Data Docs into their folder."""
        if self.docs is None or self._context is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._context.build_data_docs()

    def _open(self) -> None:
        if self._context is not None:
            return
        import great_expectations as gx  # noqa: PLC0415
        from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        for site in list(self._context.get_site_names()):
            self._context.delete_data_docs_site(site)
        if self.docs is not None:
            store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(self.docs.resolve())}
            config = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": store}
            index = {"class_name": "DefaultSiteIndexBuilder"}
            self._context.add_data_docs_site(site_name=_SITE, site_config=config | {"site_index_builder": index})
        self._frames = self._context.data_sources.add_pandas("frames")

    def _run(self, name: str, frame: pd.DataFrame, rules: Sequence[Rule]) -> Sequence[Any]:
        from great_expectations.expectations.core.expect_column_values_to_be_between import (  # noqa: PLC0415
            ExpectColumnValuesToBeBetween,
        )
        from great_expectations.expectations.core.expect_column_values_to_not_be_null import (  # noqa: PLC0415
            ExpectColumnValuesToNotBeNull,
        )

        expectations: list[Any] = []
        for place, rule in enumerate(rules):
            meta = {"rule": place}
            expectations += [
                ExpectColumnValuesToNotBeNull(column=rule.column, meta=meta, notes=rule.why),
                ExpectColumnValuesToBeBetween(
                    column=rule.column, min_value=rule.least, max_value=rule.most, meta=meta, notes=rule.why
                ),
            ]
        return self._checkpoint(name, frame, expectations)

    def _checkpoint(self, name: str, frame: pd.DataFrame, expectations: Sequence[Any]) -> Sequence[Any]:
        import great_expectations as gx  # noqa: PLC0415

        batch = self._frames.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = self._context.suites.add(gx.ExpectationSuite(name=name, expectations=list(expectations)))
        definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
        definition = self._context.validation_definitions.add(definition)
        checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
        result = self._context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
        (validation,) = result.run_results.values()
        return list(validation.results)


def _frame(columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _outcome(result: Any, rules: Sequence[Rule]) -> Outcome:  # noqa: ANN401 - Great Expectations' own
    rule = rules[result.expectation_config.meta["rule"]]
    error = _raised(result.exception_info)
    found = result.result
    if error is None and "element_count" not in found:
        error = "no values were counted"
    unexpected = int(found.get("unexpected_count", 0))
    if error is None and not result.success and not unexpected:
        error = "it failed without a value that does not fit"
    sample = tuple(found.get("partial_unexpected_list", ()))[:3]
    return Outcome(rule, int(found.get("element_count", 0)), unexpected, error, sample)


def _raised(info: Any) -> str | None:  # noqa: ANN401 - one object, or one by metric
    """The message of an exception inside an expectation; Great Expectations gives it in two forms."""
    if not info:
        return None
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "an exception without a message")
    return None


def judge(outcomes: Sequence[Outcome], rules: Sequence[Rule], *, unit: str) -> Measured:
    """What a suite came to. `value` is the share of the rules that hold.

    Args:
        outcomes: of the expectations that ran.
        rules: all that should have run.
        unit: what a row of the frame is, for the detail: `runs`.
    """
    threshold = f"all {len(rules)} rules hold"
    ran = {outcome.rule for outcome in outcomes}
    missing = [rule.column for rule in rules if rule not in ran]
    if not outcomes or missing:
        return Measured(Verdict.ERROR, None, threshold, 0, f"not evaluated: {', '.join(missing) or 'any rule'}")
    n = max(outcome.looked_at for outcome in outcomes)
    broken = [f"{outcome.rule.column}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
    wrong = [_described(outcome, unit) for outcome in outcomes if outcome.error is None and outcome.unexpected]
    holding = 1 - len({o.rule for o in outcomes if o.error is not None or o.unexpected}) / len(rules)
    if wrong:  # worse than an error beside it: the data say no
        return Measured(Verdict.FAIL, holding, threshold, n, "; ".join([*wrong, *broken]))
    if broken:
        return Measured(Verdict.ERROR, holding, threshold, n, "; ".join(broken))
    if n == 0:
        return Measured(Verdict.INCONCLUSIVE, None, threshold, 0, f"no {unit}")
    return Measured(Verdict.PASS, 1.0, threshold, n, f"{n:,} {unit}")


def _described(outcome: Outcome, unit: str) -> str:
    values = ", ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in outcome.sample)
    shown = f" ({values})" if values else ""
    where = f"in {outcome.unexpected:,} of {outcome.looked_at:,} {unit}"
    return f"{outcome.rule.column}{shown} {where}; expected: {outcome.rule.why}"
