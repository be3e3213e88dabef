"""Other services read the flags by OpenFeature: everything here goes through the SDK's client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason
from openfeature.provider import ProviderStatus

from core.adapters.openfeature import NAME, RedoFlagProvider
from core.flags import LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE, FlagValue, KillSwitches, Override, in_rollout
from tests.guard_samples import Place

KEYS = tuple(f"session-{number}" for number in range(200))


@pytest.fixture
def place() -> Place:
    """Where the guard lives."""
    return Place()


@pytest.fixture
def client(place: Place) -> Iterator[OpenFeatureClient]:
    """A client of the SDK that asks the provider over a guard."""
    api.set_provider_and_wait(RedoFlagProvider(place.guard()))
    yield api.get_client()
    api.shutdown()


def set_flags(place: Place, **values: FlagValue) -> None:
    """Set flags in another process, and let the guard's snapshot grow old."""
    names = {"redo": REDO_ENABLED, "ledger": LEDGER_ENABLED, "percentage": ROLLOUT_PERCENTAGE}
    place.guard(owner="elsewhere").flags.set({names[name]: value for name, value in values.items()})
    place.clock.advance(1.0)


def of(key: str | None) -> EvaluationContext:
    """The context of a key."""
    return EvaluationContext(targeting_key=key)


def switch(
    client: OpenFeatureClient, name: str, key: str | None = None, *, default: bool = False
) -> FlagEvaluationDetails[bool]:
    """Ask for a switch, for a key."""
    return client.get_boolean_details(name, default_value=default, evaluation_context=of(key))


def test_provider_says_who_it_is(client: OpenFeatureClient) -> None:
    """The client knows which provider answers, and that it is ready."""
    assert client.provider.get_metadata().name == NAME
    assert client.get_provider_status() is ProviderStatus.READY


