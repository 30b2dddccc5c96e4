"""A backup goes back as docs/operations.md says, also over a schema that was migrated since."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from headrace.state.migrate import default_directory, migrate, read_migrations
from tests.cluster.guided import DOCS, boxes


def run(script: str, url: str, place: Path) -> None:
    """Run lines of a box."""
    env = {**os.environ, "HEADRACE_DATABASE_URL": url}
    argv = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def schema(url: str) -> tuple[object, ...]:
    """Version, and the names of all tables."""
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        return connection.execute("SELECT max(version) FROM schema_migrations").fetchone(), tables


async def test_a_backup_of_before_a_migration_goes_back(empty_url: str, tmp_path: Path) -> None:
    lines = [line for box in boxes((DOCS / "operations.md").read_text()) for line in box.script.split("\n")]
    dump = next(line for line in lines if line.startswith("pg_dump"))
    first = next(n for n, line in enumerate(lines) if "pg_restore --file" in line)
    older = tmp_path / "older"
    older.mkdir()
    for one in read_migrations(default_directory())[:-1]:
        (older / f"{one.version:04}_{one.name}.sql").write_text(one.text)
    await migrate(empty_url, older)
    before = schema(empty_url)
    with psycopg.connect(empty_url) as connection:
        connection.execute("INSERT INTO orgs (name, slug, namespace_uid) VALUES ('air', 'air', 'u')")
    run(dump, empty_url, tmp_path)
    await migrate(empty_url)
    assert schema(empty_url) != before
    with psycopg.connect(empty_url) as connection:
        connection.execute("DELETE FROM orgs")
    back = "\n".join(lines[first : first + 3])
    whole = (tmp_path / "headrace.dump").read_bytes()
    for bad in (b"", whole[: len(whole) * 2 // 3]):
        (tmp_path / "headrace.dump").write_bytes(bad)
        now = schema(empty_url)
        with pytest.raises(AssertionError, match="pg_restore"):
            run(back, empty_url, tmp_path)
        assert schema(empty_url) == now, "what was there before is there"
    (tmp_path / "headrace.dump").write_bytes(whole)
    run(back, empty_url, tmp_path)
    assert schema(empty_url) == before
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT slug FROM orgs").fetchall() == [("air",)]
    await migrate(empty_url)
