"""The Prefect blocks that hold REDO's shared state, as people see them in the Prefect UI.

Each shared value is shown by one block that a person can open, read and edit: `redo-flags` is a `RedoFlags`, every
other value a `RedoState`. Behind it stands one `RedoChange` for each change. Those are the truth, they are never
changed, and the UI's list does not show them. `tasks.blocks` says how the two go together.

The first fields of a block are the value, the last ones say who changed it and when. A page of the UI shows the titles;
its edit form adds the descriptions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from prefect.blocks.core import Block
from pydantic import AfterValidator, Field, field_validator

from core.digest import canonical_json
from core.errors import FlagError
from core.flags import DEFINITIONS, LEDGER_ENABLED, REDO_ENABLED, ROLLOUT_PERCENTAGE, FlagValue, parse_flag
from core.rollout.description import headline_of_stored
from core.rollout.state import ROLLOUT

KILLED: Final = "killed"
"""Key of the stored flags that turns everything off."""

Switch: TypeAlias = Literal["not set", "off", "on"]


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what the form lets through and REDO's JSON does not hold, such as a whole number above 64 bits."""
    try:
        canonical_json(value)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return value


_JsonObject: TypeAlias = Annotated[dict[str, Any], AfterValidator(_as_json)]
_Reason = Annotated[str, Field(title="Reason", description="Why it was changed. Write yours here before you save.")]
_ChangedBy = Annotated[str, Field(title="Changed by", description="Who made the last change. REDO fills this in.")]
_ChangedAt = Annotated[str, Field(title="Changed at", description="When, in UTC. REDO fills this in.")]
_Version = Annotated[int, Field(title="Version", description="Counts the changes. REDO fills this in: leave it.")]
_Notice = Annotated[str, Field(title="Notice", description="Says why an edit was not taken. Empty: it was.")]


class StateBlock(Block, ABC):
    """A block that shows a shared value. Its class turns values into fields and back.

    All of them have the fields `reason`, `changed_by`, `changed_at`, `version` and `notice` after those of the value.
    They stand in each class, because what is inherited would stand first on the page.
    """

    @classmethod
    @abstractmethod
    def fields_of(cls, value: Mapping[str, object]) -> dict[str, object]:
        """Return the fields that show a value. What a value holds is shown, whatever it is."""

    @abstractmethod
    def shown_value(self) -> dict[str, object]:
        """Return the value that the fields show."""


class RedoState(StateBlock):
    """A value that REDO's processes share, such as the state of a breaker."""

    _block_type_name: ClassVar[str | None] = "REDO state"
    _block_type_slug: ClassVar[str | None] = "redo-state"
    _description: ClassVar[str | None] = (
        "A value that REDO's processes share. What you save here holds within seconds and goes into the history as a"
        " change by prefect-ui."
    )

    value: Annotated[_JsonObject, Field(title="Value", description="The value, as a JSON object.")] = Field(
        default_factory=dict
    )
    reason: _Reason = ""
    changed_by: _ChangedBy = ""
    changed_at: _ChangedAt = ""
    version: _Version = 0
    notice: _Notice = ""

    @classmethod
    def fields_of(cls, value: Mapping[str, object]) -> dict[str, object]:
        """See `StateBlock.fields_of`."""
        return {"value": dict(value)}

    def shown_value(self) -> dict[str, object]:
        """See `StateBlock.shown_value`."""
        return dict(self.value)


