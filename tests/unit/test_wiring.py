"""The composition root: the pipeline that chunks share, and the key that is made once."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError, RetrieverError
from core.pipeline import PipelineConfig
from tasks.settings import load_settings
from tasks.wiring import _ledger_store, _pipeline, build_pipeline, hash_key, ledger_store

_ASK = "from tasks.settings import load_settings; from tasks.wiring import hash_key; print(hash_key(load_settings()))"


class TestHashKey:
    """The secret that session and user ids are hashed with."""

    def test_it_is_made_once(self, redo_home: Path) -> None:
        """In a home that did not exist; later calls read the same one."""
        key = hash_key(load_settings())
        assert len(key) == 64
        assert hash_key(load_settings()) == key == (redo_home / "hash-key").read_bytes()
        assert [path.name for path in redo_home.iterdir()] == ["hash-key"]

    def test_only_its_owner_reads_it(self, redo_home: Path) -> None:
        """Mode 0600, whatever the process's mask is."""
        hash_key(load_settings())
        assert stat.S_IMODE((redo_home / "hash-key").stat().st_mode) == 0o600

    def test_each_home_has_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Hashes of two installations do not match."""
        key = hash_key(load_settings())
        monkeypatch.setenv("REDO_HOME", str(tmp_path / "other"))
        assert hash_key(load_settings()) != key

    def test_the_configured_one_is_stronger(self, redo_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And leaves no file."""
        monkeypatch.setenv("LEDGER_HASH_KEY", "a secret of the tests")
        assert hash_key(load_settings()) == b"a secret of the tests"
        assert not redo_home.exists()

    def test_a_key_that_was_cut_short_is_refused(self, redo_home: Path) -> None:
        """An empty key would hash everybody's ids in a way that anybody can repeat."""
        redo_home.mkdir()
        (redo_home / "hash-key").write_bytes(b"")
        with pytest.raises(ConfigError, match=r"hash-key: expected 64 bytes, got 0"):
            hash_key(load_settings())

    @pytest.mark.process
    def test_processes_that_come_at_once_agree(self, redo_home: Path) -> None:
        """Whoever makes it first, both have the same one."""
        asking = [
            subprocess.Popen([sys.executable, "-c", _ASK], stdout=subprocess.PIPE, cwd=redo_home.parent)
            for _ in range(2)
        ]
        answers = {process.communicate(timeout=60)[0] for process in asking}
        assert [process.returncode for process in asking] == [0, 0]
        assert answers == {f"{hash_key(load_settings())!r}\n".encode()}


def test_chunks_share_the_pipeline() -> None:
    """The same index and configuration are the same object; another configuration is another."""
    first = build_pipeline(None, PipelineConfig())
    assert build_pipeline(None, PipelineConfig()) is first
    assert build_pipeline(None, PipelineConfig(top_k=3)) is not first


def test_no_pipeline_is_left_from_another_test() -> None:
    """What an earlier test has built is not what this one gets."""
    assert _pipeline.cache_info().currsize == _ledger_store.cache_info().currsize == 0


def test_a_folder_that_is_no_index_is_an_error(tmp_path: Path) -> None:
    """The message names the folder."""
    with pytest.raises(RetrieverError, match=f"cannot open the passage index {tmp_path}"):
        build_pipeline(tmp_path, PipelineConfig())


def test_a_ledger_of_an_unknown_kind_is_an_error() -> None:
    """As everywhere."""
    with pytest.raises(ConfigError, match="gs:// is nothing"):
        ledger_store("gs://bucket")
