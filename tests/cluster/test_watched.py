"""What a watcher sees of objects, from before they are made until they are gone; and the events that tell of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.api import names
from headrace.api.events import event
from headrace.cluster.client import Client
from headrace.cluster.events import Events
from tests.cluster.kube import Namespace, Object, condition, dag, shell, sql, trigger, until
from tests.kstatus import check

LAST = "last"


@dataclass(frozen=True)
class Sight:
    """An object as the API server told of it, and when."""

    at: datetime
    kind: str
    body: Object

    @property
    def name(self) -> str:
        return f"{self.kind} {self.body['metadata']['name']}"


@asynccontextmanager
async def watched(client: Client, namespace: str) -> AsyncIterator[list[Sight]]:
    """Every state of every object of the three kinds of a namespace that nobody has made any in yet."""
    sights: list[Sight] = []

    async def follow(kind: str) -> None:
        path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURALS[kind]}"
        listed = await client.get(path, dict[str, Any])
        assert listed is not None
        assert listed["items"] == []
        since = listed["metadata"]["resourceVersion"]
        async with await client.stream(path, 300.0, watch="true", resourceVersion=since) as answer:
            began.release()
            try:
                async for line in answer.content:
                    told = json.loads(line)
                    assert told["type"] in ("ADDED", "MODIFIED", "DELETED"), told
                    if told["type"] != "DELETED":
                        sights.append(Sight(datetime.now(UTC), kind, told["object"]))
            finally:
                # A farewell by TLS would outlive the test's loop.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    began = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(follow(kind)) for kind in names.PLURALS]
    try:
        for _ in tasks:
            await began.acquire()
        yield sights
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def whole(n: int, *, script: str = "true", reads: str = "clean", makes: str = "clean") -> list[Object]:
    """A set of three objects and two inline jobs, each marked with this number."""
    last = shell(LAST, "true", reads, config={"n": n})
    work = {**shell("clean", script, "key", config={"n": n}, maxAttempts=1), "dag": "roll"}
    work.pop("name")
    rows = {"from": {"dag": "roll", "job": makes}, "description": str(n)}
    api = {"apiVersion": names.API_VERSION}
    found: list[Object] = [
        {**api, "kind": "Job", "metadata": {"name": "clean"}, "spec": work},
        {**api, "kind": "Dataset", "metadata": {"name": "rows"}, "spec": rows},
        dag("roll", trigger("a"), last, deletionPolicy="Delete"),
    ]
    for one in found:  # a version of all three, however long it takes to apply them
        one["metadata"]["annotations"] = {names.ANNOTATION_REVISION: f"{n} {script} {reads} {makes}"}
    return found


def marks(spec: Mapping[str, Any], kind: str) -> tuple[str, str] | None:
    """Where an object that somebody wrote has its number, and the number."""
    if kind == names.DAG:
        return LAST, next(str(job["config"]["n"]) for job in spec["jobs"] if job["name"] == LAST)
    if spec.get("projected"):
        return None
    return ("rows", spec["description"]) if kind == names.DATASET else ("clean", str(spec["config"]["n"]))


Versions = list[tuple[datetime, str, set[tuple[str, str]]]]


def versions(ns: Namespace) -> Versions:
    """When each version was registered, under which hash, with which numbers."""
    found = sql(
        "SELECT v.created_at, v.yaml_hash, v.document -> 'publish',"
        " (SELECT jsonb_object_agg(j.name, j.config ->> 'n') FROM jobs j WHERE j.dag_version_id = v.id)"
        " FROM dag_versions v WHERE v.org_id = %s", ns.org()
    )  # fmt: skip
    return [
        (at, yaml_hash, {*jobs.items(), *((one["name"], one["description"]) for one in publish)})
        for at, yaml_hash, publish, jobs in found
    ]


def reasons(events: Iterable[Object], kind: str) -> list[str]:
    """Those of the events about objects of a kind, as they came."""
    about = [one for one in events if one["regarding"]["kind"] == kind]
    return [one["reason"] for one in sorted(about, key=lambda one: one["eventTime"])]


def roll(ns: Namespace) -> tuple[Versions, list[Object]]:
    """Create, build, cut over, fail, break, revert; then all is deleted. The versions that there were, and events."""
    ns.unchecked()  # what is broken is to be stored, and to be found by the reconcile

    def up_to_date() -> None:
        ns.kubectl("wait", "--for=condition=UpToDate", "dag/roll", "--timeout=60s")

    *members, whole_dag = whole(1)
    ns.apply(*members)
    until("they wait for it", lambda: condition(ns.get("hjob", "clean"), "Reconciling"))
    ns.apply(whole_dag)
    ns.wait("roll", "Ready")
    ns.run("roll", "key")
    up_to_date()
    ns.apply(*whole(2))
    up_to_date()
    ns.apply(*whole(3, script="exit 3"))
    ns.wait("roll", "Stalled")
    ns.apply(*whole(4, reads="nobody", makes="nobody"))
    assert condition(ns.wait("roll", "Stalled"), "Stalled")["reason"] == "InvalidSpec"
    until("the dataset says so itself", lambda: condition(ns.get("dset", "rows"), "Stalled"))
    ns.apply(*whole(1))
    up_to_date()
    until("the dataset is well again", lambda: reasons(ns.told(), "Dataset")[-1:] == ["Recovered"])
    found = versions(ns), ns.told()
    for shown in (ns.kubectl("describe", "dag", "roll"), ns.kubectl("events", "--for", "dag/roll")):
        parts = "VersionServes", "RolloutStarted", "job clean, partition a: exit code 3", "RolledBack"
        places = [shown.rpartition("Events:")[2].find(part) for part in parts]
        assert places == sorted(places), shown
        assert -1 not in places, shown
    every = ns.kubectl("get", "headrace", "-o", "name").split()
    assert every == ns.kubectl("get", "dag,dset,hjob", "-o", "name").split()
    assert {"dag.headrace.dev/roll", "job.headrace.dev/roll.key", "dataset.headrace.dev/rows"} <= set(every)
    assert "WhenReady" in ns.kubectl("explain", "dag.spec.rollout.strategy")
    ns.kubectl("delete", "dag,hjob,dset", "--all", "--timeout=60s")
    return found


async def test_nothing_looks_current_before_it_is_handled_from_its_first_moment_to_its_last(ns: Namespace) -> None:
    client = await Client.connect()
    try:
        async with watched(client, ns.name) as sights:
            registered, events = await asyncio.to_thread(roll, ns)
    finally:
        await client.close()
    first = {sight.name: sight.body["status"] for sight in reversed(sights)}
    assert all(status == {"observedGeneration": -1} for status in first.values()), first
    assert first.keys() >= {"DAG roll", "Job clean", "Dataset rows", "Job roll.key", "Job roll.last"}
    seen: dict[str, set[str]] = {}
    for sight in sights:
        looks = check(sight.body)
        seen.setdefault(sight.name, set()).add(looks)
        mark, status = marks(sight.body["spec"], sight.kind), sight.body["status"]
        if looks != "Current" or mark is None or condition(sight.body, "Ready").get("reason") == "WaitingForDAG":
            continue
        of = {yaml_hash for at, yaml_hash, numbers in registered if mark in numbers and at <= sight.at}
        assert of, f"{sight.name} {mark} looks Current and is in no version yet: {status}"
        if sight.kind == names.DAG:
            told = {status.get(part, {}).get("yamlHash") for part in ("version", "rollout")}
            assert told & of, f"{mark} looks Current, and what is told is not of it: {status}"
    assert seen["DAG roll"] == {"InProgress", "Current", "Failed", "Terminating"}
    assert seen["Dataset rows"] == {"InProgress", "Current", "Failed"}
    assert seen["Job clean"] == {"InProgress", "Current"}
    assert seen["Job roll.key"] <= {"InProgress", "Current", "Terminating"}
    assert reasons(events, "DAG") == [
        "VersionServes", "RolloutStarted", "VersionServes", "RolloutStarted", "RolloutFailed", "InvalidSpec",
        "RolledBack",
    ]  # fmt: skip
    assert reasons(events, "Dataset") == ["InvalidSpec", "Recovered"]
    assert reasons(events, "Job") == []
    uids = {(sight.kind, sight.body["metadata"]["uid"]) for sight in sights}
    assert {(one["regarding"]["kind"], one["regarding"]["uid"]) for one in events} <= uids


async def test_events_that_cannot_be_sent_are_said_once_and_keep_no_other_waiting(
    ns: Namespace, caplog: pytest.LogCaptureFixture
) -> None:
    """The first two are of a namespace that is not there."""
    caplog.set_level(logging.WARNING)
    client = await Client.connect()
    events = Events(client, "operator-1")
    running = asyncio.create_task(events.run())
    try:
        for namespace, reason in ((f"no-{ns.name}", "Late"), (f"no-{ns.name}", "Late"), (ns.name, "Recovered")):
            metadata = {"name": "rows", "namespace": namespace, "uid": "u", "resourceVersion": "1"}
            events.send("Dataset", {"metadata": metadata}, [event(reason, "ü" * 500)])
        (told,) = await asyncio.to_thread(until, "it is there", ns.told)
    finally:
        running.cancel()
        await client.close()
    assert (told["reason"], told["type"], told["note"]) == ("Recovered", "Normal", "ü" * 500)
    assert (told["reportingInstance"], told["regarding"]["name"]) == ("operator-1", "rows")
    assert len([one for one in caplog.records if "cannot be sent" in one.message]) == 1