class RedoFlags(StateBlock):
    """REDO's flags. A flag that is not set has the value of the environment, or else its default."""

    _block_type_name: ClassVar[str | None] = "REDO flags"
    _block_type_slug: ClassVar[str | None] = "redo-flags"
    _description: ClassVar[str | None] = (
        "REDO's flags, for all workers, services and command lines. What you save here holds within seconds and goes"
        " into the history as a change by prefect-ui. A kill switch or override elsewhere is stronger: `redo flags`"
        " says what holds and why."
    )

    killed: Annotated[
        bool, Field(title="Everything off", description="Turns REDO and the ledger off at once, whatever stands below.")
    ] = False
    redo_enabled: Annotated[Switch, Field(title=REDO_ENABLED, description=DEFINITIONS[REDO_ENABLED].description)] = (
        "not set"
    )
    ledger_enabled: Annotated[
        Switch, Field(title=LEDGER_ENABLED, description=DEFINITIONS[LEDGER_ENABLED].description)
    ] = "not set"
    rollout_percentage: Annotated[
        float | None,
        Field(
            title=ROLLOUT_PERCENTAGE,
            ge=0,
            le=100,
            description=f"{DEFINITIONS[ROLLOUT_PERCENTAGE].description} 0 to 100, at most three decimals.",
        ),
    ] = None
    rollout: Annotated[
        str,
        Field(
            title="Rollout",
            description="Where the rollout stands. REDO fills this in: only `redo rollout` changes it.",
        ),
    ] = ""
    other: Annotated[
        _JsonObject, Field(title="Other", description="What else is stored with the flags, as a JSON object.")
    ] = Field(default_factory=dict)
    reason: _Reason = ""
    changed_by: _ChangedBy = ""
    changed_at: _ChangedAt = ""
    version: _Version = 0
    notice: _Notice = ""

    @field_validator("rollout_percentage")
    @classmethod
    def _is_a_percentage(cls, value: float | None) -> float | None:
        """Hold it against the flag's own rule, which counts decimals too."""
        try:
            return value if value is None else float(parse_flag(ROLLOUT_PERCENTAGE, value))
        except FlagError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def fields_of(cls, value: Mapping[str, object]) -> dict[str, object]:
        """See `StateBlock.fields_of`. A value that its flag cannot take is shown under `other`."""
        other = dict(value)
        rollout = headline_of_stored(other.pop(ROLLOUT, None))
        killed = other.pop(KILLED) if isinstance(value.get(KILLED), bool) else False
        flags: dict[str, FlagValue] = {}
        for name in DEFINITIONS.keys() & other.keys():
            try:
                flags[name] = parse_flag(name, other[name])
            except FlagError:
                continue
            del other[name]
        return {
            "killed": killed,
            "redo_enabled": _switch(flags.get(REDO_ENABLED)),
            "ledger_enabled": _switch(flags.get(LEDGER_ENABLED)),
            "rollout_percentage": flags.get(ROLLOUT_PERCENTAGE),
            "rollout": rollout,
            "other": other,
        }

    def shown_value(self) -> dict[str, object]:
        """See `StateBlock.shown_value`. `killed` is always in it. The fields are stronger than `other`.

        The rollout is never in it, not even from `other`: an edit would change it without an event. So it stays as it
        is stored, whatever else is edited.
        """
        value: dict[str, object] = {KILLED: False, **self.other}
        value.pop(ROLLOUT, None)
        if self.killed:
            value[KILLED] = True
        for name, switch in ((REDO_ENABLED, self.redo_enabled), (LEDGER_ENABLED, self.ledger_enabled)):
            if switch != "not set":
                value[name] = switch == "on"
        if self.rollout_percentage is not None:
            value[ROLLOUT_PERCENTAGE] = parse_flag(ROLLOUT_PERCENTAGE, self.rollout_percentage)
        return value


def _switch(value: FlagValue | None) -> Switch:
    return "not set" if value is None else "on" if value else "off"


class RedoChange(Block):
    """One change of a shared value. Written once, never changed, deleted when enough newer ones exist."""

    _block_type_name: ClassVar[str | None] = "REDO change"
    _block_type_slug: ClassVar[str | None] = "redo-change"
    _description: ClassVar[str | None] = "One entry of the history of a REDO state. Do not edit it."

    version: Annotated[int, Field(description="Number of the change: 1 for the first.")]
    after: Annotated[str, Field(description="The value after the change, as JSON.")]
    before: Annotated[str | None, Field(description="The value before it, as JSON; none for the first change.")] = None
    actor: Annotated[str, Field(description="Who made it.")]
    reason: Annotated[str, Field(description="Why.")]
    changed_at: Annotated[str, Field(description="When, in UTC, by the clock of the writer.")]
    change_id: Annotated[str, Field(description="Tells two attempts at the same version apart.")]
    edit_of: Annotated[str | None, Field(description="Which edit in the UI it records, where it records one.")] = None


def state_block(name: str) -> type[RedoFlags | RedoState]:
    """The class of the block that shows the value of this name."""
    return RedoFlags if name == "flags" else RedoState
