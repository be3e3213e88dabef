"""`/admin/rollout`: the verbs of `redo rollout` over HTTP, behind the same lock as the flags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.rollout.gates import GateReport
from core.rollout.orders import RolloutOrders
from core.rollout.state import RolloutState
from core.rollout.verdict import Verdict
from tasks.rollout.desk import Desk
from tasks.rollout.evaluation import GatesError, Limits
from tasks.rollout.reports import Reports, StoredReport
from tests.rollout_samples import PLAN, a_report, a_result
from tests.service_samples import Stand, TestClient

ROLLOUT = "/admin/rollout"
TOKEN = "a secret of the tests"  # noqa: S105 - no secret at all
SOON = {"soak_s": 0, "min_samples": 1}
WHO = {"X-Redo-Actor": "ann", "X-Redo-Reason": "phase 1"}


class Gates:
    """Gates that say what a test tells them to, with the report kept as the real ones keep it."""

    def __init__(self, stand: Stand, reports: Reports) -> None:
        self._stand = stand
        self._reports = reports
        self.verdict = Verdict.PASS
        self.limits: list[Limits] = []
        self.error: Exception | None = None

    def evaluate(self, state: RolloutState, limits: Limits) -> StoredReport:
        """A report of this moment on the step."""
        self.limits.append(limits)
        if self.error is not None:
            raise self.error
        now = self._stand.place.clock.utc_now()
        report: GateReport = a_report(state, a_result(self.verdict, name="failure_rate"), now=now)
        stored = StoredReport(replace(report, report_id=f"g-20300101-000000-{state.event.number:08x}"), None)
        self._reports.save(stored)
        return stored


class Service:
    """A service with a desk over a store in memory."""

    def __init__(self, home: Path) -> None:
        self.stand = Stand()
        reports = Reports(home)
        self.gates = Gates(self.stand, reports)
        self.kill_switch: list[str] = []
        store, clock = self.stand.place.store, self.stand.place.clock
        self.desk = Desk(
            orders=RolloutOrders(
                store,
                clock=clock,
                actor="service",
                changed=self.stand.manager.refresh,
                kill_switch=self.kill_switch.append,
            ),
            store=store,
            clock=clock,
            actor="service",
            reports=reports,
            evaluate=self.gates.evaluate,
        )
        self.client = self.client_of()

    def client_of(self, **more: Any) -> TestClient:
        """Somebody who asks."""
        return self.stand.client(rollout=self.desk, **more)

    def post(self, verb: str, status: int = 200, **fields: Any) -> Any:
        """The answer to an order."""
        answer = self.client.post(f"{ROLLOUT}/{verb}", json=fields, headers=WHO)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str = "") -> Any:
        """What a page says."""
        answer = self.client.get(f"{ROLLOUT}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """A service on which no rollout has been started."""
    return Service(tmp_path)


def asking_plan() -> dict[str, object]:
    """A plan without soak, in which a person must say yes before each step."""
    steps = [step.to_dict() | {"soak_s": 0, "approval": step.percentage > 0} for step in PLAN.steps]
    return PLAN.to_dict() | {"steps": steps}


class TestReading:
    """Where it stands, why, and what happened."""

    def test_before_there_is_a_rollout(self, service: Service) -> None:
        """Each page says so."""
        assert service.get() == {"status": "not_started", "headline": "no rollout has been started"}
        assert service.get("/why")["reasons"][0]["code"] == "not_started"
        assert service.get("/history") == {"events": []}

    def test_all_that_there_is_to_see(self, service: Service) -> None:
        """The plan, the step, the newest report, the breakers, and who did what."""
        service.post("start", **SOON)
        service.post("advance")
        found = service.get()
        assert (found["status"], found["percentage"], found["step_name"]) == ("running", 10, "gradual 10 %")
        assert [step["percentage"] for step in found["plan"]["steps"]] == [0, 10, 25, 50, 100]
        assert found["open_breakers"] == []
        assert "report" not in found  # the one that there is, is of the step before
        assert [reason["code"] for reason in service.get("/why")["reasons"]] == ["no_report"]
        events = service.get("/history")["events"]
        assert [(event["kind"], event["actor"]) for event in events] == [("promoted", "ann"), ("started", "ann")]
        assert events[0]["evidence"] == ["g-20300101-000000-00000001"]


class TestOrders:
    """POST."""

    def test_up_by_evidence(self, service: Service) -> None:
        """The gates are asked, their report is in the answer, and the guard of this process sees it at once."""
        assert service.post("start", **SOON)["decision"] == "started"
        told = service.post("advance", limits="demonstration")
        assert (told["decision"], told["changed"], told["report"]["verdict"]) == ("promoted", True, "pass")
        assert service.gates.limits == ["demonstration"]
        assert service.stand.manager.flag_view().flags.rollout_percentage == 10

    def test_dry_runs_change_nothing(self, service: Service) -> None:
        """Each order has one."""
        assert service.post("start", dry_run=True)["would_be"]["status"] == "running"
        assert service.get()["status"] == "not_started"
        service.post("start", **SOON)
        service.post("advance")
        before = service.get()
        orders: tuple[tuple[str, dict[str, Any]], ...] = (
            ("pause", {}),
            ("advance", {}),
            ("rollback", {"kind": "gradual"}),
            ("rollback", {"kind": "component", "part": "ledger"}),
            ("rollback", {"kind": "emergency"}),
        )
        for verb, fields in orders:
            told = service.post(verb, dry_run=True, **fields)
            assert (told["changed"], told["dry_run"]) == (False, True), verb
        after = service.get()
        assert {name: after[name] for name in before} == before

    def test_a_gate_that_fails_steps_back(self, service: Service) -> None:
        """And nothing rises again without resume."""
        service.post("start", **SOON)
        service.post("advance")
        service.post("advance")
        service.gates.verdict = Verdict.FAIL
        told = service.post("advance")
        assert (told["decision"], told["rollout"]["percentage"], told["event"]["gate"]["failed"]) == (
            "stepped_back",
            10,
            ["failure_rate"],
        )
        service.gates.verdict = Verdict.PASS
        assert service.post("advance")["decision"] == "hold"
        assert service.post("resume")["rollout"]["status"] == "running"
        assert service.post("advance")["decision"] == "promoted"

    def test_approval(self, service: Service) -> None:
        """What was looked at is approved, and nothing else."""
        service.post("start", plan=asking_plan())
        assert service.post("approve", 409)["reasons"][0]["code"] == "refused"
        assert service.post("advance")["decision"] == "approval_requested"
        assert service.post("approve", 409, attempt=1, step=3)["reasons"][0]["code"] == "stale_approval"
        assert service.post("approve", attempt=1, step=0)["rollout"]["is_approved"] is True
        assert service.post("advance")["rollout"]["percentage"] == 10

    @pytest.mark.parametrize("verb", ["approve", "pause", "resume"])
    def test_orders_to_nothing_are_a_conflict(self, service: Service, verb: str) -> None:
        """With the reason."""
        told = service.post(verb, 409)
        assert (told["refused"], told["reasons"][0]["code"]) == (True, "not_started")

    def test_a_second_start_is_a_conflict(self, service: Service) -> None:
        """The one under way stays."""
        service.post("start", **SOON)
        assert service.post("start", 409)["said"].startswith("not done: a rollout is running")

    def test_an_empty_body_will_do(self, service: Service) -> None:
        """`curl -X POST` alone."""
        service.post("start", **SOON)
        assert service.client.post(f"{ROLLOUT}/pause").json()["rollout"]["status"] == "paused"
        assert service.get("/history")["events"][0]["actor"] == "http:127.0.0.1"

    def test_gates_that_cannot_be_evaluated(self, service: Service) -> None:
        """503 with why; nothing was decided."""
        service.post("start", **SOON)
        service.gates.error = GatesError("the gates gave no answer within 300 s")
        assert service.post("advance", 503) == {"error": "the gates gave no answer within 300 s"}
        assert service.get()["step"] == 0

    @pytest.mark.parametrize(
        ("verb", "fields", "field"),
        [
            ("start", {"percentages": [50, 10]}, "plan"),
            ("start", {"percentages": []}, "percentages"),
            ("start", {"min_samples": "5"}, "min_samples"),
            ("start", {"soak": 5}, "soak"),
            ("start", {"plan": {"steps": []}}, "plan"),
            ("advance", {"limits": "none"}, "limits"),
            ("pause", {"dry_run": "yes"}, "dry_run"),
            ("rollback", {}, "kind"),
            ("rollback", {"kind": "component"}, "body"),
            ("rollback", {"kind": "emergency", "part": "ledger"}, "body"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, service: Service, verb: str, fields: Any, field: str) -> None:
        """422, with the field, and nothing is changed."""
        told = service.post(verb, 422, **fields)
        assert (told["error"], list(told["fields"])) == ("nothing was changed", [field])
        assert service.get()["status"] == "not_started"


class TestRollbacks:
    """Down."""

    def test_an_emergency(self, service: Service) -> None:
        """Everything is off for this process when the answer is there; twice is once."""
        told = service.post("rollback", kind="emergency")
        assert (told["complete"], told["off_everywhere"], told["kill_switch"]) == (True, True, False)
        assert service.stand.manager.flag_view().killed == ("store",)
        assert service.post("rollback", kind="emergency")["complete"] is True
        assert service.get()["emergency"] is True

    def test_an_emergency_without_the_state(self, service: Service) -> None:
        """503: this machine's kill switch is on, and the answer says what was not reached."""
        service.stand.place.store.is_down = True
        told = service.post("rollback", 503, kind="emergency")
        assert (told["off_everywhere"], told["off_on_this_machine"], told["complete"]) == (False, True, False)
        assert sorted(told["errors"]) == ["breaker-ledger", "breaker-orchestrator", "flags"]
        assert len(service.kill_switch) == 1

    def test_other_orders_without_the_state(self, service: Service) -> None:
        """503, as for the flags."""
        service.stand.place.store.is_down = True
        assert "shared state does not answer" in service.post("rollback", 503, kind="gradual")["error"]

    def test_a_component(self, service: Service) -> None:
        """One is out, the other stays."""
        service.post("start", **SOON)
        told = service.post("rollback", kind="component", part="ledger")
        assert (told["rollout"]["parts_off"], told["breakers"]) == (["ledger"], ["breaker-ledger"])


