"""The loop of a worker: claim, run, tell, renew; end when idle, or finish what runs when told to stop.

Functions run in threads of their own, while one renews the leases and one tells results, many in a call when they come
fast. A function that does not return although its attempt is lost or its time is up cannot be stopped from outside: the
process ends, and what else it held is run again elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, overload

from headrace.worker.gateway import Gateway, Gone, Refused
from headrace.worker.task import Failed, Task

logger = logging.getLogger("headrace.worker")

Function = Callable[[Task], object]
F = TypeVar("F", bound=Function)

_WAIT = 20.0
_GRACE = 30.0
_REMEMBERED = 10_000
_MOST_AT_ONCE = 200
_LONGEST = 4000
_EXIT = 70


def reason_of(error: BaseException) -> str:
    """Why a function failed: what it raised, then where, from the function's own code on."""
    if isinstance(error, Failed):
        return str(error)[-_LONGEST:]
    what = "".join(traceback.format_exception_only(error)).strip()
    frames = error.__traceback__ and (error.__traceback__.tb_next or error.__traceback__)
    where = "".join(traceback.format_exception(type(error), error, frames)).strip().removesuffix(what).strip()
    return f"{what[:_LONGEST]}\n{where[-_LONGEST:]}"


class Worker:
    """Functions by name, and the loop that runs them; `threads`: tasks at once, by default all that it holds."""

    def __init__(self, threads: int | None = None) -> None:
        self._functions: dict[str, Function] = {}
        self._threads = threads

    @overload
    def task(self, given: F) -> F: ...
    @overload
    def task(self, given: str) -> Callable[[F], F]: ...
    def task(self, given: F | str) -> F | Callable[[F], F]:
        """Register a function, under its own name or the one given: that of the job's `operator`."""
        if isinstance(given, str):

            def named(function: F) -> F:
                self._functions[given] = function
                return function

            return named
        self._functions[given.__name__] = given
        return given

    def run(self) -> None:
        """Work until idle, or told to stop; then return."""
        settings = os.environ
        try:
            url, token = settings["HEADRACE_URL"], Path(settings["HEADRACE_TOKEN_FILE"])
        except KeyError as missing:
            sys.exit(f"headrace.worker: {missing} is not set: a job with idleTimeout starts this in its pods")
        function = self._function(settings.get("HEADRACE_OPERATOR", "container"))
        batch = int(settings.get("HEADRACE_BATCH", "1"))
        # Of a job that keeps one worker the others end: each asks, and the gateway says which may.
        idle = settings.get("HEADRACE_IDLE_SECONDS") or settings.get("HEADRACE_SPARE_SECONDS")
        lease = float(settings.get("HEADRACE_LEASE_SECONDS", "60"))
        loop = Loop(Gateway(url, token), function, batch, self._threads or batch, float(idle) if idle else None, lease)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.run()

    def _function(self, operator: str) -> Function:
        """The one that the job names; the only one, if it names none."""
        found = self._functions.get(operator)
        if found is None and operator == "container" and len(self._functions) == 1:
            found = next(iter(self._functions.values()))
        if found is None:
            known = ", ".join(sorted(self._functions)) or "none"
            sys.exit(
                f"headrace.worker: no task function {operator!r}, which the job's operator names; there are: {known}"
            )
        return found


