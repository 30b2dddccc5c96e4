"""The throw-away Postgres that the state's tests stand on."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from harness import places
from harness.node.postgres import temporary

CALLER = """
import time
from harness.node.postgres import temporary

with temporary() as server:
    print(server.url, flush=True)
    time.sleep(600)
"""


def test_data_outlives_a_crash() -> None:
    with temporary(fsync=True) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (x int)")
            connection.execute("INSERT INTO kept VALUES (1)")
            assert connection.info.server_version >= 150000
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT x FROM kept").fetchall() == [(1,)]
            rights = connection.execute("SELECT rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user")
            assert rights.fetchall() == [(True, False)]


def test_it_ends_with_a_caller_that_is_killed() -> None:
    argv = [sys.executable, "-c", CALLER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=places.ROOT) as caller:
        assert caller.stdout is not None
        url = caller.stdout.readline().strip()
        psycopg.connect(url).close()
        caller.kill()
    for _ in range(2000):
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return
    pytest.fail("Postgres still answers")
