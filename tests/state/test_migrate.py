"""Migrations: in order, once, under a lock, whoever runs them; and what is refused rather than guessed at."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psycopg
import pytest

import headrace
from headrace.errors import TemporaryError
from headrace.state.migrate import MigrationError, default_directory, migrate, read_migrations

FILES = {"0001_a.sql": "CREATE TABLE a (n int);", "0002_b.sql": "INSERT INTO a VALUES (2);"}


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """Rows of a query of the test's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def applied(url: str) -> list[tuple[object, ...]]:
    """What is recorded as applied."""
    return rows(url, "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY 1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Migrations of the test's own."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def headrace_migrate(url: str) -> tuple[int, str, str]:
    """Run the command as an init container would: exit code, what it printed, what it complained of."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace", "migrate",
        env={**os.environ, "HEADRACE_DATABASE_URL": url, "PYTHONPATH": str(Path(headrace.__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_ten_processes_at_once_apply_each_once(empty_url: str) -> None:
    """Ten init containers of ten replicas: all succeed, and between them each migration is applied once."""
    known = read_migrations(default_directory())
    results = await asyncio.gather(*(headrace_migrate(empty_url) for _ in range(10)))
    assert [(code, err) for code, _, err in results] == [(0, "")] * 10
    lines = [line for _, out, _ in results for line in out.splitlines()]
    assert sorted(line for line in lines if line.startswith("applied")) == [
        f"applied {m.version:04}_{m.name}" for m in known
    ]
    assert lines.count("the schema is up to date") >= 10 - len(known)
    assert [row[:3] for row in applied(empty_url)] == [(m.version, m.name, m.checksum) for m in known]


async def test_a_migrator_waits_for_the_one_before_it(empty_url: str, directory: Path) -> None:
    """The lock comes before the first look: while another session holds it nothing is read or made.

    Its key stays what it is: migrators of two releases must exclude one another.
    """
    async with await psycopg.AsyncConnection.connect(empty_url, autocommit=True) as holder:
        await migrate(empty_url, directory)
        query = "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        lock = int.from_bytes(b"HEADRACE")
        await holder.execute("SELECT pg_advisory_lock(%s)", [lock])
        (directory / "0003_c.sql").write_text("CREATE TABLE c ();")
        waiting = asyncio.create_task(migrate(empty_url, directory))
        found: list[tuple[object, ...]] = []
        while not found and not waiting.done():
            found = await (await holder.execute(query)).fetchall()
        assert found == [(lock >> 32, lock & 0xFFFF_FFFF)]
        assert len(applied(empty_url)) == 2
        await holder.execute("SELECT pg_advisory_unlock(%s)", [lock])
        assert [m.version for m in await waiting] == [3]


async def test_a_second_run_writes_nothing(url: str) -> None:
    """No transaction id is spent. Another database's housekeeping may spend one meanwhile, hence the attempts."""
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    before = applied(url)
    quiet = False
    for _ in range(3):
        was = rows(url, query)
        assert await migrate(url) == ()
        quiet = quiet or rows(url, query) == was
    assert quiet
    assert applied(url) == before


async def test_only_what_is_missing_is_applied_in_order(empty_url: str, directory: Path) -> None:
    assert [m.version for m in await migrate(empty_url, directory)] == [1, 2]
    before = applied(empty_url)
    (directory / "0004_d.sql").write_text("INSERT INTO c SELECT * FROM a;")
    (directory / "0003_c.sql").write_text("CREATE TABLE c (n int); INSERT INTO c VALUES (3);")
    assert [m.version for m in await migrate(empty_url, directory)] == [3, 4]
    assert applied(empty_url)[:2] == before
    assert rows(empty_url, "SELECT n FROM c ORDER BY 1") == [(2,), (3,)]


async def test_a_schema_newer_than_the_program_is_refused(empty_url: str, directory: Path) -> None:
    """An older operator must not run on it: it says which program would."""
    (directory / "0003_c.sql").write_text("CREATE TABLE c ();")
    await migrate(empty_url, directory)
    before = applied(empty_url)
    (directory / "0003_c.sql").unlink()
    with pytest.raises(MigrationError, match="at version 3, this program knows 2: run a newer headrace"):
        await migrate(empty_url, directory)
    assert applied(empty_url) == before


@pytest.mark.parametrize("edit", ["CREATE TABLE a (n int); -- a comment", "CREATE TABLE a (n int);\n", ""])
async def test_an_applied_file_that_was_changed_is_refused(empty_url: str, directory: Path, edit: str) -> None:
    """Even by a comment; and nothing that comes after it is applied."""
    await migrate(empty_url, directory)
    before = applied(empty_url)
    (directory / "0001_a.sql").write_text(edit)
    (directory / "0003_c.sql").write_text("CREATE TABLE c ();")
    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed after it was applied: put it back"):
        await migrate(empty_url, directory)
    assert applied(empty_url) == before


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["0001_a.sql", "0003_c.sql"], "numbers must be 1 to 2 without a gap", id="gap"),
        pytest.param(["0002_b.sql"], "numbers must be 1 to 1 without a gap", id="not from the first"),
        pytest.param(["0000_a.sql"], "numbers must be 1 to 1 without a gap", id="from nought"),
        pytest.param(["0001_a.sql", "0001_b.sql"], "without a gap or a repeat", id="repeat"),
        pytest.param(["1_a.sql"], r"1_a\.sql: a migration is called NNNN_name\.sql", id="too few digits"),
        pytest.param(["00001_a.sql"], "is called NNNN_name", id="too many digits"),
        pytest.param(["0001_A.sql"], "is called NNNN_name", id="capital"),
        pytest.param(["0001-a.sql"], "is called NNNN_name", id="dash"),
        pytest.param(["0001_a.sql", "notes.sql"], r"notes\.sql: a migration is called", id="stray"),
    ],
)
async def test_a_gap_or_a_stray_name_is_refused(empty_url: str, tmp_path: Path, names: list[str], message: str) -> None:
    """Before the database is touched at all."""
    for name in names:
        (tmp_path / name).write_text("CREATE TABLE x ();")
    with pytest.raises(MigrationError, match=message):
        await migrate(empty_url, tmp_path)
    assert rows(empty_url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [(0,)]


def test_other_files_are_no_migrations(directory: Path) -> None:
    (directory / "README.md").write_text("notes")
    assert [m.name for m in read_migrations(directory)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("CREATE TABLE b (); INSERT INTO a VALUES ('x');", "invalid input syntax", id="in its text"),
        pytest.param("CREATE TABLE b (); ALTER TABLE schema_migrations ADD CHECK (version < 2);", "violates check",
                     id="when it is recorded"),
        pytest.param("CREATE TABLE b (); SELEC 1;", "syntax error", id="before it begins"),
    ],
)  # fmt: skip
async def test_a_failing_migration_leaves_nothing_of_itself(
    empty_url: str, directory: Path, text: str, message: str
) -> None:
    """What came before it stays; once it is mended the rest is applied."""
    (directory / "0002_b.sql").write_text(text)
    (directory / "0003_c.sql").write_text("CREATE TABLE c ();")
    with pytest.raises(MigrationError, match=rf"0002_b\.sql failed and left nothing behind: .*{message}"):
        await migrate(empty_url, directory)
    assert [row[0] for row in applied(empty_url)] == [1]
    assert rows(empty_url, "SELECT to_regclass('a')::text, to_regclass('b'), to_regclass('c')") == [("a", None, None)]
    (directory / "0002_b.sql").write_text("CREATE TABLE b ();")
    assert [m.version for m in await migrate(empty_url, directory)] == [2, 3]


async def test_a_postgres_that_is_away_is_a_matter_of_time(directory: Path) -> None:
    with pytest.raises(TemporaryError, match="Postgres: "):
        await migrate("postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2", directory)


async def test_the_command_tells_a_refusal_in_one_line(url: str) -> None:
    rows(url, "INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'x', 'x') RETURNING 1")
    code, out, err = await headrace_migrate(url)
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("headrace: the schema is at version 99, this program knows ")
