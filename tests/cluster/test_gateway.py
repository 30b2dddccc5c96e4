"""The gateway on a real API server: who is let in, who may what, what becomes of odd requests, and its own rights."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from headrace.cli.connection import Connection
from headrace.cli.forward import forwarded
from headrace.cli.kubeconfig import access
from headrace.cli.service import ready_pod
from headrace.cluster.client import Client
from tests.cluster.kube import Namespace, dag, kubectl, namespace, shell, sql, trigger, until
from tests.cluster.people import account, expired, signed_anew, token
from tests.cluster.test_install import rights

SYSTEM = "headrace-system"


@dataclass
class Http:
    """The gateway by a forwarded port."""

    session: aiohttp.ClientSession

    async def ask(
        self, method: str, path: str, bearer: str | None = None, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and answer."""
        sent = {**headers, **({"Authorization": f"Bearer {bearer}"} if bearer is not None else {})}
        data: object = None
        if body is not None:
            text = body if isinstance(body, (bytes, str)) else json.dumps(body)
            data = io.BytesIO(text if isinstance(text, bytes) else text.encode())
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, f"http://gateway{path}", data=data, headers=sent) as answer:
            return answer.status, json.loads(await answer.read() or b"null")

    async def reason(self, *arguments: Any, **headers: str) -> tuple[int, str]:
        """Status and reason of a refusal."""
        status, answer = await self.ask(*arguments, **headers)
        return status, answer["error"]["reason"]


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """The gateway's pod, through the API server."""
    connection = await Connection.open(access(os.environ))
    try:
        pod, port = await ready_pod(Client(connection), SYSTEM)
        async with (
            forwarded(connection, SYSTEM, pod, port) as forward,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(forward.socket))) as session,
        ):
            yield Http(session)
    finally:
        await connection.close()


def routes(ns: Namespace) -> list[tuple[str, str, object]]:
    """Every route for people: with `WORKERS`, all that there are, each asked with every token that must not do."""
    root = f"/v1/namespaces/{ns.name}"
    return [
        ("POST", f"{root}/plan", {"objects": [dag("air", trigger("a"), shell("work", "true", "key"))]}),
        ("GET", f"{root}/dags/air/history", None),
        ("GET", f"{root}/dags/air/tasks", None),
        ("GET", f"{root}/tasks/{HELD['id']}", None),
        ("POST", f"{root}/tasks/follow", {"tasks": [HELD["id"]]}),
        ("GET", f"{root}/dags/air/jobs/hook/why", None),
        ("GET", f"{root}/datasets/x/lineage", None),
        ("POST", f"{root}/dags/air/jobs/hook/run", {}),
        ("POST", f"{root}/dags/air/cancel", {"job": "hook"}),
        ("POST", f"{root}/datasets/x/invalidations", {"partition": "a"}),
        ("POST", f"{root}/datasets/x/transfer", {"to": "air"}),
        ("POST", f"{root}/dags/air/purge", {}),
        ("GET", f"{root}/members", None),
        ("GET", f"{root}/adopt", None),
        ("POST", f"{root}/adopt", {"org": "air~00000000"}),
    ]


def reads(ns: Namespace) -> list[tuple[str, str, object]]:
    """Those of readers, where nobody is told whether there is nothing, or nothing that is theirs."""
    root = f"/v1/namespaces/{ns.name}/datasets"
    return [
        ("GET", f"{root}/x", None),
        ("GET", f"{root}?names=x,y", None),
        ("GET", f"{root}/x/pins/{HELD['id']}/pages/0", None),
    ]


HELD = {"id": "00000000-0000-4000-8000-000000000000", "attempt": 1, "token": "00000000-0000-4000-8000-000000000000"}
WORKERS: list[tuple[str, str, object]] = [
    ("POST", "/v1/worker/claim", {"most": 1, "wait": 0}),
    ("POST", "/v1/worker/recall", {"tasks": [HELD]}),
    ("POST", "/v1/worker/renew", {"tasks": [HELD]}),
    ("POST", "/v1/worker/complete", {"tasks": [HELD]}),
    ("POST", "/v1/worker/fail", {"tasks": [{**HELD, "reason": "no"}]}),
    ("POST", "/v1/worker/leave", None),
    ("POST", "/v1/worker/events", {"events": [{"id": "e1"}]}),
    ("POST", "/v1/worker/report", {"partitions": [{"key": "a", "rows": 5}]}),
    ("GET", f"/v1/worker/tasks/{HELD['id']}/1/inputs/key/0", None),
]
# What stands for a parameter in the paths above.
PARAMETERS = {
    "dag": "air",
    "job": "hook",
    "name": "x",
    "dataset": "x",
    "task": HELD["id"],
    "attempt": "1",
    "input": "key",
    "page": "0",
    "pin": HELD["id"],
}


