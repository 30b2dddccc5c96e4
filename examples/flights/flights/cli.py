"""`flights STEP`, `flights worker`: what the pods of the pipeline run; `flights result`: what people run afterwards."""

import argparse
import json
import sys
from pathlib import Path

from flights.task import TaskError, read_task, report

STEPS = ("clean", "weather", "join", "rank")
LIVE = ("tidy", "daily")


def main(arguments: list[str] | None = None) -> int:
    """Exit 0 is success; 1 is a failure, whose cause is the last line of the log."""
    options = parse(arguments)
    try:
        if options.command == "result":
            result(options)
        elif options.command == "worker":
            from flights import worker  # noqa: PLC0415  as below

            worker.main()
        elif options.command == "observe":
            from flights import live  # noqa: PLC0415  as below

            live.observe()
        else:
            run(options.command)
    except TaskError as error:
        print(f"flights {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def run(step: str) -> None:
    """Do one step for each partition of this pod's task, then report."""
    from flights import live, steps  # noqa: PLC0415  DuckDB takes a tenth of a second to import: not before it is needed

    task = read_task()
    written = [line for key in task.keys for line in getattr(live if step in LIVE else steps, step)(task, key)]
    report(written)
    for line in written:
        print(f"{step} {line['key']}: {line['rows']} rows, {line['bytes']} bytes in output {line['output']}")


def result(options: argparse.Namespace) -> None:
    """Print the rankings over all the partitions given."""
    from flights.result import render  # noqa: PLC0415  as above

    text = sys.stdin.read() if options.partitions == "-" else Path(options.partitions).read_text()
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(f"the partitions are not JSON: {error}") from None
    print(render(document, options.map, options.top, options.json))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="flights", description="A year of departures from New York, by delay.")
    commands = parser.add_subparsers(dest="command", required=True)
    for step in STEPS + LIVE:
        commands.add_parser(step, help=f"run the step {step} of the task in HEADRACE_TASK_FILE or HEADRACE_TASK")
    commands.add_parser("observe", help="tell the year's weather as a feed: a source that runs on and on")
    commands.add_parser("worker", help="run tasks of the step that the job's operator names, as they come")
    command = commands.add_parser("result", help="print the rankings over all the partitions given")
    command.add_argument(
        "partitions",
        nargs="?",
        default="-",
        metavar="FILE",
        help='JSON: [{"key": "2013-01", "location": "file:///data/…"}, …], or an object of such lists by'
        " dataset (default: standard input)",
    )
    command.add_argument("--json", action="store_true", help="every row, as JSON")
    command.add_argument("--top", type=int, default=10, metavar="N", help="rows of each table (10)")
    command.add_argument(
        "--map",
        type=pair,
        action="append",
        default=[],
        metavar="FROM=TO",
        help="read locations that begin with FROM below TO: file:///data=file:///mnt/volume",
    )
    return parser.parse_args(arguments)


def pair(text: str) -> tuple[str, str]:
    """FROM=TO as two strings."""
    before, separator, after = text.partition("=")
    if not (before and separator and after):
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM=TO")
    return before, after
