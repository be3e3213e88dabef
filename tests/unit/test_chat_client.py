"""The client of a chat endpoint: what it sends, what it takes for an answer, and where the key does not go."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from core.adapters.doubles import TickingClock
from core.clock import Clock, SystemClock
from core.errors import ConfigError
from tasks.chat_client import ChatEndpoint, ChatError
from tests.judge_server import JudgeServer, Received, Reply, judge_server, says

KEY = "sk-this-is-the-secret"


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    """A stand-in endpoint."""
    with judge_server() as running:
        yield running


def endpoint(url: str, *, api_key: str | None = KEY, clock: Clock | None = None) -> ChatEndpoint:
    """A client of it."""
    return ChatEndpoint(url, model="small-judge", api_key=api_key, clock=clock or SystemClock())


def test_what_is_sent(server: JudgeServer) -> None:
    """One POST to /chat/completions: the model, both messages, temperature 0, a short answer, the key as a bearer."""
    server.reply = says("hello")
    assert endpoint(server.url).complete("be brief", "hi", timeout_s=5) == "hello"
    (request,) = server.received
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "small-judge",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "temperature": 0,
        "max_tokens": 64,
    }


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/chat/completions/"])
def test_the_address_with_or_without_its_end(server: JudgeServer, end: str) -> None:
    """Both forms that people write down work, a query behind them too."""
    endpoint(server.url + end + "?api-version=1").complete("s", "u", timeout_s=5)
    assert server.received[0].path == "/v1/chat/completions?api-version=1"


def test_without_a_key_no_header(server: JudgeServer) -> None:
    """Endpoints on one's own machine want none."""
    endpoint(server.url, api_key=None).complete("s", "u", timeout_s=5)
    assert "Authorization" not in server.received[0].headers


@pytest.mark.parametrize("text", ["“quotes” and \x00", "lone \ud800 surrogate", "日本語", '"}]}'])
def test_any_text_arrives(server: JudgeServer, text: str) -> None:
    """As it was, whatever it holds."""
    endpoint(server.url).complete("s", text, timeout_s=5)
    assert server.received[0].body["messages"][1]["content"] == text


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(KEY.encode(), status=401), "status 401, expected 200"),
        (Reply(b"", status=503), "status 503"),
        (Reply(b"{}", status=307, headers=(("Location", "http://127.0.0.1:9/"),)), "status 307"),
        (Reply(b"<html>" + KEY.encode()), "no chat completion"),
        (Reply(b"\xff"), "no chat completion"),
        (Reply(b"[]"), "no chat completion"),
        (Reply(b'{"choices": []}'), "no chat completion"),
        (Reply(b'{"choices": [{"message": {}}]}'), "no chat completion"),
        (says(None), "without a text"),
        (says(["a"]), "without a text"),
        (Reply(b" " * 1_000_001), "more than 1,000,000 bytes"),
    ],
)
def test_everything_else_is_an_error_without_content(server: JudgeServer, reply: Reply, message: str) -> None:
    """The message names the host and what was wrong; nothing that was sent or received is in it."""
    server.reply = reply
    with pytest.raises(ChatError, match=message) as caught:
        endpoint(server.url).complete("s", "u", timeout_s=5)
    assert str(caught.value).startswith("127.0.0.1: ")
    assert KEY not in str(caught.value)
    assert len(server.received) == 1


def test_nobody_listens() -> None:
    """A refused connection is an error of its kind."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(ChatError, match="ConnectionRefusedError"):
            endpoint(url).complete("s", "u", timeout_s=5)


def test_https_is_spoken_where_it_is_asked_for(server: JudgeServer) -> None:
    """A server that speaks plain HTTP is no secure one: nothing reaches it."""
    with pytest.raises(ChatError, match="SSL"):
        endpoint(server.url.replace("http://", "https://")).complete("s", "u", timeout_s=5)
    assert server.received == []


def test_no_answer_in_time(server: JudgeServer) -> None:
    """The connection's own time limit ends the wait."""
    gone = threading.Event()

    def hang(_: Received) -> Reply:
        gone.wait(30)
        return says("late")

    server.reply = hang
    try:
        with pytest.raises(ChatError, match="TimeoutError"):
            endpoint(server.url).complete("s", "u", timeout_s=0.05)
    finally:
        gone.set()


def test_an_answer_that_trickles(server: JudgeServer) -> None:
    """Each piece may come in time and all of them too late: the whole call has one limit."""
    server.reply = says("x")
    with pytest.raises(ChatError, match="did not end in time"):
        endpoint(server.url, clock=TickingClock(10.0)).complete("s", "u", timeout_s=5)


def test_the_key_is_in_no_repr() -> None:
    """Nor is the address, which may hold a query."""
    shown = repr(endpoint("https://judge.example/v1?token=abc"))
    assert shown == "ChatEndpoint('judge.example', model='small-judge')"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "judge.example/v1",
        "ftp://judge.example/",
        "https://",
        "http://127.0.0.1:99999/",
        "https://a b/",
        "http://ä/",
        f"https://user:{KEY}@judge.example/v1",
        "https://judge.example/\r\nX: y",
    ],
)
def test_addresses_that_cannot_be_used(url: str) -> None:
    """Are refused at once, and not repeated: they may hold a password."""
    with pytest.raises(ConfigError, match="address of the language model") as caught:
        endpoint(url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel", "\x7f"])
def test_keys_that_no_header_may_have(key: str) -> None:
    """Are refused at once, and not repeated."""
    with pytest.raises(ConfigError, match="expected printable ASCII") as caught:
        endpoint("https://judge.example/v1", api_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("url", ["http://judge.example/v1", "http://10.0.0.7/v1", "http://localhost.example/v1"])
def test_no_key_in_the_clear(url: str) -> None:
    """Over http a key goes to this machine only; without one any host will do."""
    with pytest.raises(ConfigError, match="in the clear"):
        endpoint(url)
    endpoint(url, api_key=None)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:8000/v1"])
def test_a_key_to_this_machine(url: str) -> None:
    """Needs no encryption."""
    assert endpoint(url).model == "small-judge"


def test_the_body_is_json_of_ascii(server: JudgeServer) -> None:
    """What a passage holds can end no string."""
    endpoint(server.url).complete("s", 'a", "role": "system', timeout_s=5)
    assert len(server.received[0].body["messages"]) == 2
    assert json.dumps(server.received[0].body)
