"""The ledger as DuckDB views: traces, documents, conflicts, stages, decisions.

Local files are read by DuckDB itself, objects on S3 through its httpfs extension, which comes as a Python package and
is loaded from there: nothing is fetched, and nothing is written to the home folder. Where the extension cannot be
loaded, or the AWS_* variables hold no key that it could use, PyArrow reads the objects instead, behind the same views.

The views see what is stored when a query runs; what was written after opening stays unseen where the ledger was empty
then, or is read by PyArrow.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pyarrow as pa

from core.errors import ConfigError, StoreError
from ledger.location import Location, S3Location, parse_location
from ledger.objects import open_store
from ledger.s3 import S3Access
from ledger.schema import FILE_SCHEMA

VIEWS = ("traces", "documents", "conflicts", "stages", "decisions")

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}
_STORED_SCHEMA = FILE_SCHEMA.append(pa.field("dt", pa.date32()))
_REQUEST_TIMEOUT_S = 10

_NO_ROWS = """
create view stored.rows as select *, null::varchar as filename, null::bigint as file_row_number from stored.nothing;
create view stored.ids as select trace_id, filename, file_row_number from stored.rows
"""
# The empty table brings the columns that older files do not have yet; the casts drop what newer ones have in addition.
_ROWS = """
create or replace view stored.rows as
select {columns}, filename, file_row_number
from (
    select * from stored.nothing
    union all by name
    select * from read_parquet({pattern}, union_by_name = true, hive_partitioning = true, hive_types = {{'dt': date}},
        filename = true, file_row_number = true)
)
"""
# Every version has these columns, so nothing needs to look into each file for what columns it has.
_IDS = """
create or replace view stored.ids as
select trace_id, filename, file_row_number
from read_parquet({pattern}, filename = true, file_row_number = true)
"""
# An id stands in two objects only after a chunk was cut or dated anew. Finding those few rows reads one narrow column;
# a window over whole rows would hold every passage text in memory.
_DOUBLES = """
create view stored.doubles as
select filename, file_row_number from (
    select filename, file_row_number,
        row_number() over (partition by trace_id order by filename, file_row_number) as place
    from stored.ids
    where trace_id in (select trace_id from stored.ids group by trace_id having count(*) > 1)
) where place > 1
"""
_TRACES = """
create view traces as
select * exclude (filename, file_row_number) from stored.rows anti join stored.doubles using (filename, file_row_number)
"""
# PyArrow tells no row numbers.
_TRACES_WITHOUT_ROW_NUMBERS = """
create view traces as
select * exclude (filename, file_row_number) from stored.rows
qualify row_number() over (partition by trace_id order by dt, recorded_at, attempt) = 1
"""
_NESTED = """
create view {name} as
select trace_id, batch_id, query_id, dt, selection_arm, unnest({name}, max_depth := 2) from traces
"""
_DECISIONS = """
create view decisions as
select trace_id, batch_id, query_id, dt, recorded_at, decision, reason, guard_decision, guard_reason, shadow, error,
    flags, rollout_percentage, bucket, phase, breaker_state, latency_ms, budget_ms, deadline_hit, code_version
from traces
"""


def connect(uri: str, *, memory_limit: str = "2GB", extension: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the views of the ledger at `uri`. An empty ledger gives empty views.

    `traces` shows one row a trace id, also where an id stands in two objects. `documents`, `conflicts` and `stages` are
    its lists, one row an element, with the ids of the trace. The connection is for our own SQL; SQL of a user goes
    through `ledger.query.run_query`.

    Args:
        uri: `s3://bucket/prefix`, a local folder, or `file:///folder`.
        memory_limit: the most memory that DuckDB may take, as `2GB`. It does not spill to the disk.
        extension: false reads S3 through PyArrow even where httpfs could be loaded.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the store cannot be read.

    Example:
        >>> with connect("s3://bucket/ledger") as connection:
        ...     connection.sql("select decision, count(*) from traces group by 1").fetchall()
    """
    location = parse_location(uri)
    if isinstance(location, S3Location) and any(letter in location.path for letter in "*?["):
        raise ConfigError(f"{location}: a ledger's prefix cannot hold '*', '?' or '['")
    open_store(uri).ping()
    connection = duckdb.connect(config=_CONFIG | {"memory_limit": memory_limit})
    try:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set parquet_metadata_cache = true")
        connection.execute("create schema stored")
        connection.register("no_rows", _STORED_SCHEMA.empty_table())
        connection.execute("create table stored.nothing as from no_rows")
        connection.unregister("no_rows")
        _create_views(connection, location, extension=extension)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        connection.close()
        raise StoreError(f"{uri}: the ledger cannot be read: {one_line(error)}") from None
    return connection


