"""`POST /chat`: an answer in the words of the evidence, whoever chose it, and what `debug` adds."""

from __future__ import annotations

from typing import Any

import pytest

from core.adapters.doubles import FailingDetector, FailingRetriever, FixedDetector, FixedRetriever
from core.errors import RetrieverError
from core.model import Decision
from tests.service_samples import (
    ON,
    PASSAGES,
    QUERY_ID,
    QUESTION,
    Stand,
    TestClient,
    a_pipeline,
    deep,
    ranking,
)

DEBUG = {"prompt": QUESTION, "debug": True}
PLAIN_KEYS = {"answer", "citations", "disputes", "query_id"}
GUIDES_KEYS = {"orchestration_enabled", "orchestration_time_ms", "decision", "reason", "stages", "bucket", "trace"}


@pytest.fixture
def stand() -> Stand:
    """A service with REDO switched on."""
    made = Stand()
    made.manager.flags.set(ON)
    return made


@pytest.fixture
def client(stand: Stand) -> TestClient:
    """Somebody who asks it."""
    return stand.client(stand.answers())


def broken(error: BaseException) -> FailingDetector:
    """A detector that fails on every query."""
    return FailingDetector(error, poison=None, otherwise=FixedDetector())


class TestAnswer:
    """What everybody gets."""

    def test_it_is_in_the_words_of_the_evidence(self, client: TestClient) -> None:
        """With both sides where sources disagree, and where each sentence stands."""
        answer = client.post("/chat", json={"prompt": QUESTION}).json()
        assert set(answer) == PLAIN_KEYS
        assert answer["answer"] == (
            "Sources disagree: The bridge of Arden is 400 metres long. [1] "
            "But: The bridge of Arden is 500 metres long. [2]"
        )
        assert [(item["passage_id"], item["source"]) for item in answer["citations"]] == [
            ("council", "council"),
            ("guide", "guide"),
        ]
        (dispute,) = answer["disputes"]
        assert (dispute["kind"], dispute["left"]["value"], dispute["right"]["value"]) == ("numeric", "400", "500")

    def test_legacy_answers_where_the_flag_is_off(self, stand: Stand, client: TestClient) -> None:
        """It sees no disputes."""
        stand.manager.flags.set({"orchestrator.redo_enabled": False})
        answer = client.post("/chat", json={"prompt": QUESTION}).json()
        assert (answer["answer"], answer["disputes"]) == ("The bridge of Arden is 400 metres long. [1]", [])

    def test_the_body_is_json_whatever_the_header_says(self, client: TestClient) -> None:
        """As for the flags."""
        content_type = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = client.post("/chat", content=b'{"prompt": "How long is the bridge of Arden?"}', headers=content_type)
        assert answer.status_code == 200

    def test_nothing_that_matches_is_no_answer(self, stand: Stand) -> None:
        """Nothing is invented."""
        client = stand.client(stand.answers(a_pipeline(retriever=FixedRetriever({}))))
        answer = client.post("/chat", json={"prompt": QUESTION}).json()
        assert answer == {"answer": None, "citations": [], "disputes": [], "query_id": QUERY_ID}

    def test_everybody_may_ask(self, stand: Stand) -> None:
        """From elsewhere, whether there is a token or not."""
        for token in (None, "a token"):
            client = stand.client(stand.answers(), peer=("10.0.0.7", 1), admin_token=token)
            assert client.post("/chat", json={"prompt": QUESTION}).status_code == 200


class TestDebug:
    """How it came about."""

    def test_the_guides_fields(self, client: TestClient) -> None:
        """Those that the rollout guide names, and the rest."""
        answer = client.post("/chat", json=DEBUG | {"session_id": "s-1"}).json()
        assert set(answer) == PLAIN_KEYS | GUIDES_KEYS
        assert (answer["orchestration_enabled"], answer["decision"], answer["reason"]) == (True, "redo", "ENABLED")
        assert isinstance(answer["orchestration_time_ms"], float)
        assert [(stage["name"], stage["arm"]) for stage in answer["stages"]] == [
            ("retrieve", "redo"),
            ("detect", "redo"),
            ("order", "redo"),
            ("select", "redo"),
        ]
        assert answer["trace"]["retrieved"] == [passage.passage_id for passage in PASSAGES]
        assert [item["passage_id"] for item in answer["trace"]["evidence"]][:2] == ["council", "guide"]

    def test_false_is_as_not_said(self, client: TestClient) -> None:
        """Nothing more is shown."""
        assert set(client.post("/chat", json={"prompt": QUESTION, "debug": False}).json()) == PLAIN_KEYS

    def test_a_session_stays_in_its_bucket(self, stand: Stand, client: TestClient) -> None:
        """Its user counts where there is no session; below the bucket it is legacy's."""
        first, again = (client.post("/chat", json=DEBUG | {"session_id": "s-1"}).json() for _ in range(2))
        as_user = client.post("/chat", json=DEBUG | {"user_id": "s-1", "session_id": ""}).json()
        assert first["bucket"] == again["bucket"] == as_user["bucket"] > 1
        stand.manager.flags.set({"rollout_percentage": first["bucket"] - 1})
        out = client.post("/chat", json=DEBUG | {"session_id": "s-1"}).json()
        assert (out["decision"], out["reason"], out["orchestration_enabled"]) == ("legacy", "NOT_IN_ROLLOUT", False)
        assert out["orchestration_time_ms"] == 0


