"""Sets of objects as they are applied: one by one in any order, edited in part, moved. One set, one version."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.cluster.kube import Namespace, Object, condition, dag, kubectl, shell, sql, trigger, until

JOBS, DATASETS, ORDERS = 12, 6, 50
REVISION = "headrace.dev/revision"


def job(dag_name: str, name: str, revision: str | None = None, **spec: object) -> Object:
    """A Job object of a DAG."""
    return _object("Job", name, {"dag": dag_name, **spec}, revision)


def dataset(dag_name: str, name: str, job_name: str, revision: str | None = None, **spec: object) -> Object:
    """A Dataset object of a DAG."""
    return _object("Dataset", name, {"from": {"dag": dag_name, "job": job_name}, **spec}, revision)


def _object(kind: str, name: str, spec: Mapping[str, object], revision: str | None) -> Object:
    made = {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
    return revised(made, revision)


def revised(given: Object, revision: str | None) -> Object:
    """The object with a revision of its set."""
    if revision is not None:
        given["metadata"]["annotations"] = {REVISION: revision}
    return given


def whole(name: str, revision: str, code: str = "1") -> list[Object]:
    """A DAG that lists its members, with a chain of jobs, each one's dataset read by the next by its name."""
    jobs = [f"{name}-j{n}" for n in range(JOBS)]
    datasets = [f"{name}-d{n}" for n in range(DATASETS)]
    made = [revised(dag(name, jobRefs=jobs, datasetRefs=datasets), revision)]
    del made[0]["spec"]["jobs"]
    for n, own in enumerate(jobs):
        source: Object = {"source": {"kind": "manual"}}
        read = {"dataset": datasets[n - 1].replace("-", "_")} if n <= DATASETS else {"job": jobs[n - 1]}
        fields = {**shell(own, "true"), "inputs": [{"from": read}], "codeVersion": code} if n else source
        fields.pop("name", None)
        made.append(job(name, own, revision, **fields))
    made += [dataset(name, own, jobs[n], revision) for n, own in enumerate(datasets)]
    return made


def versions(ns: Namespace) -> Counter[str]:
    """How many versions each DAG of the namespace has."""
    return Counter(name for (name,) in sql("SELECT dag_name FROM dag_versions WHERE org_id = %s", ns.org()))


def one_by_one(sets: Sequence[Sequence[Object]], seed: int) -> list[Object]:
    """Every object of every set in an order of its own, the sets interleaved."""
    order = random.Random(seed)
    shuffled = [order.sample(objects, len(objects)) for objects in sets]
    turns = [index for index, objects in enumerate(shuffled) for _ in objects]
    order.shuffle(turns)
    left: list[Iterator[Object]] = [iter(objects) for objects in shuffled]
    return [next(left[index]) for index in turns]


def apply(ns: Namespace, items: Sequence[Object]) -> None:
    """Apply the objects, each alone and after the one before it."""
    # By the server's side, which takes one request an object: kubectl holds itself back to 50 a second.
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    ns.kubectl("apply", "--server-side", "-f", "-", stdin=listed)


@pytest.mark.alone
@pytest.mark.parametrize("seed", [1])
def test_any_order_of_arrival_ends_in_one_version_and_an_edit_in_one_more(ns: Namespace, seed: int) -> None:
    """Fifty sets of 19 objects, each in an order of its own, object by object: no set is compiled in part."""
    ns.unchecked()  # 1,900 objects, each a tenth of a second: this is about what reconcile makes of them
    names = [f"set{n}" for n in range(ORDERS)]
    apply(ns, one_by_one([whole(name, "r1") for name in names], seed))
    until("all serve", lambda: all(_settled(d) for d in ns.items("dag")) and len(versions(ns)) == ORDERS, 120)
    assert versions(ns) == dict.fromkeys(names, 1)
    hashes = {d["metadata"]["name"]: d["status"]["version"]["yamlHash"] for d in ns.items("dag")}
    apply(ns, one_by_one([whole(name, "r2", "2") for name in names], seed + 1))
    until(
        "all serve what is new", lambda: set(versions(ns).values()) == {2} and all(map(_settled, ns.items("dag"))), 120
    )
    assert versions(ns) == dict.fromkeys(names, 2)
    after = {d["metadata"]["name"]: d["status"]["version"]["yamlHash"] for d in ns.items("dag")}
    assert not set(hashes.values()) & set(after.values())
    for kind in ("hjob", "dset"):
        objects = until(f"each {kind} says so", lambda kind=kind: _all_registered(ns.items(kind)))  # type: ignore[misc]
        assert len(objects) == ORDERS * (JOBS if kind == "hjob" else DATASETS)  # and nothing is projected


