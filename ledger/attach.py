"""A DuckDB file with the ledger's views, for any client: the duckdb command, DBeaver, `duckdb.connect` of Python.

The file holds names of objects and SQL, no rows and no secret. It is a snapshot: its views name the objects that
counted when it was written. Views that looked for themselves could show a row twice beside a compaction, because no SQL
reads the checkpoint and both listings as one; so they do not. What is committed later is seen after the file is written
again, which takes the time of a listing. What was compacted since stays readable until `redo ledger gc` removes it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from core.errors import InputError, StoreError
from ledger.httpfs import host_of
from ledger.local import reported, temporary_beside
from ledger.location import S3Location, parse_location
from ledger.s3 import S3Access
from ledger.view_sql import quoted
from ledger.views import CONFIG, create_views, one_line, read_catalog

_ABOUT = """
create table ledger_file as select
    {uri} as ledger, {taken_at}::timestamptz as taken_at, {objects} as objects, {checkpoint} as checkpoint,
    {how} as how_to_open, 'a snapshot: write the file again with redo ledger attach to see what came later' as note
"""
_DUCKDB_FILE = b"DUCK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file that was written.

    Attributes:
        path: where it is.
        ledger: the ledger that its views read.
        taken_at: the moment that it shows, ISO 8601 in UTC.
        objects: how many objects the views name.
        missing: keys of committed objects that are not there.
        how_to_open: SQL that a client runs before it asks; empty where it needs none.
    """

    path: str
    ledger: str
    taken_at: str
    objects: int
    missing: tuple[str, ...]
    how_to_open: str


def attach(uri: str, path: Path, *, now: datetime, extension: bool = True) -> Attached:
    """Write the file. One that such a call has written before is replaced at once; a reader keeps the old one.

    Args:
        uri: where the ledger is.
        path: the file to write.
        now: when this happens, for the file to say.
        extension: false does without httpfs, and so without S3.

    Raises:
        InputError: another file than a DuckDB database is there.
        StoreError: the ledger cannot be read or the file not be written, or httpfs, which the views need, cannot be
            loaded here.
    """
    location = parse_location(uri)
    with reported(path):
        if path.exists() and not _is_duckdb(path):
            raise InputError(f"{path}: is there, and is no DuckDB file: name another")
        path.parent.mkdir(parents=True, exist_ok=True)
    catalog = read_catalog(uri)
    how = how_to_open() if isinstance(location, S3Location) else ""
    number = 0 if catalog.checkpoint is None else catalog.checkpoint.number
    with temporary_beside(path) as temporary:
        try:
            with closing(duckdb.connect(temporary, config=CONFIG)) as connection:
                if not create_views(connection, location, catalog, extension=extension):
                    raise StoreError(f"{uri}: httpfs cannot be loaded, or AWS_* holds no key: its views need both")
                about = {"uri": str(location), "taken_at": now.isoformat(), "how": how}
                literals = {name: quoted(text) for name, text in about.items()}
                connection.execute(_ABOUT.format(**literals, objects=len(catalog.live), checkpoint=number))
        except (duckdb.Error, OSError) as error:
            raise StoreError(f"{uri}: {one_line(error)}") from None
        with reported(path):
            temporary.replace(path)
    return Attached(
        path=str(path),
        ledger=str(location),
        taken_at=now.isoformat(),
        objects=len(catalog.live),
        missing=catalog.missing,
        how_to_open=how,
    )


def how_to_open() -> str:
    """SQL for a client of a ledger on S3: it loads httpfs and lets it find the client's own credentials.

    Where the endpoint is not Amazon's its address is in it. Keys are not: httpfs of a DuckDB that is asked to load it
    takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the client's environment.
    """
    access = S3Access.from_environment()
    lines = ["install httpfs;", "load httpfs;", f"set s3_region = {quoted(access.region)};"]
    endpoint = host_of(access)
    if endpoint is not None:
        lines += [
            f"set s3_endpoint = {quoted(endpoint)};",
            "set s3_url_style = 'path';",
            f"set s3_use_ssl = {str(access.uses_tls).lower()};",
        ]
    return "\n".join(lines)


def _is_duckdb(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(12)[8:] == _DUCKDB_FILE
