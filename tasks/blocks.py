"""The state store on Prefect blocks: shared by all who use one Prefect API, seen and edited in its UI.

A value such as `flags` has one block that people see, `redo-flags`, and behind it one block for each change, which the
UI does not list: `history---redo-flags---v0000000012`. The changes are the truth. The next one is made by creating its
block, and only one process can create a block of a given name: that is the compare-and-swap. The block that people see
is a copy, written after the change. There is no lock, so nothing to wait for when a process dies.

    load    one request finds the newest changes and the copy
    swap    create the next change; then write the copy
    edit    a copy that differs from the change whose version it bears was edited in the UI: what the person changed is
            put on top of the newest value, and recorded as a change by `prefect-ui`
    repair  a copy that is behind, because its writer died, is written again by whoever sees it
    trim    changes that are too old are deleted, from the oldest on, never the newest

docs/decisions/003-state-in-prefect-blocks.md says why, and what can still go wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

import orjson
from pydantic import ValidationError

from core.clock import Clock
from core.digest import canonical_json
from core.errors import StateConflict, StoreError, TransientStoreError
from core.state import Change, Versioned, check_name
from tasks.block_edits import alike, edited, refusal
from tasks.block_types import RedoChange, state_block
from tasks.prefect_api import BlockApi, Document

UI_ACTOR: Final = "prefect-ui"
"""Who the history says made a change in Prefect's UI: Prefect's own server does not know its users."""

_REPAIR_AFTER_S: Final = 2.0  # a copy may be behind for as long as its writer needs for two requests
_LOADED_S: Final = 5.0  # how long a swap relies on what was loaded: one request less
_TRIM_EVERY: Final = 10  # changes; so many more than `keep` can be there
_PAGE: Final = 200  # what the server returns at most
_LOOK: Final = 3  # the copy and the newest changes
_TOO_OLD: Final = "Your edit was not taken: the page was opened too many changes ago. Please do it again."
_ATTEMPTS: Final = 20  # edits recorded in a row before a call gives up; each lost attempt is somebody's progress


class PrefectStateStore:
    """The `StateStore` port on Prefect blocks. Threads and processes may share one API.

    Args:
        clock: tells the time of each change.
        api_url: address of the Prefect API; without one, that of Prefect's settings.
        namespace: sets this store's values apart from those of others on the same API: `blue` has the block
            `redo-blue--flags`. A name as `core.state.check_name` wants it.
        keep: how many changes of each value are kept, the same for all who share them; up to 9 more can be there.
        time_limit_s: how long one call may take in all, in seconds.

    Raises:
        StoreError: no address of an API is known.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        api_url: str | None = None,
        namespace: str | None = None,
        keep: int = 50,
        time_limit_s: float = 3.0,
    ) -> None:
        if keep < 2:  # noqa: PLR2004 - an edit is held against the change that it was made from
            raise ValueError(f"keep: {keep} is less than 2")
        self._clock = clock
        self._prefix = "redo-" if namespace is None else f"redo-{check_name(namespace)}--"
        self._keep = keep
        self._time_limit_s = time_limit_s
        self._api = BlockApi(api_url)
        self._copy_ids: dict[str, UUID] = {}  # saves a request, no more
        self._loaded: dict[str, tuple[RedoChange, float]] = {}
        self._behind: dict[str, tuple[str, int, float]] = {}

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._api.close()

    def block_name(self, name: str) -> str:
        """The name of the block that shows a value in the UI."""
        return self._prefix + check_name(name)

    def load(self, name: str) -> Versioned | None:
        """See `core.ports.StateStore.load`. An edit in the UI is recorded on the way, and then loaded."""
        check_name(name)
        with self._api.within(self._time_limit_s):
            newest = self._settle(name, repair_now=False)
            return None if newest is None else _versioned(newest)

    def swap(
        self, name: str, *, expected_version: int, value: Mapping[str, object], actor: str, reason: str
    ) -> Versioned:
        """See `core.ports.StateStore.swap`."""
        check_name(name)
        after = dict(value)
        canonical_json(after)  # raises TypeError before anything is sent
        with self._api.within(self._time_limit_s):
            present = self._known(name, expected_version)
            if (0 if present is None else present.version) != expected_version:
                raise StateConflict(name, expected_version)
            written = self._next(present, after, actor=actor, reason=reason)
            if not self._create(name, written):
                raise StateConflict(name, expected_version)
            with suppress(StoreError):  # the change is made; what is left can be done by anybody, later
                self._finish(name, written, expected_version)
            return _versioned(written)

    def history(self, name: str, limit: int) -> Sequence[Change]:
        """See `core.ports.StateStore.history`. Changes that were trimmed are not in it."""
        check_name(name)
        changes: list[Change] = []
        with self._api.within(self._time_limit_s):
            while len(changes) < limit:
                page = min(limit - len(changes), _PAGE)
                found = self._api.find((RedoChange,), self._change_name(name), limit=page, offset=len(changes))
                changes += (_change(_read(document)) for document in found)
                if len(found) < page:
                    break
        return tuple(changes)

    # --- writing ---

    def _next(
        self,
        present: RedoChange | None,
        after: Mapping[str, object],
        *,
        actor: str,
        reason: str,
        edit_of: str | None = None,
    ) -> RedoChange:
        return RedoChange(
            version=1 if present is None else present.version + 1,
            after=canonical_json(after).decode(),
            before=None if present is None else present.after,
            actor=actor,
            reason=reason,
            changed_at=self._clock.utc_now().isoformat(),
            change_id=uuid4().hex,
            edit_of=edit_of,
        )

    def _create(self, name: str, change: RedoChange) -> bool:
        """Make the change if nobody has made one of this version; false where somebody has."""
        block = self._change_name(name, change.version)
        data = {field: getattr(change, field) for field in RedoChange.model_fields}
        if self._api.create(RedoChange, block, data, listed=False):
            return True
        found = self._api.read(RedoChange, block)
        if found is None:  # the server says conflict, too, where the block's schema has been deleted
            self._api.forget_types()
            raise TransientStoreError(f"block {block}: refused as existing, but it does not exist")
        return found.data.get("change_id") == change.change_id  # ours, where the first answer was lost on the way

    def _finish(self, name: str, written: RedoChange, expected_version: int) -> None:
        newest = self._settle(name, repair_now=True)
        if newest is not None and newest.version - written.version >= self._keep:
            # This process stood still after it had looked, until that version and the next one had been trimmed.
            stray = self._api.read(RedoChange, self._change_name(name, written.version))
            if stray is not None:
                self._api.delete(stray.document_id)
            raise StateConflict(name, expected_version)
        if written.version % _TRIM_EVERY == 0:
            old = self._api.find((RedoChange,), self._change_name(name), limit=2 * _TRIM_EVERY, offset=self._keep)
            for document in reversed(old):  # the oldest first: what is left has no gaps
                if _read(document).version <= written.version - self._keep:
                    self._api.delete(document.document_id)

    # --- reading ---

    def _known(self, name: str, version: int) -> RedoChange | None:
        """The newest change; where this version was just loaded, that one. Creating the next one tells if it still is.

        A version that was loaded long ago may be gone, and the one after it too, which could then be created once more.
        """
        loaded = self._loaded.get(name)
        if loaded is not None and loaded[0].version == version and self._clock.now() - loaded[1] <= _LOADED_S:
            return loaded[0]
        return self._look(name).newest

    def _look(self, name: str) -> _Seen:
        kind = state_block(name)
        known = self._copy_ids.get(name)
        found = self._api.find((kind, RedoChange), self._change_name(name), also=known, limit=_LOOK)
        copy = next((document for document in found if document.document_id == known), None)
        changes = tuple(_read(document) for document in found if document is not copy)
        if copy is None:
            copy = self._api.read(kind, self.block_name(name))
            if copy is not None:
                self._copy_ids[name] = copy.document_id
        return _Seen(copy, changes)

    def _settle(self, name: str, *, repair_now: bool) -> RedoChange | None:
        """Record what was edited in the UI, see to it that the copy shows the newest value, and return that."""
        for _ in range(_ATTEMPTS):
            seen = self._look(name)
            edit = self._edit(name, seen)
            if edit.after is None:
                if seen.newest is not None:
                    self._loaded[name] = (seen.newest, self._clock.now())
                    with suppress(StoreError):  # the value is known, whether the copy can be written or not
                        self._repair(name, seen, seen.newest, notice=edit.notice, now=repair_now or edit.is_done)
                return seen.newest
            change = self._next(seen.newest, edit.after, actor=UI_ACTOR, reason=edit.reason, edit_of=edit.edit_of)
            self._create(name, change)  # or somebody else was faster, with this edit or another change: look again
        raise TransientStoreError(f"block {self.block_name(name)}: it changes faster than edits can be recorded")

    def _edit(self, name: str, seen: _Seen) -> _Edit:
        """What a person did to the copy, if anything."""
        copy, newest = seen.copy, seen.newest
        if copy is None:
            return _Edit()
        if any(change.edit_of == copy.updated for change in seen.changes):
            return _Edit(is_done=True)
        base: RedoChange | None = newest
        version = copy.data.get("version")
        if newest is not None and isinstance(version, int) and 1 <= version < newest.version:
            base = self._change_of(name, seen, version)
            if base is None:
                return _Edit(notice=_TOO_OLD, is_done=True)
        try:
            after = edited(state_block(name), copy.data, base=_value(base), newest=_value(newest))
        except ValidationError as error:
            return _Edit(notice=refusal(error), is_done=True)
        return _Edit(after, reason=_reason(copy, base), edit_of=copy.updated)

    def _change_of(self, name: str, seen: _Seen, version: int) -> RedoChange | None:
        for change in seen.changes:
            if change.version == version:
                return change
        found = self._api.read(RedoChange, self._change_name(name, version))
        return None if found is None else _read(found)

    def _repair(self, name: str, seen: _Seen, newest: RedoChange, *, notice: str, now: bool) -> None:
        """Write the copy if it does not show the newest value, unless its writer may just be at it."""
        kind, copy = state_block(name), seen.copy
        fields = kind.fields_of(_value(newest)) | {
            "reason": newest.reason,
            "changed_by": newest.actor,
            "changed_at": datetime.fromisoformat(newest.changed_at).isoformat(timespec="seconds"),
            "version": newest.version,
        }
        if copy is None:
            self._api.create(kind, self.block_name(name), fields | {"notice": notice}, listed=True)
            return
        if not notice and alike({field: copy.data.get(field) for field in fields}, fields):
            self._behind.pop(name, None)
            return
        since = self._behind.get(name)
        if since is None or since[:2] != (copy.updated, newest.version):
            since = self._behind[name] = (copy.updated, newest.version, self._clock.now())
        if now or self._clock.now() - since[2] >= _REPAIR_AFTER_S:
            self._api.replace(kind, copy.document_id, fields | {"notice": notice})

    def _change_name(self, name: str, version: int | None = None) -> str:
        """The name of a change's block; without a version, what the names of all of a value's changes contain.

        No name of a value and no namespace has two hyphens in a row, so three of them tell the parts apart, and no
        other value's changes contain the same. Names sort as their versions do, and before `redo-`.
        """
        number = "" if version is None else f"{version:010d}"
        return f"history---{self.block_name(name)}---v{number}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look shows: the copy, and the newest changes, newest first."""

    copy: Document | None
    changes: tuple[RedoChange, ...]

    @property
    def newest(self) -> RedoChange | None:
        return self.changes[0] if self.changes else None


