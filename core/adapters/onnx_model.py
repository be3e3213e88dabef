"""Loading a model folder: `card.json` says what the other files must be, and nothing is run that is not.

A folder is read whole and checked by SHA-256 before onnxruntime or tokenizers see a byte of it. Both libraries are
imported when a model is loaded, not before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.digest import bytes_digest
from core.errors import ConfigError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

CARD: Final = "card.json"
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"

_LEAST_TOKENS = 5
"""`[CLS] a [SEP] b [SEP]`"""


class ModelFolder:
    """A folder of `card.json`, `model.onnx` and `tokenizer.json`, whose card has been read and checked.

    Args:
        path: the folder.
        problem_of: what is wrong with the fields that only this kind of model has; `None` where nothing is.
        remedy: ends every message: how the folder is made.

    Attributes:
        card: the card, as it was read.
        version: names the model, for the trace.
        longest: tokens of an input that are read.

    Raises:
        ConfigError: there is no card, or it lacks a field.
    """

    def __init__(self, path: Path, *, problem_of: Callable[[dict[str, Any]], str | None], remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        self.card = self._read_card()
        problem = _problem_of(self.card) or problem_of(self.card)
        if problem:
            raise ConfigError(f"{path / CARD}: {problem}; {remedy}")
        self.version: str = self.card["version"]
        self.longest: int = self.card["longest"]

    def session(self) -> InferenceSession:
        """The network, ready to run on one thread: callers spread inputs over threads, not the work on one.

        Raises:
            ConfigError: the file is missing, is not the one that the card was written for, or cannot be loaded.
        """
        content = self._checked(MODEL)
        import onnxruntime  # noqa: PLC0415 - 60 ms and 40 MB that only the model's users pay

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ConfigError(f"{self._path / MODEL}: onnxruntime cannot load it ({error})") from error

    def tokenizer(self) -> Tokenizer:
        """The tokenizer: nothing is padded, and what is longer than the card's `longest` is cut, the longer part first.

        Raises:
            ConfigError: as for `session`.
        """
        content = self._checked(TOKENIZER)
        from tokenizers import Tokenizer  # noqa: PLC0415 - as above

        try:
            tokenizer = Tokenizer.from_buffer(content)
        except Exception as error:
            raise ConfigError(f"{self._path / TOKENIZER}: tokenizers cannot load it ({error})") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.longest, strategy="longest_first")
        return tokenizer

    def _read_card(self) -> dict[str, Any]:
        path = self._path / CARD
        try:
            card = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no model here, expected {CARD}; {self._remedy}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: not JSON ({error}); {self._remedy}") from error
        if not isinstance(card, dict):
            raise ConfigError(f"{path}: expected an object; {self._remedy}")
        return card

    def _checked(self, name: str) -> bytes:
        path, expected = self._path / name, self.card["files"][name]
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ConfigError(f"{path}: the file is missing; {self._remedy}") from None
        found = bytes_digest(content)
        if found != expected:
            raise ConfigError(f"{path}: damaged: SHA-256 is {found}, the card says {expected}; {self._remedy}")
        return content


def _problem_of(card: dict[str, Any]) -> str | None:
    files = card.get("files")
    if not isinstance(files, dict) or not all(isinstance(files.get(name), str) for name in (MODEL, TOKENIZER)):
        return f"field files must give the SHA-256 of {MODEL} and {TOKENIZER}"
    longest = card.get("longest")
    if type(longest) is not int or longest < _LEAST_TOKENS:
        return f"field longest is {longest!r}, expected a number of tokens"
    if not isinstance(card.get("version"), str):
        return f"field version is {card.get('version')!r}, expected a text"
    return None