class TestFailures:
    """REDO's failure never costs an answer."""

    def test_an_orchestrator_that_crashes(self, stand: Stand) -> None:
        """Legacy answers with the reason; after three failures REDO is not asked."""
        client = stand.client(stand.answers(a_pipeline(detector=broken(ZeroDivisionError("/home/ann/secret")))))
        answers = [client.post("/chat", json=DEBUG) for _ in range(5)]
        assert [answer.json()["reason"] for answer in answers] == ["ORCHESTRATOR_ERROR"] * 3 + ["BREAKER_OPEN"] * 2
        assert {answer.json()["decision"] for answer in answers} == {"fallback"}
        assert {answer.json()["answer"] for answer in answers} == {"The bridge of Arden is 400 metres long. [1]"}
        assert [answer.json()["orchestration_enabled"] for answer in answers] == [True] * 3 + [False] * 2

    def test_the_message_of_an_error_stays_here(self, stand: Stand) -> None:
        """Everybody may ask, and it may name files; its type is shown, the rest is in /debug/fallback-health."""
        client = stand.client(stand.answers(a_pipeline(detector=broken(ZeroDivisionError("/home/ann/secret")))))
        answer = client.post("/chat", json=DEBUG)
        assert answer.json()["trace"]["error"] == "ZeroDivisionError"
        assert "secret" not in answer.text
        assert "secret" in client.get("/debug/fallback-health").text

    def test_it_recovers(self, stand: Stand) -> None:
        """When the breaker lets a probe through that succeeds."""
        client = stand.client(stand.answers(a_pipeline(detector=broken(ZeroDivisionError()))))
        for _ in range(3):
            client.post("/chat", json=DEBUG)
        repaired = stand.client(stand.answers())
        assert repaired.post("/chat", json=DEBUG).json()["reason"] == "BREAKER_OPEN"
        stand.place.clock.advance(61)
        assert [repaired.post("/chat", json=DEBUG).json()["decision"] for _ in range(2)] == ["redo", "redo"]

    def test_an_index_that_fails(self, stand: Stand) -> None:
        """Nobody can answer, and it says why; it is no failure of REDO."""
        failing = FailingRetriever(RetrieverError("no index"), poison=None, otherwise=FixedRetriever({}))
        client = stand.client(stand.answers(a_pipeline(retriever=failing)))
        answers = [client.post("/chat", json=DEBUG).json() for _ in range(4)]
        assert {(answer["answer"], answer["reason"]) for answer in answers} == {(None, "RETRIEVER_ERROR")}
        assert stand.manager.is_redo_active()

    def test_a_simulated_failure_of_the_database(self, stand: Stand, client: TestClient) -> None:
        """As a drill does it, from another process."""
        stand.place.guard(owner="another").simulate_db_failure()
        stand.place.clock.advance(2)
        assert client.post("/chat", json=DEBUG).json()["reason"] == "SIMULATED"

    def test_a_store_that_does_not_answer(self, stand: Stand, client: TestClient) -> None:
        """What was last known goes on to count."""
        client.post("/chat", json=DEBUG)
        stand.place.store.is_down = True
        stand.place.clock.advance(100)
        assert client.post("/chat", json=DEBUG).json()["decision"] == Decision.REDO


class TestRefusing:
    """Questions that cannot be used."""

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({}, "prompt"),
            ({"prompt": None}, "prompt"),
            ({"prompt": " "}, "prompt"),
            ({"prompt": 7}, "prompt"),
            ({"prompt": "x" * 4001}, "prompt"),
            ({"prompt": "x", "session_id": 7}, "session_id"),
            ({"prompt": "x", "user_id": "u" * 257}, "user_id"),
            ({"prompt": "x", "debug": 1}, "debug"),
            ({"prompt": "x", "debug": None}, "debug"),
            ({"prompt": "x", "session-id": "s"}, "session-id"),
        ],
    )
    def test_the_field_is_named(self, client: TestClient, fields: dict[str, Any], field: str) -> None:
        """A misspelt one too: without its session a user would jump in and out of the rollout."""
        answer = client.post("/chat", json=fields)
        assert (answer.status_code, list(answer.json()["fields"])) == (422, [field])

    def test_a_prompt_may_have_4000_characters(self, client: TestClient) -> None:
        """Of any language, however they are written."""
        escaped = '{"prompt": "%s"}' % (r"\ud83c\udf09" * 4000)
        assert client.post("/chat", content=escaped).status_code == 200

    def test_half_a_character_is_no_text(self, client: TestClient) -> None:
        """It could be written nowhere."""
        answer = client.post("/chat", content=rb'{"prompt": "\ud83c"}')
        assert (answer.status_code, list(answer.json()["fields"])) == (422, ["prompt"])

    @pytest.mark.parametrize(("body", "status"), [(b"prompt=x", 400), (deep(17), 400), (b" " * 65_537, 413)])
    def test_a_bad_body(self, client: TestClient, body: bytes, status: int) -> None:
        """As for the flags."""
        assert client.post("/chat", content=body).status_code == status

    def test_without_passages(self, stand: Stand) -> None:
        """503, and what would help."""
        answer = stand.client().post("/chat", json={"prompt": QUESTION})
        assert answer.status_code == 503
        assert "redo serve --passages PATH" in answer.json()["error"]

    def test_nothing_is_counted(self, stand: Stand, client: TestClient) -> None:
        """A question that cannot be used is none."""
        client.post("/chat", json={})
        assert stand.recorder.pending.queries == 0


def test_the_question_is_the_one_that_was_retrieved_for(stand: Stand) -> None:
    """The answer carries the id that the trace has."""
    pipeline = a_pipeline(retriever=FixedRetriever({"q-7": ranking(*PASSAGES)}))
    client = stand.client(stand.answers(pipeline), query_id=lambda: "q-7")
    assert client.post("/chat", json={"prompt": QUESTION}).json()["query_id"] == "q-7"
