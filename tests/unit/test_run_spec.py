"""What a run is asked to do is checked before anything is read; what it is, is kept and read back."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import BatchError, ConfigError, FlagError, InputError
from core.flags import Flags
from core.pipeline import PipelineConfig
from core.placement import PlacementPolicy
from tasks.run_folder import read_json, write_json
from tasks.run_spec import RunRequest, RunSpec
from tests.batch_samples import write_batch


@pytest.fixture
def asked(tmp_path: Path) -> RunRequest:
    """A request that can be run."""
    files = write_batch(tmp_path, queries=2)
    return RunRequest(
        batch_id="batch-1",
        queries=str(files.queries),
        passages=str(files.passages),
        labels=str(files.labels),
        output=str(tmp_path / "out" / "answers.parquet"),
        ledger="s3://bucket/ledger",
        chunk_size=500,
        flags={"orchestrator.redo_enabled": True, "rollout_percentage": 12.5},
    )


def test_a_good_request_passes(asked: RunRequest) -> None:
    """Nothing is wrong with it, and nothing is made."""
    asked.check()
    assert asked.output is not None
    assert not Path(asked.output).parent.exists()


def test_what_lies_in_s3_is_not_looked_up(asked: RunRequest) -> None:
    """Before the run only the form of an s3:// URI is known."""
    replace(asked, queries="s3://bucket/q.csv", passages="s3://bucket/p.parquet", output="s3://bucket/o.jsonl").check()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"batch_id": "a/b"}, BatchError, "batch id 'a/b': expected 1 to 100 letters"),
        ({"queries": "{tmp}/none.jsonl"}, BatchError, "queries file not found: {tmp}/none.jsonl"),
        ({"queries": "{tmp}"}, BatchError, "queries: {tmp} is a folder, expected a file"),
        (
            {"queries": "{tmp}/notes.txt"},
            BatchError,
            "queries: {tmp}/notes.txt has an unknown ending, expected one of .jsonl, .ndjson, .csv, .parquet",
        ),
        (
            {"passages": "{tmp}/passages.csv"},
            BatchError,
            "passages: {tmp}/passages.csv has an unknown ending, expected one of .jsonl, .ndjson, .parquet",
        ),
        ({"passages": "{tmp}/none.jsonl"}, BatchError, "passages file not found: {tmp}/none.jsonl"),
        ({"labels": "{tmp}/none.jsonl"}, BatchError, "labels file not found: {tmp}/none.jsonl"),
        ({"labels": "http://example.org/l.jsonl"}, ConfigError, "http:// is nothing that REDO reads or writes"),
        ({"queries": ""}, ConfigError, "an empty location"),
        ({"queries": "s3://b/q.jsonl"}, ConfigError, "an s3 location without a valid bucket"),
        (
            {"output": "{tmp}/answers.csv"},
            BatchError,
            "output: {tmp}/answers.csv has an unknown ending, expected one of .jsonl, .ndjson, .parquet",
        ),
        ({"output": "{tmp}/folder.jsonl"}, BatchError, "output: {tmp}/folder.jsonl is a folder, expected a file"),
        (
            {"output": "{tmp}/notes.txt/answers.jsonl"},
            BatchError,
            "output: {tmp}/notes.txt is a file, expected a folder",
        ),
        ({"output": "{tmp}/queries.jsonl"}, BatchError, "output: {tmp}/queries.jsonl is the queries file"),
        ({"output": "{tmp}/folder.jsonl/../labels.jsonl"}, BatchError, "labels.jsonl is the labels file"),
        ({"ledger": "gs://bucket"}, ConfigError, "gs:// is nothing that REDO reads or writes"),
        ({"chunk_size": 0}, BatchError, "chunk size 0: expected 1 to 500 queries"),
        ({"chunk_size": 501}, BatchError, "chunk size 501: expected 1 to 500 queries"),
        ({"flags": {"redo": True}}, FlagError, "flag 'redo': unknown; there are orchestrator.redo_enabled"),
        ({"flags": {"rollout_percentage": 101}}, FlagError, "'rollout_percentage': 101 is not a number from 0 to 100"),
        ({"flags": {"ledger.enabled": 1}}, FlagError, "'ledger.enabled': 1 is not true or false"),
    ],
)
def test_each_bad_input_is_one_clear_error(
    change: dict[str, Any], kind: type[InputError], message: str, asked: RunRequest, tmp_path: Path
) -> None:
    """The message names what is wrong, where, and what was expected, on one line."""
    (tmp_path / "notes.txt").write_text("no records")
    (tmp_path / "passages.csv").write_text("passage_id,text\n")
    (tmp_path / "folder.jsonl").mkdir()
    filled: dict[str, Any] = {
        name: value.format(tmp=tmp_path) if isinstance(value, str) else value for name, value in change.items()
    }
    with pytest.raises(kind, match=re.escape(message.format(tmp=tmp_path))) as caught:
        replace(asked, **filled).check()
    assert "\n" not in str(caught.value)


