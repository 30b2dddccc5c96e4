"""The way to Postgres: a pool, transactions, and psycopg's errors as ours. Every module of `state` goes through here.

A transaction that finds nothing to do writes nothing: locks are advisory and rows are locked only when they will be
changed, so that an idle operator causes no write in Postgres.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_dumps
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from headrace import metrics
from headrace.errors import PermanentError, TemporaryError
from headrace.state.queries import sql

Row = dict[str, object]
Connection = psycopg.AsyncConnection[Row]
T = TypeVar("T")

set_json_dumps(msgspec.json.encode)

# A server that vanished without a word is noticed within half a minute.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}

_TEMPORARY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.QueryCanceled,
    # Decided against what another transaction has changed meanwhile: the next look decides anew.
    pg.UniqueViolation,
    PoolTimeout,
)


class Busy(TemporaryError):
    """Somebody else holds what the transaction needs for longer than it may wait."""


class Conflict(PermanentError):
    """A row or a value that the schema refuses; `constraint` is the name of what refused it, empty for a value."""

    def __init__(self, constraint: str, message: str) -> None:
        super().__init__(message)
        self.constraint = constraint


def jsonb(value: object) -> Jsonb:
    """`value` as a jsonb parameter; msgspec structs are fine."""
    return Jsonb(value)


def words(values: Iterable[str]) -> str:
    """Names or hashes, which have no spaces, as one text parameter for `string_to_array(..., ' ')`.

    psycopg writes a list item by item in Python, which for all jobs of a large DAG takes longer than the statement.
    """
    return " ".join(values)


async def _configure(connection: Connection) -> None:
    # A statement that comes twice comes again; there are some hundreds, and none gives way to another.
    connection.prepare_threshold, connection.prepared_max = 1, 1000
    await connection.execute(sql("session_settings"))


class Database:
    """A pool of connections to the state schema; open it with `async with`.

    `checked`: each is looked at before it is used, where a first error after Postgres was away would cost too much.
    """

    def __init__(self, url: str, *, connections: int = 8, checked: bool = False) -> None:
        self.url = url
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=10,
            configure=_configure,
            check=AsyncConnectionPool.check_connection if checked else None,
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,
                "application_name": "headrace",
                "connect_timeout": 10,
                **_KEEPALIVES,
            },
        )

    async def __aenter__(self) -> Database:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction, READ COMMITTED; TemporaryError when it may go well next time, Conflict when refused."""
        with _as_ours():
            async with self._pool.connection() as connection:
                async with connection.transaction():
                    tx = Transaction(connection)
                    yield tx
                tx.committed()


@contextmanager
def _as_ours() -> Iterator[None]:
    """Postgres' errors as those of the domain."""
    try:
        yield
    except pg.LockNotAvailable as error:
        raise Busy(f"Postgres: {error}") from error
    except _TEMPORARY as error:
        raise TemporaryError(f"Postgres: {type(error).__name__}: {_primary(error)}") from None
    except (pg.IntegrityError, pg.DataError) as error:
        raise Conflict(error.diag.constraint_name or "", f"Postgres refused: {_primary(error)}") from None


def _primary(error: Exception) -> str:
    """What Postgres says, without its DETAIL: that has the values of the row, a job's config for example."""
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return told or str(error)


class Transaction:
    """An open transaction; the modules of `state` are functions of one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._after: list[Callable[[], None]] = []

    def after(self, tell: Callable[[], None]) -> None:
        """Call this once all is committed, and never if it is not: for what is counted."""
        self._after.append(tell)

    def committed(self) -> None:
        """It is."""
        for tell in self._after:
            tell()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that is undone alone when an error leaves the block."""
        known = len(self._after)
        try:
            with _as_ours():
                async with self._connection.transaction():
                    yield
        except BaseException:  # whatever undoes the part undoes what it would have told
            del self._after[known:]
            raise

    async def rows(self, name: str, shape: type[T], /, **parameters: object) -> list[T]:
        """The rows of the statement called `name`, each as a `shape` (a msgspec struct)."""
        with metrics.timed(name):
            cursor = await self._connection.execute(sql(name), parameters)
            found = await cursor.fetchall()
        return msgspec.convert(found, list[shape], strict=False)  # type: ignore[valid-type]

    async def row(self, name: str, shape: type[T], /, **parameters: object) -> T | None:
        """The first row, or None."""
        found = await self.rows(name, shape, **parameters)
        return found[0] if found else None

    async def execute(self, name: str, /, **parameters: object) -> int:
        """Run the statement called `name`; the number of rows that it touched."""
        with metrics.timed(name):
            return (await self._connection.execute(sql(name), parameters)).rowcount
