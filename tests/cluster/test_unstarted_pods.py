"""Pods that never start, on a real cluster: a loss each, with what they waited for."""

from __future__ import annotations

from typing import Any

from tests.cluster.kube import Namespace, Object, dag, shell, sql, trigger, until


def lost(ns: Namespace, job: Object) -> str:
    """The reason for which its first attempt is given up. The DAG is suspended meanwhile, so that no other follows."""
    jobs = trigger("a"), {**job, "timeoutSeconds": 2, "maxAttempts": 1}
    ns.apply(dag("air", *jobs))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    until("its pod is there", lambda: ns.items("pod"))
    ns.apply(dag("air", *jobs, suspend=True))

    def given_up() -> list[tuple[Any, ...]]:
        return sql("SELECT t.losses, t.error_message FROM tasks t JOIN jobs j ON j.id = t.job_id"
                   " WHERE j.org_id = %s AND j.name = 'work' AND t.status <> 'Running'", ns.org())  # fmt: skip

    ((losses, reason),) = until("it is given up", given_up, 120)
    assert losses == 1
    return str(reason)


def test_a_pod_that_no_node_takes(ns: Namespace) -> None:
    resources = {"requests": {"memory": "900Gi"}}
    reason = lost(ns, shell("work", "true", "key", resources=resources))
    assert reason.startswith("it never started: Unschedulable: ")
    assert "Insufficient memory" in reason


def test_a_pod_whose_volume_is_not_there(ns: Namespace) -> None:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "nope"}}]
    mounts = [{"name": "data", "mountPath": "/data"}]
    template = {"spec": {"volumes": volumes, "containers": [{"name": "main", "volumeMounts": mounts}]}}
    reason = lost(ns, shell("work", "true", "key", template=template))
    assert reason.startswith("it never started: Unschedulable: ")
    assert 'persistentvolumeclaim "nope" not found' in reason
