"""Health over HTTP for the kubelet: alive while the loops turn, ready while they turned lately. And metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from headrace import metrics

Check = Callable[[], str | None]
"""What is wrong, in words; None when nothing is."""
Told = Callable[[], Awaitable[bytes]]
"""The metrics, in the text format."""


async def serve(port: int, alive: Check, ready: Check, told: Told) -> web.AppRunner:
    """Answer `/healthz`, `/readyz` and `/metrics` on every address; the caller cleans the runner up."""

    def answer(check: Check) -> Callable[[web.Request], object]:
        async def handle(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(text=wrong or "ok", status=503 if wrong else 200)

        return handle

    app = web.Application()
    app.router.add_get("/healthz", answer(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(ready))  # type: ignore[arg-type]
    return await _begin(app, port, told)


async def serve_metrics(port: int, told: Told) -> web.AppRunner:
    """Answer `/metrics` alone, on a port of its own; the caller cleans the runner up."""
    return await _begin(web.Application(), port, told)


async def _begin(app: web.Application, port: int, told: Told) -> web.AppRunner:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=await told(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app.router.add_get("/metrics", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
