"""The verbs and their arguments. argparse alone: it is there, starts in milliseconds and needs nothing else.

Wrong usage ends with 64 (EX_USAGE), since 2, argparse's own, is what `plan --exit-code` says for changes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from headrace.api.invalidations import add_invalidate_options
from headrace.api.names import NAME_RE
from headrace.api.purge import add_purge_options
from headrace.api.runs import MOST_TASKS, add_cancel_options, add_run_options, key, task_id

USAGE: Final = 64
_ACCOUNT: Final = "headrace-cli"
_PLAN: Final = """\
Shows what applying these files would do, and changes nothing. Give the whole set of objects of each DAG concerned.

Exit codes: 0 done, 1 failed, 64 called wrongly; with --exit-code 2 when there is anything to do.
"""
_WAITS: Final = "Waits for the operator's answer, with --wait until that version serves or cannot."
_STATES: Final = ("queued", "retrying", "running", "completed", "failed", "canceled")
_ANSWERS: Final = "Waits for the operator's answer."
_DATASETS: Final = r"^[a-z][a-z0-9_.-]{0,190}\Z"
_NAMES: Final = "names have small letters, digits, '-' and '_', a letter first"


def _dag(text: str) -> str:
    """The name of a DAG."""
    if not NAME_RE.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} can be no name of a DAG: {_NAMES}")
    return text


def _dataset(text: str) -> str:
    """The name of a dataset: a published one, or DAG.JOB.OUTPUT."""
    if not re.match(_DATASETS, text):
        raise argparse.ArgumentTypeError(f"{text!r} can be no name of a dataset")
    return text


def _column(text: str) -> tuple[str, str | None]:
    """A dataset, or one of its columns."""
    found = re.match(r"([a-z][a-z0-9_-]*\.[a-z][a-z0-9_-]*\.[0-9]+|[a-z][a-z0-9_]*)(?:\.(.+))?\Z", text, re.DOTALL)
    if found is None or len(found[1]) > 191:
        raise argparse.ArgumentTypeError(f"{text!r} is no DATASET or DATASET.COLUMN")
    return found[1], found[2]


def _job(text: str) -> str:
    """The name of a DAG and one of its jobs."""
    dag, _, job = text.partition("/")
    if not NAME_RE.match(dag) or not NAME_RE.match(job):
        raise argparse.ArgumentTypeError(f"{text!r} is not DAG/JOB: {_NAMES}")
    return text


def _object(text: str) -> str:
    """The name of a DAG, of a DAG and one of its jobs, or of a dataset."""
    if "/" in text:
        return _job(text)
    if not NAME_RE.match(text) and not re.match(_DATASETS, text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither DAG nor DAG/JOB nor a dataset: {_NAMES}")
    return text


def _target(text: str) -> str:
    """The name of a DAG, or of a DAG and one of its jobs, or a task's id."""
    dag, slash, job = text.partition("/")
    if task_id(text) is None and (not NAME_RE.match(dag) or (slash and not NAME_RE.match(job))):
        raise argparse.ArgumentTypeError(f"{text!r} is neither DAG nor DAG/JOB nor a task's id: {_NAMES}")
    return text


