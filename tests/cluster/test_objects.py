"""The objects as users meet them: what is refused, what is told, what comes back, what other DAGs feel of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster import example
from tests.cluster.kube import Namespace, Refused, bind, condition, dag, kubectl, namespace, shell, sql, trigger, until


def test_unknown_fields_and_broken_rules_are_refused_by_name(ns: Namespace) -> None:
    with pytest.raises(Refused, match=r'unknown field "(spec.jobs\[0\].)?imagge"'):
        ns.apply(dag("bad", {**shell("work", "true", "key"), "imagge": "x"}, trigger("a")))
    with pytest.raises(Refused, match="a job needs a source"):
        ns.apply(dag("bad", {"name": "lost", "image": "x"}))
    assert ns.items("dag") == []


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        pytest.param(
            [shell("a", "true", "b"), shell("b", "true", "a")], ["a -> b -> a", "cut one input"], id="cycle"
        ),
        pytest.param(
            [trigger("k"), shell("a", "true", "kee")],
            ["spec.jobs[a].inputs[0].from.job", "kee", "use one of a, key"],
            id="missing upstream",
        ),
        pytest.param(
            [{"name": "tick", "source": {"kind": "cron", "schedule": "61 * * * *", "timeZone": "Mars/Olympus"}}],
            ["spec.jobs[tick].source.schedule", "61 * * * *", "Mars/Olympus", "Europe/Zurich"],
            id="bad cron and zone, both at once",
        ),
        pytest.param(
            [
                trigger("k"),
                shell("a", "true", "key", config={"n": "x"}, configSchema={"properties": {"n": {"type": "integer"}}}),
            ],
            ["spec.jobs[a].config.n", "must be of type integer"],
            id="config against its schema",
        ),
        pytest.param(
            [trigger("k"), shell("a", "true", "key", template={"spec": {"hostNetwork": True}})],
            ["spec.jobs[a]", "host"],
            id="a pod that the namespace refuses",
        ),
        pytest.param(
            [trigger("k"), shell("a", "true", "key", template={"spec": {"nodeSelecter": {"a": "b"}}})],
            ["spec.jobs[a]", "nodeSelecter"],
            id="a misspelt field of the pod",
        ),
        pytest.param(
            [trigger("k"), shell("a", "true", "key", template={"spec": {"restartPolicy": "Always"}, "sepc": {}})],
            ["spec.jobs[a].template.sepc", "spec.jobs[a].template.spec.restartPolicy", "leave it out"],
            id="what a template cannot say",
        ),
    ],
)  # fmt: skip
def test_bad_documents_stall_with_place_and_way_out(
    ns: Namespace, jobs: list[dict[str, object]], told: list[str]
) -> None:
    ns.unchecked()  # as what was stored by an older release, or with the operator away
    ns.apply(dag("bad", *jobs), dag("good", trigger("k"), shell("work", "true", "key")))
    bad = ns.wait("bad", "Stalled")
    message = condition(bad, "Stalled")["message"]
    for part in told:
        assert part in message
    assert condition(bad, "Ready")["status"] == "False"
    ns.wait("good", "Ready")
    ns.run("good", "key")
    ns.wait("good", "UpToDate")  # other DAGs go on
    ns.apply(dag("bad", trigger("k"), shell("a", "true", "key")))
    mended = ns.wait("bad", "Ready")
    assert condition(mended, "Stalled") == {}


def test_a_bad_image_fails_with_its_reason_and_a_good_one_mends_it(ns: Namespace) -> None:
    work = shell("work", "true", "key", maxAttempts=1)
    ns.apply(dag("pull", trigger("k"), {**work, "image": "docker.io/local/no-such:1"}))
    ns.wait("pull", "Ready")
    ns.run("pull", "key")
    bad = ns.wait("pull", "Degraded", within=180)
    assert "image" in condition(bad, "Degraded")["message"]
    job = until("the job says so", lambda: shown(ns, "pull.work", "failed"))
    assert job["failed"] == 1
    assert job["lastTask"]["status"] == "Failed"
    ns.apply(dag("pull", trigger("k"), work))
    ns.wait("pull", "UpToDate")
    until("the job says so", lambda: shown(ns, "pull.work", "units").get("units", {}).get("done") == 1)


def shown(ns: Namespace, job: str, field: str) -> dict[str, Any]:
    """The status of a job that is shown, once it tells of this: it is written a moment after the DAG's."""
    status: dict[str, Any] = ns.get("hjob", job).get("status", {})
    return status if status.get(field) else {}


