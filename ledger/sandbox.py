"""What keeps a user's SQL inside the ledger.

The statement is parsed by DuckDB itself and must be one SELECT over the views, with table functions from a short list,
our macros among them: so no other file is named, not even by a path that DuckDB's own check of folders lets through (it
compares prefixes and misses `..`). Then the connection is shut off from files, network and settings. And it has a limit
of memory and time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import orjson

from core.errors import InputError, StoreError
from ledger.location import parse_location
from ledger.macros import TABLE_MACROS
from ledger.view_sql import VIEWS, glob_escaped, quoted
from ledger.views import one_line

_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest", *TABLE_MACROS})
_PLAIN_NAME = re.compile(r"\w+")


def check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse whatever is not one statement that only reads the views.

    Raises:
        InputError: the statement is wrong, is no SELECT, or names another table, file or table function.
    """
    if "\0" in sql:
        raise InputError("SQL: it holds a character with the code 0")
    # Not as a parameter: DuckDB imports pandas to look at one, which takes longer than most queries.
    serialized = connection.execute(f"select json_serialize_sql({quoted(sql)})").fetchall()[0][0]
    tree = orjson.loads(serialized)
    if tree["error"] and tree["error_type"] == "parser":
        raise InputError(f"SQL: {' '.join(tree['error_message'].split())}")
    if tree["error"] or len(tree["statements"]) != 1:
        raise InputError(
            "SQL: expected one statement that reads: SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE or SHOW TABLES"
        )
    nodes = list(_nodes(tree["statements"]))
    # The name of a common table expression is any text; one that is no plain name could be a path.
    named = {str(entry["key"]) for node in nodes for entry in _with_entries(node)}
    tables = {name.casefold() for name in (*VIEWS, *named) if _PLAIN_NAME.fullmatch(name)}
    for node in nodes:
        if node.get("type") == "BASE_TABLE":
            _check_table(node, tables)
        if node.get("type") == "TABLE_FUNCTION":
            _check_function(node)


def _check_table(node: Mapping[str, object], tables: set[str]) -> None:
    name, schema = str(node["table_name"]), str(node["schema_name"])
    if name.casefold() not in tables or schema.casefold() not in {"", "main"} or node["catalog_name"]:
        raise InputError(f"SQL: there is no table {name!r} in the ledger: it has {', '.join(VIEWS)}")


def _check_function(node: Mapping[str, object]) -> None:
    function = node["function"]
    name = str(function["function_name"]) if isinstance(function, dict) else ""
    if name.casefold() not in _TABLE_FUNCTIONS:
        raise InputError(f"SQL: {name}() is not allowed here: only the ledger's own tables and macros can be read")


def _with_entries(node: Mapping[str, object]) -> list[dict[str, object]]:
    cte_map = node.get("cte_map")
    return cte_map["map"] if isinstance(cte_map, dict) else []


def _nodes(tree: object) -> Iterator[dict[str, object]]:
    """Every JSON object of the tree; a stack, because a statement can be nested deeper than Python calls."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def shut_off(connection: duckdb.DuckDBPyConnection, uri: str) -> None:
    """Take everything but the ledger out of the connection's reach, for good: files, network, settings."""
    folder = str(parse_location(uri)).rstrip("/") + "/"
    folders = ", ".join(sorted({quoted(folder), quoted(glob_escaped(folder))}))
    connection.execute(f"set allowed_directories = [{folders}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


@contextmanager
def interrupted_after(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Stop what the connection does when the time is up."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.Error:
        # Not always an InterruptException: between two batches of rows it is an InvalidInputException.
        if late.is_set():
            raise InputError(
                f"SQL: stopped after {timeout_s:g} s: read less, as with where dt = current_date"
            ) from None
        raise
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours: the SQL's, or the store's."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise InputError(f"SQL: needs too much memory: read less, or fewer columns ({one_line(error)})") from None
    except (duckdb.IOException, duckdb.HTTPException, OSError) as error:
        raise StoreError(f"{uri}: {one_line(error)}") from None
    except duckdb.Error as error:
        raise InputError(f"SQL: {one_line(error)}") from None
