"""A DAG object as the command line follows it: what of its status says whether a command was handled and came true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, TypeVar

from msgspec import Struct, field

from headrace.api.names import DAG
from headrace.cluster.client import Client
from headrace.cluster.objects import object_path
from headrace.cluster.watch import Deleted, Listed, watch
from headrace.errors import PermanentError, TemporaryError

T = TypeVar("T")
_PATIENCE: Final = 30


class NoSuchDag(PermanentError):
    """There is no such object, or not any more."""

    def __init__(self, namespace: str, dag: str) -> None:
        super().__init__(f"there is no DAG {dag} in namespace {namespace}")


class Condition(Struct, frozen=True, rename="camel"):
    """One aspect of its state."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class Version(Struct, frozen=True, rename="camel"):
    """The version that serves."""

    yaml_hash: str


class Rollout(Struct, frozen=True, rename="camel"):
    """The move to another version that goes on, or the last one. `waiting_for`: approval, for example."""

    state: str
    yaml_hash: str
    waiting_for: str = ""
    cause: str = ""
    started: str | None = None
    tasks_done: int = 0
    tasks_total: int = 0


class Status(Struct, frozen=True, rename="camel"):
    """What the operator tells."""

    conditions: list[Condition] = field(default_factory=list)
    version: Version | None = None
    last_handled: dict[str, str] = field(default_factory=dict)
    last_outcome: dict[str, str] = field(default_factory=dict)
    rollout: Rollout | None = None
    message: str = ""


class Meta(Struct, frozen=True):
    """What is used of its metadata."""

    name: str
    annotations: dict[str, str] = field(default_factory=dict)


class Dag(Struct, frozen=True):
    """The object."""

    metadata: Meta
    status: Status = field(default_factory=Status)

    def condition(self, type_: str) -> Condition | None:
        """A condition that is True."""
        return next((c for c in self.status.conditions if c.type == type_ and c.status == "True"), None)


async def read_dag(client: Client, namespace: str, dag: str) -> Dag:
    """The object as it is; NoSuchDag."""
    found = await client.get(object_path(DAG, namespace, dag), Dag)
    if found is None:
        raise NoSuchDag(namespace, dag)
    return found


async def follow(
    client: Client, namespace: str, dag: str, decided: Callable[[Dag], T | None], seconds: float | None
) -> T | None:
    """Watch the object until `decided` gives something; None after `seconds`. NoSuchDag when it goes.

    A watch that breaks is taken up again; TemporaryError when it breaks again and again.
    """
    try:
        async with asyncio.timeout(seconds):
            broken = 0
            while True:
                try:
                    return await _seen(client, namespace, dag, decided)
                except TemporaryError:
                    broken += 1
                    if broken > _PATIENCE:
                        raise
                    await asyncio.sleep(1.0)
    except TimeoutError:
        return None


async def _seen(client: Client, namespace: str, dag: str, decided: Callable[[Dag], T | None]) -> T:
    events = watch(client, object_path(DAG, namespace), Dag, fieldSelector=f"metadata.name={dag}")
    async with aclosing(events):
        async for event in events:
            there = event.items if isinstance(event, Listed) else () if isinstance(event, Deleted) else (event.item,)
            if not there:
                raise NoSuchDag(namespace, dag)
            found = decided(there[0])
            if found is not None:
                return found
    raise NoSuchDag(namespace, dag)
