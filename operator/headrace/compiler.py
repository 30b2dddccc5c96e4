"""Parses and compiles documents in a process of its own, with limits of time: reconcile calls it.

Compiling is pure, but what users write decides how long it takes (a pattern of a configSchema, ranges of keys), and no
document may hold up the others, nor take the operator with it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Final

from headrace.api.parse import DagObject, InvalidObject, parse_dag
from headrace.compile.dag import compile_dag
from headrace.compile.document import Compiled
from headrace.compile.problems import CompileError
from headrace.errors import TemporaryError

CPU_LIMIT: Final = 5.0
"""Seconds of processor time that one document may take; 500 jobs take well under one."""
_WALL_LIMIT: Final = 120.0
_ROOM: Final = 900


@dataclass(frozen=True)
class Rejected:
    """A document that cannot be compiled: its problems, a line each, with the place and the way out."""

    message: str


class Compiler:
    """A process that compiles one document after another; ended and made anew when it does not answer."""

    def __init__(self) -> None:
        self._pool = _pool()
        self._turn = asyncio.Lock()

    async def compile(self, name: str, body: Mapping[str, object]) -> tuple[DagObject, Compiled] | Rejected:
        """The DAG object called `name` and its document, or why there is none.

        TemporaryError when the process died, for want of memory for example, or did not answer.
        """
        async with self._turn:
            try:
                work = asyncio.get_running_loop().run_in_executor(self._pool, compile_object, name, body)
                return await asyncio.wait_for(work, _WALL_LIMIT)
            except (TimeoutError, BrokenProcessPool) as error:
                self._replace()
                raise TemporaryError(f"compiling DAG {name} did not end well: {error or 'no answer'}") from error

    def close(self) -> None:
        """End the process."""
        _end(self._pool)

    def _replace(self) -> None:
        _end(self._pool)
        self._pool = _pool()


def compile_object(name: str, body: Mapping[str, object]) -> tuple[DagObject, Compiled] | Rejected:
    """Parse and compile one DAG, within CPU_LIMIT; otherwise pure. In the main thread of its process."""
    # Processor time, so that a busy machine rejects nobody. Patterns look at signals while they match.
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
    try:
        return _compile(name, body)
    except _TooLongError:
        return Rejected(
            f"spec: compiling it took more than {CPU_LIMIT:.0f} s: simplify the configSchemas (patterns, $ref), or"
            " split long ranges of partitions"
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class _TooLongError(BaseException):
    """The time is up. No `Exception`, so that nothing on the way takes it for its own."""


def _too_long(*_: object) -> None:
    raise _TooLongError


def _compile(name: str, body: Mapping[str, object]) -> tuple[DagObject, Compiled] | Rejected:
    try:
        dag = parse_dag(body)
        return dag, compile_dag(name, dag.spec)
    except InvalidObject as error:
        return _rejected([f"{path}: {message}" for path, message in error.problems])
    except CompileError as error:
        return _rejected([str(p).removeprefix(f"{p.object}: ") for p in error.problems])
    except RecursionError:
        return Rejected("spec: objects within objects go too deep: keep config, schemas and templates flatter")


def _rejected(problems: list[str]) -> Rejected:
    """The problems as far as a condition has room, and how many more there are."""
    kept: list[str] = []
    for problem in problems:
        if kept and sum(map(len, kept)) + len(problem) > _ROOM:
            break
        kept.append(problem)
    more = len(problems) - len(kept)
    return Rejected("\n".join([*kept, *([f"and {more} more"] if more else [])]))


def _pool() -> ProcessPoolExecutor:
    # Spawned: a fork would take the connections and the event loop along.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches the whole group; the operator ends this process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)