@pytest.mark.alone
def test_documents_that_could_hold_everything_up_stall_alone(ns: Namespace) -> None:
    """A pattern that takes for ever and objects nested a thousand deep: both stall, others go on, nothing restarts."""
    before = restarts()
    ns.unchecked()
    slow = {"properties": {"n": {"pattern": "^(a+)+$"}}}
    deep = json.dumps(dag("deep", trigger("k"), shell("work", "true", "key", config={"n": "HERE"})))
    ns.kubectl("apply", "-f", "-", stdin=deep.replace('"HERE"', '{"a":' * 1500 + "1" + "}" * 1500))
    ns.apply(
        dag("slow", trigger("k"), shell("work", "true", "key", config={"n": "a" * 40 + "!"}, configSchema=slow)),
        dag("good", trigger("k"), shell("work", "true", "key")),
    )
    ns.wait("good", "Ready")
    ns.run("good", "key")
    ns.wait("good", "UpToDate")
    # Asked for by a path: this test's own JSON reader has the same limit.
    path = "jsonpath={.status.conditions[?(@.type=='Stalled')].message}"
    until("it says so", lambda: "too deep" in ns.kubectl("get", "dag", "deep", "-o", path))
    assert "took more than" in condition(ns.wait("slow", "Stalled"), "Stalled")["message"]
    assert restarts() == before


def restarts() -> str:
    """Restarts of the operator's container, with its pod's name."""
    path = "jsonpath={.items[*].metadata.name} {.items[*].status.containerStatuses[*].restartCount}"
    return kubectl("-n", "headrace-system", "get", "pod", "-o", path)


