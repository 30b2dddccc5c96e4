"""Where a secret could be found: statuses, events, logs, arguments, tables. `test_canary` puts one in and looks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tests.cluster.kube import Namespace, kubectl

SYSTEM = "headrace-system"
KINDS = ("dag", "hjob", "dset")


class Canaries:
    """Strings to look for, each of another place; none is in the files of the test that could be shown anywhere."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self.named: dict[str, str] = {}

    def new(self, place: str) -> str:
        """The one of a place."""
        return self.named.setdefault(place, f"{self._mark}-{place}-x")

    def know(self, place: str, text: str) -> None:
        """A secret that somebody else made."""
        assert len(text) > 15, place
        self.named[place] = text

    def within(self, text: str) -> set[str]:
        """Places whose canary the text has, also as JSON within a string would have it."""
        return {place for place, canary in self.named.items() if canary in text}


def statuses(ns: Namespace) -> Iterator[tuple[str, str]]:
    """Of every object of the three kinds; of those that the operator made, all."""
    for kind in KINDS:
        for one in ns.items(kind):
            name = one["metadata"]["name"]
            made = one["spec"].get("projected") is True
            yield f"status of {kind}/{name}", json.dumps(one if made else one.get("status"), ensure_ascii=False)


def events(ns: Namespace) -> Iterator[tuple[str, str]]:
    """What Kubernetes tells of the namespace, and of Headrace's own."""
    for where in (ns.name, SYSTEM):
        yield f"events of {where}", kubectl("-n", where, "get", "events", "-o", "json")


def logs() -> Iterator[tuple[str, str]]:
    """Of each container of Headrace's own pods, since its start."""
    for pod in json.loads(kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]:
        name = pod["metadata"]["name"]
        yield f"log of {name}", kubectl("-n", SYSTEM, "logs", name, "--all-containers", "--tail=-1")


def metrics() -> Iterator[tuple[str, str]]:
    """Of Headrace's own pods."""
    for pod in json.loads(kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]:
        name = pod["metadata"]["name"]
        port = 8081 if "gateway" in name else 8080
        yield (
            f"metrics of {name}",
            kubectl("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{name}:{port}/proxy/metrics"),
        )


def arguments(ns: Namespace) -> Iterator[tuple[str, str]]:
    """Of every process of the machine, where all pods run; and of every container."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield f"arguments of {place.parent.name}", place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    for where in (ns.name, SYSTEM):
        for pod in json.loads(kubectl("-n", where, "get", "pods", "-o", "json"))["items"]:
            containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
            given = [[one.get("command"), one.get("args")] for one in containers]
            yield f"arguments of pod {pod['metadata']['name']}", json.dumps(given, ensure_ascii=False)


def tables(canaries: Canaries) -> Mapping[str, set[str]]:
    """Of each canary the columns of Postgres that have it, `table.column` each; of those that nothing has, nothing."""
    found: dict[str, set[str]] = {}
    with psycopg.connect(os.environ["HEADRACE_DATABASE_URL"]) as connection:
        columns = connection.execute(
            "SELECT c.table_schema, c.table_name, c.column_name FROM information_schema.columns c"
            " JOIN information_schema.tables t USING (table_schema, table_name)"
            " WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len(columns) > 200
        for schema, table, column in columns:
            query = sql.SQL("SELECT {}::text FROM {} WHERE {}::text ~ %s").format(
                sql.Identifier(column), sql.Identifier(schema, table), sql.Identifier(column)
            )
            wanted = "|".join(sorted(map(_escaped, canaries.named.values())))
            for (text,) in connection.execute(query, (wanted,)):
                for place in canaries.within(text):
                    found.setdefault(place, set()).add(f"{table}.{column}")
    return found


def _escaped(text: str) -> str:
    return "".join(one if one.isalnum() else f"\\{one}" for one in text)
