"""The ledger as DuckDB views: traces, latest_traces, documents, conflicts, stages, decisions, manifests.

The views show what is committed: `ledger.catalog` says which objects count, and the views name each of them. They are a
snapshot of that moment. What is written later, or compacted, stays unseen; connect again to see it.

Local files are read by DuckDB itself, objects on S3 through its httpfs extension. Where that cannot be loaded, or the
AWS_* variables hold no key that it could use, PyArrow reads the objects instead, behind the same views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Final

import duckdb
import orjson
import pyarrow as pa

from core.errors import ConfigError, StoreError
from core.ports import ObjectInfo
from ledger.catalog import Catalog, doubtful_keys, load_catalog, object_name
from ledger.httpfs import load_httpfs
from ledger.location import Location, S3Location, parse_location
from ledger.macros import MACROS
from ledger.manifest import manifest_key
from ledger.objects import open_store
from ledger.schema import FILE_SCHEMA
from ledger.sql_types import sql_columns
from ledger.view_sql import (
    DOUBLES,
    INSERT,
    MANIFESTS,
    NO_MANIFESTS,
    NO_ROWS,
    OBJECTS,
    OBJECTS_AS_JSON,
    ON_TRACES,
    REWRITTEN,
    REWRITTEN_AS_JSON,
    ROWS,
    TRACES,
    TRACES_WITHOUT_DOUBLES,
    glob_escaped,
    quoted,
)

CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
    "temp_directory": "",
}
_STORED_SCHEMA: Final = FILE_SCHEMA.append(pa.field("dt", pa.date32()))


def connect(
    uri: str,
    *,
    memory_limit: str = "2GB",
    extension: bool = True,
    uncommitted: bool = False,
    since: date | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB connection with the views of the ledger at `uri`. An empty ledger gives empty views.

    `traces` shows one row a trace id, also where an id stands in two objects. `latest_traces` shows the newest of each
    query. `documents`, `conflicts` and `stages` are the lists, one row an element, with the ids of the trace. The
    macros of `ledger.macros` stand beside them. The connection is for our own SQL; SQL of a user goes through
    `ledger.query.run_query`.

    Args:
        uri: `s3://bucket/prefix`, a local folder, or `file:///folder`.
        memory_limit: the most memory that DuckDB may take, as `2GB`. It does not spill to the disk.
        extension: false reads S3 through PyArrow even where httpfs could be loaded.
        uncommitted: true shows also rows whose manifest is not there: of writers that are not done, or died.
        since: the first day to look at: objects of earlier days are not opened. `None` looks at all.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the store cannot be read.

    Example:
        >>> with connect("s3://bucket/ledger") as connection:
        ...     connection.sql("select decision, count(*) from traces group by 1").fetchall()
    """
    catalog = narrowed(read_catalog(uri), uncommitted=uncommitted, since=since)
    return connect_to(uri, catalog, memory_limit=memory_limit, extension=extension)


def connect_to(
    uri: str, catalog: Catalog, *, memory_limit: str = "2GB", extension: bool = True
) -> duckdb.DuckDBPyConnection:
    """Open a connection as `connect` does, with the objects of a catalog that the caller has loaded.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the store cannot be read.
    """
    connection = duckdb.connect(config=CONFIG | {"memory_limit": memory_limit})
    try:
        create_views(connection, parse_location(uri), catalog, extension=extension)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        connection.close()
        raise StoreError(f"{uri}: the ledger cannot be read: {one_line(error)}") from None
    return connection


def read_catalog(uri: str) -> Catalog:
    """What counts in the ledger at `uri` right now.

    Raises:
        ConfigError: the URI cannot be used.
        StoreError: the store cannot be read.
    """
    location = parse_location(uri)
    if isinstance(location, S3Location) and any(letter in location.path for letter in "*?["):
        raise ConfigError(f"{location}: a ledger's prefix cannot hold '*', '?' or '['")
    store = open_store(uri)
    if isinstance(location, Path):
        store.ping()
    return load_catalog(store)


def narrowed(catalog: Catalog, *, uncommitted: bool = False, since: date | None = None) -> Catalog:
    """The catalog with orphans counted as live, or without the days before `since`."""
    if uncommitted:
        orphans = {entry.key: entry for entry in catalog.orphans}
        live = tuple(sorted({*catalog.live, *orphans}))
        catalog = replace(catalog, live=live, sizes={**catalog.sizes, **orphans})
    if since is not None:
        first = since.isoformat()
        catalog = replace(
            catalog,
            live=tuple(key for key in catalog.live if object_name(key)[0] >= first),
            missing=tuple(key for key in catalog.missing if object_name(key)[0] >= first),
        )
    return catalog


