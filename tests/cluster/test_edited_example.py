"""The example edited in the middle while its data arrive and people read: rebuilt, cut over, and reverted at once."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.cluster import example
from tests.cluster.kube import Namespace, Object, condition, dag, shell, sql, trigger, until
from tests.examples import oracle

PIN = """
SELECT c.dag_version_id, d.name, p.dataset_version, g.config_hash
FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON d.id = p.dataset_uuid
JOIN dataset_versions g ON g.id = p.dataset_version
WHERE c.org_id = %s AND c.dag_name = 'flights'
"""
PAGE = """
SELECT partition_key, config_hash FROM partition_versions
WHERE dataset_version = %s AND partition_key > %s ORDER BY 1 LIMIT 5
"""


class Reader(threading.Thread):
    """Pins what serves and pages through it, over and over. `sets`: each version's datasets, as every pin had them."""

    def __init__(self, org: object) -> None:
        super().__init__()
        self._org = org
        self._over = threading.Event()
        self.sets: dict[object, set[tuple[object, object]]] = {}
        self.order: list[object] = []
        self.wrong: list[str] = []
        self.reads = 0

    def run(self) -> None:
        """Until told to end."""
        with psycopg.connect(os.environ["HEADRACE_DATABASE_URL"], autocommit=True) as connection:
            while not self._over.is_set():
                self._read(connection)

    def end(self) -> None:
        """No more."""
        self._over.set()
        self.join(30)

    def _read(self, connection: psycopg.Connection) -> None:
        pin = connection.execute(PIN.encode(), [self._org]).fetchall()
        if not pin:
            return
        serving = {row[0] for row in pin}
        version, datasets = serving.pop(), {(name, generation) for _, name, generation, _ in pin}
        if serving or self.sets.setdefault(version, datasets) != datasets:
            self.wrong.append("a mixed pointer set")
        if self.order[-1:] != [version]:
            self.order.append(version)
        for _, name, generation, fingerprint in pin:
            after = ""
            while page := connection.execute(PAGE.encode(), [generation, after]).fetchall():
                if {row[1] for row in page} != {fingerprint}:
                    self.wrong.append(f"{name} has contents of another version")
                after = page[-1][0]
        self.reads += 1


@contextmanager
def reading(ns: Namespace) -> Iterator[Reader]:
    """Somebody reads during the block."""
    reader = Reader(ns.org())
    reader.start()
    try:
        yield reader
    finally:
        reader.end()


def edited(written: Object) -> Object:
    """The example with another config of the job in its middle."""
    changed = copy.deepcopy(written)
    for job in changed["spec"]["jobs"]:
        if job["name"] == "join":
            job["config"] = {**job.get("config", {}), "round": 2}
    return changed


def done(ns: Namespace) -> set[tuple[str, str, str]]:
    """(job, fingerprint, key) of every completed task, each once."""
    rows = sql("SELECT j.name, t.fingerprint, t.unit_key FROM tasks t JOIN jobs j ON j.id = t.job_id"
               " WHERE j.org_id = %s AND t.status = 'Completed'", ns.org())  # fmt: skip
    assert len(rows) == len(set(rows))
    return set(rows)


def swapped(ns: Namespace, version: object) -> bool:
    """Whether this version serves."""
    return sql("SELECT 1 FROM dag_current_versions WHERE org_id = %s AND dag_version_id = %s", ns.org(), version) != []


@pytest.mark.alone
def test_edited_in_the_middle_rebuilt_under_load_and_reverted(ns: Namespace) -> None:
    written = example.apply(ns)
    ns.wait("flights", "Ready")
    ns.run("flights", "month")
    until("some months are done", lambda: len([job for job, _, _ in done(ns) if job == "rank"]) >= 3, 120)
    with reading(ns) as reader:
        ns.apply(edited(written))
        found = ns.wait("flights", "UpToDate", within=300)
        assert found["status"]["rollout"]["state"] == "Done"
        assert found["status"]["plan"]["changed"] == ["join: config.round"]
        assert found["status"]["plan"]["downstream"] == ["rank"]
        before = done(ns)
        first, second = reader.order
        began = time.monotonic()
        ns.apply(written)
        until("the first version serves again", lambda: swapped(ns, first), 10)
        took = time.monotonic() - began
        ns.wait("flights", "UpToDate", within=300)
    print(f"from apply to the swap: {took:.2f} s; {reader.reads} reads")
    assert took < 2.0
    assert reader.wrong == []
    assert reader.reads > 20
    assert reader.order == [first, second, first]
    # Nothing that the first version had done ran again; what had arrived since was caught up with.
    assert {job for job, _, _ in done(ns) - before} <= {"join", "rank"}
    assert not {(j, k) for j, _, k in done(ns) - before} & {(j, k) for j, f, k in before if (j, f) in fingerprints(ns)}
    units = {(job, key) for job in ("clean", "weather", "join", "rank", "month") for key in oracle.MONTHS}
    for version in (first, second):
        assert {(j, k) for j, f, k in done(ns) if (j, f) in fingerprints(ns, version)} == units
    contents = example.partitions(ns)
    for name, kind in example.KINDS.items():
        oracle.check_year(kind, contents[name])


def fingerprints(ns: Namespace, version: object = None) -> set[tuple[str, str]]:
    """(job, fingerprint) of a version, else of the one that serves."""
    serving = "(SELECT dag_version_id FROM dag_current_versions c WHERE c.org_id = j.org_id AND c.dag_name = 'flights')"
    of_version = f"SELECT j.name, j.fingerprint FROM jobs j WHERE j.org_id = %s AND j.dag_version_id = {serving}"
    rows = sql(of_version.replace(serving, "%s"), ns.org(), version) if version else sql(of_version, ns.org())
    return set(rows)


def test_a_rollback_is_answered_while_the_newest_spec_is_bad(ns: Namespace) -> None:
    """The emergency that it is for: what serves is wrong, and so is the attempt to mend it."""
    jobs = [trigger("a"), shell("clean", "true", "key")]
    ns.apply(dag("air", *jobs))
    first = ns.wait("air", "Ready")["status"]["version"]["yamlHash"]
    ns.apply(dag("air", *jobs, shell("more", "true", "clean")))
    until("the second serves", lambda: ns.get("dag", "air")["status"]["version"]["yamlHash"] != first)
    ns.unchecked()
    ns.apply(dag("air", *jobs, shell("more", "true", "nobody")))
    assert condition(ns.wait("air", "Stalled"), "Stalled")["reason"] == "InvalidSpec"
    ns.kubectl("annotate", "dag/air", f"headrace.dev/pin=1 {first}")
    until("the first serves again", lambda: ns.get("dag", "air")["status"]["version"]["yamlHash"] == first, 10)
    found = ns.get("dag", "air")["status"]
    assert (found["lastHandled"]["pin"], found["pinned"]) == ("1", first)
    ns.apply(dag("air", *jobs))
    pinned = ns.wait("air", "Serving", "False")
    assert condition(pinned, "Serving")["reason"] == "Pinned"
    ns.kubectl("annotate", "dag/air", "headrace.dev/unpin=2")
    ns.wait("air", "UpToDate")
