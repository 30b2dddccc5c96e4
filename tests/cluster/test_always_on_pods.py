"""Sources that run on and on, in pods: one at a time, started again, suspended, replaced by a new form."""

from __future__ import annotations

from tests.cluster import chain
from tests.cluster.kube import Namespace, Object, condition, dag, sql, until

NAME = "live"
_LIVE = """
import sys, time
from headrace.worker import Source
with Source() as source:
    step, most = source.config["step"], source.config["most"]
    at = source.cursor() or 0
    while at < most:
        cursor = {"column": "n", "type": "bigint", "from": at or None, "to": at + step}
        source.event(f"at-{at + step}", rows=step, cursor=cursor)
        at += step
    if source.config["ends"]:
        sys.exit(0)
    while True:
        time.sleep(60)
"""
EVENTS = (
    "SELECT t.event FROM tasks t JOIN jobs j ON j.id = t.job_id"
    " JOIN dag_current_versions c ON c.dag_version_id = j.dag_version_id"
    " WHERE j.org_id = %s AND j.name = 'source' AND t.event IS NOT NULL ORDER BY t.seq"
)


def live(**config: object) -> Object:
    """source -> read: counts up to `most`."""
    (template,) = [chain.chain(NAME, [], 0)["spec"]["defaults"]["template"]]
    given = {"step": 5, "most": 20, "ends": False, **config}
    return dag(
        NAME,
        {"name": "source", "source": {"kind": "always_on", "replay": True}, "image": chain.IMAGE,
         "command": ["python", "-c", _LIVE], "updateStrategy": "append", "uniqueKey": ["n"], "config": given},
        {"name": "read", "inputs": [{"from": {"job": "source"}, "match": "latest"}], "image": chain.IMAGE,
         "command": ["python", "-c", "pass"]},
        defaults={"template": template},
    )  # fmt: skip


def pods(ns: Namespace) -> list[str]:
    """The source's pods that are there and not on their way out."""
    return [
        pod["metadata"]["name"]
        for pod in ns.items("pod")
        if pod["metadata"]["labels"].get("headrace.dev/job") == "source"
        and "deletionTimestamp" not in pod["metadata"]
        and pod["status"].get("phase") in ("Pending", "Running")
    ]


def told(ns: Namespace) -> list[str]:
    return [event for (event,) in sql(EVENTS, ns.org())]


def test_one_pod_runs_on_is_suspended_and_replaced(ns: Namespace) -> None:
    chain.volume(ns)
    ns.apply(live())
    until("it has told all", lambda: told(ns) == ["at-5", "at-10", "at-15", "at-20"], 60)
    found = ns.wait(NAME, "UpToDate")
    assert found["status"]["tasks"]["running"] == 1
    status = ns.get("hjob", f"{NAME}.source")["status"]
    assert (status["state"], status["running"]) == ("Running", 1)
    (first,) = pods(ns)

    ns.kubectl("patch", "dag", NAME, "--type=merge", "-p", '{"spec": {"suspend": true}}')
    until("it has ended", lambda: pods(ns) == [], 60)
    ns.kubectl("patch", "dag", NAME, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    until("it is there again", lambda: len(pods(ns)) == 1, 90)
    assert pods(ns) != [first]

    ns.apply(live(step=10, most=30))
    until("the new form has come as far, and serves", lambda: told(ns) == ["at-10", "at-20", "at-30"], 120)
    ns.wait(NAME, "UpToDate")
    until("one is left", lambda: len(pods(ns)) == 1, 60)


def test_one_that_ends_is_started_again_and_says_so(ns: Namespace) -> None:
    chain.volume(ns)
    ns.apply(live(ends=True, most=5))
    until("it has told all", lambda: told(ns) == ["at-5"], 60)
    until("it is told why it does not run", lambda: "always_on source is started again" in str(
        ns.get("hjob", f"{NAME}.source").get("status", {}).get("waitingFor")), 60)  # fmt: skip
    assert condition(ns.get("dag", NAME), "UpToDate")["status"] == "False"
    attempts = "SELECT attempts FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND unit_key = '@'"
    until("it runs again", lambda: sql(attempts, ns.org())[0][0] > 1, 90)
    assert told(ns) == ["at-5"]
