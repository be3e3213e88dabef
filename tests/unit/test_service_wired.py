"""The service as the environment describes it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.adapters.bm25 import index_key
from core.errors import BatchError, InputError
from deployments.service.app import create_app
from deployments.service.services import Services
from deployments.service.wired import passage_index, wired
from ledger.query import run_query
from tasks.settings import load_settings
from tests.batch_samples import passage_rows, write_jsonl
from tests.service_samples import HERE, ON, TestClient

QUESTION = {"prompt": "How long is the bridge of Arden?", "debug": True}


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    """A file of passages."""
    return write_jsonl(tmp_path / "passages.jsonl", passage_rows())


def ask(services: Services, **fields: Any) -> dict[str, Any]:
    """The answer to a question."""
    client = TestClient(create_app(services), base_url="http://127.0.0.1", client=HERE)
    answer: dict[str, Any] = client.post("/chat", json=QUESTION | fields).json()
    return answer


def do(services: Services, name: str) -> None:
    """Do a job once, as the background does."""
    next(job for job in services.jobs if job.name == name).work()


def test_without_passages_it_has_all_but_chat(redo_home: Path) -> None:
    """Flags and health need none."""
    services = wired(None)
    assert services.answers is None
    assert services.state == {"kind": "sqlite_file", "place": str(redo_home / "state.sqlite")}
    assert [job.name for job in services.jobs] == ["refresh", "health", "metrics", "ledger"]
    assert [job.every_s for job in services.jobs] == [0.5, 30.0, 15.0, 5.0]


def test_it_answers_from_the_passages(passages: Path) -> None:
    """With the real parts, which it names."""
    services = wired(passages)
    services.manager.flags.set(ON)
    answer = ask(services)
    assert (answer["decision"], answer["citations"][0]["passage_id"]) == ("redo", "Arden-council")
    assert sorted(services.parts) == ["detector", "orderer", "retriever"]
    assert services.passages == str(passages)


def test_it_shares_its_state(passages: Path) -> None:
    """What the guide's one-liners set in another process."""
    wired(None).manager.flags.set(ON)
    assert ask(wired(passages))["decision"] == "redo"


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything else is shown."""
    monkeypatch.setenv("LEDGER_HASH_KEY", "a secret of the tests")
    monkeypatch.setenv("REDO_TOP_K", "7")
    settings = wired(None).settings
    assert settings["LEDGER_HASH_KEY"]["value"] == "********"
    assert settings["REDO_TOP_K"]["value"] == 7


def test_the_index_is_the_one_of_a_batch(redo_home: Path, passages: Path) -> None:
    """With the records that could not be used beside it, for the report of the next run."""
    with passages.open("ab") as stream:
        stream.write(b"not a record\n")
    index = passage_index(passages, load_settings())
    assert index == redo_home / "indexes" / index_key(passages)
    assert len((index / "quarantine.jsonl").read_text().splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything starts."""
    with pytest.raises(InputError, match=r"--passages .*nothing\.jsonl: there is no such file"):
        wired(tmp_path / "nothing.jsonl")


def test_a_file_without_passages_is_refused(tmp_path: Path) -> None:
    """As by a batch."""
    with pytest.raises(BatchError):
        wired(write_jsonl(tmp_path / "empty.jsonl", [{"passage_id": ""}]))


def test_an_index_that_goes_and_comes_back(redo_home: Path, passages: Path) -> None:
    """The health check takes REDO out, legacy answers from what is still open, and the check lets it back in."""
    services = wired(passages)
    services.manager.flags.set(ON)
    do(services, "health")
    assert ask(services)["decision"] == "redo"
    indexes, away = redo_home / "indexes", redo_home / "away"
    shutil.move(indexes, away)
    do(services, "health")
    without = ask(services)
    assert (without["decision"], without["reason"]) == ("fallback", "DATABASE_UNAVAILABLE")
    assert without["answer"]
    shutil.move(away, indexes)
    do(services, "health")
    assert ask(services)["decision"] == "redo"


def test_an_index_that_is_built_anew_is_opened_anew(redo_home: Path, passages: Path) -> None:
    """The one that it has open may be broken; one that cannot be opened changes nothing."""
    services = wired(passages)
    (index,) = (redo_home / "indexes").iterdir()
    kept = (index / "passages.arrow").read_bytes()
    (index / "index.json").replace(index / "index.json.old")
    (index / "passages.arrow").replace(index / "passages.arrow.old")
    do(services, "index")
    assert ask(services)["citations"]
    (index / "passages.arrow").write_bytes(b"")
    (index / "index.json").write_bytes((index / "index.json.old").read_bytes())
    do(services, "index")
    assert ask(services)["citations"]
    (index / "passages.arrow").write_bytes(kept.replace(b"metres", b"fathom"))
    (index / "index.json").unlink()
    (index / "index.json").write_bytes((index / "index.json.old").read_bytes())
    do(services, "index")
    assert "fathom" in ask(services)["answer"]


class TestTraces:
    """What `/chat` leaves in the ledger."""

    def test_an_answer_reaches_the_ledger(self, passages: Path, redo_home: Path) -> None:
        """Over the spool, where the ledger is on; the page of metrics shows what waits."""
        services = wired(passages)
        services.manager.flags.set({**ON, "ledger.enabled": True})
        for _ in range(3):
            assert ask(services, session_id="s-1")["decision"] == "redo"
            do(services, "traces")
        assert services.spool_usage is not None
        assert services.spool_usage().entries == 3
        with TestClient(create_app(replace(services, jobs=())), base_url="http://127.0.0.1", client=HERE) as client:
            page = client.get("/debug/metrics").text
        assert "redo_ledger_spool_depth 3.0" in page
        assert services.spool_usage().entries == 0  # what the service does at its end
        ledger = str(redo_home / "ledger")
        (row,) = run_query(ledger, "select count(*), count(distinct trace_id), any_value(batch_id) from traces").rows
        assert row[:2] == (3, 3)
        assert re.fullmatch(r"service-[0-9a-f]{8}-\d{8}", str(row[2]))
        assert len(list((redo_home / "ledger").rglob("*.parquet"))) == 1

    def test_without_the_flag_there_is_none(self, passages: Path) -> None:
        """Nor where the level is off."""
        services = wired(passages)
        services.manager.flags.set(ON)
        ask(services)
        do(services, "traces")
        assert services.spool_usage is not None
        assert services.spool_usage().entries == 0

    def test_a_level_of_off_has_no_job(self, passages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the flags say later."""
        monkeypatch.setenv("LEDGER_LEVEL", "off")
        assert "traces" not in [job.name for job in wired(passages).jobs]

    def test_a_home_that_takes_no_file_costs_no_answer(self, passages: Path, redo_home: Path) -> None:
        """The service begins without traces."""
        redo_home.mkdir()
        (redo_home / "spool").write_text("a file where the spool should be")
        services = wired(passages)
        services.manager.flags.set({**ON, "ledger.enabled": True})
        assert ask(services)["decision"] == "redo"
        assert "traces" not in [job.name for job in services.jobs]
