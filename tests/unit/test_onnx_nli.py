"""What loads and runs an entailment model: the scores' form and order, and what happens with damaged folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.adapters.onnx_nli import CONTRADICTION, LABELS, OnnxNli
from core.errors import ConfigError
from tests.tiny_nli import LONGEST, SECOND_SIDE, TEMPERATURE, WORDS, write_tiny_model

PAIRS = [("so", "so"), ("maybe", "maybe maybe"), ("not", "a"), ("", ""), ("so not maybe", "not"), ("a b c", "d e f g")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model's folder."""
    return write_tiny_model(tmp_path / "nli")


def expected(words: list[str], second_side: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Probabilities that the tiny model must give, computed apart from it; `[CLS]` is always there."""
    logits = np.array(WORDS["[CLS]"]) + sum(np.array(WORDS.get(word, (0.0, 0.0, 0.0))) for word in words)
    powers = np.exp((logits + second_side * np.array(SECOND_SIDE)) / TEMPERATURE)
    return np.asarray(powers / powers.sum())


def test_scores_are_softmax_of_logits_by_temperature(folder: Path) -> None:
    """Rows are the pairs in order, columns the labels, values the softmax of the logits over the temperature."""
    scores = OnnxNli(folder, threads=1).score([("so maybe", "not"), ("not", "so so")])
    wanted = [expected(["so", "maybe", "not"], 2), expected(["not", "so", "so"], 3)]
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)
    assert scores.dtype == np.float32


def test_premise_and_hypothesis_are_told_apart(folder: Path) -> None:
    """The first sentence goes to the first side: a longer second one scores as the model says."""
    one, other = OnnxNli(folder, threads=1).score([("a", "a a a"), ("a a a", "a")])[:, CONTRADICTION]
    assert one > other


def test_a_score_does_not_depend_on_its_companions(folder: Path) -> None:
    """A pair gets the same bits alone, in company, and in another order."""
    model = OnnxNli(folder, threads=2)
    together = model.score(PAIRS)
    np.testing.assert_array_equal(np.concatenate([model.score([pair]) for pair in PAIRS]), together)
    np.testing.assert_array_equal(model.score(PAIRS[::-1])[::-1], together)


@pytest.mark.parametrize("threads", [2, 5])
def test_a_score_does_not_depend_on_the_threads(folder: Path, threads: int) -> None:
    """Many threads give the same bits in the same order as one."""
    many = PAIRS * 20
    np.testing.assert_array_equal(OnnxNli(folder, threads=threads).score(many), OnnxNli(folder, threads=1).score(many))


def test_rows_sum_to_one_whatever_the_text(folder: Path) -> None:
    """Texts that are empty, endless or not English give probabilities, not errors."""
    pairs = [("", ""), ("not " * 5_000, "so"), ("日本語の文。", "\x00\u200b"), ("a\nb", "\t")]
    scores = OnnxNli(folder, threads=1).score(pairs)
    assert scores.shape == (4, len(LABELS))
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)


def test_the_end_of_a_long_text_is_not_read(folder: Path) -> None:
    """What lies behind the card's longest length changes nothing, and the shorter sentence is kept whole."""
    model = OnnxNli(folder, threads=1)
    first, second = model.score([("a " * LONGEST + "so", "not"), ("a " * LONGEST, "not")])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, expected(["not"], 2), rtol=1e-5)


def test_no_pairs_give_no_rows(folder: Path) -> None:
    """An empty list is answered with an empty array of three columns."""
    assert OnnxNli(folder, threads=1).score([]).shape == (0, 3)


def test_version_is_the_card_s(folder: Path) -> None:
    """The trace gets the version that the card names."""
    assert OnnxNli(folder, threads=1).version == "tiny-1"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(folder: Path, name: str) -> None:
    """One changed byte is found at load, and the message names the file and both hashes."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: damaged: SHA-256 is [0-9a-f]{{64}}, the card says [0-9a-f]{{64}}"):
        OnnxNli(folder, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "card.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """A missing file is named, with how the folder is made."""
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=rf"{name}: .*python -m training\.nli"):
        OnnxNli(folder, threads=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ["c", "e", "n"]),
        ("labels", None),
        ("temperature", 0.0),
        ("temperature", "warm"),
        ("temperature", float("nan")),
        ("longest", 0),
        ("longest", True),
        ("files", {}),
        ("files", {"model.onnx": 1, "tokenizer.json": 2}),
        ("version", None),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, field: str, value: object) -> None:
    """A card with a field that cannot be used is refused, and the message names the field."""
    write_tiny_model(tmp_path, **{field: value})  # type: ignore[arg-type]  # any field of the card
    with pytest.raises(ConfigError, match=rf"card\.json: field {field}"):
        OnnxNli(tmp_path, threads=1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_card_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    """A card that is no JSON object is refused with its path."""
    (folder / "card.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"card\.json"):
        OnnxNli(folder, threads=1)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_file_that_no_library_can_load_is_refused(tmp_path: Path, name: str) -> None:
    """A file that fits the card but is no model is refused with its path."""
    write_tiny_model(tmp_path, contents={name: b"not a model"})
    with pytest.raises(ConfigError, match=rf"{name}: .* cannot load it"):
        OnnxNli(tmp_path, threads=1)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(folder: Path, threads: int) -> None:
    """Less than one thread is a programming error."""
    with pytest.raises(ValueError, match="expected at least 1"):
        OnnxNli(folder, threads=threads)


@pytest.mark.process
def test_importing_the_adapter_loads_no_library(folder: Path) -> None:
    """The libraries are imported when a model is loaded, and torch never is."""
    program = (
        "import sys; from pathlib import Path; from core.adapters.onnx_nli import OnnxNli;"
        "print([name for name in ('onnxruntime', 'tokenizers') if name in sys.modules]);"
        f"OnnxNli(Path({str(folder)!r}), threads=1).score([('a', 'b')]);"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