@dataclass(frozen=True, slots=True)
class _Edit:
    """What is to be done about an edit.

    Attributes:
        after: the value to record, where there is one.
        reason: the reason to record it with.
        edit_of: tells this edit from others.
        notice: why it was not taken; empty where it was, or where there was none.
        is_done: whether the copy is to be written again at once: the edit is recorded, or refused.
    """

    after: Mapping[str, object] | None = None
    reason: str = ""
    edit_of: str = ""
    notice: str = ""
    is_done: bool = False


def _read(document: Document) -> RedoChange:
    try:
        change = RedoChange.model_validate(dict(document.data))
        _change(change)
    except ValueError as error:  # somebody edited it by hand
        raise StoreError(f"block {document.name}: {error}") from error
    return change


def _value(change: RedoChange | None) -> dict[str, object]:
    value: dict[str, object] = {} if change is None else orjson.loads(change.after)
    return value


def _versioned(change: RedoChange) -> Versioned:
    changed_at = datetime.fromisoformat(change.changed_at)
    return Versioned(change.version, _value(change), changed_at, change.actor, change.reason)


def _change(change: RedoChange) -> Change:
    return Change(
        version=change.version,
        actor=change.actor,
        reason=change.reason,
        before=None if change.before is None else orjson.loads(change.before),
        after=_value(change),
        time=datetime.fromisoformat(change.changed_at),
    )


def _reason(copy: Document, base: RedoChange | None) -> str:
    """What the person wrote as the reason, where that is not still the reason of the change before."""
    told = copy.data.get("reason")
    if isinstance(told, str) and told.strip() and (base is None or told != base.reason):
        return told
    return "edited in the Prefect UI"
