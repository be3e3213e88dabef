"""`/admin/feature-flags`: all or nothing, checked before anything changes, with who and why in the history."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

import pytest

from core.errors import StateConflict
from core.flags import KillSwitches, Override
from tests.guard_samples import FlakyStore
from tests.service_samples import ON, Stand, TestClient, deep

FLAGS = "/admin/feature-flags"


@pytest.fixture
def stand() -> Stand:
    """What the service stands on."""
    return Stand()


@pytest.fixture
def client(stand: Stand) -> TestClient:
    """Somebody on this machine."""
    return stand.client()


class TestChanging:
    """POST."""

    def test_the_change_is_shown_and_made(self, stand: Stand, client: TestClient) -> None:
        """Before, after, and what follows."""
        answer = client.post(FLAGS, json={"orchestrator.redo_enabled": True, "rollout_percentage": 12.5})
        assert answer.status_code == 200
        body = answer.json()
        assert body["changes"] == {
            "orchestrator.redo_enabled": {"before": False, "after": True},
            "rollout_percentage": {"before": 100, "after": 12.5},
        }
        assert body["flags"]["rollout_percentage"]["source"] == "stored"
        assert (body["redo_active"], body["reason"], body["stale_because"]) == (True, "ENABLED", None)
        assert stand.place.store.value("flags") == {"orchestrator.redo_enabled": True, "rollout_percentage": 12.5}

    @pytest.mark.parametrize(
        "content_type",
        ["application/x-www-form-urlencoded", "application/json", "text/plain", "", "multipart/form-data"],
    )
    def test_the_body_is_json_whatever_the_header_says(self, client: TestClient, content_type: str) -> None:
        """`curl -d` says that it is a form."""
        answer = client.post(FLAGS, content=b'{"ledger.enabled": true}', headers={"Content-Type": content_type})
        assert answer.json()["flags"]["ledger.enabled"]["value"] is True

    def test_another_process_sees_it(self, stand: Stand, client: TestClient) -> None:
        """The state is shared."""
        client.post(FLAGS, json=ON)
        assert stand.place.guard(owner="another").is_redo_active()

    def test_a_stronger_source_is_named(self, stand: Stand, client: TestClient) -> None:
        """What was set is not in force while a kill switch is on."""
        stand.place.kill = KillSwitches(file=True)
        body = client.post(FLAGS, json=ON).json()
        assert body["changes"] == {"orchestrator.redo_enabled": {"before": False, "after": False}}
        assert (body["kill_switches"], body["reason"]) == (["file"], "KILL_SWITCH")
        assert body["flags"]["orchestrator.redo_enabled"]["source"] == "kill_switch"

    def test_flags_that_are_not_named_stay(self, client: TestClient) -> None:
        """The guide's component rollbacks."""
        client.post(FLAGS, json={"orchestrator.redo_enabled": True, "ledger.enabled": True})
        flags = client.post(FLAGS, json={"ledger.enabled": False}).json()["flags"]
        assert flags["orchestrator.redo_enabled"]["value"] is True


class TestHistory:
    """Who, why, from what to what."""

    def test_the_headers_go_into_it(self, client: TestClient) -> None:
        """And out of it again."""
        headers = {"X-Redo-Actor": "ann", "X-Redo-Reason": "phase 2"}
        assert client.post(FLAGS, json=ON, headers=headers).json()["actor"] == "ann"
        client.post(FLAGS, json={"orchestrator.redo_enabled": False, "rollout_percentage": 10})
        later, first = client.get(FLAGS).json()["history"]
        assert (first["version"], first["actor"], first["reason"]) == (1, "ann", "phase 2")
        assert first["changed"] == {"orchestrator.redo_enabled": {"before": None, "after": True}}
        assert (later["actor"], later["reason"]) == ("http:127.0.0.1", "no reason given")
        assert later["changed"]["rollout_percentage"] == {"before": None, "after": 10}

    def test_headers_are_cut_and_made_printable(self, client: TestClient) -> None:
        """They are shown in terminals and in the Prefect UI; letters of any language stay."""
        headers = {b"X-Redo-Actor": "Jürg\x1b[31m".encode() + b"x" * 300, b"X-Redo-Reason": b" \t "}
        assert client.post(FLAGS, json=ON, headers=headers).json()["actor"] == f"Jürg\ufffd[31m{'x' * 191}"
        assert client.get(FLAGS).json()["history"][0]["reason"] == "no reason given"

    @pytest.mark.parametrize(("limit", "shown"), [(0, 0), (1, 1), (1000, 3)])
    def test_its_length_can_be_chosen(self, client: TestClient, limit: int, shown: int) -> None:
        """The newest come first."""
        for percentage in (1, 2, 3):
            client.post(FLAGS, json={"rollout_percentage": percentage})
        assert len(client.get(FLAGS, params={"limit": limit}).json()["history"]) == shown

    @pytest.mark.parametrize("limit", ["-1", "1001", "many"])
    def test_a_bad_length_is_named(self, client: TestClient, limit: str) -> None:
        """In the shape of every other error."""
        answer = client.get(FLAGS, params={"limit": limit})
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["limit"])


