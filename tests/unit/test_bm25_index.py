"""The BM25 index on disk: built once, whole or not at all, and what it ranks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from core.adapters.bm25 import Bm25Retriever, ensure_index, index_key
from core.adapters.doubles import TickingClock
from core.clock import Deadline
from core.errors import RetrieverError
from core.model import Passage, Query, Ranking

PASSAGES = [
    Passage("a", "The harbour of Lisbon is old and large."),
    Passage("b", "Whales swim in the sea.", "whales.org", datetime(2020, 5, 1, 12, 30, 0, 250, tzinfo=UTC), {"n": [1]}),
    Passage("c", "Whales swim in the sea."),
    Passage(
        "d",
        "The whale is a mammal; the whale is no fish.",
        None,
        datetime(2020, 5, 1, tzinfo=timezone(timedelta(hours=2))),
    ),
    Passage("e", "of the and"),
    Passage("f", "Städte wie Zürich, 東京 and São Paulo."),
]


def build(passages: Iterable[Passage] = PASSAGES) -> Callable[[Path], Iterable[Passage]]:
    """What yields the passages."""
    return lambda _: passages


def never(_: Path) -> Iterable[Passage]:
    """What must not be called."""
    raise AssertionError("built again")


def index(folder: Path, passages: Iterable[Passage] = PASSAGES) -> Bm25Retriever:
    """A retriever over an index of the passages."""
    return Bm25Retriever(ensure_index(folder, "key", build(passages)))


def search(retriever: Bm25Retriever, text: str, k: int = 10) -> Ranking:
    """The ranking of one query."""
    (ranking,) = retriever.retrieve([Query("q", text)], k, [Deadline(1.0, clock=TickingClock(0.125))])
    return ranking


def ids(ranking: Ranking) -> str:
    """The ids of the passages, best first."""
    return "".join(item.passage.passage_id for item in ranking.items)


def test_key_follows_the_content(tmp_path: Path) -> None:
    """Two files of the same bytes have one key; other bytes and another format have another."""
    files = {"a.jsonl": b"one", "b.jsonl": b"one", "c.jsonl": b"two", "d.parquet": b"one", "e.JSONL": b"one"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    keys = {name: index_key(tmp_path / name) for name in files}
    assert keys["a.jsonl"] == keys["b.jsonl"] == keys["e.JSONL"]
    assert len(set(keys.values())) == 3
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys.values())


def test_key_of_a_large_file(tmp_path: Path) -> None:
    """All of a file counts, beyond the first block as well."""
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(b"x" * (3 << 20))
    second.write_bytes(b"x" * (3 << 20) + b"y")
    assert index_key(first) != index_key(second)


def test_built_once(tmp_path: Path) -> None:
    """A second call uses the index that is there, and nothing else lies in the folder."""
    folder = tmp_path / "not" / "there" / "yet"
    path = ensure_index(folder, "key", build())
    assert path == folder / "key"
    assert ensure_index(folder, "key", never) == path
    assert list(folder.iterdir()) == [path]


def test_open_to_other_users(tmp_path: Path) -> None:
    """The index has the permissions of any new folder, so that workers of other users can read it."""
    (tmp_path / "plain").mkdir()
    path = ensure_index(tmp_path, "key", build())
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_builder_gets_the_folder(tmp_path: Path) -> None:
    """What the builder leaves beside the index moves with it and is part of what must be whole."""

    def passages(making: Path) -> Iterator[Passage]:
        (making / "quarantine.jsonl").write_text("{}")
        yield from PASSAGES

    path = ensure_index(tmp_path, "key", passages)
    assert (path / "quarantine.jsonl").read_text() == "{}"
    assert ensure_index(tmp_path, "key", never) == path
    (path / "quarantine.jsonl").unlink()
    assert not (ensure_index(tmp_path, "key", build()) / "quarantine.jsonl").exists()


def files_of(path: Path) -> list[Path]:
    """Every file of an index."""
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_rebuilt_where_a_file_is_missing(tmp_path: Path) -> None:
    """An index that lacks a file, whichever, is built anew."""
    for name in [file.relative_to(tmp_path) for file in files_of(ensure_index(tmp_path, "key", build()))]:
        (tmp_path / name).unlink()
        assert ids(search(index(tmp_path), "whales")) == "dbc"
        assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_rebuilt_where_a_file_is_truncated(tmp_path: Path) -> None:
    """An index with a file of another size, whichever, is built anew."""
    for file in files_of(ensure_index(tmp_path, "key", build())):
        file.write_bytes(file.read_bytes()[:-1])
        assert ids(search(index(tmp_path), "whales")) == "dbc"
        assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"files": []}', b'{"files": {"x": 1}}', b'{"files": 7}', b"\xff"]
)
def test_rebuilt_where_the_list_of_files_is_nonsense(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in the list of files, the index is built anew."""
    (ensure_index(tmp_path, "key", build()) / "index.json").write_bytes(content)
    assert ids(search(index(tmp_path), "whales")) == "dbc"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """A file where the index should be is replaced."""
    (tmp_path / "key").write_text("in the way")
    assert ids(search(index(tmp_path), "whales")) == "dbc"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_another_process_was_faster(tmp_path: Path) -> None:
    """An index that somebody finished meanwhile stays, and is used."""

    def passages(_: Path) -> Iterator[Passage]:
        yield from PASSAGES
        ensure_index(tmp_path, "key", build(PASSAGES[:1]))

    assert len(Bm25Retriever(ensure_index(tmp_path, "key", passages))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_another_process_left_a_broken_index(tmp_path: Path) -> None:
    """A broken index that appeared meanwhile is replaced."""

    def passages(_: Path) -> Iterator[Passage]:
        yield from PASSAGES
        shutil.copytree(ensure_index(tmp_path / "other", "key", build()), tmp_path / "key")
        (tmp_path / "key" / "passages.arrow").unlink()

    assert len(Bm25Retriever(ensure_index(tmp_path, "key", passages))) == len(PASSAGES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "other"]


class Interrupt(BaseException):
    """What ends a process, for instance."""


@pytest.mark.parametrize("error", [ValueError("no good passage"), Interrupt()])
@pytest.mark.parametrize("yielded", [0, 3])
def test_failing_build_leaves_nothing(tmp_path: Path, error: BaseException, yielded: int) -> None:
    """What the builder raises comes through, nothing is left behind, and the next build succeeds."""

    def passages(making: Path) -> Iterator[Passage]:
        (making / "half").write_text("written")
        yield from PASSAGES[:yielded]
        raise error

    with pytest.raises(type(error)):
        ensure_index(tmp_path, "key", passages)
    assert list(tmp_path.iterdir()) == []
    assert len(index(tmp_path)) == len(PASSAGES)


def test_passage_that_cannot_be_written(tmp_path: Path) -> None:
    """A passage whose metadata is no JSON fails the build, which leaves nothing behind."""
    with pytest.raises(TypeError):
        index(tmp_path, [*PASSAGES, Passage("z", "text", metadata={"a": object()})])
    assert list(tmp_path.iterdir()) == []


PROGRAM = """
import sys
from pathlib import Path
from core.adapters.bm25 import Bm25Retriever, ensure_index
from core.model import Passage
folder, keys = Path(sys.argv[1]), sys.argv[2:]
passages = [Passage(str(number), f"whale number{number}") for number in range(200)]
print("ready", flush=True)
for key in keys:
    sys.stdin.readline()
    index = ensure_index(folder, key, lambda _: passages)
    print(len(Bm25Retriever(index)), flush=True)
"""


@pytest.mark.process
@pytest.mark.parametrize("broken", [False, True], ids=["nothing there", "broken index there"])
def test_processes_that_build_at_once(tmp_path: Path, broken: bool) -> None:  # noqa: FBT001 - the case
    """Processes that build one index at once all get it whole, and nothing else is left in the folder."""
    keys = [f"key{number}" for number in range(6)]
    if broken:
        for key in keys:
            (tmp_path / key).mkdir()
            (tmp_path / key / "index.json").write_text("{}")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), *keys],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        answers = []
        for process in processes:
            assert process.stdout is not None
            answers.append(process.stdout.readline())
        assert answers == ["ready\n"] * 3
        for _ in keys:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout is not None
                answers.append(process.stdout.readline())
        errors = [process.communicate()[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert errors == ["", "", ""]
    assert answers[3:] == ["200\n"] * 3 * len(keys)
    assert sorted(path.name for path in tmp_path.iterdir()) == keys


def test_passages_come_back(tmp_path: Path) -> None:
    """A passage comes back with all that it had, its time in UTC."""
    retriever = index(tmp_path)
    found = {
        item.passage.passage_id: item.passage for item in search(retriever, "harbour whales zürich 東京 mammal").items
    }
    assert found == {passage.passage_id: passage for passage in PASSAGES if passage.passage_id != "e"}
    moment = found["d"].published_at
    assert moment is not None
    assert moment.utcoffset() == timedelta(0)
    assert type(moment) is datetime


def test_best_first(tmp_path: Path) -> None:
    """Scores fall, are positive, and equal ones stand in the order of the corpus."""
    ranking = search(index(tmp_path), "Whales in the sea")
    assert ids(ranking) == "bcd"
    scores = [item.score for item in ranking.items]
    assert scores[0] == scores[1] > scores[2] > 0
    assert ranking.complete


@pytest.mark.parametrize("k", [1, 2, 3, 10, 39, 40, 41])
def test_ties_at_the_end(tmp_path: Path, k: int) -> None:
    """Where more passages have one score than there is room, the first ones of the corpus are taken."""
    passages = [Passage(str(number), "whale one two") for number in range(40)]
    passages[25] = Passage("25", "whale whale whale one")
    found = [item.passage.passage_id for item in search(index(tmp_path, passages), "whale", k).items]
    assert found == ["25", *(str(number) for number in range(40) if number != 25)][:k]


@pytest.mark.parametrize("k", [0, -1])
def test_no_passages_wanted(tmp_path: Path, k: int) -> None:
    """A ranking of at most no passages is empty."""
    assert search(index(tmp_path), "whales", k).items == ()


@pytest.mark.parametrize("text", ["unknown words only", "of the and", "?!", "x", "   "])
def test_nothing_matches(tmp_path: Path, text: str) -> None:
    """Unknown words, stop words and signs match nothing, which is an empty ranking and no error."""
    assert search(index(tmp_path), text) == Ranking(())


@pytest.mark.parametrize("passages", [[], [Passage("a", "of the"), Passage("b", "?!")]])
def test_index_without_words(tmp_path: Path, passages: list[Passage]) -> None:
    """A corpus without passages, or without words in them, has an index that finds nothing."""
    retriever = index(tmp_path, passages)
    assert len(retriever) == len(passages)
    for text in ("whales", "of the", "\x00", ""):
        assert search(retriever, text) == Ranking(())
    assert json.loads((tmp_path / "key" / "index.json").read_text())["passages"] == len(passages)


def test_passages_without_words_among_others(tmp_path: Path) -> None:
    """A passage without words takes its place in the corpus and is never found."""
    passages = [Passage("a", "?!"), Passage("b", "whales"), Passage("c", "..."), Passage("d", "whale")]
    assert ids(search(index(tmp_path, passages), "whale")) == "bd"


def test_more_passages_than_one_batch(tmp_path: Path) -> None:
    """Passages are written in batches, and each keeps its place."""
    passages = [Passage(str(number), f"number{number} of many") for number in range(4_500)]
    retriever = index(tmp_path, passages)
    for number in (0, 1_999, 2_000, 4_499):
        assert [item.passage for item in search(retriever, f"number{number}", 1).items] == [passages[number]]


def test_memory_mapped(tmp_path: Path) -> None:
    """Postings and passages are mapped from the files, not read into memory."""
    retriever = index(tmp_path)
    assert isinstance(retriever._bm25.scores["data"], np.memmap)
    assert isinstance(retriever._bm25.scores["indices"], np.memmap)
    (chunk,) = retriever._table.column("text").chunks
    addresses = [
        int(line.split("-")[0], 16)
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "passages.arrow" in line
    ]
    assert any(address <= chunk.buffers()[2].address for address in addresses)


@pytest.mark.parametrize(
    "name", ["passages.arrow", "bm25/data.csc.index.npy", "bm25/params.index.json", "bm25/vocab.index.json"]
)
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_index_that_cannot_be_opened(tmp_path: Path, name: str, content: bytes | None) -> None:
    """A folder that is no whole index is a retriever's error that names the folder."""
    path = ensure_index(tmp_path, "key", build())
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    with pytest.raises(RetrieverError, match=str(path)):
        Bm25Retriever(path)


def test_no_index(tmp_path: Path) -> None:
    """A folder that does not exist is a retriever's error."""
    with pytest.raises(RetrieverError, match="gone"):
        Bm25Retriever(tmp_path / "gone")


def test_time_is_the_querys_own(tmp_path: Path) -> None:
    """Each query is charged its own search, and only that."""
    clock = TickingClock(0.25)
    deadlines = [Deadline(1.0, clock=clock) for _ in range(3)]
    index(tmp_path).retrieve([Query(str(number), "whales") for number in range(3)], 5, deadlines)
    assert [deadline.spent_s for deadline in deadlines] == [0.25] * 3


def test_version(tmp_path: Path) -> None:
    """The version names the library, for the trace."""
    assert index(tmp_path).version.startswith("bm25s-0.3.")


def test_rebuilt_where_a_file_has_other_bytes(tmp_path: Path) -> None:
    """An index with a file of the same size and other bytes, whichever, is built anew."""
    for file in files_of(ensure_index(tmp_path, "key", build())):
        file.write_bytes(b"\xff" * file.stat().st_size)
        assert ids(search(index(tmp_path), "whales")) == "dbc"
