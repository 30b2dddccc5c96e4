"""The webhook over HTTPS, in every operator, leading or waiting. It serves once the Secret has a certificate.

The API server shows who it is by the path, a secret word that it is told with the authorities: any pod may reach this
port, and what lives in a namespace is told to nobody who may not write there.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from headrace.admission.judge import CPU_SECONDS, Judge
from headrace.admission.keep import PATH, pair_of, word_of
from headrace.admission.review import Review, answer
from headrace.cluster.client import Client
from headrace.cluster.webhook import read_secret
from headrace.compiler import Compiler
from headrace.errors import PermanentError, TemporaryError
from headrace.state.database import Database

logger = logging.getLogger(__name__)

_FIRST_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 10.0
# An object of etcd's own limit, twice, and what is around them.
_BODY: Final = 8 * 1024 * 1024


class Webhook:
    """The server; `run` in every process, with what it needs."""

    def __init__(self, client: Client, judge: Judge, namespace: str, port: int) -> None:
        self._client = client
        self._judge = judge
        self._namespace = namespace
        self._port = port
        self._served: Mapping[str, bytes] = {}
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    async def run(self, first: float = _FIRST_SECONDS, look: float = _LOOK_SECONDS) -> None:
        """Serve for ever, always with the newest certificate: looked for every so many seconds."""
        app = web.Application(client_max_size=_BODY)
        app.router.add_post(PATH + "{word}", self._answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        serving = False
        try:
            while True:
                await self._take_up()
                serving = serving or (bool(self._served) and await self._start(runner))
                await asyncio.sleep(look if serving else first)
        finally:
            await runner.cleanup()

    async def _start(self, runner: web.AppRunner) -> bool:
        """Whether it serves; a port that another process holds takes no operator down."""
        try:
            await web.TCPSite(runner, port=self._port, ssl_context=self.context).start()
        except OSError as error:
            logger.warning("admission: %s", error)
            return False
        logger.info("admission: serving on port %d", self._port)
        return True

    async def _take_up(self) -> None:
        """Take up the Secret's certificate, if it is another: new connections are served with it."""
        try:
            values = await read_secret(self._client, self._namespace)
        except (TemporaryError, PermanentError) as error:
            logger.info("admission: the certificate cannot be read: %s", error)
            return
        if not values or not word_of(values) or values == self._served:
            return
        try:
            load(self.context, pair_of(values).certificate, pair_of(values).key)
        except (ssl.SSLError, OSError) as error:
            logger.warning("admission: the certificate in the Secret cannot be served: %s", error)
            return
        self._served = values
        logger.info("admission: took up a certificate")

    async def _answer(self, request: web.Request) -> web.Response:
        given, known = request.match_info["word"], word_of(self._served)
        if not known or not hmac.compare_digest(given.encode(), known.encode()):
            raise web.HTTPNotFound
        try:
            review = msgspec.json.decode(await request.read(), type=Review)
        except (msgspec.DecodeError, RecursionError):
            raise web.HTTPBadRequest from None
        verdict = await self._judge.judge(review.request)
        if verdict.refused:
            asked = review.request
            logger.info("%s %s/%s is refused", asked.kind.kind, asked.namespace, asked.name)
        body = msgspec.json.encode(answer(review.request.uid, verdict))
        return web.Response(body=body, content_type="application/json")


async def serve(client: Client, database_url: str, namespace: str, port: int) -> None:
    """Serve admission until it is canceled, with connections and a process of its own."""
    compiler = Compiler(CPU_SECONDS)
    try:
        async with Database(database_url, connections=2) as db:
            await Webhook(client, Judge(client, db, compiler), namespace, port).run()
    finally:
        compiler.close()


def load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL takes files alone: they are there for this moment."""
    with tempfile.TemporaryDirectory() as directory:
        whole, own = Path(directory, "tls.crt"), Path(directory, "tls.key")
        whole.write_bytes(certificate)
        os.close(os.open(own, os.O_CREAT | os.O_WRONLY, 0o600))
        own.write_bytes(key)
        context.load_cert_chain(whole, own)
