"""Parses and compiles documents in a process of its own, with limits of time: reconcile calls it.

Compiling is pure, but what users write decides how long it takes (a pattern of a configSchema, ranges of keys), and no
document may hold up the others, nor take the operator with it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import re
import resource
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from headrace.api import names
from headrace.api.base import Strict
from headrace.api.parse import DagObject, InvalidObject, ParsedObject, parse_dag, parse_dataset, parse_job
from headrace.api.runs import NotUnderstood
from headrace.compile.dag import compile_dag
from headrace.compile.document import Compiled
from headrace.compile.problems import CompileError, Problem
from headrace.compile.runs import check_params
from headrace.compile.written_out import LARGEST
from headrace.errors import TemporaryError

PARAMS_LIMIT: Final = 1.0
CPU_LIMIT: Final = 5.0
"""Seconds of processor time that one document may take; 500 jobs take well under one."""
MEMBER_LIMIT: Final = 0.002
"""Seconds more for each Job and Dataset object of it; one takes a tenth of that."""
_WALL_LIMIT: Final = 120.0
_ABANDONED: Final = 10.0
"""Seconds after which a process that still works for somebody who has gone is taken for hung."""
MEMORY: Final = 256 << 20
"""Bytes that the process may take for documents; 10,000 jobs take less than half. The container has more."""
_ROOM: Final = 900
_TOO_DEEP: Final = "objects within objects go too deep: keep config, schemas and templates flatter"
_TOO_LARGE: Final = "compiling it takes too much memory: make several DAGs of it, or shorten configs and schemas"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

Body = Mapping[str, object]
Given = Body | bytes
"""An object, or its pickle: unpacked by what has the limits, where one that is too large is only that. Empty: one that
goes too deep to be pickled.
"""
S = TypeVar("S", bound=Strict)
T = TypeVar("T")


@dataclass(frozen=True)
class Rejected:
    """A document that cannot be compiled: its problems, a line each, with the place and the way out.

    `message` is for the DAG and names the other objects; `objects`: `Job a` to what is wrong with that one. `own`: of
    any object, the DAG too, what is wrong with it whatever the others are. `certain`: of `message`, all but names that
    nobody has as yet. `too_long`: only the time was up.
    """

    message: str
    objects: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    certain: str = ""
    too_long: bool = False


class Compiler:
    """A process that compiles one document after another; ended and made anew when it does not answer.

    `seconds` of processor time are the most for each document, CPU_LIMIT if not given; `memory`: bytes for them.
    """

    def __init__(self, seconds: float | None = None, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._pool = _pool(memory)
        self._turn = asyncio.Lock()
        self._left: tuple[float, asyncio.Future[Any]] | None = None  # the oldest that nobody waits for any more

    async def compile(
        self, name: str, body: Body, jobs: Mapping[str, Body] = _NONE, datasets: Mapping[str, Body] = _NONE
    ) -> tuple[DagObject, Compiled] | Rejected:
        """The DAG object called `name` and the document of it and its members, by name; or why there is none.

        TemporaryError when the process died or did not answer.
        """
        async with self._turn:
            packed = await asyncio.to_thread(_packed, body, jobs, datasets)
            if packed is None:
                return _rejected(f"{names.DAG} {name}", [_too_large(name)])
            found = await self._done(partial(compile_object, name, *packed, self._seconds), f"compiling DAG {name}")
            if isinstance(found, Rejected) and _TOO_LARGE in found.message:
                self._replace()  # what it has of that memory is in pieces, and no room for others
            return found

    async def params_problem(self, params: Mapping[str, object], schema: dict[str, object]) -> str | None:
        """Why a job with this paramsSchema does not take these parameters; None if it does. TemporaryError as above."""
        async with self._turn:
            return await self._done(partial(params_problem, params, schema), "checking parameters")

    def close(self) -> None:
        """End the process."""
        _end(self._pool)

    async def _done(self, task: Callable[[], T], what: str) -> T:
        """Have it done, by whoever has the turn."""
        if self._left is not None and time.monotonic() - self._left[0] > _ABANDONED:
            if not self._left[1].done():
                self._replace()
            self._left = None
        work: asyncio.Future[T] | None = None
        try:
            work = asyncio.get_running_loop().run_in_executor(self._pool, task)
            # Shielded: a pool whose process dies with cancelled work would lose what comes next, too.
            return await asyncio.wait_for(asyncio.shield(work), _WALL_LIMIT)
        except (TimeoutError, BrokenProcessPool, MemoryError) as error:
            self._replace()
            raise TemporaryError(f"{what} did not end well: {error or 'no answer'}") from error
        except asyncio.CancelledError:
            if work is not None:
                work.add_done_callback(_unasked)
                if self._left is None or self._left[1].done():
                    self._left = (time.monotonic(), work)
            raise

    def _replace(self) -> None:
        _end(self._pool)
        self._pool = _pool(self._memory)


def _unasked(work: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more, so nobody hears what it failed with."""
    if not work.cancelled():
        work.exception()