def _count(least: int, most: int) -> Callable[[str], int]:
    """A number within bounds."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return number

    return read


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser(program: str) -> argparse.ArgumentParser:
    """The parser of the whole command line; `program` is how it was called. Each verb says what to `act`."""
    called = "kubectl headrace" if Path(program).name.startswith("kubectl-") else "headrace"
    # Before the verb or after it, as in kubectl.
    root = _Parser(prog=called, description="Data pipelines as Kubernetes objects.", parents=[_common(after=False)])
    verbs = root.add_subparsers(dest="command", required=True, metavar="VERB", parser_class=_Parser)
    people = _common(after=True)
    _plan(verbs, people)
    _lint(verbs)
    _versions(verbs, people)
    _looks(verbs, people)
    retry = _command(verbs, people, "retry", "run again what failed for good", _ANSWERS)
    retry.add_argument(
        "target", metavar="DAG[/JOB]|TASK", type=_target, help="all of a DAG, one of its jobs, or a task"
    )
    retry.set_defaults(act="commands:retry")
    _work(verbs, people)
    _lineage(verbs)
    transfer = verbs.add_parser("transfer", parents=[people], help="give a dataset's name to another DAG")
    transfer.add_argument("dataset", metavar="DATASET")
    transfer.add_argument("--to", metavar="DAG", type=_dag, required=True, help="the DAG that gets the name")
    transfer.set_defaults(act="transfer:run")
    adopt = verbs.add_parser(
        "adopt", parents=[people], help="give a namespace the org that its namesake had",
        description="Gives the namespace an org that was left behind by one which is gone; without ORG, lists these.",
    )  # fmt: skip
    adopt.add_argument("org", metavar="ORG", nargs="?", help="what it is called now, or its id")
    adopt.set_defaults(act="adopt:run")
    completion = verbs.add_parser(
        "completion", help="print the completion of a shell, for it to evaluate",
        description="bash and zsh: eval \"$(headrace completion bash)\"; fish: headrace completion fish | source",
    )  # fmt: skip
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.set_defaults(act="completion:script")
    operator = verbs.add_parser("operator", help="run the operator: settings come from HEADRACE_* in the environment")
    operator.set_defaults(act="processes:operator")
    gateway = verbs.add_parser("gateway", help="run the gateway: settings come from HEADRACE_* in the environment")
    gateway.set_defaults(act="processes:gateway")
    migrate = verbs.add_parser("migrate", help="bring the state schema up to date, once, whoever else does")
    migrate.set_defaults(act="processes:migrate")
    return root


_Verbs: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _plan(verbs: _Verbs, people: _Parser) -> None:
    plan = verbs.add_parser(
        "plan",
        parents=[people],
        help="show what applying files would do",
        description=_PLAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plan.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE|DIR|-", help="YAML or JSON; repeatable"
    )
    plan.add_argument("-R", "--recursive", action="store_true", help="directories with all that is in them")
    plan.add_argument("--exit-code", action="store_true", help="end with 2 when there is anything to do")
    plan.set_defaults(act="plan:run")


def _lint(verbs: _Verbs) -> None:
    lint = verbs.add_parser(
        "lint", parents=[_common(after=True)], help="check files without a cluster, with file and line",
        description="Checks all objects of these files, and what they make together. Give the whole set of objects of"
        " each DAG. Exit codes: 0 no error (there may be warnings), 1 errors.",
    )  # fmt: skip
    lint.add_argument("files", nargs="+", metavar="FILE|DIR|-", help="YAML or JSON")
    lint.add_argument("-R", "--recursive", action="store_true", help="directories with all that is in them")
    lint.set_defaults(act="lint:run")


def _looks(verbs: _Verbs, people: _Parser) -> None:
    status = verbs.add_parser(
        "status", parents=[people], help="show what serves, builds, waits and fails, as a tree",
        description="Of a namespace, a DAG, a job, or a dataset. Exit codes: 0 all of it is up to date, 2 it is not,"
        " 1 failed.",
    )  # fmt: skip
    status.add_argument("target", metavar="DAG[/JOB]|DATASET", nargs="?", type=_object, help="default: the namespace")
    status.add_argument(
        "--all", action="store_true", help="all jobs of large DAGs, also where there is nothing to tell"
    )
    status.set_defaults(act="status:run")


def _versions(verbs: _Verbs, people: _Parser) -> None:
    history = verbs.add_parser("history", parents=[people], help="show the versions of a DAG, newest first")
    history.add_argument("dag", metavar="DAG", type=_dag)
    history.set_defaults(act="history:run")
    for verb, words in (
        ("approve", "let a version that waits for approval go on (default: the one that waits)"),
        ("rollback", "return to a version and stay there until unpin (default: the one that served before)"),
    ):
        one = _command(verbs, people, verb, words, _WAITS)
        one.add_argument("dag", metavar="DAG", type=_dag)
        one.add_argument("hash", metavar="HASH", nargs="?", help="the version, by the beginning of its hash")
        one.add_argument("--wait", "-w", action="store_true", help="wait until that version serves, or cannot")
        one.set_defaults(act=f"commands:{verb}")
    unpin = _command(verbs, people, "unpin", "end a rollback: the spec decides again", _ANSWERS)
    unpin.add_argument("dag", metavar="DAG", type=_dag)
    unpin.set_defaults(act="commands:unpin")
    purge = verbs.add_parser(
        "purge", parents=[people], help="show, or retire, what contents of a DAG's datasets nothing needs",
        description="What no version that serves, is built or may be returned to has, and no task makes or reads. It is"
        " for its owner to delete: nothing is deleted here.",
    )  # fmt: skip
    purge.add_argument("dag", metavar="DAG", type=_dag)
    add_purge_options(purge)
    purge.set_defaults(act="purge:run")


def _lineage(verbs: _Verbs) -> None:
    lineage = verbs.add_parser(
        "lineage", parents=[_common(after=True, more=("mermaid",))], help="show what columns are made from",
        description="Both ways, over all DAGs: what a column, or each of a dataset, is made from, and what from it.",
    )  # fmt: skip
    lineage.add_argument("column", metavar="DATASET[.COLUMN]", type=_column)
    lineage.set_defaults(act="lineage:run")


def _work(verbs: _Verbs, people: _Parser) -> None:
    """What people do with tasks."""
    run = verbs.add_parser("run", parents=[people], help="run a job: partitions, a range, or what it lacks")
    run.add_argument("target", metavar="DAG/JOB", type=_job)
    add_run_options(run)
    run.add_argument(
        "--wait", "-w", action="store_true", help="until its tasks are over; ends with 1 if one did not complete"
    )
    run.add_argument("--timeout", type=float, metavar="SECONDS", help="how long to wait (default: no limit)")
    run.set_defaults(act="runs:run")
    cancel = verbs.add_parser("cancel", parents=[people], help="cancel what waits, runs or has failed for good")
    cancel.add_argument("target", metavar="DAG[/JOB]|TASK", type=_target)
    add_cancel_options(cancel)
    cancel.set_defaults(act="runs:cancel")
    invalidate = verbs.add_parser(
        "invalidate", parents=[people], help="say that a partition or rows of a dataset are wrong",
        description="What is made from them is made again; where partitionBy tells which partitions have them, these.",
    )  # fmt: skip
    invalidate.add_argument("dataset", metavar="DATASET", type=_dataset)
    add_invalidate_options(invalidate)
    invalidate.set_defaults(act="invalidate:run")
    tasks = verbs.add_parser("tasks", parents=[people], help="show tasks, newest first")
    tasks.add_argument("target", metavar="DAG[/JOB]|TASK", type=_target)
    tasks.add_argument("--partition", "-p", type=key, metavar="KEY", help="of this partition")
    tasks.add_argument("--state", choices=_STATES, help="in this state")
    tasks.add_argument(
        "--most", type=_count(1, MOST_TASKS), default=50, metavar="N", help="at most so many (default: %(default)s)"
    )
    tasks.set_defaults(act="tasks:tasks")
    logs = verbs.add_parser("logs", parents=[people], help="show what a task's pod says")
    logs.add_argument(
        "target", metavar="DAG/JOB|TASK", type=_target, help="a task, or of a job the one that began last"
    )
    logs.add_argument("--partition", "-p", type=key, metavar="KEY", help="of this partition")
    logs.add_argument("--follow", "-f", action="store_true", help="go on while it runs")
    logs.add_argument("--tail", type=_count(0, 10**9), metavar="N", help="the last lines only")
    logs.set_defaults(act="tasks:logs")
    why = verbs.add_parser(
        "why", parents=[people], help="say why a DAG, a job or a dataset is not up to date, down to the root",
        description="The chain of causes: of a DAG that is not up to date, a job, or a partition of it, that does not"
        " run, a dataset that is not made or not fresh.",
    )  # fmt: skip
    why.add_argument("target", metavar="DAG[/JOB]|DATASET", type=_object)
    why.add_argument("--partition", "-p", type=key, metavar="KEY", help="this partition of the job")
    why.set_defaults(act="why:run")


def _command(verbs: _Verbs, people: _Parser, name: str, words: str, waits: str) -> _Parser:
    command = verbs.add_parser(
        name, parents=[people], help=words.partition(" (")[0], description=f"{words[0].upper()}{words[1:]}. {waits}"
    )
    limit = "how long to wait in all (default: 30 for the answer, no limit with --wait)"
    command.add_argument("--timeout", type=float, metavar="SECONDS", help=limit if waits is _WAITS else "default: 30")
    return command


def _common(*, after: bool, more: tuple[str, ...] = ()) -> _Parser:
    """What every verb for people takes; `after` the verb what is not given changes nothing of what was given before.

    `more`: forms of output that the verb has beside the common ones.
    """
    common = _Parser(add_help=False)

    def add(*names: str, default: str | None = None, **rest: Any) -> None:
        common.add_argument(*names, default=argparse.SUPPRESS if after else default, **rest)

    add("-n", "--namespace", help="default: the context's")
    add("--context", help="context of the kubeconfig (default: the current one)")
    add("--kubeconfig", type=Path, metavar="FILE", help="default: KUBECONFIG, else ~/.kube/config")
    add(
        "--service-account",
        default=_ACCOUNT,
        metavar="NAME",
        help=f"whom to be at the gateway where the kubeconfig has no token (default: {_ACCOUNT})",
    )
    add("-o", "--output", choices=("text", "json", "yaml", *more), default="text", help="default: text")
    return common