def hooks(ns: Namespace) -> list[tuple[str, str, object]]:
    """The route of deliveries, which are somebody's by their signature, and by no token."""
    return [("POST", f"/v1/webhooks/{ns.name}/air/hook", {})]


def everything(ns: Namespace) -> list[tuple[str, str, object]]:
    """Every route, and what is none."""
    return [
        *routes(ns),
        *reads(ns),
        *hooks(ns),
        ("GET", "/openapi.json", None),
        ("GET", "/nothing", None),
        ("PUT", "/v1/x", {}),
    ]


async def test_the_route_table_is_what_these_tests_ask(http: Http, ns: Namespace) -> None:
    account(ns, "anybody")
    status, described = await http.ask("GET", "/openapi.json", token(ns, "anybody"))
    assert status == 200
    there = {
        (method.upper(), path.format(**PARAMETERS, ns=ns.name))
        for path, operations in described["paths"].items()
        for method in operations
    }
    asked = [*routes(ns), *reads(ns), *WORKERS, *hooks(ns)]
    assert there == {(method, path.partition("?")[0]) for method, path, _ in asked}


async def test_nobody_is_let_in_but_whom_the_cluster_knows(http: Http, ns: Namespace) -> None:
    """No token, a malformed one, one for another audience, an expired one, a deleted account's, a forged one."""
    account(ns, "known", "cluster-admin")
    account(ns, "gone", "cluster-admin")
    real, lost = token(ns, "known"), token(ns, "gone")
    ns.kubectl("delete", "serviceaccount", "gone")
    head, claims, signature = real.split(".")
    bearers = {
        "none": None,
        "empty": "",
        "malformed": "not a token",
        "unknown": "abc.def.ghi",
        "another audience": token(ns, "known", "--audience=another"),
        "expired": expired(real),
        "deleted account": lost,
        "forged": f"{head}.{claims}.{signature[:-8]}{'A' * 8}",
        "no signature": f"{head}.{claims}.",
    }
    for what, bearer in bearers.items():
        for method, path, body in [*everything(ns), *WORKERS]:
            assert await http.reason(method, path, bearer, body) == (401, "Unauthorized"), (what, method, path)
    # What was expired is that token but for its times: signed the same way with its own, it is let in.
    for good in (real, signed_anew(real)):
        assert (await http.ask("GET", "/openapi.json", good))[0] == 200


async def test_workers_are_pods_that_the_operator_made(http: Http, ns: Namespace) -> None:
    """A person's token, one for workers without a pod, an expired one, another pod's: none of them is a worker."""
    warm = {**shell("work", "sleep 600", "key"), "idleTimeout": "5m"}
    ns.apply(dag("air", trigger("a"), warm, shell("cold", "sleep 600", "key")))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    pods = until("both are there", lambda: found if len(found := ns.items("pod")) == 2 else None)
    names = {pod["metadata"]["labels"]["headrace.dev/job"]: pod["metadata"]["name"] for pod in pods}
    worker, stranger = names["work"], names["cold"]
    account(ns, "owner", "admin")
    bound = ("--audience=headrace.dev/worker", "--bound-object-kind=Pod")
    own = token(ns, "default", *bound, f"--bound-object-name={worker}")
    nobody = {
        "a person": token(ns, "owner"),
        "no pod": token(ns, "default", "--audience=headrace.dev/worker"),
        "a pod's, but not for this": token(ns, "default", "--bound-object-kind=Pod", f"--bound-object-name={worker}"),
        "expired": expired(own),
    }
    for what, bearer in nobody.items():
        for method, path, body in WORKERS:
            assert await http.reason(method, path, bearer, body) == (401, "Unauthorized"), (what, path)
    other = token(ns, "default", *bound, f"--bound-object-name={stranger}")
    for method, path, body in WORKERS:
        assert await http.reason(method, path, other, body) == (403, "Forbidden"), path
    for method, path, body in everything(ns):
        assert await http.reason(method, path, own, body) == (401, "Unauthorized"), path
    status, claimed = await http.ask(*WORKERS[0][:2], own, {"most": 5, "wait": 0})
    assert (status, [task["task"]["partitions"] for task in claimed["tasks"]]) == (200, [["a"]])
    held = {key: claimed["tasks"][0][key] for key in ("id", "attempt", "token")}
    assert (await http.ask("POST", "/v1/worker/renew", own, {"tasks": [held, HELD]}))[1] == {"lost": [HELD["id"]]}
    assert await http.reason("POST", "/v1/worker/complete", own, {"tasks": [HELD]}) == (409, "Stale")
    assert (await http.ask("POST", "/v1/worker/complete", own, {"tasks": [held]}))[0] == 200