def test_a_failure_for_good_is_taken_up_again_by_retry(ns: Namespace) -> None:
    script = "test -e /data/mended"
    volume = {"spec": {"containers": [{"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                       "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}  # fmt: skip
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
             "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    ns.apply(claim, dag("mend", trigger("k"), shell("work", script, "key", maxAttempts=1, template=volume)))
    ns.wait("mend", "Ready")
    ns.run("mend", "key")
    failed = ns.wait("mend", "Degraded")
    assert "headrace.dev/retry=" in condition(failed, "Degraded")["message"]
    (example.volume(ns) / "mended").touch()
    ns.kubectl("annotate", "dag/mend", "headrace.dev/retry=1 work")
    assert ns.wait("mend", "UpToDate")["status"]["lastHandled"] == {"run": "t1", "retry": "1"}
    assert ("work", "k", "Completed", 2) in ns.tasks("mend")


def test_a_full_quota_postpones_work_and_fails_nothing(ns: Namespace) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}
    ns.apply(quota)
    until("it counts", lambda: ns.get("resourcequota", "few").get("status", {}).get("used"))
    ns.apply(dag("wide", trigger("a"), shell("work", "true", "key", maxAttempts=1)))
    ns.wait("wide", "Ready")
    ns.run("wide", "key")
    until("it says why", lambda: "exceeded quota" in shown(ns, "wide.work", "waitingFor").get("waitingFor", ""))
    ns.kubectl("delete", "resourcequota", "few")
    ns.wait("wide", "UpToDate")
    assert sql("SELECT losses FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND j.name = 'work'",
               ns.org()) == [(0,)]  # fmt: skip


def test_what_does_nothing_or_waits_for_a_person_says_so(ns: Namespace) -> None:
    idle = dag("idle", trigger("k"), shell("work", "true", "key"))
    idle["metadata"]["annotations"] = {"headrace.dev/frob": "c1 work"}
    ns.apply(idle)
    told = until("it says how to begin", lambda: ns.get("dag", "idle").get("status", {}).get("message"))
    assert "headrace run idle/key" in told
    assert "headrace run idle/key" in until(
        "so does the job", lambda: ns.get("hjob", "idle.key").get("status", {}).get("waitingFor")
    )
    ns.run("idle", "key")
    ns.wait("idle", "UpToDate")
    assert "headrace.dev/frob is not known, or not supported yet" in ns.get("dag", "idle")["status"]["message"]


def test_a_refusal_that_passes_is_looked_at_again(ns: Namespace) -> None:
    """The service account comes after the DAG, and nothing tells the operator of it."""
    ns.apply(
        dag("early", trigger("k"), shell("work", "true", "key", template={"spec": {"serviceAccountName": "late"}}))
    )
    assert "late" in condition(ns.wait("early", "Stalled"), "Stalled")["message"]
    ns.kubectl("create", "serviceaccount", "late")
    ns.wait("early", "Ready")


def test_a_failing_task_retries_with_backoff_and_says_so(ns: Namespace) -> None:
    ns.apply(dag("flaky", trigger("k"), shell("work", "echo the disk is full; exit 3", "key", maxAttempts=2)))
    ns.wait("flaky", "Ready")
    ns.run("flaky", "key")
    told = ("retries at", "exit code 3: the disk is full")
    until("a retry is told", lambda: all(
        words in shown(ns, "flaky.work", "waitingFor").get("waitingFor", "") for words in told))  # fmt: skip
    ns.wait("flaky", "Degraded")
    assert ("work", "k", "Failed", 2) in ns.tasks("flaky")
    kept = [p for p in ns.items("pod") if p["metadata"]["labels"].get("headrace.dev/job") == "work"]
    assert len(kept) == 1  # the last failed pod stays, for its logs
    assert "the disk is full" in ns.kubectl("logs", kept[0]["metadata"]["name"])


def test_projections_come_back_when_edited_or_deleted(ns: Namespace) -> None:
    ns.apply(
        dag("show", trigger("k"), shell("work", "true", "key"), publish=[{"name": "result", "from": {"job": "work"}}])
    )
    ns.wait("show", "Ready")
    until("the job is shown", lambda: ns.get("hjob", "show.work").get("status", {}).get("state"))
    before = ns.get("hjob", "show.work")
    assert before["metadata"]["ownerReferences"][0]["kind"] == "DAG"
    ns.kubectl("delete", "hjob", "show.work", "--wait=false")
    until(
        "the job is back",
        lambda: ns.get("hjob", "show.work").get("metadata", {}).get("uid") not in (None, before["metadata"]["uid"]),
    )
    ns.kubectl("delete", "dset", "show.result", "--wait=false")
    until("the dataset is back", lambda: ns.get("dset", "show.result").get("status", {}).get("name") == "result")
    patch = '{"spec": {"jobName": "other"}}'
    ns.kubectl("patch", "hjob", "show.work", "--type=merge", "-p", patch)
    until("the edit is undone", lambda: ns.get("hjob", "show.work")["spec"]["jobName"] == "work")


def test_without_the_tenant_role_it_says_what_to_bind() -> None:
    with namespace(tenant=False) as ns:
        ns.apply(dag("mine", trigger("k"), shell("work", "true", "key")))
        stalled = ns.wait("mine", "Stalled")
        assert condition(stalled, "Stalled")["reason"] == "NotATenant"
        assert f"kubectl create rolebinding headrace-tenant -n {ns.name}" in condition(stalled, "Stalled")["message"]
        bind(ns)
        ns.wait("mine", "Ready")
        ns.run("mine", "key")
        ns.wait("mine", "UpToDate")


def test_suspend_holds_work_and_resume_runs_it(ns: Namespace) -> None:
    jobs = trigger("k"), shell("work", "true", "key")
    ns.apply(dag("rest", *jobs, suspend=True))
    ns.wait("rest", "Ready")
    ns.run("rest", "key")
    until("it says why", lambda: "suspended" in condition(ns.get("dag", "rest"), "UpToDate").get("message", ""))
    assert all(status != "Running" for _, _, status, _ in ns.tasks("rest"))
    ns.apply(dag("rest", *jobs))
    ns.wait("rest", "UpToDate")
    assert [status for _, _, status, _ in ns.tasks("rest")] == ["Completed", "Completed"]


def test_deleting_a_dag_ends_its_pods_keeps_its_rows_and_applying_it_again_goes_on(ns: Namespace) -> None:
    jobs = trigger("a", "b"), shell("slow", "sleep 600", "key", scaling={"maxConcurrency": 2})
    ns.apply(dag("gone", *jobs))
    ns.wait("gone", "Ready")
    ns.run("gone", "key")
    until("both run", lambda: len([1 for _, _, status, _ in ns.tasks("gone") if status == "Running"]) == 2)
    rows = len(ns.tasks("gone"))
    ns.kubectl("delete", "dag", "gone")
    until("its pods are gone", lambda: not ns.items("pod"), within=90)
    until("its tasks are canceled", lambda: {s for j, _, s, _ in ns.tasks("gone") if j == "slow"} == {"Canceled"})
    assert len(ns.tasks("gone")) == rows
    assert sql("SELECT count(*) FROM dag_versions WHERE org_id = %s", ns.org()) == [(1,)]
    ns.apply(dag("gone", trigger("a", "b"), shell("slow", "sleep 600", "key", scaling={"maxConcurrency": 2})))
    ns.wait("gone", "Serving")
    until("they run again", lambda: len([1 for _, _, status, _ in ns.tasks("gone") if status == "Running"]) == 2, 400)


def test_a_cron_source_catches_up_and_lists_its_partitions_at_registration(ns: Namespace) -> None:
    start = datetime.now(UTC) - timedelta(hours=5, minutes=30)
    source = {"kind": "cron", "schedule": "0 * * * *", "start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "catchUp": "all",
              "partition": {"format": "%Y-%m-%dT%H"}, "partitions": {"values": ["base"]}}  # fmt: skip
    ns.apply(
        dag("clock", {"name": "hour", "source": source}, shell("work", "true", "hour", scaling={"maxConcurrency": 6}))
    )
    ns.wait("clock", "Ready")
    due = {"base"} | {f"{start.replace(minute=0) + timedelta(hours=h):%Y-%m-%dT%H}" for h in range(5)}
    until(
        "every due instant has its task",
        lambda: due <= {k for j, k, s, _ in ns.tasks("clock") if (j, s) == ("work", "Completed")},
    )
    status = until(
        "the next run is told",
        lambda: (
            ns.get("hjob", "clock.hour").get("status", {}).get("nextRun") and ns.get("hjob", "clock.hour")["status"]
        ),
    )
    assert datetime.fromisoformat(status["nextRun"]) > datetime.now(UTC) - timedelta(minutes=1)
    assert len(ns.tasks("clock")) in (12, 14)  # once each; an hour may have passed meanwhile


def test_a_dataset_becomes_late_by_itself_and_fresh_by_an_update(ns: Namespace) -> None:
    """Nothing happens when it becomes late: the time comes. Another freshness holds at once, in the same version."""

    def publish(freshness: str) -> Any:
        return dag("d", trigger("a", name="load"),
                   publish=[{"name": "rows", "from": {"job": "load"}, "freshness": freshness}])  # fmt: skip

    def fresh(reason: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = ns.get("dset", "d.rows")
            return found if found and condition(found, "Fresh").get("reason") == reason else None

        return until(f"it is {reason}", there)

    ns.apply(publish("8s"))
    version = ns.wait("d", "UpToDate")["status"]["version"]["id"]
    assert "no run yet" in condition(fresh("NothingMade"), "Fresh")["message"]
    ns.run("d", "load")
    fresh("Updated")
    late = fresh("Late")
    assert "freshness 8s; job d/load: " in condition(late, "Fresh")["message"]
    assert condition(late, "Ready")["status"] == "True"
    ns.apply(publish("1h"))
    fresh("Updated")
    assert ns.wait("d", "UpToDate")["status"]["version"]["id"] == version
