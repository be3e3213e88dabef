"""The alert rules: the rollout guide's are word for word its own, all ask for metrics that exist, all are tested."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.metrics import Metrics
from tasks.metrics import render

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deployments" / "monitoring"
RULES = MONITORING / "alerts.yml"
TESTS = (MONITORING / "alerts_test.yml", MONITORING / "alerts_rollout_test.yml")

GUIDE = """\
# High failure rate
- alert: RedoHighFailureRate
  expr: rate(redo_orchestrator_failures_total[5m]) > 0.1
  for: 2m
  labels:
    severity: warning
  annotations:
    summary: "High REDO orchestrator failure rate"

# Circuit breaker open
- alert: RedoCircuitBreakerOpen
  expr: redo_circuit_breaker_open == 1
  for: 1m
  labels:
    severity: critical
  annotations:
    summary: "REDO circuit breaker is open"

# Fallback activations
- alert: RedoFallbackActivations
  expr: rate(redo_fallback_activations_total[5m]) > 0.05
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: "High REDO fallback activation rate"
"""

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing; the Debian package prometheus has it"
)


def rules() -> list[dict[str, Any]]:
    """All rules, in their order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def shown() -> set[str]:
    """The names of all series that the metrics page can have."""
    health: dict[str, object] = {
        "redo_active": True,
        "circuit_breaker": {"state": "closed", "mode": "automatic"},
        "ledger_circuit_breaker": {"state": "closed", "mode": "automatic"},
        "flags": {"rollout_percentage": 100},
        "stale": False,
    }
    page = render(Metrics(), health, spool_depth=0).decode()
    return set(re.findall(r"^(redo_\w+)", page, re.MULTILINE))


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool beside the rules."""
    return subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_guides_rules_are_word_for_word_its_own() -> None:
    """The first three rules are the guide's: name, expr, for, labels and annotations, and nothing else."""
    assert rules()[:3] == yaml.safe_load(GUIDE)
    indented = "".join(f"      {line}" if line.strip() else line for line in GUIDE.splitlines(keepends=True))
    assert indented in RULES.read_text()


def test_every_rule_asks_for_metrics_that_exist() -> None:
    """Each metric named in an expr is one that the page shows; a rule about a misspelled one would never fire."""
    for rule in rules():
        asked = set(re.findall(r"\b[a-z]+_\w+\b(?!\()", rule["expr"]))
        assert asked
        assert asked <= shown(), rule["alert"]


def test_every_rule_can_be_acted_upon() -> None:
    """Each has its own name, a wait, a severity and a summary."""
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["for"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]


def test_every_rule_has_a_test_that_fires_and_one_that_does_not() -> None:
    """The tests for promtool leave no rule out, and name none that does not exist."""
    fires: dict[str, set[bool]] = {}
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for check in test["alert_rule_test"]:
                fires.setdefault(check["alertname"], set()).add(bool(check.get("exp_alerts")))
    assert fires == {rule["alert"]: {True, False} for rule in rules()}


def test_the_docs_list_every_alert_and_no_other() -> None:
    """The table of docs/metrics.md has the rules in their order."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert re.findall(r"^\| `(Redo\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in rules()]


@needs_promtool
@pytest.mark.process
def test_promtool_accepts_the_rules() -> None:
    """Prometheus would load them."""
    done = promtool("check", "rules", RULES.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@needs_promtool
@pytest.mark.process
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_fire_when_they_should_and_only_then(path: Path) -> None:
    """Promtool plays the series of each test to the rules."""
    done = promtool("test", "rules", path.name)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.process
def test_promtool_fails_where_a_rule_is_wrong(tmp_path: Path) -> None:
    """The same tests do not pass with another threshold: they look at the rules at all."""
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("> 0.05", "> 0.5"))
    shutil.copy(TESTS[0], tmp_path)
    done = promtool("test", "rules", str(tmp_path / TESTS[0].name))
    assert done.returncode == 1
    assert "RedoFallbackActivations" in done.stdout + done.stderr
