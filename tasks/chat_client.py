"""One question to a language model behind an OpenAI-compatible `/chat/completions`, over plain blocking HTTP.

The API key goes into one header of one request and nowhere else: into no message, no log, no `repr`. Redirects are not
followed, so it cannot be led to another host, and proxies of the environment are not used. A connection serves one
call. Nothing here sends more than once: who wants to try again decides that.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from core.clock import Clock
from core.errors import ConfigError, RedoError

_PATH: Final = "/chat/completions"
_MOST_BYTES: Final = 1_000_000
"""Longest response that is read; an answer of one word has a few hundred."""
_BLOCK: Final = 65_536


class ChatError(RedoError):
    """A language model was asked and gave nothing that can be used. The message has the host and no content."""


class ChatEndpoint:
    """Sends a system and a user message to one model, at temperature 0, and returns what it says.

    Threads may share one.

    Args:
        url: `https://host/v1`, or with `/chat/completions` at the end. `http` too; with a key only to this machine.
        model: the model's name, as the endpoint knows it.
        api_key: sent as a bearer token; `None` sends none.
        clock: tells how much of a call's time is left.
        most_tokens: tokens that the model may write.

    Raises:
        ConfigError: the URL or the key cannot be used. Neither is repeated in the message.
    """

    def __init__(self, url: str, *, model: str, api_key: str | None, clock: Clock, most_tokens: int = 64) -> None:
        parts = _split(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = str(parts.hostname), parts.port
        path = parts.path.rstrip("/")
        self._target = (path if path.endswith(_PATH) else path + _PATH) + (f"?{parts.query}" if parts.query else "")
        self._model = model
        self._most_tokens = most_tokens
        self._clock = clock
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if api_key is not None:
            if not (api_key.isascii() and api_key.isprintable()) or " " in api_key or not api_key:
                raise ConfigError("the API key holds characters that no header may have, expected printable ASCII")
            if not self._secure and not _is_this_machine(self._host):
                raise ConfigError(f"the API key would go to {self._host} in the clear, expected an https address")
            self._headers["Authorization"] = f"Bearer {api_key}"

    def __repr__(self) -> str:
        return f"ChatEndpoint({self._host!r}, model={self._model!r})"

    @property
    def model(self) -> str:
        """The model's name, as the endpoint knows it."""
        return self._model

    def complete(self, system: str, user: str, *, timeout_s: float) -> str:
        """Ask once, and return the text of the model's first choice.

        Args:
            system: what the model is told to do.
            user: what it is asked.
            timeout_s: seconds that the call may take. Looking up the host's address is not cut short.

        Raises:
            ChatError: no connection, no answer in time, an error status, or no chat completion.
        """
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": 0,
            "max_tokens": self._most_tokens,
        }
        try:
            return _text_of(self._post(json.dumps(body).encode(), timeout_s))
        except ChatError as error:
            raise ChatError(f"{self._host}: {error}") from None
        except (OSError, HTTPException, ValueError) as error:  # their own texts may quote what was sent
            raise ChatError(f"{self._host}: {type(error).__name__}") from None

    def _post(self, body: bytes, timeout_s: float) -> bytes:
        give_up_at = self._clock.now() + timeout_s
        connection = self._connection(timeout_s)
        try:
            connection.request("POST", self._target, body, self._headers)
            with connection.getresponse() as response:
                if response.status != HTTPStatus.OK:
                    raise ChatError(f"status {response.status}, expected 200")
                return self._read(response, give_up_at)
        finally:
            connection.close()

    def _read(self, response: HTTPResponse, give_up_at: float) -> bytes:
        content = bytearray()
        while block := response.read1(_BLOCK):
            content += block
            if len(content) > _MOST_BYTES:
                raise ChatError(f"more than {_MOST_BYTES:,} bytes")
            if self._clock.now() > give_up_at:  # each piece of a trickle may come in time, and all of them too late
                raise ChatError("the answer did not end in time")
        return bytes(content)

    def _connection(self, timeout_s: float) -> HTTPConnection:
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=timeout_s, context=ssl.create_default_context())
        return HTTPConnection(self._host, self._port, timeout=timeout_s)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            problem = "expected http://HOST[:PORT]/... or https://"
        elif not (url.isascii() and url.isprintable()) or " " in url:
            problem = "it holds white space or other characters than ASCII"
        elif parts.username is not None or parts.password is not None:
            problem = "it holds a user name or a password; the API key is a setting of its own"
        else:
            return parts
    except ValueError:
        problem = "expected http://HOST[:PORT]/... or https://"
    raise ConfigError(f"the address of the language model cannot be used: {problem}")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text_of(content: bytes) -> str:
    """The text of the first choice of a chat completion."""
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise ChatError("the response is no chat completion") from None
    if not isinstance(text, str):
        raise ChatError("the response is a chat completion without a text")
    return text
