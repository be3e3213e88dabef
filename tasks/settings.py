"""The configuration: one frozen value, read once from the environment. The only place that reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigError
from core.flags import FlagValue, environment_flags
from core.pipeline import PipelineConfig
from core.placement import PlacementPolicy

PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a cold start takes over 20 s on a small machine
}
"""What REDO sets for the Prefect that it starts, where the user has not: no telemetry, and patience."""


class Settings(BaseSettings):
    """Every setting, with its environment variable as alias. Frozen: a change needs a new process."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

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
    chunk_size: Annotated[
        int, Field(alias="REDO_CHUNK_SIZE", ge=1, le=500, description="Queries that one task run works on.")
    ] = 100

    @property
    def home_folder(self) -> Path:
        """`home` as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def ledger(self) -> str:
        """Where the ledger is."""
        return self.ledger_uri or str(self.home_folder / "ledger")

    @property
    def pipeline(self) -> PipelineConfig:
        """What the pipeline is told."""
        return PipelineConfig(
            top_k=self.top_k,
            token_budget=self.token_budget,
            budget_s=self.time_budget_ms / 1e3,
            placement=self.placement,
        )


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: names each variable with a value that cannot be used, and what was expected.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{found['loc'][0]}: {found['msg']}, not {found['input']!r}" for found in error.errors())
        raise ConfigError(f"environment: {wrong}") from None


def load_environment_flags() -> dict[str, FlagValue]:
    """The flags that the environment sets. Raises FlagError where a value cannot be used."""
    return environment_flags(os.environ)


def prepare_prefect_environment(**more: str) -> None:
    """Set what REDO wants of Prefect where the user has not said otherwise. Call it before Prefect is imported."""
    for name, value in (PREFECT_DEFAULTS | more).items():
        os.environ.setdefault(name, value)