async def test_an_attempt_s_own_pod_reports_and_reads_its_inputs_and_nothing_else(http: Http, ns: Namespace) -> None:
    tells = shell("work", "sleep 600", "key", report="gateway", scaling={"maxConcurrency": 2})
    ns.apply(dag("air", trigger("a", "b"), tells))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    pods = until("both are there", lambda: found if len(found := ns.items("pod")) == 2 else None)
    one, two = (pod["metadata"] for pod in pods)
    bound = ("--audience=headrace.dev/worker", "--bound-object-kind=Pod")
    own, other = (token(ns, "default", *bound, f"--bound-object-name={pod['name']}") for pod in (one, two))
    until("both are known", lambda: len(sql("SELECT 1 FROM task_pods p JOIN tasks t ON t.id = p.task_id JOIN jobs j"
          " ON j.id = t.job_id WHERE j.org_id = %s", ns.org())) == 2)  # fmt: skip
    report, mine = WORKERS[-2], WORKERS[-1][1].replace(HELD["id"], one["labels"]["headrace.dev/task"])
    status, page = await http.ask("GET", mine, own)
    assert (status, page["count"], len(page["partitions"])) == (200, 1, 1)
    assert await http.reason("GET", mine, other) == (409, "Stale")
    made = {"partitions": [{"key": page["partitions"][0]["key"], "rows": 5}]}
    assert (await http.ask(*report[:2], own, made))[1] == {"accepted": one["labels"]["headrace.dev/task"]}
    for method, path, body in WORKERS[:-2]:
        assert await http.reason(method, path, own, body) == (403, "Forbidden"), path
    assert await http.reason(*report[:2], expired(own), report[2]) == (401, "Unauthorized")
    for method, path, body in everything(ns):
        assert await http.reason(method, path, own, body) == (401, "Unauthorized"), path


async def test_everybody_may_what_their_roles_say_where_they_hold_them(http: Http, ns: Namespace) -> None:
    people = {"nobody": (), "viewer": ("view",), "editor": ("edit",), "owner": ("admin",)}
    bearers = {}
    for name, roles in people.items():
        account(ns, name, *roles)
        bearers[name] = token(ns, name)
    with namespace() as other:
        account(other, "stranger", "admin")
        await each_may_what_its_role_says(http, ns, {**bearers, "stranger": token(other, "stranger")})


async def each_may_what_its_role_says(http: Http, ns: Namespace, bearers: dict[str, str]) -> None:
    *looks, run, cancel, invalidate, transfer, purge, members, adoptable, adopt = routes(ns)
    for name, bearer in bearers.items():
        may_read, writes = name in ("viewer", "editor", "owner"), name in ("editor", "owner")
        each = [(look, may_read) for look in looks] + [(act, writes) for act in (run, cancel, invalidate)]
        # No role in a namespace is one for all of them.
        each += [(act, name == "owner") for act in (transfer, purge, members)] + [(adoptable, False), (adopt, False)]
        for (method, path, body), allowed in each:
            status, answer = await http.ask(method, path, bearer, body)
            assert (status != 403) == allowed, (name, path, answer)
            if not allowed:
                assert answer["error"]["reason"] == "Forbidden"
                assert f":{name} may not " in answer["error"]["message"]
        for method, path, body in reads(ns):
            status, answer = await http.ask(method, path, bearer, body)
            message = f"there is no dataset x in namespace {ns.name}, or none that you may read"
            assert (status, answer["error"]) == (404, {"reason": "NotFound", "message": message}), (name, path)


async def test_a_right_for_one_object_is_one_for_that_alone(http: Http, ns: Namespace) -> None:
    account(ns, "narrow")
    ns.kubectl("create", "role", "one", "--verb=get", "--resource=dags.headrace.dev", "--resource-name=air")
    ns.kubectl("create", "rolebinding", "one", "--role=one", f"--serviceaccount={ns.name}:narrow")
    bearer, root = token(ns, "narrow"), f"/v1/namespaces/{ns.name}"
    assert (await http.reason("GET", f"{root}/dags/air/history", bearer)) == (404, "NotFound")
    assert (await http.reason("GET", f"{root}/dags/other/history", bearer)) == (403, "Forbidden")
    assert (await http.reason("POST", f"{root}/plan", bearer, {"objects": [{}]})) == (403, "Forbidden")


async def test_rights_and_accounts_that_are_taken_away_end_within_seconds(http: Http, ns: Namespace) -> None:
    account(ns, "viewer", "view")
    bearer, path = token(ns, "viewer"), f"/v1/namespaces/{ns.name}/dags/air/history"

    async def becomes(wanted: int, within: float = 5.0) -> None:
        async with asyncio.timeout(within):
            while True:
                if (await http.ask("GET", path, bearer))[0] == wanted:
                    return
                await asyncio.sleep(0.2)

    await becomes(404)
    ns.kubectl("delete", "rolebinding", "viewer-view")
    await becomes(403)
    ns.kubectl("create", "rolebinding", "again", "--clusterrole=view", f"--serviceaccount={ns.name}:viewer")
    await becomes(404)
    ns.kubectl("delete", "serviceaccount", "viewer")
    await becomes(401, within=25.0)


