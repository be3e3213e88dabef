"""The guard's decision, for any query and any percentage: it is the rollout's, and off is stronger than on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.fallbacks import decide
from core.fallbacks.flag_reader import FlagReader
from core.fallbacks.stored_flags import StoredFlags, with_killed, with_values
from core.flags import Flags, FlagValue, KillSwitches, bucket_key, in_rollout, rollout_bucket
from core.model import Query, Reason
from tests.guard_samples import Place

KEYS = st.one_of(st.none(), st.text(max_size=12))
QUERIES = st.builds(Query, query_id=st.text(max_size=12), text=st.just("?"), session_id=KEYS, user_id=KEYS)
PERCENTAGES = st.one_of(st.integers(0, 100), st.integers(0, 100_000).map(lambda thousandths: thousandths / 1000))
FLAGS = st.fixed_dictionaries(
    {},
    optional={
        "orchestrator.redo_enabled": st.booleans(),
        "ledger.enabled": st.booleans(),
        "rollout_percentage": st.sampled_from([0, 12.5, 100]),
    },
)


@given(QUERIES, PERCENTAGES)
def test_decision_is_the_rollouts(query: Query, percentage: float) -> None:
    """The quick way through whole buckets gives the same answer as the definition, at any percentage."""
    key = bucket_key(query)
    decision = decide(query, Flags(redo_enabled=True, rollout_percentage=percentage))
    assert decision.runs_redo is (key is not None and in_rollout(key, percentage))
    assert decision.bucket == (None if key is None else rollout_bucket(key))
    assert decision.reason is (Reason.ENABLED if decision.runs_redo else Reason.NOT_IN_ROLLOUT)


@given(QUERIES, st.tuples(PERCENTAGES, PERCENTAGES).map(sorted))
def test_raising_the_percentage_takes_nobody_out(query: Query, percentages: list[float]) -> None:
    """Whoever has REDO at a percentage has it at every higher one."""
    low, high = (decide(query, Flags(redo_enabled=True, rollout_percentage=percentage)) for percentage in percentages)
    assert high.runs_redo or not low.runs_redo


@given(stored=FLAGS, environment=FLAGS, run=FLAGS, kills=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_any_kill_switch_turns_everything_off(
    stored: dict[str, FlagValue],
    environment: dict[str, FlagValue],
    run: dict[str, FlagValue],
    kills: tuple[bool, bool, bool],
) -> None:
    """Whatever run, store and environment say; and without a switch the strongest of them decides each flag."""
    place = Place()
    place.store.put("flags", with_killed(with_values(None, stored), killed=kills[2]))
    reader = FlagReader(
        place.store,
        clock=place.clock,
        environment_flags=lambda: environment,
        kill_switches=lambda: KillSwitches(environment=kills[0], file=kills[1]),
    )
    reader.refresh()
    found = reader.for_run(run).flags
    expected = Flags().as_dict() | environment | stored | run
    assert found.as_dict() == (Flags(rollout_percentage=0).as_dict() if any(kills) else expected)


@given(FLAGS, FLAGS)
def test_setting_flags_is_read_back(first: dict[str, FlagValue], second: dict[str, FlagValue]) -> None:
    """The last value of each flag that was set counts; nothing else changes."""
    stored = with_values(with_values(None, first), second)
    assert StoredFlags.from_dict(stored).values == first | second
