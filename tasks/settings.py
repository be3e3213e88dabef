"""The configuration: one frozen value, read once from the environment. The only place that reads it."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.adapters.faults import Fault
from core.errors import ConfigError
from core.fallbacks.config import FallbackConfig
from core.flags import FlagValue, KillSwitches, environment_flags
from core.pipeline import DetectorKind, PipelineConfig, RetrieverKind
from core.placement import PlacementPolicy
from ledger.level import MIN_TRACE_BYTES, Level
from ledger.location import parse_location

PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a cold start takes over 20 s on a small machine
}
"""What REDO sets for the Prefect that it starts, where the user has not: no telemetry, and patience."""

_SECRETS = frozenset({"LEDGER_HASH_KEY", "REDO_ADMIN_TOKEN", "REDO_JUDGE_API_KEY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Which models stand beside the embedded ones, or in their place; docs/plugins.md.

    Attributes:
        nli: folder of the entailment model; the embedded one where it is `None`.
        judge_url: endpoint of the judge; none is asked where it is `None`.
        judge_model: name of the judge's model.
        judge_api_key: what the endpoint lets REDO in by.
        judge_timeout_s: seconds that one call of the judge may take.
    """

    nli: Path | None = None
    judge_url: str | None = None
    judge_model: str | None = None
    judge_api_key: str | None = field(default=None, repr=False)
    judge_timeout_s: float = 2.0


