"""Health over HTTP for the kubelet: alive while the loops turn, ready while they turned lately."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

Check = Callable[[], str | None]
"""What is wrong, in words; None when nothing is."""


async def serve(port: int, alive: Check, ready: Check) -> web.AppRunner:
    """Answer `/healthz` and `/readyz` on every address; the caller cleans the runner up."""

    def answer(check: Check) -> Callable[[web.Request], object]:
        async def handle(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(text=wrong or "ok", status=503 if wrong else 200)

        return handle

    app = web.Application()
    app.router.add_get("/healthz", answer(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(ready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
