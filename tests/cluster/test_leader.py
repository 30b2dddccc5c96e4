"""Who leads on a real cluster: a killed leader's successor, restarts that disturb nobody, a Postgres put back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness import deployment
from harness.places import ROOT
from tests.backups import backups
from tests.cluster import chain
from tests.cluster.kills import OPERATOR, SYSTEM, kill_pod, pods_of
from tests.cluster.kube import Namespace, Object, dag, kubectl, no_operator, shell, sql, trigger, until

pytestmark = pytest.mark.alone
DEPLOYMENT = f"deployment/{OPERATOR}"
TAKEOVER = 15.0


def lease() -> dict[str, str]:
    """What the Lease says of Postgres, and who holds it."""
    found = json.loads(kubectl(*SYSTEM, "get", "lease", OPERATOR, "-o", "json"))
    told = {k.removeprefix("headrace.dev/"): v for k, v in found["metadata"].get("annotations", {}).items()}
    return {**told, "holder": found["spec"].get("holderIdentity", "")}


def epoch() -> tuple[Any, ...]:
    """Incarnation, epoch and holder, as Postgres has them."""
    return sql("SELECT incarnation::text, epoch, holder FROM operator_epoch")[0]


@contextmanager
def two_operators() -> Iterator[None]:
    """One leads, one waits."""
    kubectl(*SYSTEM, "scale", DEPLOYMENT, "--replicas=2")
    try:
        kubectl(*SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=120s")
        yield
    finally:
        kubectl(*SYSTEM, "scale", DEPLOYMENT, "--replicas=1")
        kubectl(*SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=120s")


def done(ns: Namespace, name: str) -> list[tuple[str, str]]:
    """Job and key of what is Completed."""
    return sorted((job, key) for job, key, status, _ in ns.tasks(name) if status == "Completed" and job != "key")


def test_another_operator_leads_within_fifteen_seconds_of_a_kill(ns: Namespace) -> None:
    """kill -9, three times, at other moments of the Lease's interval; the pod is taken away, or it would lead again."""
    ns.apply(dag("calm", {"name": "key", "source": {"kind": "manual"}}, shell("work", "true", "key")))
    ns.wait("calm", "Serving")
    took = []
    with two_operators():
        for number in range(1, 4):
            until("the Lease says what Postgres says", lambda: lease().get("epoch") == str(epoch()[1]))
            kubectl(*SYSTEM, "rollout", "status", DEPLOYMENT, "--timeout=120s")
            before = epoch()
            leader = before[2].rsplit("-", 1)[0]
            began = time.monotonic()
            kill_pod(leader, pods_of(OPERATOR)[leader])
            until("another leads", lambda before=before: epoch()[1] > before[1], 30)  # type: ignore[misc]
            took.append(time.monotonic() - began)
            ns.kubectl("annotate", "--overwrite", "dag/calm", f"headrace.dev/run=r{number} key")
            until("and works", lambda number=number: done(ns, "calm") == [("work", "*")] * number)  # type: ignore[misc]
    print(f"takeovers: {', '.join(f'{seconds:.1f} s' for seconds in took)}")
    assert max(took) < TAKEOVER
    assert {lease()["incarnation"]} == {epoch()[0]}


def test_an_upgrade_disturbs_no_pod_and_no_worker(ns: Namespace) -> None:
    """The old operator ends, the new one finds what runs and leaves it alone; to other manifests, and back to these."""
    chain.volume(ns)
    ns.apply(chain.chain("calm", ["a"], 0.2, wait=("a",)))
    ns.wait("calm", "Serving")
    ns.run("calm", "key")
    running = until("both run", lambda: _running(ns, 2), 60)
    serving, before = ns.get("dag", "calm"), epoch()
    for install in (one_file, lambda: deployment.install(dict(os.environ))):
        last = epoch()
        install()
        until("another leads", lambda last=last: epoch()[1] > last[1], 60)  # type: ignore[misc]
        until("it has looked at all", lambda: int(lease().get("mark", 0)) and lease()["epoch"] == str(epoch()[1]))
        assert _running(ns, 2) == running
    now = ns.get("dag", "calm")
    assert (now["metadata"]["generation"], now["status"]["version"]) == (
        serving["metadata"]["generation"], serving["status"]["version"],
    )  # fmt: skip
    chain.open_gate(ns)
    ns.wait("calm", "UpToDate")
    assert {(job, attempts) for job, _, _, attempts in ns.tasks("calm") if job != "key"} == {
        (job, 1) for job in chain.JOBS
    }
    assert epoch()[0] == before[0], "nothing was restored"


def one_file() -> None:
    """Apply deploy/install.yaml, as a user does, with the image that is there."""
    text = (ROOT / "deploy" / "install.yaml").read_text()
    text = text.replace("registry.example.org/headrace:0.1.0", "docker.io/local/headrace:dev")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    for name in deployment.DEPLOYMENTS:
        kubectl(*SYSTEM, "rollout", "status", f"deployment/{name}", "--timeout=120s")


