"""Runs and cancellations that people ask for: how they are written, and what is answered.

The same on the command line (`headrace run`), in the annotation (`headrace.dev/run: "<id> JOB --partition 2013-01"`)
and, as JSON, at the gateway. argparse reads the first two.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, NoReturn
from uuid import UUID

import msgspec
from msgspec import Meta, Struct, field

from headrace.api.base import Name, PartitionKey
from headrace.api.names import NAME_RE, PARTITION_KEY_RE
from headrace.errors import PermanentError

MOST_KEYS: Final = 10_000
"""Partitions of one run, at most."""
KEYS: Final = "it has 128 letters, digits, '.', '_', ':', '=' and '-' at most, a letter or a digit first; or it is *"
MOST_TASKS: Final = 500
"""Tasks of one look, at most."""
PARAMS_BYTES: Final = 32 * 1024

RequestId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,128}\Z")]
Keys = Annotated[tuple[PartitionKey, ...], Meta(max_length=MOST_KEYS)]


class NotUnderstood(PermanentError):
    """A request that says what cannot be; the message says the way out."""


class NotThere(NotUnderstood):
    """A request about a DAG or a job that is not there."""


class NothingToDo(NotUnderstood):
    """A request that would be understood, had it come when there was something to do."""


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What to run of a job: these partitions, or those from one to another, both included; none: what the job lists and
    does not have. `missing`: only what is not there. `downstream`: with everything that is made from it.
    """

    partitions: Keys = ()
    first: PartitionKey | None = field(default=None, name="from")
    last: PartitionKey | None = field(default=None, name="to")
    params: dict[str, Any] = {}
    missing: bool = False
    downstream: bool = False


class Cancel(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What to cancel of a DAG: what waits and runs and has failed for good, of one job, of these partitions, or all;
    this task alone; the rollout that is under way; or `all` of the DAG, its rollout included.
    """

    job: Name | None = None
    partitions: Keys = ()
    task: UUID | None = None
    rollout: bool = False
    everything: bool = field(default=False, name="all")


class RunTask(Struct, frozen=True, kw_only=True):
    """A task of a run; `joined`: it was waiting already."""

    id: UUID
    job: str
    partition: str
    joined: bool = False


class Ran(Struct, frozen=True, kw_only=True):
    """What a run made; `there`: partitions that it left alone, since they are there or on their way; `notes`: what
    keeps it from beginning.
    """

    dag: str
    job: str
    tasks: tuple[RunTask, ...] = ()
    there: int = 0
    notes: tuple[str, ...] = ()


class Canceled(Struct, frozen=True, kw_only=True):
    """What was canceled; `rollout`: the hash of the version whose rollout was given up."""

    dag: str
    waiting: int = 0
    running: int = 0
    failed: int = 0
    rollout: str | None = None


class TaskEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task, as people look at it. `state`: Queued, Retrying, Running, Completed, Failed, Canceled; times are UTC;
    `worker`: the pod that runs it, or ran it last; `superseded`: it failed, and a newer task of its unit decides.
    """

    id: UUID
    dag: str
    job: str
    partition: str
    state: str
    attempts: int
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    retry: datetime | None = None
    worker: str | None = None
    in_worker: bool = False
    container: str | None = None
    message: str | None = None
    params: dict[str, Any] = {}
    requested_by: str | None = None
    version: str | None = None
    superseded: bool = False


class Tasks(Struct, frozen=True, kw_only=True):
    """Tasks, newest first; `more`: there are older ones."""

    dag: str
    tasks: tuple[TaskEntry, ...] = ()
    more: bool = False


class Followed(Struct, frozen=True, kw_only=True):
    """How many of some tasks are in each state; the first that failed for good, or were canceled."""

    states: dict[str, int] = {}
    failed: tuple[TaskEntry, ...] = ()


class Blocker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task that another one waits for."""

    job: str
    partition: str
    state: str
    message: str | None = None


class Lack(Struct, frozen=True, kw_only=True):
    """A dataset that lacks what is to be read of it, a partition or anything at all, and the job that makes it."""

    dataset: str
    dag: str
    job: str
    partition: str | None = None


class Why(Struct, frozen=True, kw_only=True):
    """Why a job, or one partition of it, does not run: `words`, the first the nearest cause; then what it waits for,
    and what its inputs lack.
    """

    dag: str
    job: str
    partition: str | None = None
    state: str
    words: tuple[str, ...] = ()
    waits_for: tuple[Blocker, ...] = ()
    lacks: tuple[Lack, ...] = ()


def key(text: str) -> str:
    """A partition's key, as an argument."""
    if not PARTITION_KEY_RE.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} can be no partition's key: {KEYS}")
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NotUnderstood(message)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of a run."""
    add = parser.add_argument
    add(
        "--partition",
        "-p",
        action="append",
        type=key,
        metavar="KEY",
        help="this partition, also when it is there; repeatable",
    )
    add(
        "--from",
        dest="first",
        type=key,
        metavar="KEY",
        help="with --to: these partitions, both ends included, as low work",
    )
    add("--to", dest="last", type=key, metavar="KEY")
    add("--param", action="append", metavar="NAME=VALUE", help="a parameter of paramsSchema; JSON, or text; repeatable")
    add("--missing", action="store_true", help="only partitions that are not there")
    add("--downstream", action="store_true", help="and everything that is made from them")


def run_of(options: argparse.Namespace) -> Run:
    """The run that these options ask for; NotUnderstood when they contradict each other."""
    run = {
        "partitions": tuple(options.partition or ()),
        "from": options.first,
        "to": options.last,
        "params": dict(_param(text) for text in options.param or ()),
        "missing": options.missing,
        "downstream": options.downstream,
    }
    run_: Run = _typed(run, Run)
    return checked_run(run_)


def checked_run(run: Run) -> Run:
    """The same run; NotUnderstood when what it says cannot be."""
    if (run.first is None) != (run.last is None):
        raise NotUnderstood("a range has two ends: give both --from and --to")
    if run.first is not None and run.partitions:
        raise NotUnderstood("give either partitions or a range")
    run = msgspec.structs.replace(run, partitions=tuple(dict.fromkeys(run.partitions)))
    try:
        text = msgspec.json.encode(run.params)
    except RecursionError:
        raise NotUnderstood("the parameters have values within values that go too deep") from None
    if len(text) > PARAMS_BYTES:
        raise NotUnderstood(f"parameters may have {PARAMS_BYTES // 1024} KiB at most")
    if b"\\u0000" in text:
        raise NotUnderstood("parameters may have no NUL character, which Postgres does not keep")
    return run


def add_cancel_options(parser: argparse.ArgumentParser) -> None:
    """The options of a cancellation."""
    parser.add_argument(
        "--partition", "-p", action="append", type=key, metavar="KEY", help="of this partition; repeatable"
    )
    parser.add_argument("--rollout", action="store_true", help="the rollout that is under way, and nothing else")
    parser.add_argument("--all", action="store_true", help="all of a DAG, its rollout included")


def cancel_of(target: str, options: argparse.Namespace) -> Cancel:
    """The cancellation of `target`: a job, a task's id, or, empty, all of a DAG; not checked yet."""
    task, keys = task_id(target), tuple(options.partition or ())
    job = target if target and task is None else None
    if job and not NAME_RE.match(job):
        raise NotUnderstood(f"{job!r} is no name of a job")
    found: Cancel = _typed(
        {"job": job, "partitions": keys, "task": task, "rollout": options.rollout, "all": options.all}, Cancel
    )
    return found


