"""Entailment models from folders of other people's making: labels in any order, inputs and outputs of any name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from core.adapters.onnx_folder import OnnxFolder
from core.errors import ConfigError
from tests.tiny_nli import WORDS, write_tiny_model
from tests.tiny_onnx import FLOAT, INT64, network, node, tensor, value

PAIRS = [("so maybe", "not"), ("not", "so so"), ("", ""), ("a b", "not")]
LABELS = {"0": "entailment", "1": "neutral", "2": "contradiction"}


def write_folder(folder: Path, *, labels: object = LABELS, model: bytes | None = None) -> Path:
    """A folder as exporters write it; the network is the tiny one unless another is given."""
    write_tiny_model(folder, contents={} if model is None else {"model.onnx": model})
    (folder / "card.json").unlink()
    (folder / "config.json").write_text(json.dumps({"id2label": labels, "model_type": "bert"}), encoding="utf-8")
    return folder


def words_only(*, columns: int = 3, output: str = "logits", inputs: tuple[str, ...] = ("input_ids",)) -> bytes:
    """A network that reads words and no sides: as those of the RoBERTa family."""
    table = np.zeros((len(WORDS), columns), dtype=np.float32)
    table[:, : min(columns, 3)] = np.array(list(WORDS.values()), dtype=np.float32)[:, :columns]
    return network(
        [node("Gather", ["words", "input_ids"], "by_word"), node("ReduceSum", ["by_word", "axis"], output, keepdims=0)],
        [tensor("words", table, FLOAT), tensor("axis", np.array([1], dtype=np.int64), INT64)],
        dict.fromkeys(inputs, ("rows", "length")),
        value(output, FLOAT, ["rows", columns]),
    )


def logits(*words: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What the words of a pair add up to; `[CLS]` is always there."""
    return np.array(WORDS["[CLS]"]) + sum(np.array(WORDS[word]) for word in words)


