"""The command line of `harness/image`: prints the path of the docker archive that it made or found.

Called by the executable `harness/image`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.console import HarnessError
from harness.images import base, build


def main(argv: list[str]) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(prog="harness/image", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("base", help="Debian with its Python: what the other images stand on")
    for name, image in build.NAMED.items():
        commands.add_parser(name, help=image.tag)
    other = commands.add_parser("build", help="an image from a Dockerfile and wheels")
    other.add_argument("directory", type=Path, help="directory of the Dockerfile")
    other.add_argument("tag")
    other.add_argument(
        "--wheels-lock", type=Path, required=True, help="lock file with hashes; its wheels go to wheels/"
    )
    other.add_argument(
        "--wheel",
        type=Path,
        action="append",
        default=[],
        metavar="PROJECT",
        help="project whose own wheel goes to wheels/, too; may be given several times",
    )
    chosen = parser.parse_args(argv)
    try:
        if chosen.command == "base":
            print(base.ensure())
        elif chosen.command == "build":
            projects = tuple(project.resolve() for project in chosen.wheel)
            image = build.Image(chosen.directory.resolve(), chosen.tag, chosen.wheels_lock.resolve(), projects)
            print(build.ensure(image))
        else:
            print(build.ensure(build.NAMED[chosen.command]))
    except HarnessError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
