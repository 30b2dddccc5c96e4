"""News on a cluster: a Secret that a Role of the namespace's own lets the operator read, and a real receiver.

The receiver is the gateway: a webhook of the same namespace, which checks the signature and keeps what comes.
"""

from __future__ import annotations

import json
import re

from tests.cluster import canary
from tests.cluster.kube import Namespace, dag, shell, sql, trigger, until
from tests.cluster.test_orgs import say
from tests.cluster.test_webhooks import GATEWAY, readable, secret
from tests.gateway.deliveries import KEY

OPERATOR = GATEWAY.replace("headrace-gateway", "headrace-operator")


def lets_operator_read(ns: Namespace, name: str) -> None:
    """As docs/notify.md says."""
    ns.kubectl("create", "role", "headrace-notify", "--verb=get", "--resource=secrets", f"--resource-name={name}")
    ns.kubectl("create", "rolebinding", "headrace-notify", "--role=headrace-notify", f"--serviceaccount={OPERATOR}")


def told(ns: Namespace) -> dict[str, dict[str, object]]:
    """What the receiver has, by type."""
    rows = sql("SELECT DISTINCT e.body FROM webhook_events e JOIN jobs j ON j.identity = e.job_identity"
               " WHERE j.org_id = %s", ns.org())  # fmt: skip
    bodies = [json.loads(body) if isinstance(body, str) else body for (body,) in rows]
    return {body["type"]: body for body in bodies}


def test_a_rollout_and_a_failure_arrive_signed(ns: Namespace) -> None:
    secret(ns, "hook", current=KEY)
    readable(ns, "hook")
    url = f"http://headrace-gateway.headrace-system.svc/v1/webhooks/{ns.name}/air/hook"
    secret(ns, "chat", url=url, secret=KEY)
    lets_operator_read(ns, "chat")
    say(ns, '{"notify": {"secretName": "chat"}}')
    hook = {**shell("hook", "true"), "source": {"kind": "webhook", "secretName": "hook", "partition": {"format": "%Y"}}}
    ns.apply(dag("air", hook, trigger("a"), shell("bad", "echo no such column; exit 3", "key", maxAttempts=1)))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    until("both are told", lambda: told(ns).keys() == {"rollout.done", "task.failed"})
    failed = told(ns)["task.failed"]
    assert (failed["namespace"], failed["dag"], failed["job"], failed["partition"]) == (ns.name, "air", "bad", "a")
    assert "exit code 3" in str(failed["error"])
    until("nothing is left", lambda: sql("SELECT count(*) FROM notices WHERE org_id = %s", ns.org()) == [(0,)])
    sent = [re.search(r'^headrace_notices_total\{result="sent"\} (\S+)$', text, re.M) for _, text in canary.metrics()]
    assert sum(float(one[1]) for one in sent if one) >= 2