class TestAccess:
    """The same rule as for the flags."""

    @pytest.mark.parametrize("path", ["", "/why", "/history"])
    def test_the_token_is_asked_for(self, service: Service, path: str) -> None:
        """To read, too."""
        client = service.client_of(admin_token=TOKEN)
        assert client.get(f"{ROLLOUT}{path}").status_code == 401
        assert client.get(f"{ROLLOUT}{path}", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200

    @pytest.mark.parametrize("verb", ["start", "approve", "pause", "resume", "advance", "rollback"])
    def test_nobody_else_gives_orders(self, service: Service, verb: str) -> None:
        """Neither without the token, nor from another machine, nor a page of another site."""
        place = f"{ROLLOUT}/{verb}"
        assert service.client_of(admin_token=TOKEN).post(place, json={}).status_code == 401
        assert service.client_of(peer=("192.0.2.1", 5)).post(place, json={}).status_code == 403
        assert service.client.post(place, json={}, headers={"Origin": "https://example.org"}).status_code == 403

    def test_it_is_in_the_document(self, service: Service) -> None:
        """Each endpoint with its fields."""
        paths = service.client.get("/openapi.json").json()["paths"]
        verbs = {path.removeprefix(f"{ROLLOUT}/") for path in paths if path.startswith(ROLLOUT)}
        assert verbs == {ROLLOUT, "why", "history", "start", "approve", "pause", "resume", "advance", "rollback"}
        body = paths[f"{ROLLOUT}/rollback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["kind"]["enum"] == ["emergency", "gradual", "component"]

    def test_without_a_desk_there_is_nothing(self) -> None:
        """A service that was given none has no such pages, and its first page leads to none."""
        client = Stand().client()
        assert client.get(ROLLOUT).status_code == 404
        assert ROLLOUT not in client.get("/").text

    def test_the_first_page_leads_there(self, service: Service) -> None:
        """Where there is one."""
        assert f'href="{ROLLOUT}"' in service.client.get("/").text
