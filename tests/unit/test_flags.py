"""Flags: what values they take, and which source decides."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import FlagError
from core.flags import (
    DEFINITIONS,
    LEDGER_ENABLED,
    REDO_ENABLED,
    ROLLOUT_PERCENTAGE,
    Flags,
    FlagSource,
    KillSwitches,
    Override,
    Resolution,
    bucket_key,
    environment_flags,
    in_rollout,
    parse_flag,
    parse_flag_text,
    resolve,
    rollout_bucket,
)
from core.model import Query

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def resolved(**sources: Any) -> Resolution:
    """Resolve with the sources given and all others empty."""
    empty: dict[str, Any] = {
        "kill": KillSwitches(),
        "run": {},
        "overrides": (),
        "stored": {},
        "environment": {},
        "now": NOW,
    }
    return resolve(**empty | sources)


def override(flag: str, value: Any, *, key: str | None = None, lasts: timedelta = HOUR) -> Override:
    """Make an override that somebody set for an hour."""
    return Override(flag=flag, value=value, key=key, expires_at=NOW + lasts, actor="ann", reason="a try")


@pytest.mark.parametrize(
    ("group", "key", "bucket"),
    [
        ("gr1", "123", 73),
        ("groupX", "999", 25),
        ("demo", "user-1", 95),
        ("demo", "alice", 32),
        ("redo", "q-0001", 29),
        ("redo", "q-0002", 43),
        ("redo", "batch-42", 81),
    ],
)
def test_bucket_is_that_of_unleash(group: str, key: str, bucket: int) -> None:
    """Buckets equal the values of Unleash's client specification, and those of its engine for our own keys."""
    assert rollout_bucket(key, group) == bucket


def test_bucket_group_is_redo_unless_told_otherwise() -> None:
    """The group that buckets hang on is `redo`."""
    assert rollout_bucket("q-0001") == rollout_bucket("q-0001", "redo") == 29


def test_key_enters_at_its_bucket() -> None:
    """A whole percentage lets in a key whose bucket is at most the percentage."""
    assert [in_rollout("q-0001", percentage) for percentage in (0, 28, 29, 30, 100)] == [False, False, True, True, True]


def test_fraction_divides_the_next_bucket() -> None:
    """q-0001 hashes to 793,480,428: bucket 29, further digits 804, so it enters at 28.805 and not at 28.804."""
    assert not in_rollout("q-0001", 28.804)
    assert in_rollout("q-0001", 28.805)


def test_key_that_is_no_valid_unicode_has_a_bucket() -> None:
    """A lone surrogate, which the hash library cannot take, gets a bucket like any other key."""
    assert 1 <= rollout_bucket("\ud800") <= 100


@pytest.mark.parametrize(
    ("session_id", "user_id", "query_id", "expected"),
    [
        ("s", "u", "q", "s"),
        (None, "u", "q", "u"),
        (None, None, "q", "q"),
        ("", "u", "q", "u"),
        ("", "", "q", "q"),
        (None, None, "", None),
    ],
)
def test_bucket_key_is_the_first_that_is_known(
    session_id: str | None, user_id: str | None, query_id: str, expected: str | None
) -> None:
    """The bucket hangs on the session, else the user, else the query; with none of them the query has no bucket."""
    query = Query(query_id=query_id, text="?", session_id=session_id, user_id=user_id)
    assert bucket_key(query) == expected


def test_flags_default_to_off_and_everybody() -> None:
    """Both switches are off and the percentage is 100 unless somebody says otherwise."""
    assert Flags().as_dict() == {REDO_ENABLED: False, LEDGER_ENABLED: False, ROLLOUT_PERCENTAGE: 100}
    assert {name: definition.default for name, definition in DEFINITIONS.items()} == Flags().as_dict()


def test_flags_cannot_be_changed() -> None:
    """A flag value is frozen."""
    with pytest.raises(FrozenInstanceError):
        Flags().redo_enabled = True  # type: ignore[misc]


@pytest.mark.parametrize("value", [0, 1, 100, 12.5, 0.125, 99.999, 0.001])
def test_percentage_takes_three_decimals(value: float) -> None:
    """A percentage from 0 to 100 with at most three decimals is taken as it is."""
    assert parse_flag(ROLLOUT_PERCENTAGE, value) == value


