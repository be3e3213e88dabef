"""Objects that upkeep writes to learn something about the store, and removes at once."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

from core.errors import StoreError
from core.ports import LedgerStore

PROBES: Final = "probes/"
"""Where they are; `gc` removes what a killed process has left there."""


def store_time(store: LedgerStore) -> datetime:
    """What time it is by the store's clock: an object is created, listed and removed.

    Raises:
        StoreError: the store does not let us.
    """
    key = f"{PROBES}{secrets.token_hex(8)}"
    try:
        store.append(key, b"what time is it?")
        times = [found.modified_at for found in store.objects(key)]
    finally:
        store.delete(key)
    if not times:
        raise StoreError(f"{store.uri}/{key}: written, and not in the listing: see `redo ledger doctor`")
    return times[0].astimezone(UTC)
