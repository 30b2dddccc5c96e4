"""Namespaces as orgs on a real cluster: settings, the right to make pods that comes and goes, a namespace made anew."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from uuid import uuid4

from tests.cluster.api import read
from tests.cluster.kube import Namespace, bind, condition, dag, kubectl, namespace, shell, sql, trigger, until
from tests.cluster.test_install import EVERYWHERE, rights
from tests.cluster.test_running import Person

SETTINGS = "headrace.dev/settings"
WIDE = {"scaling": {"maxConcurrency": 3}}


def say(ns: Namespace, text: str | None) -> None:
    """The Namespace says so of its settings; None: nothing."""
    change = f"{SETTINGS}-" if text is None else f"{SETTINGS}={text}"
    kubectl("annotate", "--overwrite", "namespace", ns.name, change)


def running(ns: Namespace) -> int:
    """How many tasks of the namespace run."""
    rows = sql("SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
               " AND t.status = 'Running'", ns.org())  # fmt: skip
    return int(rows[0][0])


def says(ns: Namespace, job: str, why: str) -> bool:
    """Whether a Job says that it waits for this."""
    return bool(ns.get("hjob", job)["status"].get("waitingFor") == why)


def test_settings_hold_at_once_and_are_told_where_they_hold_work_back(ns: Namespace) -> None:
    say(ns, '{"maxRunningTasks": 1, "notify": {"secretName": "chat"}}')
    ns.apply(dag("busy", trigger("a", "b", "c"), shell("work", "sleep 600", "key", **WIDE)),
             dag("other", trigger("a"), shell("work", "sleep 600", "key")))  # fmt: skip
    for name in ("busy", "other"):
        ns.wait(name, "Serving")
        ns.run(name, "key")
    kept = sql("SELECT settings FROM orgs WHERE id = %s", ns.org())[0][0]
    assert kept == {"max_running_tasks": 1, "notify": {"secret_name": "chat"}}
    full = "the namespace runs 1 task, its maxRunningTasks"
    for name in ("busy.work", "other.work"):
        until(f"{name} says why", partial(says, ns, name, full))
    assert running(ns) == 1
    say(ns, '{"maxRunningTasks": 2}')
    until("another one runs", lambda: running(ns) == 2, within=10)
    # What others run and end is told, too, though nothing of this DAG changes.
    until("other says why", partial(says, ns, "other.work", full.replace("1 task", "2 tasks")), within=15)
    say(ns, '{"maxRunningTasks": 1}')
    ns.kubectl("annotate", "dag/busy", "headrace.dev/cancel=c1 work -p a")
    until("other says why", partial(says, ns, "other.work", full), within=15)
    say(ns, '{"maxRunningTasks": 2}')
    until("another one runs again", lambda: running(ns) == 2, within=10)
    say(ns, '{"maxRunningTask": 9}')
    words = f"the annotation {SETTINGS} of namespace {ns.name} is not taken"
    until("the fault is told", lambda: words in ns.get("dag", "busy")["status"].get("message", ""))
    message = ns.get("dag", "busy")["status"]["message"]
    assert "unknown field `maxRunningTask`" in message
    assert "The settings of before hold" in message
    assert running(ns) == 2
    say(ns, None)
    until("all run that are not canceled", lambda: running(ns) == 3, within=10)
    until("nothing is told any more", lambda: words not in ns.get("dag", "busy")["status"].get("message", ""))
    assert "waitingFor" not in ns.get("hjob", "other.work")["status"]


def test_the_right_to_make_pods_comes_and_goes(ns: Namespace) -> None:
    """Taken away, nothing new begins and nothing is lost of what waits; given again, it goes on by itself."""
    ns.apply(dag("mine", trigger("a", "b"), shell("work", "true", "key")))
    ns.wait("mine", "Serving")
    ns.run("mine", "key")
    ns.wait("mine", "UpToDate")
    ns.kubectl("delete", "rolebinding", "headrace-tenant")
    until("the right is gone", lambda: rights(ns.name) == EVERYWHERE)
    ns.run("mine", "key -p a -p b")
    degraded = condition(ns.wait("mine", "Degraded"), "Degraded")
    assert degraded["reason"] == "NotATenant"
    assert f"kubectl create rolebinding headrace-tenant -n {ns.name}" in degraded["message"]
    again = "SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND j.name = 'work' AND "
    assert sql(again + "(t.status = 'Queued' OR t.next_retry_at IS NOT NULL)", ns.org()) == [(2,)]
    bind(ns)
    ns.wait("mine", "UpToDate")
    until("nothing is wrong any more", lambda: not condition(ns.get("dag", "mine"), "Degraded"))
    assert sql(again + "t.losses > 0", ns.org()) == [(0,)]
    assert sql(again + "t.status = 'Completed'", ns.org()) == [(4,)]


def test_a_namespace_made_anew_adopts_what_its_namesake_had(tmp_path: Path) -> None:
    name = f"t-{uuid4().hex[:8]}"
    jobs = trigger("a", "b"), shell("work", "true", "key")
    with namespace(name=name) as old:
        old.apply(dag("news", *jobs))
        version = old.wait("news", "Serving")["status"]["version"]["yamlHash"]
        old.run("news", "key")
        old.wait("news", "UpToDate")
        theirs, uid = old.org(), old.uid()
    until("it is gone", lambda: not read(f"/api/v1/namespaces/{name}"), within=120)
    with namespace(name=name) as young:
        young.apply(dag("news", trigger("c"), shell("work", "sleep 600", "key")))
        young.wait("news", "Serving")
        young.run("news", "key")
        until("its task runs", lambda: [p for p in young.items("pod") if p["status"]["phase"] == "Running"])
        mine = young.org()
        assert mine != theirs
        owner, root = Person(young, "owner", "admin", tmp_path), Person(young, "root", "view", tmp_path)
        everywhere = ("clusterrolebinding", f"adopt-{name}")
        kubectl("create", *everywhere, "--clusterrole=cluster-admin", f"--user={root.user}")
        try:
            assert "may not create orgs/adopt.headrace.dev in the whole cluster" in owner("adopt", code=1)
            left = f"{name}~{uid[:8]}"
            assert left in until("the right is there", lambda: root("adopt"))
            assert "there is no org nothing" in root("adopt", "nothing", code=1)
            told = json.loads(root("adopt", left, "-o", "json"))
        finally:
            kubectl("delete", *everywhere)
            for person in (owner, root):
                kubectl("delete", *person.binding)
        assert (told["id"], told["org"], young.org()) == (str(theirs), left, theirs)
        assert sql("SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
                   " AND t.status IN ('Queued', 'Running')", mine) == [(0,)]  # fmt: skip
        # The object that is there is now a change of what the namesake had.
        until("it is told", lambda: young.get("dag", "news")["status"]["version"]["yamlHash"] == version)
        young.apply(dag("news", *jobs))
        young.wait("news", "UpToDate")
        until("the young one's pod is gone", lambda: not young.items("pod"))
        assert young.get("dag", "news")["status"]["version"]["yamlHash"] == version
        done = sql("SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND j.name = 'work'"
                   " AND t.status = 'Completed'", theirs)  # fmt: skip
        assert done == [(2,)]
