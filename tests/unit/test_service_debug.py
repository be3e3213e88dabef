"""`/debug`, `/healthz`, the index page, and the OpenAPI document."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.fallbacks import Component
from core.metrics import Metrics
from tasks.metrics import record
from tests.service_samples import ON, QUESTION, Stand, TestClient


@pytest.fixture
def stand() -> Stand:
    """What the service stands on."""
    return Stand()


@pytest.fixture
def client(stand: Stand) -> TestClient:
    """Somebody on this machine."""
    return stand.client()


def samples(client: TestClient) -> dict[str, float]:
    """The metrics without labels, and those of decisions."""
    families = text_string_to_metric_families(client.get("/debug/metrics").text)
    return {
        "/".join((sample.name, *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


class TestHealth:
    """`/debug/fallback-health`."""

    def test_it_is_the_report_of_the_guard(self, stand: Stand, client: TestClient) -> None:
        """With the guide's keys."""
        report = client.get("/debug/fallback-health").json()
        assert report == json.loads(json.dumps(stand.manager.get_health_status()))
        assert (report["orchestrator_healthy"], report["ledger_healthy"], report["consecutive_failures"]) == (
            True,
            True,
            0,
        )

    def test_what_another_process_found_is_there(self, stand: Stand, client: TestClient) -> None:
        """It is read from the shared state."""
        stand.place.guard(owner="another").run_health_checks({Component.INDEX: lambda: False})
        report = client.get("/debug/fallback-health").json()
        assert (report["database_healthy"], report["components"]["index"]["healthy"]) == (False, False)

    def test_a_store_that_does_not_answer_is_no_error(self, stand: Stand, client: TestClient) -> None:
        """It is what a person wants to see here."""
        stand.place.store.is_down = True
        report = client.get("/debug/fallback-health").json()
        assert (report["stale"], report["redo_active"]) == (True, False)
        assert "the store is down" in report["stale_because"]


class TestConfiguration:
    """`/debug/config`."""

    def test_it_shows_what_the_service_was_given(self, stand: Stand) -> None:
        """Settings, flags with their sources, the place of the state."""
        setting = {"value": 20, "default": 20, "is_default": True, "description": "How many."}
        client = stand.client(settings={"REDO_TOP_K": setting}, passages="/data/p.jsonl", parts={"detector": "d-1"})
        client.post("/admin/feature-flags", json=ON)
        shown = client.get("/debug/config").json()
        assert shown["settings"] == {"REDO_TOP_K": setting}
        assert shown["flags"]["orchestrator.redo_enabled"]["source"] == "stored"
        assert shown["state"] == {"kind": "memory", "place": "here"}
        assert (shown["passages"], shown["parts"]) == ("/data/p.jsonl", {"detector": "d-1"})

    def test_the_token_is_not_in_it(self, stand: Stand) -> None:
        """Nor anywhere else that its owner may look."""
        token = "a token of the tests"  # noqa: S105 - no secret
        client = stand.client(admin_token=token)
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/debug/config", "/debug/fallback-health", "/admin/feature-flags", "/debug/metrics"):
            assert token not in client.get(path, headers=headers).text
        assert token not in repr(stand.services(admin_token=token))


class TestMetrics:
    """`/debug/metrics`."""

    def test_what_another_process_counted_is_there(self, stand: Stand, client: TestClient) -> None:
        """A batch's run is over before anybody scrapes it."""
        record(stand.place.store, Metrics(decisions={("fallback", "TIMEOUT"): 3}), actor="a batch")
        found = samples(client)
        assert found["redo_decisions_total/fallback/TIMEOUT"] == found["redo_fallback_activations_total"] == 3

    def test_answers_count_at_once(self, stand: Stand) -> None:
        """Not only when they are next written."""
        client = stand.client(stand.answers())
        client.post("/chat", json={"prompt": QUESTION})
        client.post("/admin/feature-flags", json=ON)
        client.post("/chat", json={"prompt": QUESTION})
        found = samples(client)
        assert found["redo_decisions_total/legacy/FLAG_OFF"] == found["redo_decisions_total/redo/ENABLED"] == 1
        assert (found["redo_active"], found["redo_rollout_percentage"]) == (1, 100)

    def test_without_the_store_there_are_no_counts(self, stand: Stand, client: TestClient) -> None:
        """Absent, not 0; the gauges stay."""
        stand.place.store.is_down = True
        found = samples(client)
        assert "redo_queries_total" not in found
        assert found["redo_state_stale"] == 1

    def test_prometheus_knows_the_format(self, client: TestClient) -> None:
        """By its content type."""
        assert client.get("/debug/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")


class TestPages:
    """What is there for people and for machines that look around."""

    def test_it_says_that_it_answers(self, stand: Stand) -> None:
        """Also while the state does not, and whether /chat has passages."""
        stand.place.store.is_down = True
        assert stand.client().get("/healthz").json()["chat"] is False
        assert stand.client(stand.answers()).get("/healthz").json()["chat"] is True

    def test_the_index_links_only_what_exists(self, client: TestClient) -> None:
        """And it is small."""
        page = client.get("/").text
        links = [piece.split('"')[0] for piece in page.split('href="')[1:]]
        assert len(links) == 6
        assert [client.get(link).status_code for link in links] == [200] * len(links)
        assert len(page) < 2000

    def test_every_endpoint_is_documented(self, client: TestClient) -> None:
        """With a summary, a description, and a schema of its answer."""
        document = client.get("/openapi.json").json()
        found = {
            f"{method} {path}": entry
            for path, methods in document["paths"].items()
            for method, entry in methods.items()
        }
        assert sorted(found) == [
            "get /admin/feature-flags",
            "get /debug/config",
            "get /debug/fallback-health",
            "get /debug/metrics",
            "get /healthz",
            "post /admin/feature-flags",
            "post /chat",
        ]
        for entry in found.values():
            assert entry["summary"]
            assert entry["description"]
            assert entry["responses"]["200"]["content"]
        for name in ("post /admin/feature-flags", "post /chat"):
            assert found[name]["requestBody"]["content"]["application/json"]["schema"]["properties"]

    def test_the_documentation_page_is_there(self, client: TestClient) -> None:
        """To try things out."""
        assert "swagger" in client.get("/docs").text

    def test_what_is_not_there_is_a_404_in_the_usual_shape(self, client: TestClient) -> None:
        """As every error."""
        answer = client.get("/nope")
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