def collect_seldom() -> None:
    """Have Python look for cycles of garbage seldom, in a process that holds large documents.

    They are trees, so that there is little to find; by default, looking through 10,000 jobs takes longer than making
    them.
    """
    gc.set_threshold(100_000, 20, 50)


def compile_object(
    name: str,
    body: Given,
    jobs: Mapping[str, Given] = _NONE,
    datasets: Mapping[str, Given] = _NONE,
    seconds: float | None = None,
) -> tuple[DagObject, Compiled] | Rejected:
    """As compile_or_problems; what is wrong as text. `seconds` of processor time at most, CPU_LIMIT if not given."""
    about = f"{names.DAG} {name}"
    try:
        found = _in_time(name, body, jobs, datasets, seconds)
    except TimeoutError as error:
        return Rejected(f"spec: {error}", too_long=True)
    return found if isinstance(found, tuple) else _rejected(about, found)


def compile_or_problems(
    name: str, body: Body, jobs: Mapping[str, Body] = _NONE, datasets: Mapping[str, Body] = _NONE
) -> tuple[DagObject, Compiled] | list[Problem]:
    """Parse and compile one DAG, or all that is wrong with it, within its limit of time; otherwise pure. In the main
    thread of its process.
    """
    try:
        return _in_time(name, body, jobs, datasets, None)
    except TimeoutError as error:
        return [Problem(f"{names.DAG} {name}", "spec", "", str(error))]


def _in_time(
    name: str, body: Given, jobs: Mapping[str, Given], datasets: Mapping[str, Given], seconds: float | None
) -> tuple[DagObject, Compiled] | list[Problem]:
    """TimeoutError with the way out when the time is up."""
    limit = (CPU_LIMIT if seconds is None else seconds) + MEMBER_LIMIT * (len(jobs) + len(datasets))
    # Processor time, so that a busy machine rejects nobody. Patterns look at signals while they match.
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        return _compile(name, body, jobs, datasets)
    except MemoryError:
        return [_too_large(name)]
    except _TooLongError as error:
        raise TimeoutError(
            f"compiling it took more than {limit:.0f} s: simplify the configSchemas (patterns, $ref), or"
            " split long ranges of partitions"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def params_problem(params: Mapping[str, object], schema: dict[str, object]) -> str | None:
    """What is wrong with parameters, within a limit of time; otherwise pure. In the main thread of its process."""
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, PARAMS_LIMIT)
    try:
        check_params(params, schema)
    except NotUnderstood as error:
        return str(error)
    except _TooLongError:
        return f"checking them took more than {PARAMS_LIMIT:.0f} s: simplify the paramsSchema (patterns, $ref)"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _too_large(name: str) -> Problem:
    return Problem(f"{names.DAG} {name}", "spec", "", _TOO_LARGE)


class _TooLongError(BaseException):
    """The time is up. No `Exception`, so that nothing on the way takes it for its own."""


def _too_long(*_: object) -> None:
    raise _TooLongError


def _compile(
    name: str, body: Given, jobs: Mapping[str, Given], datasets: Mapping[str, Given]
) -> tuple[DagObject, Compiled] | list[Problem]:
    about, problems = f"{names.DAG} {name}", list[Problem]()
    dag = _parsed(about, parse_dag, body, problems)
    job_specs = _specs(names.JOB, parse_job, jobs, problems)
    dataset_specs = _specs(names.DATASET, parse_dataset, datasets, problems)
    # What reads from an object that cannot be parsed is not wrong, so the first kind of problem is told alone.
    if dag is None or problems:
        return problems
    try:
        return dag, compile_dag(name, dag.spec, job_specs, dataset_specs)
    except CompileError as error:
        return list(error.problems)
    except RecursionError:
        return [Problem(about, "spec", "", _TOO_DEEP)]