@pytest.mark.alone
def test_an_operator_that_begins_amid_an_apply_makes_no_version_of_half_a_set(ns: Namespace) -> None:
    """Killed when half of the objects are there: the one that follows lists what it finds, and waits for the rest."""
    names = [f"half{n}" for n in range(6)]
    apply(ns, one_by_one([whole(name, "r1") for name in names], 1))
    until("all serve", lambda: len(versions(ns)) == len(names) and all(map(_settled, ns.items("dag"))))
    edits = one_by_one([whole(name, "r2", "2") for name in names], 2)
    half = len(edits) // 2
    apply(ns, edits[:half])
    before = _leader()
    kubectl("-n", "headrace-system", "delete", "pod", "--all", "--wait=false", "--grace-period=0", "--force")
    until("another one leads", lambda: _leader() not in ("", before), 120)
    ns.apply(dag("probe", trigger("a")))
    ns.wait("probe", "Serving")  # it has come after all that the new one found in its first list
    waits = [reason(ns, "dag", name, "Reconciling") for name in names]
    assert (set(waits), versions(ns)) == ({"RevisionsDiffer"}, {**dict.fromkeys(names, 1), "probe": 1})
    apply(ns, edits[half:])
    until("all serve what is new", lambda: sum(versions(ns).values()) == 13 and all(map(_settled, ns.items("dag"))))
    assert versions(ns) == {**dict.fromkeys(names, 2), "probe": 1}


def _leader() -> str:
    path = "jsonpath={.items[*].spec.holderIdentity}"
    return kubectl("-n", "headrace-system", "get", "lease", "-o", path).strip()


def _settled(found: Object) -> bool:
    status = found.get("status", {})
    handled = status.get("observedGeneration") == found["metadata"]["generation"]
    return handled and condition(found, "Serving").get("status") == "True" and not condition(found, "Reconciling")


def _all_registered(objects: list[Object]) -> list[Object] | None:
    there = [
        o
        for o in objects
        if o.get("status", {}).get("observedGeneration") == o["metadata"]["generation"]
        and condition(o, "Ready").get("reason") == "InServingVersion"
        and not condition(o, "Reconciling")
    ]
    return objects if len(there) == len(objects) else None


def small(name: str, *listed: str) -> list[Object]:
    """A DAG that lists these Jobs, and two Jobs that name it: a source, and one that reads it."""
    made = dag(name, jobRefs=list(listed))
    del made["spec"]["jobs"]
    work = {k: v for k, v in shell("work", "true", "key").items() if k != "name"}
    return [made, job(name, "key", source={"kind": "manual"}), job(name, "work", **work)]


def reason(ns: Namespace, kind: str, name: str, type_: str) -> str:
    """The reason of a condition that is True; empty when it is not."""
    found = condition(ns.get(kind, name), type_)
    return str(found["reason"]) if found.get("status") == "True" else ""


@pytest.mark.long
def test_members_that_are_missing_are_awaited_and_named_then_stalled(ns: Namespace) -> None:
    """A minute for the members of a DAG, half of one for the DAG of members; both are let go, and taken in later."""
    given = small("wait", "key", "work")
    alone = job("nobody", "alone", source={"kind": "manual"})
    ns.apply(given[0], given[1], alone)
    told = "1 of 2 Job objects are not there: work"
    until("it waits", lambda: told in condition(ns.get("dag", "wait"), "Reconciling").get("message", ""))
    first = ns.get("dag", "wait")
    assert condition(first, "Reconciling")["reason"] == "MembersMissing"
    assert first["status"]["observedGeneration"] == -1
    until("so does its member", lambda: reason(ns, "hjob", "key", "Reconciling") == "WaitingForMembers")
    until("and who has no DAG", lambda: reason(ns, "hjob", "alone", "Reconciling") == "WaitingForDAG")
    until("it is let go", lambda: reason(ns, "hjob", "alone", "Ready") == "WaitingForDAG", 45)
    assert ns.get("hjob", "alone")["status"]["observedGeneration"] == 1
    until("it is stalled", lambda: reason(ns, "dag", "wait", "Stalled") == "MembersMissing", 75)
    last = ns.get("dag", "wait")
    assert (last["status"]["observedGeneration"], condition(last, "Reconciling")) == (1, {})
    assert versions(ns) == {}
    ns.apply(given[2], dag("nobody"))
    ns.wait("wait", "Serving")
    until("the orphan is in a version", lambda: reason(ns, "hjob", "alone", "Ready") == "InServingVersion")
    until("the members too", lambda: reason(ns, "hjob", "work", "Ready") == "InServingVersion")
    assert versions(ns) == {"wait": 1, "nobody": 1}