class Settings(BaseSettings):
    """Every setting, with its environment variable as alias. Frozen: a change needs a new process.

    A variable that is empty counts as not set.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    home: Annotated[Path, Field(alias="REDO_HOME", description="Where runs, indexes and local state lie.")] = Path(
        "~/.redo"
    )
    ledger_uri: Annotated[
        str | None,
        Field(alias="LEDGER_URI", description="Where the ledger is: s3://bucket/prefix or a path. REDO_HOME/ledger."),
    ] = None
    hash_key: Annotated[
        str | None,
        Field(
            alias="LEDGER_HASH_KEY",
            repr=False,
            min_length=16,
            description="Secret that session and user ids are hashed with. Without it one is made in REDO_HOME.",
        ),
    ] = None
    time_budget_ms: Annotated[
        float, Field(alias="ORCHESTRATION_TIME_BUDGET_MS", gt=0, le=60_000, description="Time that one query may take.")
    ] = 400
    top_k: Annotated[int, Field(alias="REDO_TOP_K", ge=1, le=200, description="Passages retrieved for a query.")] = 20
    token_budget: Annotated[
        int, Field(alias="REDO_TOKEN_BUDGET", ge=1, le=1_000_000, description="Most tokens of a selection.")
    ] = 1024
    placement: Annotated[
        PlacementPolicy, Field(alias="REDO_PLACEMENT", description="Where the chosen passages stand.")
    ] = PlacementPolicy.BEST_FIRST
    retriever: Annotated[
        RetrieverKind,
        Field(
            alias="REDO_RETRIEVER",
            description="What REDO chooses from: bm25, or hybrid with nearness of meaning. Legacy stays with bm25.",
        ),
    ] = RetrieverKind.BM25
    detector: Annotated[
        DetectorKind,
        Field(
            alias="REDO_DETECTOR",
            description="How far detection goes: rules, slots (and answers), or cascade (and the entailment model).",
        ),
    ] = DetectorKind.CASCADE
    nli_model: Annotated[
        Path | None,
        Field(alias="REDO_NLI_MODEL", description="Folder of another entailment model, in place of the embedded one."),
    ] = None
    judge_url: Annotated[
        str | None,
        Field(
            alias="REDO_JUDGE_URL",
            description="OpenAI-compatible endpoint of a judge of unsure contradictions. None is asked without it.",
        ),
    ] = None
    judge_model: Annotated[
        str | None, Field(alias="REDO_JUDGE_MODEL", description="Name of the judge's model, as its endpoint knows it.")
    ] = None
    judge_api_key: Annotated[
        str | None, Field(alias="REDO_JUDGE_API_KEY", repr=False, description="Secret that the judge's endpoint wants.")
    ] = None
    judge_timeout_s: Annotated[
        float,
        Field(
            alias="REDO_JUDGE_TIMEOUT_S",
            gt=0,
            le=4,
            description="Seconds that one call of the judge may take; shorter than a query's time.",
        ),
    ] = 2
    max_trace_bytes: Annotated[
        int,
        Field(
            alias="LEDGER_MAX_TRACE_BYTES",
            ge=MIN_TRACE_BYTES,
            le=100_000_000,
            description="Most bytes of one trace in the ledger, as canonical JSON; a longer one is shortened.",
        ),
    ] = 100_000
    ledger_level: Annotated[
        Level,
        Field(
            alias="LEDGER_LEVEL",
            description="What the ledger keeps: full, min (no passage text), or off. Errors, fallbacks, late answers"
            " and conflicts are kept in full at min too.",
        ),
    ] = Level.FULL
    ledger_sample_rate: Annotated[
        float,
        Field(
            alias="LEDGER_SAMPLE_RATE",
            ge=0,
            le=1,
            description="Share of the traces kept in full at level full, chosen by a hash; the others as at min.",
        ),
    ] = 1.0
    ledger_redact: Annotated[
        str,
        Field(
            alias="LEDGER_REDACT",
            description="What is masked in the ledger: names of patterns, separated by commas, or none.",
        ),
    ] = "email,card,key"
    ledger_redact_file: Annotated[
        Path | None,
        Field(
            alias="LEDGER_REDACT_FILE", description="TOML file of more patterns to mask: name = 'regular expression'."
        ),
    ] = None
    spool_max_bytes: Annotated[
        int,
        Field(
            alias="LEDGER_SPOOL_MAX_BYTES",
            ge=1_000_000,
            description="Most bytes of traces that wait in REDO_HOME for the ledger; more are refused, and counted.",
        ),
    ] = 5_000_000_000
    chunk_size: Annotated[
        int, Field(alias="REDO_CHUNK_SIZE", ge=1, le=500, description="Queries that one task run works on.")
    ] = 100
    health_check_interval_s: Annotated[
        float,
        Field(
            alias="REDO_HEALTH_CHECK_INTERVAL", gt=0, le=86_400, description="Seconds between two checks of components."
        ),
    ] = 30
    max_consecutive_failures: Annotated[
        int,
        Field(
            alias="REDO_MAX_CONSECUTIVE_FAILURES",
            ge=1,
            le=1_000,
            description="Failures in a row that take REDO out of the way.",
        ),
    ] = 3
    circuit_breaker_reset_s: Annotated[
        float,
        Field(
            alias="REDO_CIRCUIT_BREAKER_RESET",
            gt=0,
            le=86_400,
            description="Seconds that REDO stays out of the way after failures, the first time.",
        ),
    ] = 60
    fallback_timeout_s: Annotated[
        float,
        Field(
            alias="REDO_FALLBACK_TIMEOUT",
            gt=0,
            le=3_600,
            description="Seconds after which a call that hangs is given up.",
        ),
    ] = 5
    store_retries: Annotated[
        int,
        Field(
            alias="REDO_STORE_RETRIES",
            ge=0,
            le=10,
            description="How often a run sends traces to the ledger again that it did not take.",
        ),
    ] = 3
    fault: Annotated[
        Fault | None,
        Field(alias="REDO_FAULT", description="Makes the orchestrator fail, for drills: raise, hang, garbage, slow."),
    ] = None
    admin_token: Annotated[
        str | None,
        Field(
            alias="REDO_ADMIN_TOKEN",
            repr=False,
            min_length=16,
            description="Secret that the service asks for before it changes anything. Without it, this machine only.",
        ),
    ] = None

    @field_validator("ledger_uri")
    @classmethod
    def _is_a_location(cls, uri: str | None) -> str | None:
        """A bad one is found at the start, not by the first chunk that is written to it."""
        try:
            if uri is not None:
                parse_location(uri)
        except ConfigError as error:
            raise ConfigError(f"environment: LEDGER_URI: {error}") from None
        return uri

    @property
    def home_folder(self) -> Path:
        """`home` as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def ledger(self) -> str:
        """Where the ledger is; a path is absolute."""
        return str(parse_location(self.ledger_uri or str(self.home_folder / "ledger")))

    @property
    def pipeline(self) -> PipelineConfig:
        """What the pipeline is told."""
        return PipelineConfig(
            top_k=self.top_k,
            token_budget=self.token_budget,
            budget_s=self.time_budget_ms / 1e3,
            placement=self.placement,
            retriever=self.retriever,
            detector=self.detector,
        )

    @property
    def models(self) -> Models:
        """Which models are used.

        Raises:
            ConfigError: there is a judge without a model, or its calls would never fit into a query's time.
        """
        if self.judge_url is not None:
            if self.judge_model is None:
                raise ConfigError("REDO_JUDGE_MODEL is not set, expected the name of a model of REDO_JUDGE_URL")
            if self.judge_timeout_s * 1e3 >= self.time_budget_ms:
                raise ConfigError(
                    f"REDO_JUDGE_TIMEOUT_S is {self.judge_timeout_s:g} s, expected less than "
                    f"ORCHESTRATION_TIME_BUDGET_MS ({self.time_budget_ms:g} ms): the judge would never be asked"
                )
        return Models(
            nli=self.nli_model,
            judge_url=self.judge_url,
            judge_model=self.judge_model,
            judge_api_key=self.judge_api_key,
            judge_timeout_s=self.judge_timeout_s,
        )

    @property
    def fallback(self) -> FallbackConfig:
        """What the guard is told."""
        return FallbackConfig(
            health_check_interval_seconds=self.health_check_interval_s,
            max_consecutive_failures=self.max_consecutive_failures,
            fallback_timeout_seconds=self.fallback_timeout_s,
            circuit_breaker_reset_seconds=self.circuit_breaker_reset_s,
        )


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: names each variable with a value that cannot be used, and what was expected.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"{found['loc'][0]}: {found['msg']}" + ("" if found["loc"][0] in _SECRETS else f", not {found['input']!r}")
            for found in error.errors()
        )
        raise ConfigError(f"environment: {'; '.join(wrong)}") from None


