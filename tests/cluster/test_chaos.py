"""300 tasks in pods and workers, while operator, gateway, pods, Postgres and API server are killed 30 times at random.

Every unit is Completed, once, with what its code writes when nothing happens, and no job ever has more leases than it
may. The order of the kills comes from a seed that is printed; HEADRACE_CHAOS_SEED=N plays that one.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from harness.providers.native import Native
from tests.cluster import chain
from tests.cluster.kills import GATEWAY, OPERATOR, kill_pod, kill_processes, pods_of
from tests.cluster.kube import Namespace, sql, until

KEYS = [f"k{number:03}" for number in range(100)]
LAST = KEYS[-1]
"""Runs until the last kill, so that none finds nothing to disturb."""
KINDS = ("operator", "gateway", "worker", "task pod", "postgres", "apiserver")
EACH = 5
_LATE = 360
"""The cluster makes a killed pod of a Deployment anew, at worst five minutes late: where its own watch broke with the
API server just then, the controller of ReplicaSets waits so long for what it believes to be on its way."""
NAME = "chaos"
_RUNNING = """
SELECT j.name, count(*), count(*) FILTER (WHERE t.lease_expires_at > now())
FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.status = 'Running' AND j.org_id = %s GROUP BY j.name
"""


class Sampler:
    """Counts what runs, many times a second, over a connection of its own; Postgres may go and come."""

    def __init__(self, org: object) -> None:
        self._org = org
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples = 0
        self.most: Counter[str] = Counter()

    @contextmanager
    def running(self) -> Iterator[Sampler]:
        """During the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(os.environ["HEADRACE_DATABASE_URL"], autocommit=True, connect_timeout=5) as there:
                    while not self._stop.wait(0.05):
                        for job, running, _ in there.execute(_RUNNING.encode(), [self._org]).fetchall():
                            self.most[job] = max(self.most[job], running)
                        self.samples += 1
            except psycopg.Error:
                self._stop.wait(0.1)


class Chaos:
    """Kills, one after another."""

    def __init__(self, ns: Namespace, dice: random.Random, native: Native) -> None:
        self._ns = ns
        self._dice = dice
        self._native = native
        self._pause = threading.Event()
        self.made: list[str] = []

    def go(self) -> None:
        """Each kind so many times, in a random order, seconds apart."""
        kinds = list(KINDS) * EACH
        self._dice.shuffle(kinds)
        for kind in kinds:
            self._pause.wait(self._dice.uniform(0.5, 3.5))
            self._kill(kind)
            self.made.append(kind)
            print(f"{time.strftime('%X')} {len(self.made)}: {kind}; {finished(self._ns)} done")

    def _kill(self, kind: str) -> None:
        if kind in ("postgres", "apiserver"):
            self._native.kill(kind)
            self._pause.wait(self._dice.uniform(0, 1))
            self._native.up()
        elif kind in ("worker", "task pod"):
            until(f"a {kind} is killed", lambda: self._kill_one(worker=kind == "worker"), _LATE)
        else:
            there = until(f"a {kind} is there", lambda: pods_of(OPERATOR if kind == "operator" else GATEWAY), _LATE)
            kill_pod(*self._dice.choice(sorted(there.items())))

    def _kill_one(self, *, worker: bool) -> bool:
        pods = [
            pod["metadata"]["uid"]
            for pod in self._ns.items("pod")
            if ("headrace.dev/worker" in pod["metadata"]["labels"]) == worker and pod["status"]["phase"] == "Running"
        ]
        return bool(pods) and kill_processes(self._dice.choice(sorted(pods))) > 0


def finished(ns: Namespace) -> int:
    """How many tasks of pods and workers are done."""
    return sum(status == "Completed" and job != "key" for job, _, status, _ in ns.tasks(NAME))


@pytest.mark.alone
def test_thirty_kills_lose_nothing_and_double_nothing(ns: Namespace) -> None:
    seed = int(os.environ.get("HEADRACE_CHAOS_SEED", "0")) or random.randrange(1, 10**6)
    print(f"seed {seed}")
    chaos = Chaos(ns, random.Random(seed), Native(os.environ["HEADRACE_CLUSTER"]))
    chain.volume(ns)
    ns.apply(chain.chain(NAME, KEYS, 0.7, wait=(LAST,), heartbeat=20))
    ns.wait(NAME, "Serving")
    ns.run(NAME, "key")
    until("it is under way", lambda: finished(ns) >= 5, 90)
    with Sampler(ns.org()).running() as sampler:
        chaos.go()
        at_the_end = finished(ns)
        chain.open_gate(ns)
        began = time.monotonic()
        ns.wait(NAME, "UpToDate", within=_LATE + 240)
    print(
        f"{Counter(chaos.made)}; {at_the_end} of 300 done at the last kill, all {time.monotonic() - began:.0f} s later"
    )
    print(f"most at once in {sampler.samples} looks: {dict(sampler.most)}")
    tasks = ns.tasks(NAME)
    print(f"attempts: {dict(sorted(Counter(attempts for _, _, _, attempts in tasks).items()))}")
    units = Counter((job, key) for job, key, _, _ in tasks)
    assert units == Counter((job, key) for job in ("key", *chain.JOBS) for key in KEYS), "a unit has no task, or two"
    assert {status for _, _, status, _ in tasks} == {"Completed"}
    assert at_the_end < 3 * len(KEYS)
    assert sampler.samples > 100
    assert all(sampler.most[job] <= most for job, most in chain.MOST.items()), "more leases than maxConcurrency"
    assert chain.contents(ns, NAME) == chain.expected(KEYS)
    assert sql(
        "SELECT p.location FROM partition_versions p JOIN tasks t ON t.id = p.task_id JOIN jobs j ON j.id = t.job_id"
        " WHERE j.org_id = %s AND p.location NOT LIKE '%%/' || t.id || '-' || t.attempts || '-%%'", ns.org()
    ) == []  # fmt: skip
    until("no pod is left behind", lambda: not [p for p in ns.items("pod") if p["status"]["phase"] != "Failed"], 90)