def softmax(row: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Probabilities, computed apart from the adapter."""
    return np.asarray(np.exp(row) / np.exp(row).sum())


def test_scores_are_softmax_of_logits(tmp_path: Path) -> None:
    """Rows are the pairs in order, columns entailment, neutral, contradiction; nothing is calibrated."""
    scores = OnnxFolder(write_folder(tmp_path, model=words_only()), threads=1).score(PAIRS[:2])
    np.testing.assert_allclose(
        scores, [softmax(logits("so", "maybe", "not")), softmax(logits("not", "so", "so"))], 1e-5
    )
    assert scores.dtype == np.float32


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "CONTRADICTION", "1": "ENTAILMENT", "2": "NEUTRAL"},
        {"2": "Neutral", "0": "contradiction ", "1": "Entailment"},
    ],
)
def test_labels_in_any_order_and_case(tmp_path: Path, labels: Mapping[str, str]) -> None:
    """`id2label` says which column is which."""
    plain = OnnxFolder(write_folder(tmp_path / "plain"), threads=1).score(PAIRS)
    mixed = OnnxFolder(write_folder(tmp_path / "mixed", labels=labels), threads=1).score(PAIRS)
    np.testing.assert_allclose(mixed, plain[:, [1, 2, 0]], rtol=1e-6)


def test_token_type_ids_are_sent_where_they_are_wanted(tmp_path: Path) -> None:
    """The tiny network tells the sides apart by them; without them it could not be run at all."""
    one, other = OnnxFolder(write_folder(tmp_path), threads=1).score([("a", "a a a"), ("a a a", "a")])
    assert one[2] > other[2]


def test_an_output_of_any_name(tmp_path: Path) -> None:
    """A single output is taken whatever it is called."""
    named = OnnxFolder(write_folder(tmp_path / "n", model=words_only(output="score")), threads=1)
    plain = OnnxFolder(write_folder(tmp_path / "p", model=words_only()), threads=1)
    np.testing.assert_array_equal(named.score(PAIRS), plain.score(PAIRS))


def test_the_network_in_the_folder_onnx(tmp_path: Path) -> None:
    """Hubs keep it there."""
    plain = OnnxFolder(write_folder(tmp_path / "plain"), threads=1)
    moved = write_folder(tmp_path / "moved")
    (moved / "onnx").mkdir()
    (moved / "model.onnx").rename(moved / "onnx" / "model.onnx")
    np.testing.assert_array_equal(OnnxFolder(moved, threads=1).score(PAIRS), plain.score(PAIRS))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_score_depends_on_nothing_beside(tmp_path: Path, threads: int) -> None:
    """The same bits alone, in company, and with any number of threads."""
    folder = write_folder(tmp_path)
    alone = np.concatenate([OnnxFolder(folder, threads=1).score([pair]) for pair in PAIRS])
    np.testing.assert_array_equal(OnnxFolder(folder, threads=threads).score(PAIRS * 9), np.tile(alone, (9, 1)))


def test_the_end_of_a_long_text_is_not_read(tmp_path: Path) -> None:
    """What lies behind `longest` tokens changes nothing; the shorter sentence is kept whole."""
    model = OnnxFolder(write_folder(tmp_path, model=words_only()), threads=1, longest=12)
    first, second = model.score([("a " * 12 + "so", "not"), ("a " * 12, "not")])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, softmax(logits("not")), rtol=1e-5)


def test_no_pairs_give_no_rows(tmp_path: Path) -> None:
    """An empty list is answered with an empty array of three columns."""
    assert OnnxFolder(write_folder(tmp_path), threads=2).score([]).shape == (0, 3)


def test_the_version_is_the_folder_and_its_hash(tmp_path: Path) -> None:
    """Another network of the same name has another version; weights in a file of their own count too."""
    folder = write_folder(tmp_path / "my-nli")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert OnnxFolder(folder, threads=1).version == f"my-nli-{digest[:12]}"
    versions = {OnnxFolder(folder, threads=1).version}
    for content in (b"some weights", b"other weights"):
        (folder / "model.onnx_data").write_bytes(content)
        versions.add(OnnxFolder(folder, threads=1).version)
    assert len(versions) == 3


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [],
        {},
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        {"0": "entailment", "1": "not_entailment"},
        {"0": "entailment", "1": "neutral", "3": "contradiction"},
        {"a": "entailment", "b": "neutral", "c": "contradiction"},
        {"0": "entailment", "1": "neutral", "2": "contradiction", "3": "contradiction"},
    ],
)
def test_labels_that_name_something_else_are_refused(tmp_path: Path, labels: object) -> None:
    """A model of other labels is no entailment model; the message says what was found and expected."""
    with pytest.raises(ConfigError, match=r"config\.json: field id2label is .*expected 0 to 2 to be entailment"):
        OnnxFolder(write_folder(tmp_path, labels=labels), threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """With what the folder should hold."""
    folder = write_folder(tmp_path)
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read .*expected a folder with model\.onnx"):
        OnnxFolder(folder, threads=1)


def test_a_name_of_a_hub_is_no_folder(tmp_path: Path) -> None:
    """The message says that a model must be downloaded first."""
    with pytest.raises(ConfigError, match="must be downloaded first"):
        OnnxFolder(tmp_path / "cross-encoder" / "nli-deberta-v3-small", threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    """A file that is not what it should be is refused with its path."""
    folder = write_folder(tmp_path)
    (folder / name).write_bytes(b"\xffno model")
    with pytest.raises(ConfigError, match=name):
        OnnxFolder(folder, threads=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (words_only(columns=2), "expected one of 3 numbers for a pair"),
        (words_only(inputs=("input_ids", "pixels")), "the inputs are .*pixels"),
    ],
)
def test_a_network_for_something_else_is_refused(tmp_path: Path, model: bytes, message: str) -> None:
    """Inputs that nobody can give, or an output that is no three labels."""
    with pytest.raises(ConfigError, match=message):
        OnnxFolder(write_folder(tmp_path, model=model), threads=1)


@pytest.mark.parametrize(("threads", "longest"), [(0, 128), (1, 7)])
def test_numbers_that_make_no_sense(tmp_path: Path, threads: int, longest: int) -> None:
    """Less than one thread or a length of nothing is a programming error."""
    with pytest.raises(ValueError, match="expected at least"):
        OnnxFolder(write_folder(tmp_path), threads=threads, longest=longest)