class Loop:
    """One worker's life."""

    def __init__(
        self, gateway: Gateway, function: Function, batch: int, threads: int, idle: float | None, lease: float
    ) -> None:
        self._gateway = gateway
        self._function = function
        self._batch = batch
        self._idle = idle
        self._lease = lease
        self._held: dict[str, Task] = {}
        self._known: dict[tuple[str, int], None] = {}  # attempts that were taken, the last so many in their order
        self._begun: dict[str, float] = {}
        self._lost_at: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(threads, "headrace-task")
        self._closed = False
        self._retired = False
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._results: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()

    def stop(self) -> None:
        """Take nothing new; give back what has not begun, finish the rest. Safe in a signal handler."""
        self._stopping.set()
        self._gateway.interrupt()

    def run(self) -> None:
        """Until there is nothing to do for long enough, or it was told to stop."""
        renewing = threading.Thread(target=self._renew, name="headrace-renew", daemon=True)
        telling = threading.Thread(target=self._tell, name="headrace-tell", daemon=True)
        renewing.start()
        telling.start()
        with self._pool:
            self._claim()
            self._give_back()
        self._over.set()
        self._results.put(("end", {}))
        telling.join(_GRACE)
        renewing.join(_GRACE)
        self._gateway.close()

    def _claim(self) -> None:
        """Claim for as long as there is room: while tasks run, others come with the answers about those that end."""
        busy, pause = time.monotonic(), 0.1
        while not self._stopping.is_set() and not self._retired:
            with self._changed:
                if len(self._held) >= self._batch:
                    self._changed.wait(1.0)
                    busy = time.monotonic()
                    continue
                free, held = self._batch - len(self._held), bool(self._held)
            now = time.monotonic()
            busy = now if held else busy
            left = _WAIT if self._idle is None else max(0.0, min(_WAIT, busy + self._idle - now))
            try:
                if self._gateway.unsure:
                    with self._changed:
                        fences = [task.fence for task in self._held.values()]
                    self._take(self._gateway.recall(fences))
                    continue
                answer = self._gateway.claim(free, 0.0 if held else left)
                pause = 0.1
            except Gone as error:
                if self._stopping.is_set():
                    return
                logger.warning("%s", error)
                time.sleep(pause)
                pause = min(pause * 2, 5.0)
                continue
            self._take(answer)
            if answer["tasks"]:
                busy = time.monotonic()
            elif held:
                with self._changed:
                    if self._held:
                        self._changed.wait(1.0)
            elif self._idle is not None and time.monotonic() - busy >= self._idle:
                if self._leave():
                    return
                busy = time.monotonic()

    def _page(self, path: str) -> Mapping[str, Any] | None:
        return self._gateway.page(path, max(self._lease, _GRACE))

    def _take(self, answer: Mapping[str, Any]) -> None:
        """Run what was claimed; what comes too late for that is another's."""
        late: list[Task] = []
        for claimed in answer["tasks"]:
            task = Task(claimed, self._page)
            with self._changed:
                if not self._is_new(task):
                    continue
                if self._closed:
                    late.append(task)
                    continue
                self._held[task.id] = task
                self._pool.submit(self._one, task)
        self._release(late)
        if answer["retire"] and not self._retired:
            logger.info("this worker is not needed any more, in the form that it has")
            self._retired = True
            with self._changed:
                self._changed.notify_all()

    def _is_new(self, task: Task) -> bool:
        """Whether this attempt was not taken before: what is recalled may have come by another answer meanwhile."""
        attempt = (task.id, task.attempt)
        if attempt in self._known:
            return False
        self._known[attempt] = None
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return True

    def _leave(self) -> bool:
        """Whether it may end; if not, there is work, or it is the one that stays: it asks again when it idled again."""
        try:
            return self._gateway.leave()
        except Gone as error:
            logger.warning("%s", error)
            return False

    def _give_back(self) -> None:
        """What was claimed and has not begun is another's."""
        with self._changed:
            self._closed = True
            waiting = [task for id_, task in self._held.items() if id_ not in self._begun]
            for task in waiting:
                task.give_up()
                del self._held[task.id]
        self._release(waiting)

    def _release(self, waiting: Sequence[Task]) -> None:
        if not waiting:
            return
        released = [{**task.fence, "reason": "the worker was told to stop", "released": True} for task in waiting]
        try:
            self._gateway.fail(released, patience=5.0)
        except Gone as error:
            logger.warning("%s", error)

    def _one(self, task: Task) -> None:
        """Run one task in this thread."""
        with self._changed:
            if task.id not in self._held:
                return  # it was given back
            self._begun[task.id] = time.monotonic()
        try:
            self._function(task)
        except BaseException as error:
            result = ("fail", {**task.fence, "reason": reason_of(error)})
        else:
            result = ("complete", task.result)
        with self._changed:
            self._begun.pop(task.id, None)
            self._lost_at.pop(task.id, None)
        if not task.lost:
            self._results.put(result)
        else:
            self._forget(task.id)

    def _forget(self, id_: str, *, keep_begun: bool = False) -> None:
        """`keep_begun`: a function that was told of as too late may still run, and is watched until it returns."""
        with self._changed:
            self._held.pop(id_, None)
            if not keep_begun:
                self._begun.pop(id_, None)
                self._lost_at.pop(id_, None)
            self._changed.notify_all()

    def _tell(self) -> None:
        """Send results, as many at once as have come."""
        ending = False
        while not ending:
            found = [self._results.get()]
            while len(found) < _MOST_AT_ONCE:
                try:
                    found.append(self._results.get_nowait())
                except queue.Empty:
                    break
            ending = any(kind == "end" for kind, _ in found)
            for kind, send in (("complete", self._complete), ("fail", self._gateway.fail)):
                told = [result for what, result in found if what == kind]
                if told:
                    self._send(send, told)

    def _complete(self, done: list[dict[str, Any]], patience: float) -> None:
        """Tell what went well, and take as many others with the answer."""
        more = not self._stopping.is_set() and not self._retired and not self._closed
        self._take(self._gateway.complete(done, patience, len(done) if more else 0))

    def _send(self, send: Callable[[list[dict[str, Any]], float], None], told: list[dict[str, Any]]) -> None:
        """One call for all; if that is refused, one for each: a report that makes no sense costs its task alone."""
        try:
            send(told, max(self._lease, _GRACE))
        except Refused as error:
            if len(told) > 1:
                for result in told:
                    self._send(send, [result])
                return
            logger.warning("task %s: what it reports is refused: %s", told[0]["id"], error)
            fence = {name: told[0][name] for name in ("id", "attempt", "token")}
            with contextlib.suppress(Gone):
                self._gateway.fail([{**fence, "reason": f"its report is refused: {error}"[:_LONGEST]}], _GRACE)
        except Gone as error:
            # The leases run out, and the tasks are run again.
            logger.warning("results of %d tasks are lost: %s", len(told), error)
        for result in told:
            self._forget(result["id"], keep_begun=True)

    def _renew(self) -> None:
        """Keep the leases; learn what is lost; end the process for a function that does not give up."""
        every = min(10.0, self._lease / 3)
        renewed = time.monotonic()
        while not self._over.wait(every):
            with self._changed:
                held = list(self._held.values())
            self._watch_stuck()
            if not held:
                renewed = time.monotonic()
                continue
            lost: set[str] = set()
            # From before the call: what is renewed lasts from when the gateway did it, however late the answer is.
            asked = time.monotonic()
            try:
                lost = set(self._gateway.renew([task.fence for task in held], every))
                renewed = asked
            except Gone as error:
                logger.warning("%s", error)
                if time.monotonic() - renewed > self._lease:
                    lost = {task.id for task in held}
            self._watch(held, lost)

    def _watch(self, held: list[Task], lost: set[str]) -> None:
        now = time.monotonic()
        for task in held:
            begun = self._begun.get(task.id)
            late = begun is not None and now - begun > task.timeout_seconds
            if late and not task.lost:
                reason = f"timeout: it ran longer than timeoutSeconds ({task.timeout_seconds})"
                self._results.put(("fail", {**task.fence, "reason": reason}))
            if late or task.id in lost:
                task.give_up()
                if begun is None:
                    self._forget(task.id)
                else:
                    self._lost_at.setdefault(task.id, now)
        self._watch_stuck()

    def _watch_stuck(self) -> None:
        now = time.monotonic()
        if any(now - at > _GRACE for at in list(self._lost_at.values())):
            logger.error("a task that is lost does not end: this worker ends instead")
            self._stopping.set()
            self._give_back()
            os._exit(_EXIT)