class TestReading:
    """GET."""

    def test_every_flag_with_its_source(self, stand: Stand, client: TestClient) -> None:
        """Also where nobody has set anything."""
        stand.place.environment = {"ledger.enabled": True}
        flags = client.get(FLAGS).json()["flags"]
        assert {name: (flag["value"], flag["source"]) for name, flag in flags.items()} == {
            "orchestrator.redo_enabled": (False, "default"),
            "ledger.enabled": (True, "environment"),
            "rollout_percentage": (100, "default"),
        }

    def test_an_override_says_whose_it_is(self, stand: Stand, client: TestClient) -> None:
        """Until when and why."""
        until = stand.place.clock.utc_now() + timedelta(hours=1)
        name = "rollout_percentage"
        stand.manager.flags.override(Override(flag=name, value=5, expires_at=until, actor="bob", reason="a test"))
        flag = client.get(FLAGS).json()["flags"][name]
        assert (flag["value"], flag["source"]) == (5, "override")
        assert "bob: a test" in flag["detail"]


class TestRefusing:
    """Nothing is changed by a request that is not right as a whole."""

    def test_every_wrong_field_is_named(self, stand: Stand, client: TestClient) -> None:
        """Unknown, of the wrong type, out of range, too fine; the one that is right is not set either."""
        values = {"orchestrator.redo_enabled": True, "nope": 1, "ledger.enabled": "true", "rollout_percentage": 100.5}
        answer = client.post(FLAGS, json=values)
        assert (answer.status_code, answer.json()["error"]) == (422, "nothing was changed")
        assert list(answer.json()["fields"]) == ["nope", "ledger.enabled", "rollout_percentage"]
        assert "flag 'rollout_percentage': 100.5 is not a number from 0 to 100" in answer.text
        assert stand.place.store.value("flags") is None

    @pytest.mark.parametrize(
        "value", ["null", '"10"', "[]", "{}", "true", "-1", "1e999", "10.0005", f'"{"x" * 5000}"', f"[{'1,' * 5000}1]"]
    )
    def test_a_percentage_is_a_number(self, client: TestClient, value: str) -> None:
        """From 0 to 100 with at most three decimals; the answer stays short."""
        answer = client.post(FLAGS, content=f'{{"rollout_percentage": {value}}}')
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["rollout_percentage"])
        assert len(answer.text) < 500

    def test_an_odd_name_is_safe_to_show(self, client: TestClient) -> None:
        """Half a character and a colour."""
        answer = client.post(FLAGS, content=rb'{"\ud800\u001b[31m": 1}')
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["\ufffd\ufffd[31m"])

    def test_no_flag_at_all_is_an_error(self, client: TestClient) -> None:
        """Somebody meant something."""
        answer = client.post(FLAGS, json={})
        assert answer.status_code == 422
        assert "there are orchestrator.redo_enabled" in answer.json()["error"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"[]", 400),
            (b"not json", 400),
            (b"", 400),
            (deep(17), 400),
            (b'{"ledger.enabled": true, "ledger.enabled": false}', 400),
            (b" " * 65_537, 413),
        ],
    )
    def test_a_bad_body(self, stand: Stand, client: TestClient, body: bytes, status: int) -> None:
        """Each with its status."""
        assert client.post(FLAGS, content=body).status_code == status
        assert stand.place.store.value("flags") is None

    def test_64_kib_are_not_too_much(self, client: TestClient) -> None:
        """To the byte."""
        assert client.post(FLAGS, content=b'{"ledger.enabled": true}'.ljust(65_536)).status_code == 200

    def test_a_store_that_does_not_answer(self, stand: Stand, client: TestClient) -> None:
        """503, and reading still shows what is known, marked as old."""
        client.post(FLAGS, json=ON)
        stand.place.store.is_down = True
        answer = client.post(FLAGS, json={"orchestrator.redo_enabled": False})
        assert answer.status_code == 503
        assert "the shared state does not answer" in answer.json()["error"]
        stand.place.store.is_down = False
        assert client.get(FLAGS).json()["flags"]["orchestrator.redo_enabled"]["value"] is True

    def test_other_methods_are_refused_in_the_same_shape(self, client: TestClient) -> None:
        """With what is allowed."""
        answer = client.delete(FLAGS)
        assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})
        assert answer.headers["allow"]


class _Losing(FlakyStore):
    """A store where others are always faster."""

    def swap(self, name: str, *, expected_version: int, **_more: object) -> NoReturn:
        """Lose."""
        raise StateConflict(name, expected_version)


def test_a_race_that_is_lost_for_ever_is_a_503() -> None:
    """As a store that does not answer: try again."""
    stand = Stand()
    stand.place.store = _Losing(stand.place.clock)
    stand.manager = stand.place.guard()
    assert stand.client().post(FLAGS, json=ON).status_code == 503