def test_whole_percentage_is_a_whole_number() -> None:
    """A percentage without decimals is an int, so that it is shown as 10 and not as 10.0."""
    assert repr(parse_flag(ROLLOUT_PERCENTAGE, 10.0)) == "10"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (ROLLOUT_PERCENTAGE, -0.001),
        (ROLLOUT_PERCENTAGE, 100.001),
        (ROLLOUT_PERCENTAGE, 12.3456),
        (ROLLOUT_PERCENTAGE, 1e-9),
        (ROLLOUT_PERCENTAGE, 0.1 + 0.2),
        (ROLLOUT_PERCENTAGE, 10**400),
        (ROLLOUT_PERCENTAGE, math.nan),
        (ROLLOUT_PERCENTAGE, math.inf),
        (ROLLOUT_PERCENTAGE, True),
        (ROLLOUT_PERCENTAGE, "10"),
        (ROLLOUT_PERCENTAGE, None),
        (ROLLOUT_PERCENTAGE, [10]),
        (REDO_ENABLED, 1),
        (REDO_ENABLED, 0),
        (REDO_ENABLED, "true"),
        (LEDGER_ENABLED, None),
    ],
)
def test_value_of_wrong_type_or_range_is_refused(name: str, value: object) -> None:
    """The error names the flag, the value and what was expected."""
    with pytest.raises(FlagError) as caught:
        parse_flag(name, value)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert DEFINITIONS[name].kind.value in str(caught.value)


def test_unknown_flag_is_refused_with_those_that_exist() -> None:
    """The error for an unknown flag lists the flags."""
    with pytest.raises(FlagError, match=r"'redo': unknown; there are orchestrator\.redo_enabled, ledger\.enabled"):
        parse_flag("redo", value=True)
    with pytest.raises(FlagError, match="'redo': unknown"):
        parse_flag_text("redo", "true")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        (REDO_ENABLED, "true", True),
        (REDO_ENABLED, " TRUE\n", True),
        (REDO_ENABLED, "1", True),
        (REDO_ENABLED, "on", True),
        (REDO_ENABLED, "yes", True),
        (LEDGER_ENABLED, "false", False),
        (LEDGER_ENABLED, "0", False),
        (LEDGER_ENABLED, "Off", False),
        (LEDGER_ENABLED, "no", False),
        (ROLLOUT_PERCENTAGE, "10", 10),
        (ROLLOUT_PERCENTAGE, "12.5", 12.5),
        (ROLLOUT_PERCENTAGE, "12.5000", 12.5),
        (ROLLOUT_PERCENTAGE, "100", 100),
    ],
)
def test_text_is_read_as_the_flag_wants_it(name: str, text: str, value: object) -> None:
    """Command lines and the environment give text; each kind of flag reads its own."""
    assert parse_flag_text(name, text) == value
    assert type(parse_flag_text(name, text)) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (REDO_ENABLED, ""),
        (REDO_ENABLED, "2"),
        (REDO_ENABLED, "enabled"),
        (ROLLOUT_PERCENTAGE, ""),
        (ROLLOUT_PERCENTAGE, "true"),
        (ROLLOUT_PERCENTAGE, "101"),
        (ROLLOUT_PERCENTAGE, "-1"),
        (ROLLOUT_PERCENTAGE, "1e1"),
        (ROLLOUT_PERCENTAGE, "nan"),
        (ROLLOUT_PERCENTAGE, "10%"),
        (ROLLOUT_PERCENTAGE, "1_0"),
        (ROLLOUT_PERCENTAGE, "٣"),
        (ROLLOUT_PERCENTAGE, "12.3456"),
        (ROLLOUT_PERCENTAGE, "9" * 5000),
    ],
)
def test_text_that_stands_for_no_value_is_refused(name: str, text: str) -> None:
    """The error names the flag and what was expected."""
    with pytest.raises(FlagError, match=DEFINITIONS[name].kind.value):
        parse_flag_text(name, text)


def test_environment_sets_the_two_switches() -> None:
    """The guide's two variables set the switches; empty and foreign ones set nothing."""
    environ = {"ORCHESTRATOR_REDO_ENABLED": "true", "LEDGER_ENABLED": "", "ROLLOUT_PERCENTAGE": "5", "HOME": "/"}
    assert environment_flags(environ) == {REDO_ENABLED: True}
    assert environment_flags({"LEDGER_ENABLED": "1"}) == {LEDGER_ENABLED: True}


def test_bad_environment_variable_is_named() -> None:
    """A variable whose value cannot be used is named in the error."""
    with pytest.raises(FlagError, match=r"environment variable LEDGER_ENABLED: flag 'ledger\.enabled': 'maybe'"):
        environment_flags({"LEDGER_ENABLED": "maybe"})


def test_without_any_source_the_defaults_hold() -> None:
    """Every flag has its default, and says so."""
    answer = resolved()
    assert answer.flags == Flags()
    assert {flag.source for flag in answer.resolved} == {FlagSource.DEFAULT}


def test_each_source_is_stronger_than_the_next() -> None:
    """Taking the sources away one by one, strongest first, shows the order of precedence."""
    sources: dict[str, Any] = {
        "kill": KillSwitches(file=True),
        "run": {ROLLOUT_PERCENTAGE: 1},
        "overrides": (override(ROLLOUT_PERCENTAGE, 2),),
        "stored": {ROLLOUT_PERCENTAGE: 3},
        "environment": {ROLLOUT_PERCENTAGE: 4},
    }
    seen = []
    for name in (*sources, "none is left"):
        flag = resolved(**sources).of(ROLLOUT_PERCENTAGE)
        seen.append((flag.source, flag.value))
        sources.pop(name, None)
    assert seen == [
        (FlagSource.KILL_SWITCH, 0),
        (FlagSource.RUN, 1),
        (FlagSource.OVERRIDE, 2),
        (FlagSource.STORED, 3),
        (FlagSource.ENVIRONMENT, 4),
        (FlagSource.DEFAULT, 100),
    ]


