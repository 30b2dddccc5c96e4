"""Brings the state schema up to date: `headrace migrate`, the operator's init container and every test call it.

Migrations are `NNNN_name.sql`, applied in order, each once and in its own transaction, all under one session lock, so
that ten migrators at once are safe. What was applied is verified by its checksum on every run, and a schema newer than
this program is refused rather than guessed at.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

from headrace.errors import PermanentError, TemporaryError
from headrace.state.queries import sql

_LOCK = 0x4845_4144_5241_4345  # "HEADRACE"
_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


class MigrationError(PermanentError):
    """The schema and this program do not fit: newer than known, edited after it was applied, a gap, or it failed."""


@dataclass(frozen=True)
class Migration:
    """One file: its place in the order, its name, its text and the SHA-256 of that text in hex."""

    version: int
    name: str
    text: str
    checksum: str


def default_directory() -> Path:
    """Where the migrations are: inside an installed package, else in the checkout's harness."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "migrations" / "state"
    return installed if installed.is_dir() else package.parents[1] / "harness" / "migrations" / "state"


def read_migrations(directory: Path) -> tuple[Migration, ...]:
    """The files of `directory` in order; MigrationError on a stray name or a gap in the numbers."""
    found: list[Migration] = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is called NNNN_name.sql")
        text = path.read_text()
        found.append(Migration(int(match[1]), match[2], text, hashlib.sha256(text.encode()).hexdigest()))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"{directory}: the numbers must be 1 to {len(found)} without a gap or a repeat")
    return tuple(found)


async def migrate(url: str, directory: Path | None = None) -> tuple[Migration, ...]:
    """Apply what is missing and return it; an empty tuple when the schema was up to date.

    Raises MigrationError if the database is newer than this program or an applied file has changed since;
    TemporaryError if Postgres cannot be reached.
    """
    known = read_migrations(directory or default_directory())
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(sql("migration_lock"), {"lock": _LOCK})
            return await _migrate_locked(connection, known)
    except psycopg.OperationalError as error:
        raise TemporaryError(f"Postgres: {error}") from error


async def _migrate_locked(connection: psycopg.AsyncConnection, known: tuple[Migration, ...]) -> tuple[Migration, ...]:
    await connection.execute(sql("migration_table"))
    rows = await (await connection.execute(sql("migration_applied"))).fetchall()
    applied: dict[int, str] = dict(rows)
    newest = max(applied, default=0)
    if newest > len(known):
        raise MigrationError(
            f"the schema is at version {newest}, this program knows {len(known)}: run a newer headrace"
        )
    done: list[Migration] = []
    for migration in known:
        if migration.version in applied:
            if applied[migration.version] != migration.checksum:
                raise MigrationError(
                    f"{migration.version:04}_{migration.name}.sql was changed after it was applied: "
                    "put it back and write a new migration instead"
                )
            continue
        await _apply(connection, migration)
        done.append(migration)
    return tuple(done)


async def _apply(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.text)
            await connection.execute(
                sql("migration_record"),
                {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
            )
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        name = f"{migration.version:04}_{migration.name}.sql"
        raise MigrationError(f"{name} failed and left nothing behind: {error}") from error
