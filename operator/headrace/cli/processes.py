"""The verbs that run in pods: operator, gateway, migrate. `main` calls them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Iterator

from headrace.errors import HeadraceError
from headrace.settings import Settings


def operator(_: argparse.Namespace) -> int:
    """Run the operator until it is told to stop."""
    from headrace.operate import operate  # noqa: PLC0415 - heavy

    _log()
    return _run(operate(Settings.from_environment()))


def gateway(_: argparse.Namespace) -> int:
    """Run the gateway until it is told to stop."""
    from headrace.gateway.serve import serve  # noqa: PLC0415 - heavy

    _log()
    return _run(serve(Settings.from_environment()))


def migrate(_: argparse.Namespace) -> int:
    """Bring the state schema up to date."""
    from headrace.state.migrate import migrate as bring_up  # noqa: PLC0415 - heavy

    _log()
    done = asyncio.run(bring_up(Settings.from_environment().database_url))
    for migration in done:
        print(f"applied {migration.version:04}_{migration.name}")
    if not done:
        print("the schema is up to date")
    return 0


def _log() -> None:
    logging.basicConfig(
        level=os.environ.get("HEADRACE_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _run(process: Coroutine[object, object, None]) -> int:
    failed = False
    try:
        asyncio.run(process)
    except* HeadraceError as group:
        failed = True
        for error in _leaves(group):
            print(f"headrace: {error}", file=sys.stderr)
    return int(failed)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves, out of the groups that they came in."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