def create_views(
    connection: duckdb.DuckDBPyConnection, location: Location, catalog: Catalog, *, extension: bool = True
) -> bool:
    """Make the views and macros in a connection's database, which holds nothing yet.

    Args:
        connection: where to make them.
        location: the ledger.
        catalog: the objects that the views read.
        extension: false reads S3 through PyArrow.

    Returns:
        Whether the views stand on their own: PyArrow's need the tables that this process has registered.

    Raises:
        duckdb.Error, pyarrow.ArrowException, OSError: an object cannot be read.
    """
    connection.execute("set timezone = 'UTC'")
    connection.execute("set parquet_metadata_cache = true")
    by_pyarrow = isinstance(location, S3Location) and not (extension and load_httpfs(connection, location))
    connection.execute("create schema stored")
    connection.execute(f"create table stored.nothing ({sql_columns(_STORED_SCHEMA)})")
    _insert_objects(connection, location, catalog)
    connection.execute(NO_ROWS)
    connection.execute(NO_MANIFESTS)
    doubtful = () if by_pyarrow else doubtful_keys(catalog)
    if doubtful:
        connection.execute(DOUBLES.format(files=_files(location, doubtful)))
    for statement in (TRACES_WITHOUT_DOUBLES if doubtful else TRACES, *ON_TRACES, *MACROS):
        connection.execute(statement)
    # Only now: every view that is made over the files opens them once more.
    if isinstance(location, S3Location) and by_pyarrow:
        _stand_on_pyarrow(connection, location, catalog)
    else:
        _stand_on_files(connection, location, catalog)
    return not by_pyarrow


def one_line(error: Exception) -> str:
    """DuckDB's text without the picture of the line below it."""
    return " ".join(str(error).partition("\n\nLINE")[0].split())


def _insert_objects(connection: duckdb.DuckDBPyConnection, location: Location, catalog: Catalog) -> None:
    connection.execute(OBJECTS)
    connection.execute(REWRITTEN)
    rewritten = {} if catalog.checkpoint is None else {entry.key: entry for entry in catalog.checkpoint.objects}
    states = dict.fromkeys(catalog.live, "live") | dict.fromkeys(catalog.missing, "missing")
    orphans = {entry.key for entry in catalog.orphans}
    states |= {key: "orphan" for key in states if key in orphans}
    rows = [
        _object_row(key, f"{location}/{key}", state, key in rewritten, catalog.sizes.get(key))
        for key, state in states.items()
    ]
    _insert(connection, "objects", OBJECTS_AS_JSON, rows)
    told = [asdict(entry) for key, entry in rewritten.items() if key in states]
    _insert(connection, "rewritten", REWRITTEN_AS_JSON, told)


def _object_row(key: str, file: str, state: str, rewritten: bool, info: ObjectInfo | None) -> dict[str, object]:  # noqa: FBT001
    day, batch_id, chunk = object_name(key)
    return {
        "key": key,
        "file": file,
        "state": state,
        "rewritten": rewritten,
        "dt": day,
        "batch_id": batch_id,
        "chunk": int(chunk) if chunk else None,
        "bytes": None if info is None else info.bytes,
        "modified_at": None if info is None else info.modified_at,
    }


def _insert(connection: duckdb.DuckDBPyConnection, name: str, structure: str, rows: Sequence[object]) -> None:
    """Fill a table, by JSON in the statement: Arrow tables, and parameters, import pandas: half of a summary's time."""
    connection.execute(INSERT.format(name=name, rows=quoted(orjson.dumps(rows).decode()), structure=quoted(structure)))


def _files(location: Location, keys: Iterable[str]) -> str:
    """Files as a list literal of SQL."""
    return "[" + ", ".join(quoted(glob_escaped(f"{location}/{key}")) for key in keys) + "]"


def _manifest_keys(catalog: Catalog) -> list[str]:
    stored = {entry.key for entry in catalog.manifests}
    return [found for key in (*catalog.live, *catalog.missing) if (found := manifest_key(key)) in stored]


def _stand_on_files(connection: duckdb.DuckDBPyConnection, location: Location, catalog: Catalog) -> None:
    if catalog.live:
        described = connection.execute("describe stored.nothing").fetchall()
        columns = ", ".join(f"{name}::{kind} as {name}" for name, kind, *_ in described)
        connection.execute(ROWS.format(columns=columns, files=_files(location, catalog.live)))
    if manifests := _manifest_keys(catalog):
        connection.execute(MANIFESTS.format(files=_files(location, manifests)))


def _stand_on_pyarrow(connection: duckdb.DuckDBPyConnection, location: S3Location, catalog: Catalog) -> None:
    from ledger.arrow_rows import ArrowFiles  # noqa: PLC0415 - what only this fallback needs

    files = ArrowFiles(connection, location)
    doubtful = frozenset(doubtful_keys(catalog))
    rewritten = frozenset() if catalog.checkpoint is None else {entry.key for entry in catalog.checkpoint.objects}
    files.view_rows(
        _STORED_SCHEMA,
        plain=[key for key in catalog.live if key not in doubtful],
        rewritten=[key for key in catalog.live if key in doubtful and key in rewritten],
        doubtful=[key for key in catalog.live if key in doubtful and key not in rewritten],
    )
    if manifests := _manifest_keys(catalog):
        files.view_manifests(open_store(str(location)), manifests)
