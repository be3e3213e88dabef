"""Loading a batch: what is usable is laid out in chunks, what is not is reported, and what was begun is taken up."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.adapters.manual_clock import ManualClock
from core.errors import BatchError, ConfigError
from core.model import Query
from core.records import parse_query
from core.rollout.state import Status
from ledger.objects import upload
from tasks.loading import load_batch
from tasks.run_folder import RunFolder, read_json, write_json
from tasks.run_spec import RunRequest, RunSpec
from tasks.settings import load_settings
from tasks.wiring import state_store
from tests.batch_samples import BatchFiles, passage_rows, query_rows, read_jsonl, write_batch, write_jsonl
from tests.rollout_samples import Rollout

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    """Five queries."""
    return write_batch(tmp_path)


@pytest.fixture
def asked(files: BatchFiles) -> RunRequest:
    """The batch in chunks of two."""
    return RunRequest(batch_id="batch-1", queries=str(files.queries), passages=str(files.passages), chunk_size=2)


def load(request: RunRequest, *, at: datetime = NOON) -> RunSpec:
    """Load under the settings of the environment."""
    return load_batch(request, load_settings(), clock=ManualClock(at))


def begun(*, at_step: int, status: Status = Status.RUNNING) -> None:
    """A rollout stands in the shared state, at a step of the plan that tests go by."""
    rollout = Rollout()
    rollout.start()
    state = replace(rollout.state, step=at_step, status=status)
    known = state_store().load("flags")
    state_store().swap(
        "flags",
        expected_version=0 if known is None else known.version,
        value={"rollout_percentage": state.at.percentage, "rollout": state.to_dict()},
        actor="ann",
        reason="a rollout",
    )


def folder_of(home: Path, batch_id: str = "batch-1") -> RunFolder:
    """The batch's folder."""
    return RunFolder.of(home, batch_id)


def queries_of(folder: RunFolder, number: int) -> list[Query]:
    """The queries of one chunk."""
    return [parse_query(row) for row in read_jsonl(folder.chunk(number).queries)]