def load_environment_flags() -> dict[str, FlagValue]:
    """The flags that the environment sets. Raises FlagError where a value cannot be used."""
    return environment_flags(os.environ)


_NOT_KILLED = frozenset({"", "0", "false", "no", "off"})


def load_kill_switches(home: Path) -> KillSwitches:
    """Whether `REDO_KILL_SWITCH` is set, to anything but false, 0, no or off, and whether `home/kill-switch` exists."""
    try:
        (home / "kill-switch").lstat()
        has_file = True
    except OSError:
        has_file = False
    return KillSwitches(
        environment=os.environ.get("REDO_KILL_SWITCH", "").strip().lower() not in _NOT_KILLED, file=has_file
    )


_PLACE_VARIABLES = ("REDO_HOME", "HOME", "PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def place_variables() -> tuple[str | None, ...]:
    """What the environment says about where shared state is: as long as this is the same, so is the place."""
    return tuple(map(os.environ.get, _PLACE_VARIABLES))


def prefect_api_url() -> str | None:
    """Address of the Prefect API that is configured, by the environment or the active profile; `None` without one.

    It is looked up as Prefect does it, but without importing Prefect, which takes seconds.

    Raises:
        ConfigError: the file of profiles cannot be read.
    """
    if "PREFECT_API_URL" in os.environ:  # set to nothing, it says that there is none, whatever the profile says
        return os.environ["PREFECT_API_URL"].strip() or None
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml").expanduser()
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
        profile = known.get("profiles", {}).get(os.environ.get("PREFECT_PROFILE") or known.get("active"), {})
        return profile.get("PREFECT_API_URL") or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: a text where a table is expected
        raise ConfigError(f"Prefect's profiles {path}: {error}") from None


def prepare_prefect_environment(**more: str) -> None:
    """Set what REDO wants of Prefect where the user has not said otherwise. Call it before Prefect is imported."""
    for name, value in (PREFECT_DEFAULTS | more).items():
        os.environ.setdefault(name, value)
