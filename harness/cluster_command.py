"""The command line of `harness/cluster`: one node of real Kubernetes and a Postgres by one command.

Called by the executable `harness/cluster`. Standard library only, so that it answers fast and from nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from harness import places
from harness.console import HarnessError
from harness.node.boot import DAEMONS
from harness.providers import choice
from harness.providers.provider import Provider


def main(argv: list[str]) -> int:
    """Run one command; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return _perform(arguments)
    except HarnessError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("headrace: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _perform(arguments: argparse.Namespace) -> int:
    provider = choice.get(arguments.name, arguments.provider)
    match arguments.command:
        case "up":
            provider.up()
        case "down":
            provider.down(keep=arguments.keep)
        case "env":
            for name, value in provider.env().items():
                print(f"export {name}={_quoted(name, value)}")
        case "status":
            return _status(provider)
        case "load-image":
            for archive in arguments.archive:
                provider.load_image(archive)
        case _:
            print(provider.kill(arguments.daemon))
    return 0


def _status(provider: Provider) -> int:
    report = provider.status()
    names = [part.name for part in report.parts] + list(report.addresses)
    width = max((len(name) for name in names), default=0)
    for part in report.parts:
        print(f"{part.name:{width}}  {part.where:>8}  {part.health}")
    for name, address in report.addresses.items():
        print(f"{name:{width}}  {address}")
    return 0 if report.healthy else 1


def _quoted(name: str, value: str) -> str:
    """Quoted for a shell; these alone refer to what the shell already has."""
    return f'"{value}"' if name in {"PATH", "no_proxy", "NO_PROXY"} else shlex.quote(value)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=places.chosen_cluster(), help="which cluster (default: %(default)s)")
    common.add_argument("--provider", choices=choice.NAMES, help="default: the one it was made with, else native")
    parser = argparse.ArgumentParser(prog="harness/cluster", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", parents=[common], help="bring the cluster up, or complete what is there")
    down = commands.add_parser("down", parents=[common], help="stop everything it started, and remove its data")
    down.add_argument("--keep", action="store_true", help="keep the data for the next `up`")
    commands.add_parser("env", parents=[common], help='for eval "$(harness/cluster env)"')
    commands.add_parser("status", parents=[common], help="daemons and addresses; exit code 0 when all is healthy")
    load = commands.add_parser("load-image", parents=[common], help="load docker archives into the node")
    load.add_argument("archive", type=Path, nargs="+", metavar="TAR")
    kill = commands.add_parser("kill", parents=[common], help="SIGKILL one daemon; `up` starts it again")
    kill.add_argument("daemon", choices=DAEMONS)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
