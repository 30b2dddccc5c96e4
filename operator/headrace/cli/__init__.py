"""The command line. Parts are imported when they are asked for, so that `--help` starts fast."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Iterator

from headrace.errors import HeadraceError


def main(arguments: list[str] | None = None) -> int:
    """Run `headrace ARGUMENTS`; the exit code: 0 done, 1 failed, 2 called wrongly."""
    parser = argparse.ArgumentParser(prog="headrace", description="Data pipelines as Kubernetes objects.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("operator", help="run the operator: settings come from HEADRACE_* in the environment")
    commands.add_parser("migrate", help="bring the state schema up to date, once, whoever else does")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(
        level=os.environ.get("HEADRACE_LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        return _operator() if chosen.command == "operator" else _migrate()
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1


def _operator() -> int:
    from headrace.operate import operate  # noqa: PLC0415 - heavy
    from headrace.settings import Settings  # noqa: PLC0415

    failed = False
    try:
        asyncio.run(operate(Settings.from_environment()))
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


def _migrate() -> int:
    from headrace.settings import Settings  # noqa: PLC0415
    from headrace.state.migrate import migrate  # noqa: PLC0415

    done = asyncio.run(migrate(Settings.from_environment().database_url))
    for migration in done:
        print(f"applied {migration.version:04}_{migration.name}")
    if not done:
        print("the schema is up to date")
    return 0
