"""The flags for other services: a provider for the OpenFeature SDK that answers as the guard does.

    openfeature.api.set_provider(RedoFlagProvider(get_fallback_manager()))
    client = openfeature.api.get_client()
    client.get_boolean_value("orchestrator.redo_enabled", False, EvaluationContext(targeting_key=session_id))

The targeting key is what the guard's bucket hangs on: the session, else the user, else the query. Health and breakers
are no flags and do not count here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    FlagNotFoundError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from core.fallbacks import FlagView, RedoFallbackManager
from core.flags import DEFINITIONS, REDO_ENABLED, FlagKind, FlagSource, FlagValue, in_rollout, rollout_bucket

NAME: Final = "redo"
"""What the provider calls itself."""

_REASONS: Final[Mapping[FlagSource, Reason]] = {
    FlagSource.KILL_SWITCH: Reason.DISABLED,
    FlagSource.OVERRIDE: Reason.STATIC,  # the same for everybody
    FlagSource.STORED: Reason.STATIC,
    FlagSource.ENVIRONMENT: Reason.STATIC,
    FlagSource.DEFAULT: Reason.DEFAULT,
}


class RedoFlagProvider(AbstractProvider):
    """Answers from the guard's snapshot of the shared state, so that an evaluation costs no request.

    `orchestrator.redo_enabled` is the answer for one key: on where the flag is on and the key is in the rollout, with
    the reason SPLIT. Where it is on a key is needed: without one it is an error, and the SDK returns the default that
    the caller gave. The other flags are as they are. The metadata says where a value comes from, and which bucket.

    A value that may be old, because the store does not answer, has the reason STALE and says why in the metadata.
    Before the store has ever answered everything is off, and stale.

    Args:
        manager: the guard.
    """

    def __init__(self, manager: RedoFallbackManager) -> None:
        super().__init__()
        self._manager: Final = manager

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name=NAME)

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the flags for the first time.

        Raises:
            ProviderNotReadyError: the store does not answer. The SDK reports it, and asks for values all the same.
        """
        del evaluation_context
        self._manager.refresh()
        if self._manager.flag_view().is_unknown:
            raise ProviderNotReadyError(f"the shared state does not answer: {self._stale_because()}")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: FBT001 - the SDK's signature, here and below
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Resolve a switch. Raises what the SDK knows as FLAG_NOT_FOUND, TYPE_MISMATCH or TARGETING_KEY_MISSING."""
        del default_value
        _require(flag_key, FlagKind.SWITCH)
        view, key = self._manager.flag_view(), _key(evaluation_context)
        value = bool(_value(view, flag_key, key))
        reason, metadata = self._origin(view, flag_key, key)
        if value and flag_key == REDO_ENABLED:
            if key is None:
                raise TargetingKeyMissingError(f"{flag_key!r} is decided for a session, user or query: name it")
            value = in_rollout(key, view.of(key).rollout_percentage)
            reason = reason if reason is Reason.STALE else Reason.SPLIT
            metadata["bucket"] = rollout_bucket(key)
        variant = "on" if value else "off"
        return FlagResolutionDetails(value, reason=reason, variant=variant, flag_metadata=metadata)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Resolve the percentage where it is whole; elsewhere it is a TYPE_MISMATCH."""
        del default_value
        percentage, reason, metadata = self._percentage(flag_key, evaluation_context)
        if not percentage.is_integer():
            raise TypeMismatchError(f"{flag_key!r} is {percentage}: ask for a float")
        return FlagResolutionDetails(int(percentage), reason=reason, flag_metadata=metadata)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Resolve the percentage."""
        del default_value
        percentage, reason, metadata = self._percentage(flag_key, evaluation_context)
        return FlagResolutionDetails(percentage, reason=reason, flag_metadata=metadata)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> NoReturn:
        """Refuse: no flag is a text."""
        del default_value, evaluation_context
        _refuse(flag_key)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> NoReturn:
        """Refuse: no flag is an object."""
        del default_value, evaluation_context
        _refuse(flag_key)

    def _percentage(
        self, flag_key: str, context: EvaluationContext | None
    ) -> tuple[float, Reason, dict[str, bool | int | float | str]]:
        _require(flag_key, FlagKind.PERCENTAGE)
        view, key = self._manager.flag_view(), _key(context)
        return float(_value(view, flag_key, key)), *self._origin(view, flag_key, key)

    def _origin(self, view: FlagView, name: str, key: str | None) -> tuple[Reason, dict[str, bool | int | float | str]]:
        """Why the flag has its value, and what the metadata says about that."""
        stale_because = self._stale_because()
        resolved = next((flag for flag in view.resolved if flag.name == name), None)
        if resolved is None:  # nothing is known, so everything is off
            return Reason.STALE, {"stale_because": stale_because or "the shared state has not answered"}
        reason, source = _REASONS[resolved.source], resolved.source
        if _value(view, name, key) != resolved.value:  # an override for this key is in force
            reason, source = Reason.TARGETING_MATCH, FlagSource.OVERRIDE
        if stale_because is None:
            return reason, {"source": source.value}
        return Reason.STALE, {"source": source.value, "stale_because": stale_because}

    def _stale_because(self) -> str | None:
        return self._manager._keeper.error  # noqa: SLF001 - the manager says it only together with a look at the store


def _key(context: EvaluationContext | None) -> str | None:
    return (context.targeting_key or None) if context is not None else None


def _value(view: FlagView, name: str, key: str | None) -> FlagValue:
    return view.of(key).as_dict()[name]


def _require(name: str, kind: FlagKind) -> None:
    definition = DEFINITIONS.get(name)
    if definition is None or definition.kind is not kind:
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    """Say why a flag cannot be given as the caller wants it."""
    definition = DEFINITIONS.get(name)
    if definition is None:
        raise FlagNotFoundError(f"flag {name!r}: unknown; there are {', '.join(DEFINITIONS)}")
    raise TypeMismatchError(f"flag {name!r} is {definition.kind.value}")