def test_who_is_not_listed_and_who_is_wrong_say_so_themselves(ns: Namespace) -> None:
    ns.apply(*small("own", "key"))
    ns.wait("own", "Serving")
    until("work waits", lambda: reason(ns, "hjob", "work", "Reconciling") == "NotListed")
    assert ns.get("dag", "own")["status"]["jobs"] == {"total": 1}
    ns.apply(*small("own", "key", "work")[:1])
    until("it joins", lambda: reason(ns, "hjob", "work", "Ready") == "InServingVersion")
    lost = {k: v for k, v in shell("work", "true", "kee").items() if k != "name"}
    ns.apply(job("own", "work", **lost))
    stalled = ns.wait("own", "Stalled")
    assert condition(stalled, "Ready")["status"] == "True"  # what served serves on
    assert 'Job work: spec.inputs[0].from.job "kee"' in condition(stalled, "Stalled")["message"]
    until("so does the job", lambda: reason(ns, "hjob", "work", "Stalled") == "InvalidSpec")
    assert condition(ns.get("hjob", "work"), "Stalled")["message"].startswith('spec.inputs[0].from.job "kee"')
    assert reason(ns, "hjob", "key", "Ready") == "InServingVersion"
    ns.apply(small("own")[2])
    ns.wait("own", "UpToDate")
    until("it is well again", lambda: not reason(ns, "hjob", "work", "Stalled"))


def test_revisions_that_differ_hold_back_a_version(ns: Namespace) -> None:
    given = [revised(one, "r1") for one in small("git", "key", "work")]
    ns.apply(*given)
    ns.wait("git", "Serving")
    changed = revised(small("git")[2], "r2")
    changed["spec"]["codeVersion"] = "2"
    ns.apply(changed)
    until("it waits", lambda: reason(ns, "dag", "git", "Reconciling") == "RevisionsDiffer")
    assert "r2 on Job work" in condition(ns.get("dag", "git"), "Reconciling")["message"]
    until("so does the job", lambda: reason(ns, "hjob", "work", "Reconciling") == "WaitingForMembers")
    assert versions(ns) == {"git": 1}
    ns.apply(*(revised(one, "r2") for one in small("git", "key", "work")[:2]))
    until("both are in", lambda: versions(ns) == {"git": 2})
    until("it says so", lambda: reason(ns, "hjob", "work", "Ready") and not reason(ns, "dag", "git", "Reconciling"))


def test_a_job_moves_into_its_dag_and_to_another_one(ns: Namespace) -> None:
    """Between an object and its DAG it is the same version; between two DAGs, both are told."""
    inline = dag("one", trigger("a"), shell("work", "true", "key"))
    ns.apply(inline)
    ns.wait("one", "Serving")
    until("work is shown", lambda: ns.get("hjob", "one.work").get("status", {}).get("state"))
    work = {k: v for k, v in shell("work", "true", "key").items() if k != "name"}
    ns.apply(dag("one", trigger("a")), job("one", "work", **work))
    until("it shows itself", lambda: reason(ns, "hjob", "work", "Ready") == "InServingVersion")
    until("and no longer by the operator", lambda: not ns.get("hjob", "one.work"))
    assert versions(ns) == {"one": 1}
    ns.apply(dag("two", trigger("a")))
    ns.wait("two", "Serving")
    ns.apply(job("two", "work", **work))
    until("both have changed", lambda: versions(ns) == {"one": 2, "two": 2})
    until("two has it", lambda: ns.get("hjob", "work").get("status", {}).get("dag") == "two")
    assert [ns.wait(name, "Serving")["status"]["jobs"]["total"] for name in ("one", "two")] == [1, 2]


def test_what_the_operator_shows_comes_back_as_it_was(ns: Namespace) -> None:
    """Edited or deleted, a projected object is restored, also beside objects that somebody wrote."""
    work = {k: v for k, v in shell("work", "true", "key").items() if k != "name"}
    publish = [{"name": "keys", "from": {"job": "key"}}]
    ns.apply(dag("show", trigger("a"), publish=publish, jobRefs=["work"]), job("show", "work", **work))
    ns.wait("show", "Serving")
    shown = until("the source is shown", lambda: ns.get("hjob", "show.key"))
    ns.kubectl("delete", "hjob/show.key", "dset/show.keys")
    again = until("it comes back", lambda: ns.get("hjob", "show.key"))
    assert (again["spec"], again["metadata"]["uid"] != shown["metadata"]["uid"]) == (shown["spec"], True)
    until("so does the dataset", lambda: ns.get("dset", "show.keys"))
    ns.kubectl("patch", "hjob/show.key", "--type=merge", "-p", '{"spec": {"jobName": "other"}}')
    until("it is as it was", lambda: ns.get("hjob", "show.key")["spec"]["jobName"] == "key")
    assert sorted(o["metadata"]["name"] for o in ns.items("hjob")) == ["show.key", "work"]
    assert versions(ns) == {"show": 1}