class TestFirstTime:
    """A batch that is new."""

    def test_queries_are_laid_out_in_their_order(self, asked: RunRequest, redo_home: Path) -> None:
        """Each chunk has as many as asked for, the last one the rest; nothing is lost of a query."""
        spec = load(asked)
        assert (spec.queries, spec.chunks, spec.chunk_size) == (5, 3, 2)
        chunks = [queries_of(folder_of(redo_home), number) for number in range(3)]
        assert [len(chunk) for chunk in chunks] == [2, 2, 1]
        assert [query for chunk in chunks for query in chunk] == [parse_query(row) for row in query_rows(5)]

    def test_the_spec_says_what_the_batch_is(self, asked: RunRequest, redo_home: Path) -> None:
        """It is kept, and holds digests of the input, settings, versions, flags and the time it began."""
        spec = load(asked)
        assert RunSpec.load(folder_of(redo_home).spec) == spec
        assert set(spec.inputs) == {"queries", "passages"}
        assert set(spec.versions) == {"retriever", "detector", "orderer"}
        assert spec.pipeline_config == load_settings().pipeline
        assert spec.started == NOON
        assert (spec.shadow, spec.ledger) == (False, None)

    def test_a_run_keeps_where_the_rollout_stands(self, asked: RunRequest) -> None:
        """Phase, attempt, step and percentage of the moment in which it began; nothing where no rollout is on."""
        assert load(replace(asked, batch_id="before")).rollout is None
        begun(at_step=1)
        assert load(asked).rollout == {"phase": "gradual", "attempt": 1, "step": 1, "percentage": 10}

    def test_a_step_in_shadow_makes_runs_shadow(self, asked: RunRequest) -> None:
        """Before anybody gets REDO its evidence comes from runs that nobody asks to be in shadow; then no more."""
        begun(at_step=0)
        spec = load(replace(asked, batch_id="shadow"))
        assert (spec.shadow, spec.ledger is not None) == (True, True)
        assert load(replace(asked, batch_id="shadow")) == spec
        assert not load(replace(asked, batch_id="own", flags={"orchestrator.redo_enabled": True})).shadow
        begun(at_step=1)
        assert not load(asked).shadow

    def test_a_rollout_that_is_paused_asks_for_no_shadow(self, asked: RunRequest) -> None:
        """Its runs would count for nothing."""
        begun(at_step=0, status=Status.PAUSED)
        assert not load(asked).shadow

    @pytest.mark.parametrize("bad", ["gradual", 3, ["gradual"]])
    def test_a_rollout_that_cannot_be_read_is_none(self, asked: RunRequest, bad: object) -> None:
        """No run fails for it."""
        state_store().swap("flags", expected_version=0, value={"rollout": bad}, actor="ann", reason="by hand")
        assert load(asked).rollout is None

    def test_a_level_of_off_is_a_ledger_that_is_off(self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """In shadow too."""
        monkeypatch.setenv("LEDGER_LEVEL", "off")
        assert load(replace(asked, shadow=True)).ledger is None

    def test_a_pattern_that_is_none_is_found_at_the_start(
        self, asked: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not by the first traces that are lost; where the ledger is off it does not matter."""
        (tmp_path / "patterns.toml").write_text("order = '('")
        monkeypatch.setenv("LEDGER_REDACT_FILE", str(tmp_path / "patterns.toml"))
        with pytest.raises(ConfigError, match=r"patterns.toml: order: .* no regular expression"):
            load(replace(asked, shadow=True))
        assert load(replace(asked, batch_id="off")).ledger is None

    def test_the_setting_decides_about_chunks_unless_the_run_does(
        self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`REDO_CHUNK_SIZE` holds where no chunk size was asked for."""
        monkeypatch.setenv("REDO_CHUNK_SIZE", "3")
        assert load(replace(asked, batch_id="a", chunk_size=None)).chunk_size == 3
        assert load(replace(asked, batch_id="b")).chunk_size == 2

    def test_records_that_cannot_be_used_are_counted_and_kept(self, asked: RunRequest, redo_home: Path) -> None:
        """Each stands in the quarantine with file, line and reason; the others are laid out."""
        queries, passages = Path(asked.queries), Path(str(asked.passages))
        queries.write_bytes(queries.read_bytes() + b'{"query_id": "q-0000", "text": "again"}\nno json\n')
        passages.write_bytes(b'{"passage_id": "p"}\n' + passages.read_bytes())
        spec = load(asked)
        assert (spec.queries, spec.quarantined) == (5, {"passage": 1, "query": 2})
        rows = read_jsonl(folder_of(redo_home).quarantine)
        assert [(row["file"], row["kind"], row["line"]) for row in rows] == [
            ("passages.jsonl", "passage", 1),
            ("queries.jsonl", "query", 6),
            ("queries.jsonl", "query", 7),
        ]

    def test_queries_may_bring_their_candidates(self, tmp_path: Path, redo_home: Path) -> None:
        """Without passages there is no index, and the candidates are laid out with the query."""
        rows = [row | {"candidates": passage_rows()[:2]} for row in query_rows(2)]
        queries = write_jsonl(tmp_path / "with.jsonl", rows)
        spec = load(RunRequest(batch_id="batch-1", queries=str(queries)))
        assert spec.index is None
        assert queries_of(folder_of(redo_home), 0) == [parse_query(row) for row in rows]

    def test_a_query_that_nothing_can_be_found_for_is_quarantined(self, tmp_path: Path) -> None:
        """Where there are no passages either, a query without candidates cannot be used."""
        rows = [query_rows(2)[0] | {"candidates": passage_rows()[:2]}, query_rows(2)[1]]
        queries = write_jsonl(tmp_path / "some.jsonl", rows)
        spec = load(RunRequest(batch_id="batch-1", queries=str(queries)))
        assert (spec.queries, spec.quarantined) == (1, {"passage": 0, "query": 1})

    def test_nothing_usable_leaves_nothing_to_take_up(self, asked: RunRequest, redo_home: Path) -> None:
        """One error names the quarantine, and the same id can be used once the file is mended."""
        queries = Path(asked.queries)
        good = queries.read_bytes()
        queries.write_bytes(b"no json\n")
        with pytest.raises(BatchError, match=r"no usable query in queries\.jsonl: 1 of 1 records .* see ") as caught:
            load(asked)
        assert len(read_jsonl(Path(str(caught.value).rpartition(" see ")[2]))) == 1
        assert not folder_of(redo_home).spec.exists()
        queries.write_bytes(good)
        assert load(asked).queries == 5

    def test_no_usable_passage_is_one_error_with_its_reasons(self, asked: RunRequest, redo_home: Path) -> None:
        """The quarantine that the message names is there to be read."""
        Path(str(asked.passages)).write_bytes(b'{"passage_id": "p"}\n')
        with pytest.raises(BatchError, match=r"no usable passage in passages\.jsonl: 1 of 1 records") as caught:
            load(asked)
        rows = read_jsonl(Path(str(caught.value).rpartition(" see ")[2]))
        assert [row["reason"] for row in rows] == ["text: missing, expected a non-blank string"]
        assert [found.name for found in (redo_home / "indexes").iterdir()] == []


class TestFlags:
    """What holds for the run is pinned when it begins."""

    def test_the_run_is_stronger_than_the_environment(self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """And the environment stronger than the defaults."""
        monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "true")
        monkeypatch.setenv("LEDGER_ENABLED", "true")
        spec = load(replace(asked, flags={"ledger.enabled": False, "rollout_percentage": 10}))
        assert spec.flags == {"orchestrator.redo_enabled": True, "ledger.enabled": False, "rollout_percentage": 10}
        assert spec.ledger is None

    def test_shadow_turns_the_ledger_on(self, asked: RunRequest, redo_home: Path) -> None:
        """Both selections are recorded, whatever the flag says."""
        assert load(replace(asked, shadow=True)).ledger == str(redo_home / "ledger")

    def test_the_ledger_of_the_run_is_stronger_than_the_setting(
        self, asked: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And is kept so that another process, started in another folder, finds it."""
        monkeypatch.setenv("LEDGER_URI", "s3://bucket/ledger")
        on = {"ledger.enabled": True}
        assert load(replace(asked, batch_id="a", flags=on)).ledger == "s3://bucket/ledger"
        monkeypatch.chdir(tmp_path)
        assert load(replace(asked, batch_id="b", flags=on, ledger="led")).ledger == str(tmp_path / "led")


class TestTakenUp:
    """A batch that was begun before."""

    def test_the_same_request_changes_nothing(self, asked: RunRequest, redo_home: Path) -> None:
        """The batch is what it was, down to the time it began, and its files are left alone."""
        first = load(asked)
        files = {path: path.stat().st_mtime_ns for path in folder_of(redo_home).path.rglob("*") if path.is_file()}
        assert load(asked, at=NOON.replace(day=2)) == first
        assert files == {path: path.stat().st_mtime_ns for path in files}

    def test_flags_and_ledger_stay_as_they_were_pinned(
        self, asked: RunRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A change of the environment in the middle does not cut a batch in two."""
        first = load(replace(asked, shadow=True))
        monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "true")
        monkeypatch.setenv("LEDGER_URI", "s3://elsewhere/ledger")
        assert load(replace(asked, shadow=True, chunk_size=None)) == first

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"shadow": True}, "--shadow"),
            ({"chunk_size": 3}, "--chunk-size"),
            ({"flags": {"rollout_percentage": 5}}, "--flag"),
            ({"ledger": "elsewhere"}, "--ledger"),
            ({"passages": None}, "passages"),
        ],
    )
    def test_another_request_is_refused(self, change: Mapping[str, Any], named: str, asked: RunRequest) -> None:
        """The error says what differs, and what to do."""
        on = replace(asked, flags={"ledger.enabled": True, "rollout_percentage": 50})
        load(on)
        with pytest.raises(BatchError, match=f"batch id 'batch-1' was begun with other {named}; choose another id"):
            load(replace(on, **change))

    def test_other_input_or_settings_are_refused(
        self, asked: RunRequest, files: BatchFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is in the files counts, not what they are called; all that differs is named at once."""
        load(asked)
        same = shutil.copy(files.queries, files.queries.with_name("copy.jsonl"))
        load(replace(asked, queries=str(same)))
        write_jsonl(files.queries, query_rows(4))
        write_jsonl(files.passages, passage_rows()[:-1])
        monkeypatch.setenv("REDO_TOP_K", "3")
        with pytest.raises(BatchError, match="begun with other queries, passages, settings;"):
            load(asked)

    def test_another_version_is_refused(self, asked: RunRequest, redo_home: Path) -> None:
        """Half a batch by one detector and half by another would be told as one."""
        load(asked)
        path = folder_of(redo_home).spec
        record = read_json(path)
        write_json(path, record | {"versions": record["versions"] | {"detector": "lexical-0"}})
        with pytest.raises(BatchError, match="begun with other version of REDO;"):
            load(asked)
        write_json(path, record | {"code_version": "0.0.1"})
        with pytest.raises(BatchError, match="begun with other version of REDO;"):
            load(asked)

    def test_the_same_request_with_a_ledger_that_is_off(self, asked: RunRequest, tmp_path: Path) -> None:
        """A place for a ledger that no flag turns on does not make the same command another one."""
        request = replace(asked, ledger=str(tmp_path / "led"))
        assert load(request).ledger is None
        assert load(request).ledger is None

    def test_a_ledger_may_be_written_in_another_way(
        self, asked: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A relative path and the absolute one name one folder."""
        monkeypatch.chdir(tmp_path)
        first = load(replace(asked, shadow=True, ledger="led"))
        assert load(replace(asked, shadow=True, ledger=str(tmp_path / "led"))) == first

    def test_a_run_that_was_killed_while_loading_is_loaded_anew(self, asked: RunRequest, redo_home: Path) -> None:
        """Chunks that were laid out without the spec, or half, are replaced, and nothing of them stays."""
        load(replace(asked, chunk_size=1))
        folder = folder_of(redo_home)
        folder.spec.unlink()
        shutil.copytree(folder.path / "chunks", folder.path / ".chunks-killed" / "chunks")
        assert load(asked).chunks == 3
        assert sorted(path.name for path in (folder.path / "chunks").iterdir()) == ["00000", "00001", "00002"]
        assert [path.name for path in folder.path.iterdir() if path.name.startswith(".chunks")] == []

    def test_an_index_that_is_gone_is_built_again(self, asked: RunRequest, redo_home: Path) -> None:
        """Indexes are a cache: who empties it loses time, not a batch."""
        spec = load(asked)
        shutil.rmtree(redo_home / "indexes")
        assert load(asked) == spec
        assert Path(str(spec.index)).is_dir()

    def test_a_home_that_was_moved_is_taken_up(
        self, asked: RunRequest, redo_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The index is found where it is now."""
        spec = load(asked)
        moved = redo_home.rename(tmp_path / "moved")
        monkeypatch.setenv("REDO_HOME", str(moved))
        again = load(asked)
        assert again.index == str(moved / "indexes" / Path(str(spec.index)).name)
        assert RunSpec.load(folder_of(moved).spec) == again


class TestSharedIndex:
    """Batches over the same passages share their index."""

    def test_bad_passages_are_reported_to_every_batch(self, asked: RunRequest, redo_home: Path) -> None:
        """The second batch did not read them, and still its report names them, under the name that it gave."""
        passages = Path(str(asked.passages))
        passages.write_bytes(b'{"passage_id": "p"}\n' + passages.read_bytes())
        load(asked)
        renamed = passages.rename(passages.with_name("renamed.jsonl"))
        spec = load(replace(asked, batch_id="batch-2", passages=str(renamed)))
        assert spec.quarantined == {"passage": 1, "query": 0}
        first, second = (read_jsonl(folder_of(redo_home, name).quarantine)[0] for name in ("batch-1", "batch-2"))
        assert second == first | {"file": "renamed.jsonl"}

    def test_the_index_is_built_once(self, asked: RunRequest, redo_home: Path) -> None:
        """It is named by the content of the file."""
        first = load(asked)
        second = load(replace(asked, batch_id="batch-2"))
        assert first.index == second.index
        assert [path.name for path in (redo_home / "indexes").iterdir()] == [Path(str(first.index)).name]


def test_inputs_in_s3_may_have_one_name(asked: RunRequest, files: BatchFiles, s3_bucket: str) -> None:
    """Queries and passages that are called the same, under different prefixes, do not get mixed up."""
    places: dict[str, Any] = {}
    for what, path in (("queries", files.queries), ("passages", files.passages)):
        places[what] = f"s3://{s3_bucket}/{what}/part-0.jsonl"
        upload(path, places[what])
    spec = load(replace(asked, **places))
    assert (spec.queries, spec.quarantined) == (5, {"passage": 0, "query": 0})
    assert spec.inputs == load(replace(asked, batch_id="batch-2")).inputs
