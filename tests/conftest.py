"""A real Postgres for every test that asks for one: one server a session, one database a test, from a template.

Each of several processes that run tests is a session.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from xdist.remote import Producer

from harness.node.postgres import temporary
from headrace.state import queries
from headrace.state.database import Database
from headrace.state.migrate import migrate
from tests.apart import Apart

TEMPLATE = "headrace_template"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Apart | None:
    """Ours for `--dist loadscope`."""
    return Apart(config, log) if config.option.dist == "loadscope" else None


def pytest_configure() -> None:
    """Without one statement, where `tests.state.table_writers` asks for that."""
    if without := os.environ.get("HEADRACE_WITHOUT"):
        assert without in queries._statements()
        queries._statements()[without] = "SELECT NULL WHERE false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that no process begins one when the others have nothing left to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def database_url(server: str, name: str) -> str:
    """`server` with another database's name."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server of this session's own, gone with it."""
    with temporary() as server:
        yield server.url


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> str:
    """A migrated database that others are copied from."""
    import asyncio  # noqa: PLC0415 - a session fixture that is not async, so that any loop can use it

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    asyncio.run(migrate(database_url(postgres_server, TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def empty_url(postgres_server: str) -> Iterator[str]:
    """An empty database."""
    yield from _fresh(postgres_server, "template0")


@pytest.fixture
def url(postgres_server: str, template_database: str) -> Iterator[str]:
    """A database with the state schema and no rows."""
    yield from _fresh(postgres_server, template_database)


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    """An open pool to `url`."""
    async with Database(url) as database:
        yield database


def _fresh(server: str, template: str) -> Iterator[str]:
    name = f"t_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield database_url(server, name)
        try:
            # Plain first: it ends vacuum workers, which FORCE may not.
            connection.execute(f"DROP DATABASE {name}")
        except psycopg.errors.ObjectInUse:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
