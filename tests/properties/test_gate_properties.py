"""What holds of the gates' statistics for all data, and how often they err when they are asked again and again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.rollout.verdict import Verdict
from tasks.gates.counts import Finding, excess_p_value, fisher_p_value, look_level, sequential_rate, share_p_value
from tasks.gates.measured import latest_look
from tasks.gates.ranks import shift
from tasks.gates.suites import Rule
from tasks.gates.validation import Outcome, judge

LIMITS = {"acceptable": 0.0025, "unacceptable": 0.01, "alpha": 1e-4, "beta": 0.01}
COUNTS = st.tuples(st.integers(0, 5000), st.integers(0, 5000)).map(lambda pair: (min(pair), max(pair)))
SAMPLES = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=30)


@given(COUNTS)
def test_one_more_event_is_never_better(counts: tuple[int, int]) -> None:
    """The ratio rises with each event and falls with each other query."""
    events, n = counts
    here = sequential_rate([events], [n], **LIMITS).log_ratio
    assert sequential_rate([events + 1], [n + 1], **LIMITS).log_ratio > here
    assert sequential_rate([events], [n + 1], **LIMITS).log_ratio < here


@given(COUNTS, COUNTS, st.floats(0, 0.05))
def test_p_values_of_counts_are_probabilities(counts: tuple[int, int], others: tuple[int, int], allowed: float) -> None:
    """Between 0 and 1, and one more failure of REDO is never less evidence against it."""
    (events, n), (other_events, other_n) = counts, others
    for value in (
        fisher_p_value(events, n, other_events, other_n),
        excess_p_value(events, n, other_events, other_n, allowed=allowed, alpha=1e-4),
    ):
        assert 0 <= value <= 1 + 1e-9
    if events < n:
        more = excess_p_value(events + 1, n, other_events, other_n, allowed=allowed, alpha=1e-4)
        assert more <= excess_p_value(events, n, other_events, other_n, allowed=allowed, alpha=1e-4) + 1e-12


@given(COUNTS, st.floats(0.01, 0.99))
def test_a_share_and_its_complement_are_one_question(counts: tuple[int, int], share: float) -> None:
    """Members and others may change places."""
    members, n = counts
    here, there = share_p_value(members, n, share), share_p_value(n - members, n, 1 - share)
    assert here == pytest.approx(there, abs=1e-9)


@settings(deadline=None)
@given(SAMPLES, SAMPLES, st.integers(-20, 20).map(float))
def test_a_shift_follows_what_is_added(values: list[float], others: list[float], by: float) -> None:
    """The estimate and its interval move with the sample, and stay in their order."""
    here = shift(values, others, confidence=0.95)
    there = shift([value + by for value in values], [other + by for other in others], confidence=0.95)
    assert here.low <= here.estimate + 1e-6
    assert here.estimate <= here.high + 1e-6
    assert there.superiority == pytest.approx(here.superiority)
    assert there.estimate == pytest.approx(here.estimate, abs=1e-6)


@settings(deadline=None)
@given(SAMPLES, SAMPLES)
def test_the_effect_of_swapped_samples_is_the_rest(values: list[float], others: list[float]) -> None:
    """A pair is won, lost or halved."""
    there = shift(others, values, confidence=0.95)
    assert shift(values, others, confidence=0.95).superiority == pytest.approx(1 - there.superiority)


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 200))
def test_looks_only_go_forward(sizes: list[int], first: int) -> None:
    """One more run leaves the look as it was, or takes a later one that holds all runs so far."""
    before, after = latest_look(sizes[:-1], first), latest_look(sizes, first)
    if before != after:
        assert after is not None
        assert after.runs == len(sizes)
        assert before is None or after.number > before.number
    if after is not None:
        assert sum(sizes[: after.runs]) >= first * 2**after.number


OUTCOMES = st.builds(
    Outcome,
    st.sampled_from([Rule("a", 1, 0, "x"), Rule("b", None, 1, "y")]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.none() | st.just("it raised"),
)


@settings(deadline=None)
@given(st.lists(OUTCOMES, max_size=5))
def test_a_suite_passes_only_where_every_rule_was_evaluated_and_holds(outcomes: list[Outcome]) -> None:
    """On at least one value, without an exception and without one that does not fit."""
    rules = (Rule("a", 1, 0, "x"), Rule("b", None, 1, "y"))
    passed = judge(outcomes, rules, unit="runs").verdict is Verdict.PASS
    clean = all(found.error is None and not found.unexpected for found in outcomes)
    covered = {found.rule for found in outcomes} == set(rules)
    assert passed == (clean and covered and any(found.looked_at for found in outcomes))


# --- asked again and again ----------------------------------------------------------------------------------------

RUNS = 400
BATCHES = 60


def ever(findings: list[Finding], wanted: Finding) -> bool:
    """Whether a rollout that ends with the first decided answer ends with this one."""
    return next((found for found in findings if found is not Finding.OPEN), None) is wanted


@pytest.mark.parametrize(
    ("rate", "wrong", "level"), [(0.0025, Finding.BAD, 0.05), (0.01, Finding.GOOD, 0.05), (0.03, Finding.GOOD, 0.05)]
)
def test_the_rate_gate_keeps_its_level_over_all_looks(rate: float, wrong: Finding, level: float) -> None:
    """Asked after each of 60 batches, it is wrong in at most 5 % of the rollouts where 5 % were asked for.

    The limit is three standard errors above that.
    """
    random = np.random.default_rng(11)
    limits = LIMITS | {"alpha": 0.05, "beta": 0.05}
    mistakes = 0
    for _ in range(RUNS):
        events = random.binomial(100, rate, BATCHES).tolist()
        findings = [sequential_rate(events[:place], [100] * place, **limits).finding for place in range(1, BATCHES + 1)]
        mistakes += ever(findings, wrong)
    assert mistakes / RUNS <= level + 3 * (level * (1 - level) / RUNS) ** 0.5


def test_the_comparison_keeps_its_level_over_all_looks() -> None:
    """A rollout of 60 batches at 10 %, REDO failing as often as is allowed: in at most 5 % is it ever called worse."""
    random, mistakes = np.random.default_rng(12), 0
    for _ in range(RUNS):
        ours, theirs = np.cumsum(random.binomial(100, 0.0125, BATCHES)), np.cumsum(random.binomial(900, 0.01, BATCHES))
        for batches in range(1, BATCHES + 1):
            look = latest_look([100] * batches, 500)
            if look is None or look.runs != batches:
                continue  # the same data as before
            alpha, place = look_level(0.05, look.number), look.runs - 1
            value = excess_p_value(
                int(ours[place]), 100 * batches, int(theirs[place]), 900 * batches, allowed=0.0025, alpha=alpha
            )
            if value <= alpha:
                mistakes += 1
                break
    assert mistakes / RUNS <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


def test_two_percent_of_failures_are_found_before_more_keys_get_redo() -> None:
    """With the levels of the thresholds: in at least 95 % of the rollouts, and never do they pass first."""
    random, found, passed = np.random.default_rng(13), 0, 0
    for _ in range(RUNS):
        events = random.binomial(50, 0.02, 60).tolist()
        findings = [sequential_rate(events[:place], [50] * place, **LIMITS).finding for place in range(1, 61)]
        found += ever(findings, Finding.BAD)
        passed += ever(findings, Finding.GOOD)
    assert found / RUNS >= 0.95
    assert passed / RUNS <= 0.01
