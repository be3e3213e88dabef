"""The ledger's files read by PyArrow, for DuckDB to stand its views on where it cannot reach S3 itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import duckdb
import orjson
import pyarrow as pa

from core.ports import LedgerStore
from ledger.httpfs import REQUEST_TIMEOUT_S, host_of
from ledger.location import S3Location
from ledger.s3 import S3Access

_AT_ONCE: Final = 16

_OBJECT: Final = pa.struct(
    [
        ("key", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("schema_version", pa.int32()),
        ("batch_ids", pa.list_(pa.string())),
        ("first_recorded_at", pa.string()),
        ("last_recorded_at", pa.string()),
    ]
)
_MANIFEST: Final = pa.schema(
    [
        ("writer", pa.string()),
        ("sequence", pa.int64()),
        ("spooled", pa.bool_()),
        ("committed_at", pa.string()),
        ("object", _OBJECT),
        ("previous", pa.struct([("key", pa.string()), ("sha256", pa.string())])),
    ]
)
# Two groups of files that a row may stand in twice, those that were rewritten first; PyArrow tells no row numbers.
_UNDOUBTED: Final = """
create or replace view stored.rows as
select *, null::varchar as filename, null::bigint as file_row_number from arrow_rows
"""
_ALL: Final = """
create or replace view stored.rows as
select *, null::varchar as filename, null::bigint as file_row_number from (
    from arrow_rows
    union all
    select * exclude (place) from (select *, 0 as place from arrow_rewritten union all select *, 1 from arrow_doubtful)
    qualify row_number() over (partition by trace_id order by place, dt, recorded_at, attempt) = 1
)
"""


class ArrowFiles:
    """Files of a ledger on S3, by their keys.

    Args:
        connection: where they become tables.
        location: the ledger.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, location: S3Location) -> None:
        import pyarrow.fs as pafs  # noqa: PLC0415  half a second that only this fallback needs

        access = S3Access.from_environment()
        self._connection = connection
        self._base = str(location).removeprefix("s3://")
        self._files = pafs.S3FileSystem(
            access_key=access.key_id,
            secret_key=access.secret,
            session_token=access.session_token,
            region=access.region,
            endpoint_override=host_of(access),
            scheme="https" if access.uses_tls else "http",
            connect_timeout=REQUEST_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
        )

    def view_rows(
        self, schema: pa.Schema, *, plain: Sequence[str], rewritten: Sequence[str], doubtful: Sequence[str]
    ) -> None:
        """Make `stored.rows`, with each trace id once.

        Args:
            schema: the columns, the partition `dt` among them.
            plain: keys of objects that hold rows that no other does.
            rewritten: keys of rewritten objects of which a row may stand elsewhere too.
            doubtful: the same of objects as they were first written.
        """
        self._register("arrow_rows", plain, schema)
        if not rewritten and not doubtful:
            self._connection.execute(_UNDOUBTED)
            return
        self._register("arrow_rewritten", rewritten, schema)
        self._register("arrow_doubtful", doubtful, schema)
        self._connection.execute(_ALL)

    def view_manifests(self, store: LedgerStore, keys: Sequence[str]) -> None:
        """Make `stored.manifest_rows` of the manifests with these keys, all of which are read now."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            told = list(pool.map(lambda key: orjson.loads(store.read(key)), keys))
        self._connection.register("arrow_manifests", pa.Table.from_pylist(told, schema=_MANIFEST))
        self._connection.execute("create or replace view stored.manifest_rows as from arrow_manifests")

    def _register(self, name: str, keys: Sequence[str], schema: pa.Schema) -> None:
        import pyarrow.dataset as ds  # noqa: PLC0415  as there

        stored: Any = schema.empty_table()
        if keys:
            stored = ds.dataset(
                [f"{self._base}/{key}" for key in keys],
                schema=schema,
                format="parquet",
                filesystem=self._files,
                partitioning=ds.partitioning(pa.schema([schema.field("dt")]), flavor="hive"),
                partition_base_dir=f"{self._base}/traces",
            )
        self._connection.register(name, stored)
