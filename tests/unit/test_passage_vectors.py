"""The vectors of a corpus: computed once, whole or not at all, and searched exactly."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.adapters.bm25 import ensure_index
from core.adapters.passage_vectors import LEAST_COSINE, PassageVectors, ensure_vectors, rounded, vectors_folder
from core.errors import ConfigError, RetrieverError
from core.model import Passage
from tests.fake_embedders import DIMENSIONS, WordEmbedder

WORDS = {"north": (1, 0, 0, 0), "east": (0, 1, 0, 0), "up": (0, 0, 1, 0), "south": (-1, 0, 0, 0)}
TEXTS = ("north", "east", "north east", "nowhere", "south", "east north", "up")
PART = 512


def index(folder: Path, texts: Sequence[str] = TEXTS) -> Path:
    """An index of the texts."""
    return ensure_index(folder, "key", lambda _: [Passage(f"p{number}", text) for number, text in enumerate(texts)])


def searched(folder: Path, texts: Sequence[str] = TEXTS) -> PassageVectors:
    """The vectors of the texts, ready to be searched."""
    return PassageVectors(ensure_vectors(index(folder, texts), WordEmbedder(WORDS)), passages=len(texts))


def vector(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A vector."""
    return np.array(numbers, dtype=np.float32)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


class TestSearch:
    """What is nearest."""

    def test_nearest_first(self, tmp_path: Path) -> None:
        """By cosine, whatever the lengths; equal ones in the order of the corpus; what is far away is not there."""
        rows, cosines = searched(tmp_path).nearest(vector(5, 0, 0, 0), 10)
        assert rows.tolist() == [0, 2, 5]
        np.testing.assert_allclose(cosines, [1, 0.5**0.5, 0.5**0.5], rtol=1e-6)

    @pytest.mark.parametrize("k", [0, 1, 2, 3])
    def test_at_most_k(self, tmp_path: Path, k: int) -> None:
        """A cut between equal ones keeps those that stand first."""
        rows, cosines = searched(tmp_path).nearest(vector(1, 0, 0, 0), k)
        assert rows.tolist() == [0, 2, 5][:k]
        assert len(cosines) == k

    def test_a_vector_of_nothing_is_near_nothing(self, tmp_path: Path) -> None:
        """Neither as a query nor as a passage."""
        assert searched(tmp_path).nearest(vector(0, 0, 0, 0), 10)[0].tolist() == []
        assert 3 not in searched(tmp_path).nearest(vector(1, 1, 1, 1), 10)[0].tolist()

    def test_the_least_cosine(self, tmp_path: Path) -> None:
        """What is just under it is left out, what is just over it is found."""
        vectors = searched(tmp_path, ["north"])
        for cosine, found in ((LEAST_COSINE + 0.01, [0]), (LEAST_COSINE - 0.01, [])):
            assert vectors.nearest(vector(cosine, (1 - cosine**2) ** 0.5, 0, 0), 10)[0].tolist() == found

    def test_exact_in_every_block(self, tmp_path: Path) -> None:
        """Whole numbers are multiplied without an error, also where the passages fill several blocks."""
        chance = np.random.default_rng(1)
        wanted = chance.standard_normal(384).astype(np.float32)
        numbers, lengths = rounded((wanted / 4 + chance.standard_normal((2_600, 384))).astype(np.float32))
        np.save(tmp_path / "vectors.npy", numbers)
        np.save(tmp_path / "lengths.npy", lengths)
        rows, cosines = PassageVectors(tmp_path, passages=2_600).nearest(wanted, 2_600)
        (asked,), (length,) = rounded(wanted[np.newaxis, :])
        products = numbers.astype(np.int64) @ asked.astype(np.int64)
        expected = products.astype(np.float32) / (lengths * length)
        near = np.flatnonzero(expected >= LEAST_COSINE)
        assert 1_500 < len(near) < 2_600
        assert rows.tolist() == near[np.lexsort((near, -expected[near]))].tolist()
        np.testing.assert_array_equal(cosines, expected[rows])

    def test_a_corpus_of_nothing(self, tmp_path: Path) -> None:
        """Without passages nothing is found."""
        assert searched(tmp_path, []).nearest(vector(1, 0, 0, 0), 10)[0].tolist() == []