def checked_cancel(cancel: Cancel) -> Cancel:
    """The same cancellation; NotUnderstood when what it says cannot be."""
    if cancel.partitions and cancel.job is None:
        raise NotUnderstood("partitions are of a job: give DAG/JOB")
    if cancel.rollout and (cancel.job or cancel.task or cancel.partitions):
        raise NotUnderstood("a rollout is of a whole DAG: give --rollout alone")
    if cancel.task and cancel.job:
        raise NotUnderstood("give either a job or a task")
    if cancel.everything and (cancel.job or cancel.task or cancel.rollout):
        raise NotUnderstood("--all is of a whole DAG: give it alone")
    if not (cancel.job or cancel.task or cancel.rollout or cancel.everything):
        raise NotUnderstood("say what to cancel: DAG/JOB, a task by its whole id, or of the DAG --rollout or --all")
    return cancel


def read_run(text: str) -> tuple[str, Run]:
    """Job and run of an annotation's argument, `JOB [OPTION ...]`; NotUnderstood."""
    parser = _Parser(prog="run", add_help=False, allow_abbrev=False)
    parser.add_argument("job")
    add_run_options(parser)
    options = parser.parse_args(_words(text))
    return options.job, run_of(options)


def read_cancel(text: str) -> Cancel:
    """The cancellation of an annotation's argument, `[JOB|TASK] [OPTION ...]`; NotUnderstood."""
    parser = _Parser(prog="cancel", add_help=False, allow_abbrev=False)
    parser.add_argument("target", nargs="?", default="")
    add_cancel_options(parser)
    options = parser.parse_args(_words(text))
    return checked_cancel(cancel_of(options.target, options))


def task_id(text: str) -> UUID | None:
    """The task that a text names by its id; None when it is no id."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise NotUnderstood(f"{error}: close the quotation") from None


def _param(text: str) -> tuple[str, object]:
    """A parameter: JSON where it is any, such as 3, true or "3"; else the text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise NotUnderstood(f"--param {text}: write it as NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return name, value


def _typed(value: Mapping[str, object], type_: type[Any]) -> Any:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise NotUnderstood(str(error)) from None