def _specs(
    kind: str, parse: Callable[[Body], ParsedObject[S]], bodies: Mapping[str, Given], problems: list[Problem]
) -> dict[str, S]:
    found = ((name, _parsed(f"{kind} {name}", parse, body, problems)) for name, body in bodies.items())
    return {name: one.spec for name, one in found if one is not None}


def _parsed(
    about: str, parse: Callable[[Body], ParsedObject[S]], body: Given, problems: list[Problem]
) -> ParsedObject[S] | None:
    """The object, or None with the reasons added to `problems`."""
    try:
        return parse(_unpacked(body))
    except InvalidObject as error:
        problems.extend(Problem(about, path, "", message) for path, message in error.problems)
    except RecursionError:
        problems.append(Problem(about, "spec", "", _TOO_DEEP))
    return None


def _rejected(about: str, problems: Iterable[Problem]) -> Rejected:
    """All problems for the DAG that `about` names, and those of each other object for itself."""
    told, certain = list[str](), list[str]()
    others: dict[str, list[str]] = defaultdict(list)
    alone: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        own = str(problem).removeprefix(f"{problem.object}: ")
        told.append(own if problem.object == about else str(problem))
        if not problem.absent:
            certain.append(told[-1])
        if problem.object != about:
            others[problem.object].append(own)
        if not problem.between:
            alone[problem.object].append(own)
    objects, mine = ({name: _cut(found) for name, found in by.items()} for by in (others, alone))
    return Rejected(_cut(told), objects, mine, _cut(certain))


def _cut(problems: list[str]) -> str:
    """The problems as far as a condition has room, and how many more there are."""
    kept: list[str] = []
    for problem in problems:
        if kept and sum(map(len, kept)) + len(problem) > _ROOM:
            break
        kept.append(problem)
    more = len(problems) - len(kept)
    return "\n".join([*kept, *([f"and {more} more"] if more else [])])


def _written(body: Body) -> Body:
    """What its author wrote of an object, and not what the API server and kubectl keep beside it, which can be much."""
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping):
        metadata = {k: v for k, v in metadata.items() if k != "managedFields"}
        if isinstance(annotations := metadata.get("annotations"), Mapping):
            metadata["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return {
        "apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "metadata": metadata, "spec": body.get("spec")
    }  # fmt: skip


def _packed(
    body: Body, jobs: Mapping[str, Body], datasets: Mapping[str, Body]
) -> tuple[bytes, dict[str, bytes], dict[str, bytes]] | None:
    """A set, each object by itself; None where that is more than LARGEST."""
    left = LARGEST
    packed: list[dict[str, bytes]] = []
    for bodies in ({"": body}, jobs, datasets):
        packed.append({})
        for name, one in bodies.items():
            packed[-1][name] = _pickle(one)
            left -= len(packed[-1][name])
            if left < 0:
                return None
    return packed[0][""], packed[1], packed[2]


def _pickle(body: Body) -> bytes:
    try:
        return pickle.dumps(_written(body))
    except RecursionError:
        return b""


def _unpacked(given: Given) -> Body:
    if not isinstance(given, bytes):
        return given
    if not given:
        raise RecursionError
    found: Body = pickle.loads(given)  # noqa: S301 (what the operator itself has pickled)
    return found


def _pool(memory: int) -> ProcessPoolExecutor:
    # Spawned: a fork would take the connections and the event loop along.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(memory,))


def _prepare(memory: int) -> None:
    """In the process that compiles. Ctrl-C reaches the whole group; the operator ends this process itself."""
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="headrace-parent", daemon=True).start()
    _limit(memory)


def _limit(memory: int) -> None:
    """Have this process so many bytes more than it has now, by the kernel's own count of them."""
    status = Path("/proc/self/status")
    used = re.search(r"^VmData:\s+(\d+) kB$", status.read_text(), re.M) if status.exists() else None
    if used is not None:
        most = int(used[1]) * 1024 + memory
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _end_with_parent() -> None:
    """An operator that was killed ends nothing: this process would wait for documents for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)
