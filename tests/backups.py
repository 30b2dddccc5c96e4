"""Backups of a database, and their return under the processes that use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from tests.conftest import database_url


class Backups:
    """Of the database at `url`, in the same server; gone after the block of `backups`."""

    def __init__(self, url: str) -> None:
        self._name = urlsplit(url).path.strip("/")
        self._server = database_url(url, "postgres")
        self._taken: list[str] = []

    def take(self) -> str:
        """The name of a copy of what is there now."""
        name = f"backup_{uuid4().hex}"
        with self._alone() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._name}".encode())
        self._taken.append(name)
        return name

    def restore(self, name: str) -> None:
        """Put a copy in the place of what is there, which is gone then."""
        with self._alone() as connection:
            connection.execute(f"DROP DATABASE {self._name}".encode())
            connection.execute(f"CREATE DATABASE {self._name} TEMPLATE {name}".encode())

    def drop(self) -> None:
        """Drop every copy."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            for name in self._taken:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    @contextmanager
    def _alone(self) -> Iterator[psycopg.Connection]:
        """Nobody is connected, and nobody connects."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false".encode())
            try:
                others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
                connection.execute(others.encode(), [self._name])
                yield connection
            finally:
                connection.execute(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true".encode())


@contextmanager
def backups(url: str) -> Iterator[Backups]:
    """Backups of a database, for a test."""
    made = Backups(url)
    try:
        yield made
    finally:
        made.drop()
