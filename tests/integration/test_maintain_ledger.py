"""The flows that keep the ledger in order and replay it, on a Prefect server, with what they leave in its UI."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.utilities.callables import parameter_schema

from core.errors import InputError
from flows.maintain_ledger import MaintenanceError, maintain_ledger
from flows.replay import ReplayDiffersError, replay, replay_table
from ledger.catalog import load_catalog
from ledger.encode import encode_traces, keyed_hash, object_key
from ledger.forget import forget
from ledger.objects import open_store
from ledger.replay import Difference, Outcome, Replay
from tasks.settings import load_settings
from tasks.wiring import CLOCK, trace_spool
from tests.ledger_samples import RECORDED_AT, a_run, trace_ids
from tests.upkeep_samples import DAY, Writer, live_ids, live_rows, results

HASH = keyed_hash("ada", key=a_run().hash_key)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A ledger of two chunks."""
    uri = str(tmp_path / "ledger")
    writer = Writer(open_store(uri))
    writer.write(results(0, 3))
    writer.write(results(3, 2), chunk=1)
    return uri


def newest_artifact(key: str) -> list[dict[str, Any]]:
    """The table of the newest artifact with that key."""
    with get_client(sync_client=True) as client:
        (found, *_) = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])), sort=ArtifactSort.CREATED_DESC
        )
    table: list[dict[str, Any]] = json.loads(str(found.data))
    return table


@pytest.mark.parametrize("flow", [maintain_ledger, replay])
def test_the_run_form_explains_each_parameter(flow: Flow[..., Any]) -> None:
    """Every parameter has a description, and none is required: a schedule needs to say nothing."""
    properties = parameter_schema(flow.fn).properties
    assert set(properties) == set(inspect.signature(flow.fn).parameters)
    assert all(field.get("description") for field in properties.values())
    assert all(found.default is not found.empty for found in inspect.signature(flow.fn).parameters.values())


@pytest.mark.server
class TestMaintain:
    """Deliver, forget, compact, collect, verify."""

    def test_everything_is_put_in_order(self, ledger: str, prefect_server: None) -> None:
        """What waits is delivered, forgotten people stay forgotten, the day is compacted, and garbage is gone."""
        del prefect_server
        store = open_store(ledger)
        forget(store, [HASH], clock=CLOCK)
        made, run = results(10, 4, user="ada"), a_run("batch-2")
        key = object_key("batch-2", 0, trace_ids(made, run=run), DAY)
        payload = encode_traces(made, run=run, recorded_at=RECORDED_AT)
        trace_spool(load_settings()).add(payload, ledger=ledger, key=key)
        report = maintain_ledger(ledger=ledger, grace_hours=0)
        assert [step["name"] for step in report["steps"]] == ["drain", "forget", "compact", "gc", "verify"]
        assert trace_spool(load_settings()).usage().entries == 0
        assert len(live_ids(store)) == 9
        assert sum(row["query_text"] is None for row in live_rows(store)) == 4
        assert len(load_catalog(store).live) == 1
        assert len(store.objects("traces/")) == 1
        table = newest_artifact("redo-upkeep")
        assert {row["step"]: row["state"] for row in table} == dict.fromkeys(
            ("drain", "forget", "compact", "gc", "verify"), "done"
        )
        assert "4 rows of forgotten people" in str(table)

    def test_what_verify_finds_fails_the_run(self, ledger: str, prefect_server: None) -> None:
        """A tampered object makes the run Failed with its name, and the other steps are done all the same."""
        del prefect_server
        store = open_store(ledger)
        key = store.objects("traces/")[0].key
        store.delete(key)
        store.append(key, b"x")
        state = maintain_ledger(ledger=ledger, drain=False, verify="quick", return_state=True)
        assert state.is_failed()
        with pytest.raises(MaintenanceError, match=r"verify: tampered: traces/dt=2026-03-01/batch-1"):
            state.result()
        assert {"step": "verify", "state": "FAILED"}.items() <= newest_artifact("redo-upkeep")[-1].items()
        assert len(load_catalog(store).replaced_present) == 1

    def test_a_ledger_that_does_not_answer_fails_the_run(self, tmp_path: Path, prefect_server: None) -> None:
        """Each step says why it failed; nothing is silent."""
        del prefect_server
        (tmp_path / "file").write_text("x")
        state = maintain_ledger(ledger=str(tmp_path / "file"), drain=False, verify="off", return_state=True)
        with pytest.raises(MaintenanceError, match=r"forget: .*; compact: .*; gc: "):
            state.result()

    def test_what_still_waits_fails_the_run(self, ledger: str, tmp_path: Path, prefect_server: None) -> None:
        """Traces for another ledger that does not take them are a problem of the drain; the rest is done."""
        del prefect_server
        (tmp_path / "blocked").write_text("x")
        made, run = results(10, 1), a_run("batch-2")
        key = object_key("batch-2", 0, trace_ids(made, run=run), DAY)
        payload = encode_traces(made, run=run, recorded_at=RECORDED_AT)
        trace_spool(load_settings()).add(payload, ledger=str(tmp_path / "blocked"), key=key)
        state = maintain_ledger(ledger=ledger, return_state=True)
        with pytest.raises(MaintenanceError, match="drain: "):
            state.result()
        assert len(load_catalog(open_store(ledger)).live) == 1


@pytest.mark.server
def test_replay_leaves_the_differences(ledger: str, prefect_server: None) -> None:
    """The sample rows come of no pipeline: each differs, the artifact says how, and a strict run fails."""
    del prefect_server
    report = replay(ledger=ledger, batch_id="batch-1", traces=4)
    assert (report["traces"], report["different"], len(report["differing"])) == (4, 4, 4)
    table = newest_artifact("redo-replay")
    assert {row["trace"] for row in table} == set(report["differing"])
    assert {row["about"] for row in table} >= {"conflicts"}
    state = replay(ledger=ledger, fail_on_difference=True, return_state=True)
    with pytest.raises(ReplayDiffersError, match="5 of 5 traces differ, the first is "):
        state.result()
    with pytest.raises(InputError, match="no trace of batch 'nobody'"):
        replay(ledger=ledger, batch_id="nobody", return_state=True).result()


def test_the_table_of_a_replay_is_bounded() -> None:
    """A hundred differences are shown, the rest counted; what cannot be reproduced is counted by its reason."""

    def a_replay(number: int, outcome: Outcome, differences: int = 0, because: tuple[str, ...] = ()) -> Replay:
        found = tuple(Difference(about="order", subject=f"p-{place}", text="x") for place in range(differences))
        return Replay(
            trace_id=f"t-{number}",
            query_id="q",
            batch_id="b",
            arm="redo",
            outcome=outcome,
            differences=found,
            because=because,
        )

    many = [a_replay(number, Outcome.DIFFERENT, 60) for number in range(3)]
    gone = [a_replay(number, Outcome.NOT_REPRODUCIBLE, because=("kept at level min",)) for number in range(7)]
    table = replay_table([*many, *gone])
    assert len(table) == 102
    assert table[100]["difference"] == "80 more differences"
    assert (table[101]["trace"], table[101]["difference"]) == ("7 traces", "kept at level min")
    assert replay_table([a_replay(0, Outcome.SAME)]) == [{"trace": "1 traces", "difference": "none"}]
