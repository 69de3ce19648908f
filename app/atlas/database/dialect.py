"""What differs between SQLite and PostgreSQL, in one place: column types and INSERT with conflict handling.

The full-text queries of the two engines stand in `atlas.search`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine

#: SQLite numbers rows by itself only for the exact type INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

#: Largest id either engine can hold; a larger number from outside cannot be a row's id.
MAX_ID = 2**63 - 1


EARLIEST = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment: aware in, aware UTC out; refuses naive values with ValueError.

    PostgreSQL keeps `timestamptz`. SQLite keeps text of one fixed width (`2026-11-22T05:00:00.000000Z`), so
    that comparing text compares time. What no calendar reaches in UTC becomes the calendar's end.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, `timestamptz` elsewhere."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else self.impl_instance)

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | str | None:
        """Store as UTC."""
        if value is None:
            return None
        value = _utc(value)
        if dialect.name != "sqlite":
            return value
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def process_result_value(
        self,
        value: dt.datetime | str | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> dt.datetime | None:
        """Hand out as aware UTC."""
        if value is None:
            return None
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(dt.UTC)


def _utc(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        raise ValueError(f"a time without a time zone cannot be stored: {value!r}")
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:  # pages and feeds come with such dates
        return EARLIEST if value.year == 1 else LATEST


class Text(TypeDecorator[str]):
    """Text of any length that both engines can keep.

    PostgreSQL refuses NUL and neither engine keeps half a surrogate pair; both come in with web pages, feeds
    and requests, in stored values as well as in values looked up. They become U+FFFD on the way in.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Replace what cannot be kept."""
        if value is None:
            return None
        return storable(value)


class Json(TypeDecorator[object]):
    """Objects a row carries: JSONB in PostgreSQL, text in SQLite. None is NULL; strings are made storable."""

    impl = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> object:  # noqa: ARG002
        """Replace what cannot be kept."""
        return _storable_object(value)


def _storable_object(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): _storable_object(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_object(inner) for inner in value]
    return value


def storable(text: str) -> str:
    """Return `text` with NUL and lone surrogates replaced by U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_sqlite(conn: Connection) -> bool:
    """Say whether `conn` talks to SQLite (else it is PostgreSQL)."""
    return conn.dialect.name == "sqlite"


def insert(conn: Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`, for the engine of `conn`."""
    return insert_for(conn.dialect.name, table)


def insert_for(dialect: str, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return the same for the name of a dialect: for statements built before there is a connection."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def write_rows(conn: Connection, new: sa.Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have the same columns, however many, perhaps none."""
    if rows and is_sqlite(conn):
        conn.execute(new, rows)
    elif rows:
        conn.execute(*of_rows(new, rows))


def of_rows(new: sa.Insert, rows: Sequence[Mapping[str, Any]]) -> tuple[sa.Insert, dict[str, Any]]:
    """Have PostgreSQL insert rows by one statement with one parameter: as JSON, which it reads as a table.

    Hundreds of rows with dozens of parameters each cost the client more than the server.
    """
    names = tuple(rows[0])
    values = [{name: _plain(row[name]) for name in names} for row in rows]
    return _from_json(new, names), {"rows": values}


@lru_cache(maxsize=64)
def _from_json(new: sa.Insert, names: tuple[str, ...]) -> sa.Insert:
    """Build the statement once: that takes longer than running it."""
    columns = [new.table.c[name] for name in names]
    table = sa.func.jsonb_to_recordset(sa.bindparam("rows", type_=Json())).table_valued(
        *(sa.column(column.name, column.type) for column in columns), name="given"
    )
    source = sa.select(*table.render_derived(with_types=True).c)
    return new.from_select(names, source, include_defaults=False)


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    return _utc(value).isoformat() if isinstance(value, dt.datetime) else value


class _Explained(sa.Executable, sa.ClauseElement):
    """A query that is planned, and not run."""

    inherit_cache = False

    def __init__(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> None:
        self.query = query


@compiles(_Explained)
def _compile_explained(element: _Explained, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **options)}"


def planned(conn: Connection, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> float:
    """Return how many rows PostgreSQL expects a query to have. It takes less than a millisecond."""
    plan = conn.execute(_Explained(query)).scalar_one()
    rows: float = plan[0]["Plan"]["Plan Rows"]
    return rows
