"""The configuration: what is set where nothing is, what each variable does, and how a wrong one is named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest

from core.errors import ConfigError, FlagError
from core.pipeline import DetectorKind, RetrieverKind
from core.placement import PlacementPolicy
from tasks.settings import (
    PREFECT_DEFAULTS,
    Settings,
    load_environment_flags,
    load_settings,
    prepare_prefect_environment,
)

KEY = "a key of the tests, and long enough"


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable everything has its documented value."""
    monkeypatch.delenv("REDO_HOME")
    settings = load_settings()
    assert settings.home_folder == Path("~/.redo").expanduser().resolve()
    assert settings.ledger == str(settings.home_folder / "ledger")
    assert settings.hash_key is None
    assert settings.chunk_size == 100
    kinds = (PlacementPolicy.BEST_FIRST, RetrieverKind.BM25, DetectorKind.CASCADE)
    assert astuple(settings.pipeline) == (20, 1024, 0.4, *kinds)


@pytest.mark.parametrize(
    ("variable", "text", "read", "expected"),
    [
        ("REDO_HOME", "/var/lib/redo", lambda found: found.home_folder, Path("/var/lib/redo").resolve()),
        ("REDO_HOME", "~/elsewhere", lambda found: found.home_folder, None),
        ("LEDGER_URI", "s3://bucket/ledger", lambda found: found.ledger, "s3://bucket/ledger"),
        ("LEDGER_HASH_KEY", KEY, lambda found: found.hash_key, KEY),
        ("ORCHESTRATION_TIME_BUDGET_MS", "250.5", lambda found: found.pipeline.budget_s, 0.2505),
        ("REDO_TOP_K", "7", lambda found: found.pipeline.top_k, 7),
        ("REDO_TOKEN_BUDGET", "512", lambda found: found.pipeline.token_budget, 512),
        (
            "REDO_PLACEMENT",
            "edges_best_last",
            lambda found: found.pipeline.placement,
            PlacementPolicy.EDGES_BEST_LAST,
        ),
        ("REDO_RETRIEVER", "hybrid", lambda found: found.pipeline.retriever, RetrieverKind.HYBRID),
        ("REDO_DETECTOR", "slots", lambda found: found.pipeline.detector, DetectorKind.SLOTS),
        ("REDO_CHUNK_SIZE", "25", lambda found: found.chunk_size, 25),
    ],
)
def test_each_variable_is_read(
    variable: str, text: str, read: Callable[[Settings], object], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a variable says is what the setting holds; `~` is the home folder."""
    monkeypatch.setenv(variable, text)
    assert read(load_settings()) == (Path("~/elsewhere").expanduser().resolve() if expected is None else expected)


@pytest.mark.parametrize(
    ("variable", "text", "expectation"),
    [
        ("ORCHESTRATION_TIME_BUDGET_MS", "0", "greater than 0"),
        ("ORCHESTRATION_TIME_BUDGET_MS", "60001", "less than or equal to 60000"),
        ("ORCHESTRATION_TIME_BUDGET_MS", "nan", "less than or equal to 60000"),
        ("ORCHESTRATION_TIME_BUDGET_MS", "soon", "a valid number"),
        ("REDO_TOP_K", "0", "greater than or equal to 1"),
        ("REDO_TOP_K", "201", "less than or equal to 200"),
        ("REDO_TOP_K", "5.5", "a valid integer"),
        ("REDO_TOKEN_BUDGET", "0", "greater than or equal to 1"),
        ("REDO_PLACEMENT", "random", "'best_first', 'edges_best_first', 'edges_best_last' or 'chronological'"),
        ("REDO_RETRIEVER", "dense", "'bm25' or 'hybrid'"),
        ("REDO_DETECTOR", "model", "'rules', 'slots' or 'cascade'"),
        ("REDO_CHUNK_SIZE", "501", "less than or equal to 500"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    variable: str, text: str, expectation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable, what was expected, and what was found."""
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigError, match=f"environment: {variable}: .*{re.escape(expectation)}.*{text}"):
        load_settings()


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has two mistakes learns of both."""
    monkeypatch.setenv("REDO_TOP_K", "many")
    monkeypatch.setenv("REDO_CHUNK_SIZE", "0")
    with pytest.raises(ConfigError, match=r"REDO_TOP_K: .*; REDO_CHUNK_SIZE: "):
        load_settings()


@pytest.mark.parametrize(
    ("uri", "expectation"), [("gs://bucket", "gs:// is nothing that REDO reads"), ("s3://", "without a valid bucket")]
)
def test_a_ledger_that_cannot_be_one_is_refused_at_once(
    uri: str, expectation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad place of the ledger is an error of the settings, not of the first chunk that is written to it."""
    monkeypatch.setenv("LEDGER_URI", uri)
    with pytest.raises(ConfigError, match=f"environment: LEDGER_URI: .*{re.escape(expectation)}"):
        load_settings()


@pytest.mark.parametrize(
    "variable", ["REDO_HOME", "LEDGER_URI", "LEDGER_HASH_KEY", "ORCHESTRATION_TIME_BUDGET_MS", "REDO_PLACEMENT"]
)
def test_an_empty_variable_is_not_set(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty text is how a shell and a compose file say `not set`: the default holds."""
    monkeypatch.delenv("REDO_HOME")
    default = load_settings()
    monkeypatch.setenv(variable, "")
    assert load_settings() == default


def test_home_is_not_redo_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The setting is called `home`, and still the variable HOME says only what `~` is."""
    monkeypatch.delenv("REDO_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home_folder == tmp_path / ".redo"


def test_settings_are_frozen() -> None:
    """A setting never changes under a running chunk."""
    with pytest.raises(ValueError, match="frozen"):
        load_settings().top_k = 3


def test_the_hash_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings' text nor the message about a key that is too short holds it."""
    monkeypatch.setenv("LEDGER_HASH_KEY", KEY)
    settings = load_settings()
    assert settings.hash_key == KEY
    assert KEY not in f"{settings} {settings!r}"
    monkeypatch.setenv("LEDGER_HASH_KEY", KEY[:15])
    with pytest.raises(ConfigError, match=r"LEDGER_HASH_KEY: .*at least 16 characters") as caught:
        load_settings()
    assert KEY[:15] not in str(caught.value)


def test_flags_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two flags that have a variable are read from it, and a bad value names it."""
    assert load_environment_flags() == {}
    monkeypatch.setenv("ORCHESTRATOR_REDO_ENABLED", "yes")
    monkeypatch.setenv("LEDGER_ENABLED", "0")
    assert load_environment_flags() == {"orchestrator.redo_enabled": True, "ledger.enabled": False}
    monkeypatch.setenv("LEDGER_ENABLED", "perhaps")
    with pytest.raises(FlagError, match=r"LEDGER_ENABLED: .*'perhaps' is not true or false"):
        load_environment_flags()


def test_prefect_is_told_what_the_user_has_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telemetry is off unless the user has set its variable, whatever to."""
    for name in PREFECT_DEFAULTS:
        monkeypatch.setenv(name, "replaced and put back by the fixture")
        monkeypatch.delenv(name)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.setenv("PREFECT_SERVER_LOGGING_LEVEL", "put back by the fixture")
    monkeypatch.delenv("PREFECT_SERVER_LOGGING_LEVEL")
    prepare_prefect_environment(PREFECT_SERVER_LOGGING_LEVEL="ERROR")
    assert os.environ["DO_NOT_TRACK"] == "0"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert os.environ["PREFECT_SERVER_LOGGING_LEVEL"] == "ERROR"
