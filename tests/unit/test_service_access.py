"""Who may ask the protected endpoints: with a token, without one, from a page of another site."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service_samples import ON, Stand

FLAGS = "/admin/feature-flags"
PROTECTED = (FLAGS, "/debug/fallback-health", "/debug/config")
OPEN = ("/healthz", "/debug/metrics", "/", "/openapi.json")
TOKEN = "a token of the tests"  # noqa: S105 - no secret


@pytest.fixture
def stand() -> Stand:
    """A service without a token."""
    return Stand()


def statuses(stand: Stand, headers: dict[str, str] | None = None, **more: Any) -> list[int]:
    """What each protected endpoint answers, and a change of the flags."""
    client = stand.client(**more)
    answers = [client.get(path, headers=headers).status_code for path in PROTECTED]
    return [*answers, client.post(FLAGS, headers=headers, json=ON).status_code]


class TestWithoutToken:
    """This machine only."""

    @pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
    def test_this_machine_is_answered(self, stand: Stand, peer: str) -> None:
        """By any of its loopback addresses."""
        assert statuses(stand, peer=(peer, 50_000)) == [200] * 4

    @pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.1.1", "::ffff:10.0.0.7", "fe80::1", "testclient", ""])
    def test_another_machine_is_refused(self, stand: Stand, peer: str) -> None:
        """And so is an address that is none. Nothing is changed."""
        assert statuses(stand, peer=(peer, 50_000)) == [403] * 4
        assert stand.place.store.value("flags") is None

    @pytest.mark.parametrize("name", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000"])
    def test_it_is_asked_for_by_its_own_name(self, stand: Stand, name: str) -> None:
        """With or without a port."""
        assert statuses(stand, {"host": name}) == [200] * 4

    @pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "10.0.0.7:8000", "", "[::1"])
    def test_a_foreign_name_is_refused(self, stand: Stand, name: str) -> None:
        """Such a name may lead here for a page that comes from there (DNS rebinding)."""
        assert statuses(stand, {"host": name}) == [403] * 4

    @pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
    def test_a_proxy_is_refused(self, stand: Stand, header: str) -> None:
        """Behind a proxy on this machine everybody would seem to be here."""
        assert statuses(stand, {header: "127.0.0.1"}) == [403] * 4

    def test_the_refusal_says_what_would_help(self, stand: Stand) -> None:
        """It names the variable."""
        answer = stand.client(peer=("10.0.0.7", 1)).get(FLAGS)
        expected = "it came from another machine; without REDO_ADMIN_TOKEN this is answered on the loopback interface"
        assert answer.json() == {"error": f"{expected} only"}

    @pytest.mark.parametrize("path", OPEN)
    def test_the_others_are_open(self, stand: Stand, path: str) -> None:
        """Prometheus and load balancers come from elsewhere, by any name."""
        client = stand.client(peer=("10.0.0.7", 1), base_url="http://redo.example")
        assert client.get(path).status_code == 200


class TestWithToken:
    """Whoever has it."""

    def test_from_anywhere_by_any_name(self, stand: Stand) -> None:
        """Also through a proxy."""
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "10.0.0.8"}
        found = statuses(stand, headers, admin_token=TOKEN, peer=("10.0.0.7", 1), base_url="http://redo.example")
        assert found == [200] * 4

    @pytest.mark.parametrize(
        "authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} "]
    )
    def test_nobody_else(self, stand: Stand, authorization: str | None) -> None:
        """This machine is no exception."""
        headers = {} if authorization is None else {"Authorization": authorization}
        found = statuses(stand, headers, admin_token=TOKEN)
        assert found == ([200] * 4 if authorization == f"Bearer {TOKEN} " else [401] * 4)  # HTTP drops spaces at ends

    def test_the_answer_says_how_to_ask(self, stand: Stand) -> None:
        """As HTTP wants it."""
        answer = stand.client(admin_token=TOKEN).get(FLAGS)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "REDO_ADMIN_TOKEN" in answer.json()["error"]

    def test_a_token_may_have_any_letters(self, stand: Stand) -> None:
        """They are compared as bytes."""
        headers = {b"Authorization": "Bearer schlüssel".encode()}
        assert stand.client(admin_token="schlüssel").get(FLAGS, headers=headers).status_code == 200  # noqa: S106 - no secret

    def test_an_empty_token_is_none(self, stand: Stand) -> None:
        """It does not let everybody in who sends nothing."""
        assert statuses(stand, {"Authorization": "Bearer "}, admin_token="", peer=("10.0.0.7", 1)) == [403] * 4


class TestOtherSites:
    """What a browser sends for a page of another site."""

    @pytest.mark.parametrize("token", [None, TOKEN])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://127.0.0.1:9999"},
            {"Origin": "null"},
            {"Origin": "http://[::1"},
        ],
    )
    def test_it_is_refused(self, stand: Stand, headers: dict[str, str], token: str | None) -> None:
        """Whether or not there is a token, for a browser might have that too."""
        asked = headers | ({} if token is None else {"Authorization": f"Bearer {token}"})
        assert statuses(stand, asked, admin_token=token) == [403] * 4
        assert stand.place.store.value("flags") is None

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "HTTP://127.0.0.1:8000"},
        ],
    )
    def test_its_own_page_is_not(self, stand: Stand, headers: dict[str, str]) -> None:
        """/docs can try everything out, and the address bar can be typed into."""
        assert statuses(stand, headers) == [200] * 4
