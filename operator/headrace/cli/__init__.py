"""The command line, `headrace` and `kubectl headrace`: parse, import the verb's own module, run it, tell errors.

Only what was asked for is imported, so that everything starts fast: `--help` loads argparse, a verb for people aiohttp,
msgspec and PyYAML (0.2 s on a slow machine), and none of them kopf, psycopg or the official client.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from headrace.api.runs import NotUnderstood
from headrace.cli.parser import USAGE, parser

DONE: Final = 0
FAILED: Final = 1
CHANGES: Final = 2
TIME_IS_UP: Final = 3
INTERRUPTED: Final = 130


def main(arguments: list[str] | None = None) -> int:
    """Run `headrace ARGUMENTS`; the exit code: 0 done, 1 failed, 3 a wait's --timeout is over, 64 called wrongly, 130
    interrupted. `plan --exit-code` ends with 2 when there are changes.
    """
    root = parser(sys.argv[0])
    if "_ARGCOMPLETE" in os.environ:
        importlib.import_module("headrace.cli.completion").complete(root)
    chosen = root.parse_args(arguments)
    from headrace.errors import HeadraceError, TimeIsUp  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign gets a question mark, not a traceback.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    module, _, name = chosen.act.partition(":")
    try:
        code: int = getattr(importlib.import_module(f"headrace.cli.{module}"), name)(chosen)
        sys.stdout.flush()
    except NotUnderstood as error:
        print(f"headrace: {error}", file=sys.stderr)
        return USAGE
    except TimeIsUp as error:
        print(f"headrace: {error}", file=sys.stderr)
        return TIME_IS_UP
    except HeadraceError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("headrace: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has had enough, as `| head` does; Python would complain once more as it ends.
        sys.stdout = None
        return FAILED
    return code