def test_an_output_in_s3_does_not_replace_an_input_either(asked: RunRequest) -> None:
    """Two ways to write one object are one object."""
    with pytest.raises(BatchError, match=r"output: s3://bucket//q\.jsonl is the queries file"):
        replace(asked, queries="s3://bucket/q.jsonl", output="s3://bucket//q.jsonl").check()


def a_spec(**change: Any) -> RunSpec:
    """A spec as loading makes it."""
    known: dict[str, Any] = {
        "batch_id": "batch-1",
        "inputs": {"queries": "1" * 64, "passages": "2" * 64},
        "index": "/indexes/1",
        "config": asdict(PipelineConfig(top_k=5, placement=PlacementPolicy.CHRONOLOGICAL)),
        "versions": {"retriever": "bm25s-1"},
        "flags": Flags(redo_enabled=True, rollout_percentage=12.5).as_dict(),
        "shadow": False,
        "rollout": {"phase": "gradual", "attempt": 1, "step": 2, "percentage": 12.5},
        "ledger": None,
        "chunk_size": 100,
        "chunks": 2,
        "queries": 150,
        "quarantined": {"query": 1, "passage": 0},
        "started_at": "2026-03-01T08:00:00+00:00",
        "code_version": "0.1.0",
    }
    return RunSpec(**(known | change))


def test_a_spec_is_read_back(tmp_path: Path) -> None:
    """All of it, with its values as the pipeline and the guard take them."""
    a_spec().save(tmp_path / "run.json")
    spec = RunSpec.load(tmp_path / "run.json")
    assert spec == a_spec()
    assert spec.pipeline_config == PipelineConfig(top_k=5, placement=PlacementPolicy.CHRONOLOGICAL)
    assert spec.run_flags == Flags(redo_enabled=True, rollout_percentage=12.5)
    assert spec.started.isoformat() == "2026-03-01T08:00:00+00:00"


def test_a_spec_of_another_version_is_refused(tmp_path: Path) -> None:
    """Fields that are missing, or that nobody knows, name the file and the way out."""
    path = tmp_path / "run.json"
    a_spec().save(path)
    record = read_json(path)
    write_json(path, record | {"mode": "new"})
    with pytest.raises(BatchError, match=rf"{re.escape(str(path))} was written by another version of REDO; choose"):
        RunSpec.load(path)
    del record["index"]
    write_json(path, record)
    with pytest.raises(BatchError, match="another version of REDO"):
        RunSpec.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"queries": "3" * 64}},
        {"config": asdict(PipelineConfig(top_k=6))},
        {"versions": {"retriever": "bm25s-2"}},
        {"flags": Flags().as_dict()},
        {"shadow": True},
    ],
)
def test_the_digest_covers_what_shapes_the_results(change: dict[str, Any]) -> None:
    """Another input, configuration, version, flag or mode is another digest."""
    assert a_spec(**change).config_digest != a_spec().config_digest


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_size": 7},
        {"started_at": "2027-01-01T00:00:00+00:00"},
        {"ledger": "/elsewhere"},
        {"index": "/moved"},
        {"rollout": None},
    ],
)
def test_the_digest_leaves_out_what_does_not(change: dict[str, Any]) -> None:
    """When and where a batch runs, and in what chunks, is not part of what its traces are."""
    assert a_spec(**change).config_digest == a_spec().config_digest
