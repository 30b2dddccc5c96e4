"""`headrace history`: the versions of a DAG; and short hashes to whole ones, for the verbs that take a HASH."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from headrace.api.history import History, VersionEntry
from headrace.cli.connection import connected
from headrace.cli.gateway import Gateway, reached
from headrace.cli.output import machine_text
from headrace.cli.style import WIDTH, Paint, clean, colours, paint, plain
from headrace.errors import PermanentError

_SHORTEST: Final = 4
_ROLLOUTS: Final = {
    "Building": "being built",
    "Ready": "built, waits to serve",
    "Failed": "its rollout failed",
    "Superseded": "its last rollout was superseded",
    "Canceled": "its last rollout was canceled",
}


class NoSuchVersion(PermanentError):
    """A hash that is no version's, or more than one's."""


def run(arguments: Namespace) -> int:
    """Print the versions."""
    found = asyncio.run(_ask(arguments))
    if arguments.output == "text":
        sys.stdout.write(show_history(found, paint if colours() else plain))
    else:
        sys.stdout.write(machine_text(found, arguments.output))
    return 0


async def read_history(gateway: Gateway, namespace: str, dag: str) -> History:
    """The versions of a DAG; GatewayError when it never had one."""
    return await gateway.ask("GET", f"/v1/namespaces/{namespace}/dags/{dag}/history", History)


def whole_hash(given: str, hashes: Iterable[str]) -> str:
    """The one hash that begins with `given`, with or without the version of its algorithm; NoSuchVersion else."""
    known = sorted(set(hashes))
    if given in known:
        return given
    if len(given.rpartition("-")[2]) < _SHORTEST:
        raise NoSuchVersion(f"{given!r} is too short to tell versions apart: give {_SHORTEST} characters of the hash")
    found = [one for one in known if one.startswith(given) or one.partition("-")[2].startswith(given)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchVersion(f"no version of the DAG begins with {given!r}: headrace history shows them")
    raise NoSuchVersion(f"{len(found)} versions of the DAG begin with {given!r}: give more of the hash")


def show_history(history: History, paint: Paint = plain) -> str:
    """A table, newest first."""
    lines = [paint(f"  {'VERSION':12}{'CREATED':19}STATE", "bold")]
    for version in history.versions:
        first, *rest = textwrap.wrap(_state(version, history), WIDTH - 33) or [""]
        line = f"{'*' if version.current else ' '} {version.short:12}{_time(version.created_at):19}{first}".rstrip()
        lines += [paint(line, "green") if version.current else line, *(" " * 33 + more for more in rest)]
    return "\n".join(lines) + "\n"


def _state(version: VersionEntry, history: History) -> str:
    told = []
    if version.current:
        told.append("serves" + (f" since {_time(version.served_since)}" if version.served_since else ""))
    elif version.served_until:
        told.append(f"served until {_time(version.served_until)}")
    if version.rollout and version.rollout != "Done":
        told.append(_ROLLOUTS[version.rollout] + (f": {version.cause}" if version.cause else ""))
    if version.yaml_hash == history.previous:
        told.append("headrace rollback returns here")
    return clean("; ".join(told))


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z"


async def _ask(arguments: Namespace) -> History:
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        return await read_history(gateway, namespace, arguments.dag)