def _running(ns: Namespace, wanted: int) -> dict[str, str] | None:
    """Names and uids of the pods that run, once there are so many."""
    found = {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in ns.items("pod")
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }
    return found if len(found) == wanted else None


KEYS = [f"k{number}" for number in range(6)]


def test_what_was_asked_while_no_operator_looked_is_done_when_one_is_back(ns: Namespace) -> None:
    """A DAG that serves and has not changed is left alone at a start, but for its commands and who may read."""
    key = trigger("a")
    named = {"name": "keys", "from": {"job": "key"}}
    ns.apply(dag("open", key, publish=[named]), dag("asked", key), dag("quiet", key))
    versions = {name: ns.wait(name, "Serving")["status"]["version"] for name in ("open", "asked", "quiet")}
    with no_operator():
        ns.apply(dag("open", key, publish=[named | {"readRoles": ["finance"]}]))
        ns.kubectl("annotate", "dag/asked", "headrace.dev/run=t1 key")
    until("it is run", lambda: [state for _, _, state, _ in ns.tasks("asked")] == ["Completed"], 20)
    roles = "SELECT read_roles FROM dataset_names WHERE org_id = %s AND name = 'keys'"
    until("its readers are other ones", lambda: sql(roles, ns.org()) == [(["finance"],)])
    assert ns.tasks("open") == ns.tasks("quiet") == []
    assert {name: ns.get("dag", name)["status"]["version"] for name in versions} == versions


def test_a_postgres_put_back_in_time_under_a_leading_operator(ns: Namespace) -> None:
    """A backup while tasks of both kinds run; then some end, more begin, a DAG comes; then the backup is put back."""
    chain.volume(ns)
    waits = ("k2", "k5")
    given = chain.chain("back", KEYS, 0.3, wait=waits)
    ns.apply(given)
    ns.wait("back", "Serving")
    ns.run("back", "key")
    until("some are done", lambda: len(done(ns, "back")) >= 3, 90)
    until("k2 runs in both", lambda: _attempts(ns, "k2") == {"cold", "warm"}, 60)
    with backups(os.environ["HEADRACE_DATABASE_URL"]) as copies:
        backup = copies.take()
        ns.apply(dag("late", trigger("x"), shell("work", "true", "key")))
        ns.wait("late", "Serving")
        ns.run("late", "key")
        ns.wait("late", "UpToDate")
        until("all are done but those that wait", lambda: len(done(ns, "back")) == 12, 120)
        lost = {uid: pod for uid, pod in _pods(ns).items() if pod["status"]["phase"] in ("Pending", "Running")}
        late = ns.get("dag", "late")["status"]["version"]["yamlHash"]
        before = epoch()
        until("the Lease says so", lambda: lease().get("mark") == str(sql("SELECT mark FROM operator_epoch")[0][0]))
        places = _places(ns)
        copies.restore(backup)
        began = time.monotonic()
        after = until("a new incarnation begins", lambda: _incarnation_after(before), 60)
    print(f"noticed and begun anew after {time.monotonic() - began:.1f} s")
    assert after[1] > before[1]
    kept = set(chain.accepted(ns, "back").values())
    until("the pods of the lost time are gone", lambda: not lost.keys() & _pods(ns).keys(), 60)
    chain.open_gate(ns)
    for name in ("back", "late"):
        ns.wait(name, "UpToDate", within=180)
    assert ns.get("dag", "late")["status"]["version"]["yamlHash"] == late
    found = chain.contents(ns, "back")
    assert found == chain.expected(KEYS)
    fresh = set(chain.accepted(ns, "back").values()) - kept
    assert not fresh & places, "a location of the lost time was accepted"
    assert done(ns, "back") == sorted((job, key) for job in chain.JOBS for key in KEYS)
    until("the Lease says so", lambda: lease()["incarnation"] == epoch()[0] == after[0])


def _pods(ns: Namespace) -> dict[str, Object]:
    return {pod["metadata"]["uid"]: pod for pod in ns.items("pod")}


def _attempts(ns: Namespace, key: str) -> set[str]:
    """The jobs whose task of this key runs."""
    return {job for job, of, status, _ in ns.tasks("back") if of == key and status == "Running"}


def _places(ns: Namespace) -> set[str]:
    """Every location that was given out so far."""
    return {
        location
        for (outputs,) in sql("SELECT t.outputs FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
                              " AND t.outputs IS NOT NULL", ns.org())
        for made in outputs for part in made["partitions"] if (location := part["location"])
    }  # fmt: skip


def _incarnation_after(before: tuple[Any, ...]) -> tuple[Any, ...] | None:
    try:
        found = epoch()
    except Exception:  # it is being put back just now
        return None
    return found if found[0] != before[0] else None
