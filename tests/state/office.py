"""A sender of news over a world in Postgres, and receivers that it posts to; the tests of news share them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from headrace.run.marks import Marks
from headrace.run.notices import Sender
from headrace.run.outward import Outward
from headrace.state import leader, orgs
from headrace.state.database import Database
from tests.state.world import NAMESPACE_UID, World, month_source

KEY = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receiver:
    """One that is there: what came, and how it answers."""

    url: str = ""
    status: int = 200
    came: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    go: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies."""
        return [json.loads(body) for _, body in self.came]


@asynccontextmanager
async def listening(**how: Any) -> AsyncIterator[Receiver]:
    found = Receiver(**how)

    async def take(request: web.Request) -> web.Response:
        found.came.append((request.headers, await request.read()))
        found.arrived.set()
        if found.go is not None:
            await found.go.wait()
        return web.Response(status=found.status)

    app = web.Application()
    app.router.add_post("/in/canary", take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/in/canary"))
        try:
            yield found
        finally:
            if found.go is not None:
                found.go.set()


@dataclass
class Office:
    """A world, what the sender sees of the cluster, and what it tells."""

    world: World
    uids: dict[str, str] = field(default_factory=lambda: {"air": NAMESPACE_UID})
    secrets: dict[str, dict[str, bytes] | Exception] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    due: asyncio.Event = field(default_factory=asyncio.Event)

    async def uid(self, namespace: str) -> str | None:
        return self.uids.get(namespace)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = self.secrets.get(f"{namespace}/{name}")
        if isinstance(found, Exception):
            raise found
        return found

    @asynccontextmanager
    async def sender(self, db: Database | None = None, epoch: int = 0) -> AsyncIterator[Sender]:
        """One of an operator that leads."""
        db = db or self.world.db
        async with self.world.db.transaction() as tx:
            standing = await leader.standing(tx)
        out = Outward(loopback=True)
        yield Sender(
            db, epoch, Marks(db, standing, lambda _: None), self.uid, self.secret, out, self.due, self.tell,
            lambda notice, trouble: self.dropped.append((notice.kind, trouble)),
        )  # fmt: skip

    def tell(self, namespace: str) -> None:
        """Something else is wrong with its receiver."""
        self.changed.append(namespace)
        self.told.set()

    async def trouble(self, sender: Sender, uid: str = NAMESPACE_UID) -> str | None:
        """What is wrong with the receiver of the namespace's org."""
        return sender.trouble((await self.world.org("air", uid)).id)

    async def turn(self) -> Sender:
        """Whatever is due is sent; who sent it."""
        async with self.sender() as sender:
            await sender.turn()
            return sender

    async def wants(self, url: str, namespace: str = "air", uid: str = NAMESPACE_UID, **more: bytes) -> None:
        """The org names a receiver."""
        org = await self.world.org(namespace, uid)
        async with self.world.db.transaction() as tx:
            await orgs.set_settings(tx, 0, org, {"notify": {"secret_name": "chat"}})
        self.secrets[f"{namespace}/chat"] = {"url": url.encode(), **more}

    async def news(self, dag: str = "flights") -> None:
        """Something has happened, and is to be told now."""
        await self.world.apply(dag, month_source("a"))
        await self.due_now()

    async def due_now(self) -> None:
        await self.world.rows("UPDATE notices SET due_at = now() RETURNING 1")

    async def left(self) -> int:
        return len(await self.world.rows("SELECT 1 FROM notices"))