def test_flags_are_decided_one_by_one() -> None:
    """A source decides only the flags that it names."""
    answer = resolved(stored={REDO_ENABLED: True}, environment={REDO_ENABLED: False, LEDGER_ENABLED: True})
    assert answer.flags == Flags(redo_enabled=True, ledger_enabled=True, rollout_percentage=100)
    assert [flag.source for flag in answer.resolved] == [
        FlagSource.STORED,
        FlagSource.ENVIRONMENT,
        FlagSource.DEFAULT,
    ]


@pytest.mark.parametrize(
    ("kill", "detail"),
    [
        (KillSwitches(environment=True), "environment"),
        (KillSwitches(file=True), "file"),
        (KillSwitches(store=True), "store"),
        (KillSwitches(environment=True, store=True), "environment, store"),
    ],
)
def test_any_kill_switch_turns_everything_off(kill: KillSwitches, detail: str) -> None:
    """One kill switch is enough, whatever the other sources say; the answer names those that are on."""
    on = {REDO_ENABLED: True, LEDGER_ENABLED: True, ROLLOUT_PERCENTAGE: 100}
    overrides = tuple(override(name, value) for name, value in on.items())
    answer = resolved(kill=kill, run=on, overrides=overrides, stored=on, environment=on)
    assert answer.flags == Flags(redo_enabled=False, ledger_enabled=False, rollout_percentage=0)
    assert {(flag.source, flag.detail) for flag in answer.resolved} == {(FlagSource.KILL_SWITCH, detail)}


def test_kill_switch_works_though_other_sources_are_broken() -> None:
    """With a kill switch on nothing else is read, so nothing in it can stand in the way."""
    answer = resolved(kill=KillSwitches(file=True), stored={REDO_ENABLED: "broken"}, run={"unknown": 1})
    assert not answer.flags.redo_enabled


def test_override_ends_at_its_expiry() -> None:
    """An override counts until its expiry and not at it."""
    overrides = (override(REDO_ENABLED, value=True),)
    assert resolved(overrides=overrides, now=NOW + HOUR - timedelta(seconds=1)).flags.redo_enabled
    assert not resolved(overrides=overrides, now=NOW + HOUR).flags.redo_enabled


def test_override_for_one_key_leaves_the_others_alone() -> None:
    """An override with a key counts for that key only, and the answer says whose it was."""
    overrides = (override(ROLLOUT_PERCENTAGE, 0, key="alice"),)
    assert resolved(overrides=overrides, key="alice").flags.rollout_percentage == 0
    assert resolved(overrides=overrides, key="bob").flags.rollout_percentage == 100
    assert resolved(overrides=overrides).flags.rollout_percentage == 100
    detail = resolved(overrides=overrides, key="alice").of(ROLLOUT_PERCENTAGE).detail
    assert detail == "for alice until 2030-01-01T01:00:00+00:00, by ann: a try"


def test_override_for_a_key_beats_one_for_everybody() -> None:
    """Among overrides the one for the key wins, whatever their order; among equals the later one."""
    for_alice, for_all = override(ROLLOUT_PERCENTAGE, 7, key="alice"), override(ROLLOUT_PERCENTAGE, 8)
    for overrides in ((for_alice, for_all), (for_all, for_alice)):
        assert resolved(overrides=overrides, key="alice").flags.rollout_percentage == 7
    later = override(ROLLOUT_PERCENTAGE, 9)
    assert resolved(overrides=(for_all, later)).flags.rollout_percentage == 9


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"run": {"redo": True}}, "run: flag 'redo': unknown"),
        ({"stored": {ROLLOUT_PERCENTAGE: 250}}, "stored: flag 'rollout_percentage': 250 is not"),
        ({"environment": {REDO_ENABLED: "true"}}, "environment: flag 'orchestrator.redo_enabled': 'true' is not"),
        ({"overrides": (override(LEDGER_ENABLED, 1),)}, "override: flag 'ledger.enabled': 1 is not"),
    ],
)
def test_value_that_cannot_be_used_is_not_passed_over(sources: dict[str, Any], message: str) -> None:
    """A broken source raises with its name: the next weaker one could switch on what somebody meant to limit."""
    with pytest.raises(FlagError) as caught:
        resolved(**sources)
    assert str(caught.value).startswith(message)


def test_stored_names_that_are_no_flags_are_passed_over() -> None:
    """A newer version may store flags that this one does not know."""
    assert resolved(stored={"a.new_flag": "x", REDO_ENABLED: True}).flags.redo_enabled


def test_asking_for_an_unknown_flag_is_an_error() -> None:
    """A resolution answers for the flags that exist only."""
    with pytest.raises(FlagError, match="unknown"):
        resolved().of("redo")