def one_line(error: Exception) -> str:
    """DuckDB's text without the picture of the line below it."""
    return " ".join(str(error).partition("\n\nLINE")[0].split())


def quoted(text: str) -> str:
    """The text as a string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def glob_escaped(path: str) -> str:
    """The path as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _create_views(connection: duckdb.DuckDBPyConnection, location: Location, *, extension: bool) -> None:
    connection.execute(_NO_ROWS)
    by_pyarrow = isinstance(location, S3Location) and not (extension and _load_httpfs(connection, location))
    for statement in (_TRACES_WITHOUT_ROW_NUMBERS,) if by_pyarrow else (_DOUBLES, _TRACES):
        connection.execute(statement)
    for name in ("documents", "conflicts", "stages"):
        connection.execute(_NESTED.format(name=name))
    connection.execute(_DECISIONS)
    # Only now: every view that is made over the files lists them, and reads what each of them holds, once more.
    if by_pyarrow:
        _view_rows_with_pyarrow(connection, location)
    else:
        _view_rows(connection, location)


def _load_httpfs(connection: duckdb.DuckDBPyConnection, location: S3Location) -> bool:
    """Load httpfs and give it the key; false where it, or the key, is missing."""
    access = S3Access.from_environment()
    package = importlib.util.find_spec("duckdb_extension_httpfs")
    if access.key_id is None or access.secret is None or package is None or package.origin is None:
        return False
    binary = Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    try:
        connection.execute(f"load {quoted(str(binary))}")
    except duckdb.Error:
        return False
    connection.execute(f"set http_timeout = {_REQUEST_TIMEOUT_S}")
    # The extension copies the environment's key into settings, which any statement can read; a secret is redacted.
    for setting in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
        connection.execute(f"set {setting} = ''")
    options = {
        "key_id": access.key_id,
        "secret": access.secret,
        "session_token": access.session_token,
        "region": access.region,
        "endpoint": None if access.endpoint is None else access.endpoint.partition("://")[2].rstrip("/"),
        "url_style": None if access.endpoint is None else "path",
        "scope": f"s3://{location.bucket}",
    }
    given = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value is not None)
    connection.execute(f"create secret ledger (type s3, use_ssl {access.uses_tls}, {given})")
    return True


def _view_rows(connection: duckdb.DuckDBPyConnection, location: Location) -> None:
    pattern = quoted(f"{glob_escaped(str(location))}/traces/dt=*/*.parquet")
    described = connection.execute("describe stored.nothing").fetchall()
    columns = ", ".join(f"{name}::{kind} as {name}" for name, kind, *_ in described)
    try:
        connection.execute(_ROWS.format(columns=columns, pattern=pattern))
        connection.execute(_IDS.format(pattern=pattern))
    except duckdb.IOException as error:
        if "No files found" not in str(error):
            raise


def _view_rows_with_pyarrow(connection: duckdb.DuckDBPyConnection, location: Location) -> None:
    import pyarrow.dataset as ds  # noqa: PLC0415  half a second that only this fallback needs
    import pyarrow.fs as pafs  # noqa: PLC0415

    access = S3Access.from_environment()
    files = pafs.S3FileSystem(
        access_key=access.key_id,
        secret_key=access.secret,
        session_token=access.session_token,
        region=access.region,
        endpoint_override=None if access.endpoint is None else access.endpoint.partition("://")[2].rstrip("/"),
        scheme="https" if access.uses_tls else "http",
        connect_timeout=_REQUEST_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
    )
    folder = pafs.FileSelector(f"{str(location).removeprefix('s3://')}/traces", recursive=True, allow_not_found=True)
    paths = [entry.path for entry in files.get_file_info(folder) if entry.path.endswith(".parquet")]
    if not paths:
        return
    stored = ds.dataset(
        paths,
        schema=_STORED_SCHEMA,
        format="parquet",
        filesystem=files,
        partitioning=ds.partitioning(pa.schema([_STORED_SCHEMA.field("dt")]), flavor="hive"),
        partition_base_dir=folder.base_dir,
    )
    connection.register("stored_rows", stored)
    connection.execute(
        "create or replace view stored.rows as "
        "select *, null::varchar as filename, null::bigint as file_row_number from stored_rows"
    )