class TestRedoEnabled:
    """`orchestrator.redo_enabled`: on or off for one key."""

    @pytest.mark.parametrize("percentage", [0, 10, 12.5, 50, 100])
    def test_is_the_guards_answer_for_each_key(
        self, place: Place, client: OpenFeatureClient, percentage: float
    ) -> None:
        """On exactly for the keys that are in the rollout, with bucket and variant."""
        set_flags(place, redo=True, percentage=percentage)
        for key in KEYS:
            details = switch(client, REDO_ENABLED, key)
            assert details.value == in_rollout(key, percentage)
            assert details.variant == ("on" if details.value else "off")
            assert details.reason == Reason.SPLIT
            assert details.flag_metadata["source"] == "stored"
            assert 1 <= int(details.flag_metadata["bucket"]) <= 100

    def test_off_needs_no_key(self, client: OpenFeatureClient) -> None:
        """Off is off for everybody; nobody has set it, so the reason is DEFAULT."""
        details = switch(client, REDO_ENABLED, default=True)
        assert (details.value, details.variant, details.reason) == (False, "off", Reason.DEFAULT)
        assert details.error_code is None

    @pytest.mark.parametrize("key", [None, ""])
    @pytest.mark.parametrize("default", [True, False])
    def test_on_needs_a_key(
        self,
        place: Place,
        client: OpenFeatureClient,
        key: str | None,
        default: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """Without one it is an error that the SDK knows, and the caller's default is returned."""
        set_flags(place, redo=True)
        details = switch(client, REDO_ENABLED, key, default=default)
        assert (details.value, details.reason) == (default, Reason.ERROR)
        assert details.error_code is ErrorCode.TARGETING_KEY_MISSING

    def test_override_for_a_key(self, place: Place, client: OpenFeatureClient) -> None:
        """Whoever has an override gets it, and the metadata says so; all others are off."""
        override = Override(
            flag=REDO_ENABLED,
            value=True,
            expires_at=place.clock.utc_now() + timedelta(hours=1),
            key="s-1",
            actor="bob",
            reason="a trial",
        )
        place.guard(owner="elsewhere").flags.override(override)
        place.clock.advance(1.0)
        mine = switch(client, REDO_ENABLED, "s-1")
        assert (mine.value, mine.reason, mine.flag_metadata["source"]) == (True, Reason.SPLIT, "override")
        others = switch(client, REDO_ENABLED, "s-2")
        assert (others.value, others.flag_metadata["source"]) == (False, "default")

    def test_kill_switch(self, place: Place, client: OpenFeatureClient) -> None:
        """Everything is off, and DISABLED, whatever is set."""
        set_flags(place, redo=True, ledger=True)
        place.kill = KillSwitches(environment=True)
        place.clock.advance(1.0)
        for name in (REDO_ENABLED, LEDGER_ENABLED):
            details = switch(client, name, "s-1", default=True)
            assert (details.value, details.reason) == (False, Reason.DISABLED)
        assert client.get_float_value(ROLLOUT_PERCENTAGE, 50.0) == 0.0

    def test_asynchronous_callers(self, place: Place, client: OpenFeatureClient) -> None:
        """They get the same answer."""
        set_flags(place, redo=True)
        assert (
            asyncio.run(client.get_boolean_value_async(REDO_ENABLED, default_value=False, evaluation_context=of("s-1")))
            is True
        )


class TestOthers:
    """The flags that are the same for every key."""

    def test_ledger(self, place: Place, client: OpenFeatureClient) -> None:
        """On or off for everybody, with or without a key."""
        assert switch(client, LEDGER_ENABLED, default=True).value is False
        set_flags(place, ledger=True)
        details = switch(client, LEDGER_ENABLED)
        assert (details.value, details.variant, details.reason) == (True, "on", Reason.STATIC)
        assert switch(client, LEDGER_ENABLED, "s-1").value is True

    def test_ledger_from_the_environment(self, place: Place, client: OpenFeatureClient) -> None:
        """The metadata says where the value comes from."""
        place.environment = {LEDGER_ENABLED: True}
        place.clock.advance(1.0)
        details = switch(client, LEDGER_ENABLED)
        assert (details.value, details.flag_metadata) == (True, {"source": "environment"})

    def test_override_of_the_ledger_for_a_key(self, place: Place, client: OpenFeatureClient) -> None:
        """It is a match of the key."""
        override = Override(
            flag=LEDGER_ENABLED,
            value=True,
            expires_at=place.clock.utc_now() + timedelta(hours=1),
            key="s-1",
            actor="bob",
            reason="a trial",
        )
        place.guard(owner="elsewhere").flags.override(override)
        place.clock.advance(1.0)
        assert switch(client, LEDGER_ENABLED, "s-1").reason == Reason.TARGETING_MATCH

    def test_percentage_as_a_number(self, place: Place, client: OpenFeatureClient) -> None:
        """A whole one is an integer and a float; another one is a float alone."""
        assert client.get_integer_details(ROLLOUT_PERCENTAGE, 7).reason == Reason.DEFAULT
        set_flags(place, percentage=25)
        assert client.get_integer_value(ROLLOUT_PERCENTAGE, 7) == 25
        assert client.get_float_value(ROLLOUT_PERCENTAGE, 7.0) == 25.0
        set_flags(place, percentage=12.5)
        assert client.get_float_value(ROLLOUT_PERCENTAGE, 7.0) == 12.5
        details = client.get_integer_details(ROLLOUT_PERCENTAGE, 7)
        assert (details.value, details.error_code) == (7, ErrorCode.TYPE_MISMATCH)


class TestErrors:
    """What cannot be answered is an error that the SDK knows, and the caller's default is returned."""

    def test_unknown_flag(self, client: OpenFeatureClient) -> None:
        """Whatever type is asked for; the message names the flags that exist."""
        answers = (
            switch(client, "no.such", default=True),
            client.get_string_details("no.such", "mine"),
            client.get_integer_details("no.such", 7),
            client.get_float_details("no.such", 7.5),
            client.get_object_details("no.such", {"a": 1}),
        )
        assert [details.value for details in answers] == [True, "mine", 7, 7.5, {"a": 1}]
        assert {details.error_code for details in answers} == {ErrorCode.FLAG_NOT_FOUND}
        assert all(ROLLOUT_PERCENTAGE in str(details.error_message) for details in answers)

    def test_wrong_type(self, client: OpenFeatureClient) -> None:
        """A switch is no number, text or object, and a percentage no switch."""
        answers = (
            switch(client, ROLLOUT_PERCENTAGE, default=True),
            client.get_string_details(REDO_ENABLED, "mine"),
            client.get_integer_details(LEDGER_ENABLED, 7),
            client.get_float_details(REDO_ENABLED, 7.5),
            client.get_object_details(REDO_ENABLED, {"a": 1}),
        )
        assert [details.value for details in answers] == [True, "mine", 7, 7.5, {"a": 1}]
        assert {details.error_code for details in answers} == {ErrorCode.TYPE_MISMATCH}


class TestStore:
    """The store of the shared state does not answer."""

    def test_last_good_flags_are_stale(self, place: Place, client: OpenFeatureClient) -> None:
        """They go on to count, are marked, and are fresh again with the store."""
        set_flags(place, redo=True, percentage=50)
        assert switch(client, REDO_ENABLED, "s-1").reason == Reason.SPLIT
        place.store.is_down = True
        place.clock.advance(1.0)
        for key in KEYS[:20]:
            details = switch(client, REDO_ENABLED, key)
            assert (details.value, details.reason) == (in_rollout(key, 50), Reason.STALE)
            assert details.flag_metadata["stale_because"] == "the store is down"
        assert client.get_float_details(ROLLOUT_PERCENTAGE, 0.0).reason == Reason.STALE
        place.store.is_down = False
        place.clock.advance(10.0)
        assert switch(client, REDO_ENABLED, "s-1").reason == Reason.SPLIT

    def test_evaluations_do_not_ask_the_store(self, place: Place, client: OpenFeatureClient) -> None:
        """Not until the guard's snapshot is old."""
        switch(client, REDO_ENABLED, "s-1")
        loads = place.store.loads
        for key in KEYS:
            switch(client, REDO_ENABLED, key)
        assert place.store.loads == loads

    def test_store_that_never_answered(self, place: Place) -> None:
        """Whoever waits for the provider is told; whoever does not gets everything off, and stale."""
        place.store.is_down = True
        provider = RedoFlagProvider(place.guard())
        try:
            with pytest.raises(ProviderNotReadyError):
                api.set_provider_and_wait(provider)
            client = api.get_client()
            assert client.get_provider_status() is ProviderStatus.ERROR
            details = switch(client, REDO_ENABLED, "s-1", default=True)
            assert (details.value, details.variant, details.reason) == (False, "off", Reason.STALE)
            assert details.flag_metadata == {"stale_because": "the store is down"}
        finally:
            api.shutdown()
