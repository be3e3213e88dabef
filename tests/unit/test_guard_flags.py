"""Flags in the shared state: what is stored, who may change what, what is recorded, and what nonsense there changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.errors import FlagError, StoreError
from core.fallbacks import RedoFallbackManager, Surroundings
from core.fallbacks.stored_flags import StoredFlags, with_killed, with_override, with_values, without_override
from core.flags import Flags, Override
from core.model import Reason
from tests.guard_samples import ON, FlakyStore, Place, a_query

NOW = datetime(2030, 1, 1, tzinfo=UTC)  # where a `ManualClock` begins
HOUR = timedelta(hours=1)


def override(flag: str, value: Any, *, key: str | None = None, lasts: timedelta = HOUR) -> Override:
    """An override that somebody sets for an hour."""
    return Override(flag=flag, value=value, key=key, expires_at=NOW + lasts, actor="bob", reason="a try")


@pytest.fixture
def place() -> Place:
    """Where the guards live."""
    return Place()


@pytest.fixture
def store(place: Place) -> FlakyStore:
    """Their store."""
    return place.store


@pytest.fixture
def guard(place: Place) -> RedoFallbackManager:
    """A guard where nothing has been set."""
    return place.guard()


class TestStoredForm:
    """Reading and writing the stored value."""

    def test_nothing_stored_is_nothing_set(self) -> None:
        """Neither flags nor overrides, and not killed."""
        assert StoredFlags.from_dict(None) == StoredFlags.from_dict({}) == StoredFlags({}, (), killed=False)

    def test_what_is_written_is_read(self) -> None:
        """Flags, an override for everybody and one for a key, and the kill switch."""
        stored = with_values(None, {"rollout_percentage": 12.5, "ledger.enabled": False})
        mine, all_ = override("ledger.enabled", value=True, key="s-1"), override("rollout_percentage", 5)
        stored = with_override(with_override(stored, mine, now=NOW), all_, now=NOW)
        assert StoredFlags.from_dict(stored) == StoredFlags(
            {"rollout_percentage": 12.5, "ledger.enabled": False}, (mine, all_), killed=False
        )
        assert StoredFlags.from_dict(with_killed(stored, killed=True)).killed
        assert StoredFlags.from_dict(with_killed(stored, killed=False)).values == {
            "rollout_percentage": 12.5,
            "ledger.enabled": False,
        }

    def test_what_is_not_known_is_carried_along(self) -> None:
        """A newer REDO may have written more; no change loses it."""
        newer: dict[str, object] = {"flag.of.tomorrow": 3, "rollout": {"step": 2}, "overrides": [], "killed": False}
        stored = with_killed(
            with_override(with_values(newer, ON), override("ledger.enabled", value=True), now=NOW), killed=True
        )
        assert (stored["flag.of.tomorrow"], stored["rollout"]) == (3, {"step": 2})
        assert without_override(newer, flag="ledger.enabled", key=None, now=NOW)["rollout"] == {"step": 2}
        assert "flag.of.tomorrow" not in StoredFlags.from_dict(newer).values

    def test_changes_leave_their_input_alone(self) -> None:
        """They are made from the old value, which others may still hold."""
        stored: dict[str, object] = {"overrides": []}
        with_values(stored, ON)
        with_override(stored, override("ledger.enabled", value=True), now=NOW)
        with_killed(stored, killed=True)
        assert stored == {"overrides": []}

    def test_an_override_takes_the_place_of_its_like(self) -> None:
        """Of one flag and key there is one override; those of other keys stay, expired ones go."""
        stored = None
        for one in (
            override("ledger.enabled", value=True, key="old", lasts=timedelta(seconds=1)),
            override("ledger.enabled", value=True, key="s-1"),
            override("ledger.enabled", value=True),
            override("ledger.enabled", value=False, key="s-1"),
        ):
            now = NOW if stored is None else NOW + timedelta(seconds=1)
            stored = with_override(stored, one, now=now)
        left = [(item.key, item.value) for item in StoredFlags.from_dict(stored).overrides]
        assert left == [(None, True), ("s-1", False)]
        stored = without_override(stored, flag="ledger.enabled", key=None, now=NOW)
        assert [item.key for item in StoredFlags.from_dict(stored).overrides] == ["s-1"]

    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (override("ledger.on", value=True), "unknown"),
            (override("ledger.enabled", 1), "not true or false"),
            (override("ledger.enabled", value=True, lasts=timedelta(0)), "not a time to come"),
        ],
    )
    def test_an_override_that_makes_no_sense_is_refused(self, bad: Override, error: str) -> None:
        """No such flag, a value it cannot take, or over before it begins."""
        with pytest.raises(FlagError, match=error):
            with_override(None, bad, now=NOW)

    def test_an_override_without_a_time_zone_is_refused(self) -> None:
        """Its end would be another one on each machine."""
        naive = Override(
            flag="ledger.enabled",
            value=True,
            expires_at=datetime(2031, 1, 1),  # noqa: DTZ001 - that it is refused is the point
            actor="bob",
            reason="",
        )
        with pytest.raises(FlagError, match="with a time zone"):
            with_override(None, naive, now=NOW)

    @pytest.mark.parametrize(
        ("stored", "field"),
        [
            ({"overrides": {}}, None),
            ({"overrides": "none"}, "overrides"),
            ({"overrides": [3]}, r"overrides\[0\]"),
            ({"overrides": [{"flag": 3, "expires_at": "2030-01-01T00:00:00+00:00"}]}, r"overrides\[0\].flag"),
            ({"overrides": [{"flag": "x", "expires_at": "2030-01-01T00:00:00"}]}, r"overrides\[0\].expires_at"),
            ({"overrides": [{"flag": "x", "expires_at": "soon"}]}, r"overrides\[0\].expires_at"),
            ({"overrides": [{"expires_at": "2030-01-01T00:00:00Z", "key": 3}]}, r"overrides\[0\].key"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, stored: dict[str, object], field: str | None) -> None:
        """The message names the field; an empty list may be an empty object."""
        if field is None:
            assert StoredFlags.from_dict(stored).overrides == ()
            return
        with pytest.raises(StoreError, match=f"stored flags, field '{field}'"):
            StoredFlags.from_dict(stored)

    @pytest.mark.parametrize("killed", [True, 1, 0, "false", [], {}])
    def test_killed_is_anything_but_false(self, killed: object) -> None:
        """Off wins: somebody who wrote nonsense there wanted it off, and other nonsense is not in the way."""
        assert StoredFlags.from_dict({"killed": killed, "overrides": "nonsense"}).killed


class TestOrders:
    """Changing flags."""

    def test_sets_for_everybody(self, place: Place, guard: RedoFallbackManager) -> None:
        """This process sees it at once, another one when it looks."""
        guard.flags.set(ON)
        assert guard.is_redo_active()
        assert place.guard(owner="elsewhere").is_redo_active()

    def test_all_or_nothing(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """One bad flag among good ones, and nothing is written."""
        with pytest.raises(FlagError, match="rollout_percentage"):
            guard.flags.set({"orchestrator.redo_enabled": True, "rollout_percentage": 200})
        assert store.version("flags") == 0

    def test_several_are_one_change(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """Others see all of them, or none."""
        guard.flags.set({"orchestrator.redo_enabled": True, "ledger.enabled": True, "rollout_percentage": 10})
        assert store.version("flags") == 1

    def test_every_change_is_in_the_history(self, place: Place, guard: RedoFallbackManager) -> None:
        """Actor, reason, before, after and time; where nobody is named, this user on this host."""
        guard.flags.set(ON, actor="bob", reason="phase 2")
        place.clock.advance(60.0)
        guard.flags.set({"rollout_percentage": 10})
        second, first = guard.flags.history()
        assert (first.actor, first.reason, first.before, first.after) == ("bob", "phase 2", None, dict(ON))
        assert (second.actor, second.reason) == ("ann@here", "no reason given")
        assert (second.before, second.after) == (dict(ON), ON | {"rollout_percentage": 10})
        assert second.time - first.time == timedelta(seconds=60)

    def test_what_changes_nothing_is_not_written(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """Setting a flag to what it is leaves no version behind."""
        guard.flags.set(ON)
        guard.flags.set(ON)
        assert store.version("flags") == 1

    def test_order_that_did_not_arrive_is_an_error(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """Whoever switches something off must know that it did not work."""
        store.is_down = True
        with pytest.raises(StoreError):
            guard.flags.set(ON)
        with pytest.raises(StoreError):
            guard.flags.kill()
        with pytest.raises(StoreError):
            guard.flags.lift_kill()

    def test_kill_and_lift(self, guard: RedoFallbackManager) -> None:
        """Everything is off while it is killed, whatever is set; then it is as it was set."""
        guard.flags.set(ON | {"ledger.enabled": True})
        guard.flags.kill(actor="eve", reason="it burns")
        view = guard.flag_view()
        assert view.flags == Flags(redo_enabled=False, ledger_enabled=False, rollout_percentage=0)
        assert view.killed == ("store",)
        assert guard.flags.history(1)[0].actor == "eve"
        guard.flags.set({"rollout_percentage": 50})
        assert not guard.is_redo_active(ON)
        guard.flags.lift_kill()
        assert guard.flag_view().flags == Flags(redo_enabled=True, ledger_enabled=True, rollout_percentage=50)

    def test_override_for_a_key_and_its_end(self, place: Place, guard: RedoFallbackManager) -> None:
        """One session gets REDO for an hour, then no longer; everybody else never."""
        guard.flags.override(override("orchestrator.redo_enabled", value=True, key="s-1"))
        reasons = [guard.decide(a_query(session)).reason for session in ("s-1", "s-2")]
        assert reasons == [Reason.ENABLED, Reason.FLAG_OFF]
        assert not guard.is_redo_active()
        assert guard.flag_view().by_key == {"s-1": Flags(redo_enabled=True)}
        place.clock.advance(3600.0)
        assert guard.decide(a_query("s-1")).reason is Reason.FLAG_OFF

    def test_override_ends_while_the_store_is_down(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore
    ) -> None:
        """An override that was known still ends at its time."""
        guard.flags.override(override("orchestrator.redo_enabled", value=True))
        assert guard.is_redo_active()
        store.is_down = True
        place.clock.advance(3600.0)
        assert not guard.is_redo_active()

    def test_override_is_ended_by_hand(self, guard: RedoFallbackManager) -> None:
        """It can be dropped before its time, with who and why."""
        guard.flags.override(override("orchestrator.redo_enabled", value=True, key="s-1"))
        guard.flags.end_override("orchestrator.redo_enabled", "s-1", actor="eve", reason="enough")
        assert guard.decide(a_query()).reason is Reason.FLAG_OFF
        assert (guard.flags.history(1)[0].actor, guard.flags.history(1)[0].reason) == ("eve", "enough")

    def test_run_is_stronger_than_an_override(self, guard: RedoFallbackManager) -> None:
        """What a run is told holds for every key."""
        guard.flags.override(override("orchestrator.redo_enabled", value=True, key="s-1"))
        view = guard.flag_view({"orchestrator.redo_enabled": False})
        assert guard.decide(a_query(), view=view).reason is Reason.FLAG_OFF


class TestSources:
    """Environment and nonsense."""

    def test_environment_is_weaker_than_what_is_stored(self, place: Place, guard: RedoFallbackManager) -> None:
        """A variable switches REDO on where nobody has set the flag."""
        place.environment = {"orchestrator.redo_enabled": True}
        guard.refresh()
        assert guard.is_redo_active()
        guard.flags.set({"orchestrator.redo_enabled": False})
        assert not guard.is_redo_active()

    def test_bad_environment_is_an_error_at_the_start(self, place: Place) -> None:
        """A variable with a value that its flag cannot take stops the process before any query."""

        def bad() -> dict[str, Any]:
            raise FlagError("environment variable LEDGER_ENABLED: bad")

        around = Surroundings(
            store=place.store, clock=place.clock, random=lambda: 0.0, actor="a", owner="o", environment_flags=bad
        )
        with pytest.raises(FlagError, match="LEDGER_ENABLED"):
            RedoFallbackManager(surroundings=around)

    @pytest.mark.parametrize(
        "nonsense",
        [
            {"rollout_percentage": "all"},
            {"orchestrator.redo_enabled": 1},
            {"overrides": "none"},
            {
                "overrides": [
                    {"flag": "ledger.enabled", "value": 3, "key": "s-9", "expires_at": "2031-01-01T00:00:00+00:00"}
                ]
            },
        ],
    )
    def test_nonsense_in_the_store_changes_nothing(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore, nonsense: dict[str, object]
    ) -> None:
        """What a person wrote there by mistake is told in the report; the last good flags go on to count."""
        guard.flags.set(ON)
        store.put("flags", nonsense)
        place.clock.advance(1.0)
        assert guard.is_redo_active()
        status = guard.get_health_status()
        assert status["stale"] is True
        assert any(str(name) in str(status["stale_because"]) for name in (*nonsense, "ledger.enabled"))

    def test_nonsense_from_the_start_means_off(self, place: Place, store: FlakyStore) -> None:
        """A process that has never seen good flags stays off."""
        store.put("flags", {"orchestrator.redo_enabled": True, "rollout_percentage": "all"})
        assert place.guard().decide(a_query()).reason is Reason.DATABASE_UNAVAILABLE

    def test_nonsense_is_put_right_by_setting_the_flag(self, guard: RedoFallbackManager, store: FlakyStore) -> None:
        """A good value takes the bad one's place."""
        store.put("flags", {"orchestrator.redo_enabled": True, "rollout_percentage": "all"})
        guard.flags.set({"rollout_percentage": 100})
        assert guard.is_redo_active()
        assert guard.get_health_status()["stale"] is False

    def test_health_is_still_read_beside_nonsense_in_the_flags(
        self, place: Place, guard: RedoFallbackManager, store: FlakyStore
    ) -> None:
        """A mistake in one value does not hide the others."""
        guard.flags.set(ON)
        store.put("flags", {"rollout_percentage": "all"})
        place.guard(owner="elsewhere").simulate_db_failure()
        place.clock.advance(1.0)
        assert guard.decide(a_query()).reason is Reason.SIMULATED

    def test_report_says_where_values_come_from(self, place: Place, guard: RedoFallbackManager) -> None:
        """Each flag with its value and source."""
        place.environment = {"ledger.enabled": True}
        guard.flags.set({"rollout_percentage": 12.5})
        status = guard.get_health_status()
        assert status["flags"] == {
            "orchestrator.redo_enabled": False,
            "ledger.enabled": True,
            "rollout_percentage": 12.5,
        }
        assert status["flag_sources"] == {
            "orchestrator.redo_enabled": "default",
            "ledger.enabled": "environment",
            "rollout_percentage": "stored",
        }