class TestKept:
    """The folder."""

    def test_computed_once(self, tmp_path: Path) -> None:
        """A second call embeds nothing, and nothing but the two folders is left."""
        path, embedder = index(tmp_path), WordEmbedder(WORDS)
        folder = ensure_vectors(path, embedder)
        assert embedder.texts == list(TEXTS)
        assert ensure_vectors(path, embedder) == folder == vectors_folder(path, embedder.version)
        assert embedder.texts == list(TEXTS)
        assert names(tmp_path) == sorted([path.name, folder.name])
        assert folder.name.startswith("key-")

    def test_another_embedder_has_its_own(self, tmp_path: Path) -> None:
        """Vectors of two versions never mix."""
        path = index(tmp_path)
        first, second = (ensure_vectors(path, WordEmbedder(WORDS, version=version)) for version in ("a", "b"))
        assert first != second
        assert len(names(tmp_path)) == 3

    @pytest.mark.parametrize("name", ["vectors.npy", "lengths.npy", "index.json"])
    @pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
    def test_a_broken_file_is_made_anew(self, tmp_path: Path, name: str, damage: str) -> None:
        """Whichever file, and whether it is gone, cut short or changed in one byte."""
        path = index(tmp_path)
        folder = ensure_vectors(path, WordEmbedder(WORDS))
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if damage == "shorter":
            (folder / name).write_bytes(content[:-1])
        if damage == "changed":
            (folder / name).write_bytes(content[:-3] + bytes([content[-3] ^ 8]) + content[-2:])
        embedder = WordEmbedder(WORDS)
        assert ensure_vectors(path, embedder) == folder
        assert embedder.texts == list(TEXTS)
        assert PassageVectors(folder, passages=len(TEXTS)).nearest(vector(1, 0, 0, 0), 1)[0].tolist() == [0]
        assert len(names(tmp_path)) == 2

    def test_goes_on_where_it_was_cut_off(self, tmp_path: Path) -> None:
        """Parts that were done are not done again, and nothing is left of them in the end."""
        texts = [f"{'north' if number % 3 else 'east'} {number}" for number in range(2 * PART + 10)]
        path = index(tmp_path, texts)
        with pytest.raises(InterruptedError):
            ensure_vectors(path, WordEmbedder(WORDS, fails_after=2 * PART))
        embedder = WordEmbedder(WORDS)
        folder = ensure_vectors(path, embedder)
        assert embedder.texts == texts[2 * PART :]
        assert names(tmp_path) == sorted([path.name, folder.name])
        apart = index(tmp_path / "apart", texts)
        whole = ensure_vectors(apart, WordEmbedder(WORDS))
        for name in ("vectors.npy", "lengths.npy"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()

    @pytest.mark.parametrize("content", [b"", b"not a part", None])
    def test_a_broken_part_is_done_again(self, tmp_path: Path, content: bytes | None) -> None:
        """A part that cannot be read, or with another number than was written, counts for nothing."""
        texts = [f"north {number}" for number in range(PART + 1)]
        path = index(tmp_path, texts)
        with pytest.raises(InterruptedError):
            ensure_vectors(path, WordEmbedder(WORDS, fails_after=PART))
        (part,) = tmp_path.glob(".*-parts/*.npz")
        written = bytearray(part.read_bytes())
        written[len(written) // 2] ^= 1
        part.write_bytes(bytes(written) if content is None else content)
        embedder = WordEmbedder(WORDS)
        ensure_vectors(path, embedder)
        assert embedder.texts == texts

    def test_a_part_of_another_corpus_is_done_again(self, tmp_path: Path) -> None:
        """A part with another number of rows is none of this corpus."""
        texts = ["north"] * (PART + 1)
        path = index(tmp_path, texts)
        with pytest.raises(InterruptedError):
            ensure_vectors(path, WordEmbedder(WORDS, fails_after=PART))
        (part,) = tmp_path.glob(".*-parts/*.npz")
        shutil.copy(part, part.with_name(f"{PART:06d}.npz"))
        embedder = WordEmbedder(WORDS)
        ensure_vectors(path, embedder)
        assert embedder.texts == texts[PART:]

    def test_two_that_come_at_once(self, tmp_path: Path) -> None:
        """One computes, the other waits and uses what is there."""
        path, embedders = index(tmp_path), [WordEmbedder(WORDS), WordEmbedder(WORDS)]
        with ThreadPoolExecutor(2) as pool:
            folders = set(pool.map(lambda embedder: ensure_vectors(path, embedder), embedders))
        assert len(folders) == 1
        assert sorted(embedder.texts for embedder in embedders) == [[], list(TEXTS)]

    def test_too_many_passages(self, tmp_path: Path) -> None:
        """More than can be searched in time are refused before one is embedded, with the way out."""
        embedder = WordEmbedder(WORDS)
        with pytest.raises(ConfigError, match=r"7 passages: hybrid .* at most 6; use REDO_RETRIEVER=bm25"):
            ensure_vectors(index(tmp_path), embedder, most=6)
        assert embedder.texts == []
        assert ensure_vectors(index(tmp_path), embedder, most=7)


class TestOpened:
    """What is no folder of vectors."""

    def test_missing(self, tmp_path: Path) -> None:
        """The message names the folder."""
        with pytest.raises(RetrieverError, match=f"cannot open the passage vectors {tmp_path / 'gone'}"):
            PassageVectors(tmp_path / "gone", passages=1)

    @pytest.mark.parametrize("content", [b"", b"no numbers"])
    def test_unreadable(self, tmp_path: Path, content: bytes) -> None:
        """A file that holds no numbers is named by its folder."""
        folder = ensure_vectors(index(tmp_path), WordEmbedder(WORDS))
        (folder / "lengths.npy").write_bytes(content)
        with pytest.raises(RetrieverError, match="cannot open the passage vectors"):
            PassageVectors(folder, passages=len(TEXTS))

    def test_of_another_corpus(self, tmp_path: Path) -> None:
        """The number of passages must be that of the index."""
        folder = ensure_vectors(index(tmp_path), WordEmbedder(WORDS))
        with pytest.raises(RetrieverError, match="holds 7 vectors, expected 8"):
            PassageVectors(folder, passages=8)

    def test_mapped(self, tmp_path: Path) -> None:
        """The numbers are one byte each and stay on the disk."""
        folder = ensure_vectors(index(tmp_path), WordEmbedder(WORDS))
        assert (folder / "vectors.npy").stat().st_size == 128 + DIMENSIONS * len(TEXTS)
        assert len(PassageVectors(folder, passages=len(TEXTS))) == len(TEXTS)
