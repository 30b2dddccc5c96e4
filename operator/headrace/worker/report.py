"""`headrace-report [--event ID] [FILE|-]`: what a task has made, from a JSON document; in any pod of a task or worker.

It goes to the file HEADRACE_REPORT_FILE where that is set: the termination message of a pod of its own, or what
`headrace-worker` reads. Else to the gateway, with the pod's own token: a job with `report: gateway`. The last report
counts, and only if the task then ends with exit code 0. With `--event` it is one event of an always_on source, which
counts at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from headrace.worker.gateway import Gateway, Gone, Refused

_USAGE: Final = 64
_NO_REPORT: Final = 65
_NOT_NOW: Final = 75
_STALE: Final = 1
_PATIENCE: Final = 60.0
# A cutover may hold events for a minute.
_EVENT_PATIENCE: Final = 180.0
_HELP: Final = "usage: headrace-report [--event ID] [FILE|-]"


def main() -> None:
    """Send the report in the file that is named, or in standard input; exit code 0 when it is kept."""
    arguments, event = sys.argv[1:], ""
    if arguments[:1] == ["--event"]:
        event, arguments = (arguments[1] if len(arguments) > 1 else "-"), arguments[2:]
    if len(arguments) > 1 or event.startswith("-") or (arguments and arguments[0][:1] == "-" != arguments[0]):
        _end(_USAGE, _HELP)
    report = _read(arguments[0] if arguments else "-")
    given = os.environ
    if event and "HEADRACE_URL" in given and "HEADRACE_TOKEN_FILE" in given:
        _send(given["HEADRACE_URL"], Path(given["HEADRACE_TOKEN_FILE"]), {**report, "id": event}, event=True)
    elif event:
        _end(_USAGE, "HEADRACE_URL is not set: events are told in the pod of an always_on source, in its container")
    elif file := given.get("HEADRACE_REPORT_FILE"):
        _write(Path(file), report, int(given.get("HEADRACE_REPORT_LIMIT") or 0))
    elif "HEADRACE_URL" in given and "HEADRACE_TOKEN_FILE" in given:
        _send(given["HEADRACE_URL"], Path(given["HEADRACE_TOKEN_FILE"]), report)
    else:
        _end(
            _USAGE,
            "neither HEADRACE_REPORT_FILE nor HEADRACE_URL is set: this runs in the pod of a task, in its container",
        )


def _read(name: str) -> Mapping[str, Any]:
    if name == "-" and sys.stdin.isatty():
        _end(_USAGE, f"{_HELP}, with a report in FILE or in standard input")
    try:
        report = json.loads(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
    except OSError as error:
        _end(_NO_REPORT, f"the report cannot be read: {error}")
    except (ValueError, RecursionError) as error:
        _end(_NO_REPORT, f"the report is no JSON: {error}")
    if not isinstance(report, dict):
        _end(_NO_REPORT, 'the report is no JSON object, such as {"partitions": [{"key": "…", "rows": 5}]}')
    return report


def _write(file: Path, report: Mapping[str, Any], limit: int) -> None:
    text = json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode()
    if limit and len(text) > limit:
        _end(_NO_REPORT, f"the report has {len(text)} bytes, and a termination message {limit} at most:"
             " give the job `report: gateway`")  # fmt: skip
    try:
        file.write_bytes(text)
    except OSError as error:
        _end(_NOT_NOW, f"the report cannot be written: {error}")


def _send(url: str, token: Path, report: Mapping[str, Any], *, event: bool = False) -> None:
    note: str | None
    try:
        # Asking would be tried again.
        token.read_bytes()
        gateway = Gateway(url, token)
        if event:
            note = None if gateway.events([report], _EVENT_PATIENCE) is None else ""
        else:
            note = gateway.report(report, _PATIENCE)
    except Refused as error:
        _end(_NO_REPORT, f"the gateway refuses the report: {error}")
    except (Gone, OSError, ValueError) as error:
        _end(_NOT_NOW, f"the report cannot be told: {error}")
    if note is None:
        _end(_STALE, "this attempt is over, and its report counts for nothing")
    if note:
        sys.stderr.write(f"headrace-report: {note}\n")


def _end(code: int, words: str) -> NoReturn:
    sys.stderr.write(f"headrace-report: {words}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
