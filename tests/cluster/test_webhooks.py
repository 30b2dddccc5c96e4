"""A webhook source on a cluster: its key in a real Secret, read by a Role for that alone, and real deliveries."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tests.cluster.kube import Namespace, Object, Refused, dag, kubectl, namespace, shell, sql, until
from tests.cluster.test_gateway import SYSTEM, Http, http  # noqa: F401 - a fixture
from tests.gateway.deliveries import KEY, OTHER_KEY, signed

GATEWAY = f"{SYSTEM}:headrace-gateway"


def source() -> Object:
    """A source whose task fails unless it was handed the event msg_1 with its body."""
    script = """grep -q '"events":.*"id":"msg_1".*"body":{"n": 1}' "$HEADRACE_TASK_FILE\""""
    return {**shell("hook", script), "source": {"kind": "webhook", "secretName": "hook", "partition": {"format": "%Y"}}}


def secret(ns: Namespace, name: str, **values: str) -> None:
    """A Secret of these values, there or not."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    ns.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def readable(ns: Namespace, name: str) -> None:
    """Let the gateway read that Secret, as docs/webhooks.md says."""
    ns.kubectl("create", "role", "headrace-webhook", "--verb=get", "--resource=secrets", f"--resource-name={name}")
    ns.kubectl("create", "rolebinding", "headrace-webhook", "--role=headrace-webhook", f"--serviceaccount={GATEWAY}")


async def deliver(
    gateway: Http, ns: Namespace, key: str = KEY, body: bytes = b'{"n": 1}', **how: Any
) -> tuple[int, Mapping[str, Any]]:
    """Status and answer of a delivery."""
    return await gateway.ask("POST", f"/v1/webhooks/{ns.name}/air/hook", None, body, **signed(body, key, **how))


async def taken(gateway: Http, ns: Namespace, **how: Any) -> Mapping[str, Any]:
    """Its answer, once it is taken: what the gateway knows of a Secret it keeps for seconds."""
    deadline = time.monotonic() + 30
    while (answered := await deliver(gateway, ns, **how))[0] != 202:
        assert time.monotonic() < deadline, answered
    return answered[1]


async def refused_since(gateway: Http, ns: Namespace, why: str) -> None:
    """Deliveries are refused, and the Job says why."""
    deadline = time.monotonic() + 30
    while why not in waiting_for(ns):
        assert (await deliver(gateway, ns))[0] == 401
        assert time.monotonic() < deadline, waiting_for(ns)


def waiting_for(ns: Namespace) -> str:
    """What the Job says of why it does not run."""
    return str(ns.get("hjob", "air.hook").get("status", {}).get("waitingFor", ""))


async def test_an_event_is_delivered_and_worked_on_once(http: Http, ns: Namespace) -> None:  # noqa: F811
    ns.apply(dag("air", source(), shell("work", "true", "hook")))
    ns.wait("air", "Serving")
    secret(ns, "hook", note="not a key")
    await refused_since(http, ns, "may not read Secret hook")
    readable(ns, "hook")
    await refused_since(http, ns, "no value that is whsec_")
    secret(ns, "hook", current=KEY, next=OTHER_KEY)
    first = await taken(http, ns)
    assert await taken(http, ns, at=time.time() - 60) == first
    until("the trouble is over", lambda: not waiting_for(ns).startswith("its webhook"))
    done = [("hook", first["partition"], "Completed", 1), ("work", first["partition"], "Completed", 1)]
    until("both are done, once", lambda: ns.tasks("air") == done)
    assert (await deliver(http, ns, OTHER_KEY, id_="msg_2"))[0] == 202
    assert len(sql("SELECT 1 FROM webhook_events e JOIN jobs j ON j.identity = e.job_identity WHERE j.org_id = %s"
                   " AND j.name = 'hook'", ns.org())) == 2  # fmt: skip


async def test_nobody_elses_key_or_time_is_good(http: Http, ns: Namespace) -> None:  # noqa: F811
    """Of another namespace's webhook of the same name, of another Secret, of an hour ago; and of a job that is gone."""
    ns.apply(dag("air", source()))
    ns.wait("air", "Serving")
    secret(ns, "hook", key=KEY)
    secret(ns, "other", key=OTHER_KEY)
    readable(ns, "hook")
    with namespace() as other:
        other.apply(dag("air", source()))
        other.wait("air", "Serving")
        secret(other, "hook", key=OTHER_KEY)
        readable(other, "hook")
        await taken(http, other, key=OTHER_KEY)
        refused = await deliver(http, other, KEY)
        assert refused[0] == 401
        await taken(http, ns)
        assert await deliver(http, ns, OTHER_KEY, id_="msg_2") == refused
        for away in (-3600, 3600):
            assert await deliver(http, ns, id_="msg_2", at=time.time() + away) == refused
        ns.kubectl("delete", "dag", "air")
        until("its work has stopped", lambda: sql(
            "SELECT 1 FROM dags WHERE org_id = %s AND absent_since IS NOT NULL", ns.org()))  # fmt: skip
        assert await deliver(http, ns, id_="msg_3") == refused


async def test_more_events_than_a_pod_can_be_handed_fail_their_task_and_say_so(http: Http, ns: Namespace) -> None:  # noqa: F811
    ns.apply(dag("air", {**source(), "maxAttempts": 1}, suspend=True))
    ns.wait("air", "Serving")
    secret(ns, "hook", key=KEY)
    readable(ns, "hook")
    for n in range(3):
        await taken(http, ns, id_=f"msg_{n}", body=b'{"x": "' + b"x" * 50_000 + b'"}')
    assert ns.items("pod") == []
    ns.apply(dag("air", {**source(), "maxAttempts": 1}))
    until("it has failed", lambda: [status for _, _, status, _ in ns.tasks("air")] == ["Failed"])
    ((why,),) = sql("SELECT error_message FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s", ns.org())
    assert "a task is handed 131072 at most" in why


def may_read(ns: Namespace, name: str) -> bool:
    """Whether RBAC lets the gateway read a Secret."""
    try:
        kubectl("-n", ns.name, "auth", "can-i", "get", f"secret/{name}", f"--as=system:serviceaccount:{GATEWAY}")
    except Refused:
        return False
    return True


def test_the_gateway_may_read_what_a_role_names_and_no_other_secret(ns: Namespace) -> None:
    assert not may_read(ns, "hook")
    readable(ns, "hook")
    assert may_read(ns, "hook")
    assert not may_read(ns, "other")
