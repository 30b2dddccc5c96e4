"""`headrace-worker -- CMD ARG ...`: any command as a worker's task, one process for each.

The command finds its task in the file HEADRACE_TASK_FILE, and in HEADRACE_TASK up to 64 KiB, as in a pod of its own.
Exit code 0 is success. What it writes to the file HEADRACE_REPORT_FILE is its report, like a pod's termination message.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headrace.worker.loop import Worker
from headrace.worker.task import Failed, Lost, Task

_USAGE: Final = 64
_ENVIRONMENT_LIMIT: Final = 64 * 1024
_TAIL: Final = 2048
_LOOK: Final = 0.2
_KILL: Final = 10.0


class CommandFailed(Failed):
    """The command ended with another code than 0; the message has the end of what it said."""


def main() -> None:
    """Run the command given after `--` for each task."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write("usage: headrace-worker -- COMMAND [ARGUMENT ...]\n")
        sys.exit(_USAGE)
    worker = Worker()

    def command(task: Task) -> None:
        run(task, arguments)

    worker.task(os.environ.get("HEADRACE_OPERATOR", "container"))(command)
    worker.run()


def run(task: Task, arguments: Sequence[str]) -> None:
    """Run the command for one task; CommandFailed when it fails, Lost when it was ended since it was in vain."""
    document = json.dumps(task.whole, ensure_ascii=False)
    with tempfile.TemporaryDirectory(prefix="headrace-") as directory:
        place, report, output = Path(directory), Path(directory) / "report", Path(directory) / "output"
        (place / "task.json").write_text(document)
        environment = {
            **os.environ,
            "HEADRACE_TASK_FILE": str(place / "task.json"),
            "HEADRACE_REPORT_FILE": str(report),
        }
        for name in ("HEADRACE_TASK", "HEADRACE_REPORT_LIMIT"):
            environment.pop(name, None)
        if len(document.encode()) <= _ENVIRONMENT_LIMIT:
            environment["HEADRACE_TASK"] = document
        with output.open("wb") as errors:
            code = _wait(task, subprocess.Popen(list(arguments), env=environment, stderr=errors))
        said = output.read_bytes()
        sys.stderr.buffer.write(said)
        sys.stderr.flush()
        task.check()
        if code != 0:
            words = said[-_TAIL:].decode(errors="replace").strip()
            raise CommandFailed(how(code) + (f": {words}" if words else ""))
        _report(task, report)


def how(code: int) -> str:
    """In words, how a process ended: a negative code is a signal's, and so is what a shell makes of one."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"exit code {code}"
    told = f"{name}, was it out of memory?" if number == signal.SIGKILL else name
    return f"killed by signal {number} ({told})" if code < 0 else f"exit code {code} ({told})"


def _wait(task: Task, process: subprocess.Popen[bytes]) -> int:
    """Its exit code; it is ended when the task is in vain."""
    while True:
        try:
            return process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if not task.lost:
                continue
        process.terminate()
        try:
            process.wait(_KILL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise Lost(f"task {task.id} is not this worker's any more")


def _report(task: Task, report: Path) -> None:
    """What the command says it made; what is no JSON object is no report, and nothing is wrong with that."""
    try:
        text = report.read_text(errors="replace")
    except OSError:
        return
    try:
        told = json.loads(text)
        if isinstance(told, dict):
            task.report(told)
    except (ValueError, TypeError, RecursionError) as error:
        if text.lstrip().startswith("{"):
            task.note(f"its report was not understood and counts for nothing: {error}")
