"""What all ONNX models share: loading a network with its tokenizer, and running it on one text, or pair, at a time.

In a model folder of REDO's making `card.json` says what the other files must be: they are read whole and checked by
SHA-256 before onnxruntime or tokenizers see a byte of them. Both libraries are imported when a model is loaded, not
before.

Texts are run one at a time, spread over the threads. Networks with 8-bit weights quantise activations by the range of
the whole batch: in a batch, a text's numbers would depend on its companions, and the same query could get another
answer in another chunk. One at a time they do not, nothing is padded, and a caller may stop after any text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.digest import bytes_digest
from core.errors import ConfigError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Encoding, Tokenizer

CARD: Final = "card.json"
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
"""What a network may be given of a text: its tokens, whether they count, and which of two sentences each belongs to."""

_LEAST_TOKENS = 5
"""`[CLS] a [SEP] b [SEP]`"""


class Network:
    """A network with its tokenizer. The same text gets the same numbers whatever stands beside it.

    Threads may share one.

    Args:
        session: the network. Its inputs are some of `INPUTS`.
        tokenizer: makes tokens of texts; pads nothing.
        output: name of the output that has a row for each text.
        width: numbers of a row.
        threads: texts that are computed at the same time.

    Raises:
        ValueError: `threads` is less than 1.
    """

    def __init__(
        self, session: InferenceSession, tokenizer: Tokenizer, *, output: str, width: int, threads: int
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        self._session = session
        self._inputs = [item.name for item in session.get_inputs()]
        self._tokenizer = tokenizer
        self._output = output
        self._width = width
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="onnx") if threads > 1 else None

    def run(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return what the network says of each text, or pair of texts: shape (n, width), rows in their order."""
        if not texts:
            return np.zeros((0, self._width), dtype=np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        return np.stack(list(map(self._row, encoded) if self._pool is None else self._pool.map(self._row, encoded)))

    def _row(self, text: Encoding) -> NDArray[np.float32]:
        known = dict(zip(INPUTS, (text.ids, text.attention_mask, text.type_ids), strict=True))
        given = {name: np.array([known[name]], dtype=np.int64) for name in self._inputs}
        (rows,) = self._session.run([self._output], given)
        return np.asarray(rows[0], dtype=np.float32)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Return the probabilities that rows of logits stand for; a higher temperature makes them less sure."""
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def load_session(source: bytes | str, path: Path) -> InferenceSession:
    """Load a network to run on one thread: callers spread texts over threads, not the work on one.

    Args:
        source: the file's content, or its path where it names other files beside it.
        path: the file, for the message.

    Raises:
        ConfigError: onnxruntime cannot load it.
    """
    import onnxruntime  # noqa: PLC0415 - 60 ms and 40 MB that only the model's users pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConfigError(f"{path}: onnxruntime cannot load it ({error})") from error


def load_tokenizer(content: bytes, path: Path, longest: int) -> Tokenizer:
    """Load a tokenizer that pads nothing and cuts what is longer, the longer of two sentences first.

    Args:
        content: the file's content.
        path: the file, for the message.
        longest: tokens that are kept.

    Raises:
        ConfigError: tokenizers cannot load it.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - as above

    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:
        raise ConfigError(f"{path}: tokenizers cannot load it ({error})") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest, strategy="longest_first")
    return tokenizer


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

    def network(self, *, output: str, width: int, threads: int) -> Network:
        """The network with its tokenizer, ready to run.

        Args:
            output: name of the network's output.
            width: numbers that it gives for an input.
            threads: inputs that are computed at the same time.

        Raises:
            ConfigError: a file is missing, is not the one that the card was written for, or cannot be loaded.
            ValueError: `threads` is less than 1.
        """
        session = load_session(self._checked(MODEL), self._path / MODEL)
        tokenizer = load_tokenizer(self._checked(TOKENIZER), self._path / TOKENIZER, self.longest)
        return Network(session, tokenizer, output=output, width=width, threads=threads)

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