ODD: dict[str, tuple[object, Mapping[str, str], int, str]] = {
    "no JSON": ("{", {}, 400, "BadRequest"),
    "no bytes of text": (b"\xff\xfe", {}, 400, "BadRequest"),
    "another shape": ({"objects": 3}, {}, 400, "BadRequest"),
    "one field too many": ({"objects": [{}], "more": 1}, {}, 400, "BadRequest"),
    "too deep": ('{"objects": [{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]}", {}, 400, "BadRequest"),
    "too large": (b" " * (16 * 2**20 + 1), {}, 413, "TooLarge"),
    "not JSON by its type": ("objects", {"Content-Type": "text/yaml"}, 415, "UnsupportedMediaType"),
    "packed": (b"x", {"Content-Encoding": "gzip"}, 415, "UnsupportedMediaType"),
    "nothing to plan": ({"objects": [{"kind": "Pod", "apiVersion": "v1"}]}, {}, 422, "Refused"),
    "a DAG with an error": ({"objects": [dag("air", shell("work", "true", "absent"))]}, {}, 422, "Refused"),
}


@pytest.mark.parametrize("what", ODD)
async def test_odd_bodies_are_told(http: Http, ns: Namespace, what: str) -> None:
    account(ns, "viewer", "view")
    body, headers, status, reason = ODD[what]
    bearer, path = token(ns, "viewer"), f"/v1/namespaces/{ns.name}/plan"
    told = await http.ask("POST", path, bearer, body, **headers)
    assert (told[0], told[1]["error"]["reason"]) == (status, reason)
    assert told[1]["error"]["message"]
    assert (await http.reason("GET", path, bearer)) == (405, "MethodNotAllowed")


async def test_a_plan_then_the_version_that_it_foretold(http: Http, ns: Namespace) -> None:
    account(ns, "viewer", "view")
    bearer, root = token(ns, "viewer"), f"/v1/namespaces/{ns.name}"
    first = dag("air", trigger("a"), shell("work", "true", "key"))
    status, (planned,) = await http.ask("POST", f"{root}/plan", bearer, {"objects": [first]})
    assert (status, planned["swap"], "base_hash" in planned) == (200, "first version", False)
    assert [(j["job"], j["change"]) for j in planned["jobs"]] == [("key", "added"), ("work", "added")]
    ns.apply(first)
    ns.wait("air", "Serving")
    status, told = await http.ask("GET", f"{root}/dags/air/history", bearer)
    (version,) = told["versions"]
    assert (status, version["yaml_hash"], version["current"]) == (200, planned["yaml_hash"], True)
    status, (again,) = await http.ask("POST", f"{root}/plan", bearer, {"objects": [first]})
    assert (again["yaml_hash"], again["base_hash"], "jobs" in again) == (planned["yaml_hash"],) * 2 + (False,)


async def test_the_log_tells_who_asked_what_and_no_secret(http: Http, ns: Namespace) -> None:
    account(ns, "viewer", "view")
    bearer = token(ns, "viewer")
    one = dag("air", {**shell("work", "true", "key"), "config": {"password": "s3cret-in-a-body"}}, trigger("a"))
    path = f"/v1/namespaces/{ns.name}/plan"
    assert (await http.ask("POST", path, bearer, {"objects": [one]}, **{"X-Request-Id": f"r-{ns.name}"}))[0] == 200
    log = kubectl("-n", SYSTEM, "logs", "deployment/headrace-gateway", "--tail=2000")
    (line,) = [line for line in log.splitlines() if f"request=r-{ns.name} " in line]
    assert f"POST {path} 200" in line
    assert f"user='system:serviceaccount:{ns.name}:viewer'" in line
    assert bearer not in log
    assert "s3cret-in-a-body" not in log


def test_the_gateway_s_rights_are_these_and_no_others(ns: Namespace) -> None:
    reads = {f"{verb} {kind}" for verb in ("get", "list") for kind in ("dags", "jobs", "datasets")}
    reads |= {"get namespaces", "list rolebindings"}
    for place in ("default", SYSTEM, ns.name):
        assert rights(place, "system:serviceaccount:headrace-system:headrace-gateway") == reads


def test_the_gateway_s_pod_is_restricted_and_ends_in_time() -> None:
    pods = ("-n", SYSTEM, "get", "pod", "-l", "app.kubernetes.io/name=headrace-gateway", "-o", "json")
    (pod,) = json.loads(kubectl(*pods))["items"]
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["enableServiceLinks"] is False
