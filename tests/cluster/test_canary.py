"""A secret of each kind is put where it belongs, and looked for everywhere else."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.cluster import canary
from tests.cluster.canary import SYSTEM, Canaries
from tests.cluster.kube import (
    Namespace,
    Object,
    Refused,
    condition,
    dag,
    kubectl,
    namespace,
    shell,
    sql,
    trigger,
    until,
)
from tests.cluster.people import account, token
from tests.cluster.test_gateway import WORKERS, Http, http, reads, routes  # noqa: F401 - a fixture
from tests.cluster.test_news import lets_operator_read
from tests.cluster.test_orgs import say
from tests.cluster.test_webhooks import readable, secret, taken
from tests.gateway.deliveries import OTHER_KEY, signed

IMAGE = "docker.io/local/headrace:dev"
RAW = uuid4().hex
WORKER = "import time\nfrom headrace.worker import run, task\n@task\ndef work(task):\n    time.sleep(900)\nrun()\n"
RESTRICTED = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
UNPRIVILEGED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
ALLOWED = {
    "env": {"jobs.pod", "jobs.document"},
    "config1": {"jobs.config", "jobs.document"},
    "config2": {"jobs.config", "jobs.document"},
    "body": {"webhook_events.body"},
    "param": {"tasks.params"},
}
"""Where in Postgres each may be: with what its user gave it to. All others: nowhere."""


@pytest.fixture(scope="module")
def placed() -> Iterator[tuple[Namespace, Canaries]]:
    """A namespace with a secret in every place that may have one, in all that goes well and all that goes wrong."""
    canaries = Canaries(f"canary{uuid4().hex[:10]}")
    with namespace() as ns:
        try:
            policy(ns)
            place(ns, canaries)
            yield ns, canaries
        finally:
            for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
                kubectl("delete", kind, ns.name, "--ignore-not-found")


def policy(ns: Namespace) -> None:
    """An admission policy that quotes what it refuses, as some do."""
    api = "admissionregistration.k8s.io/v1"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    first = "object.spec.containers[0].env[0]"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": rules,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
        },
        "validations": [{
            "expression": "!has(object.spec.containers[0].env) || object.spec.containers[0].env.size() == 0"
            f" || {first}.name != 'QUOTED'",
            "messageExpression": f"'no QUOTED here: ' + {first}.value",
        }],
    }  # fmt: skip
    metadata = {"name": ns.name}
    binding = {"policyName": ns.name, "validationActions": ["Deny"]}
    for kind, what in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
        one = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": what}
        kubectl("apply", "-f", "-", stdin=json.dumps(one))

    def quotes() -> bool:
        container = {"name": "main", "image": IMAGE, "env": [{"name": "QUOTED", "value": "out loud"}], **RESTRICTED}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {
            "containers": [container], "securityContext": UNPRIVILEGED}}  # fmt: skip
        try:
            ns.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
        except Refused as error:
            return "no QUOTED here: out loud" in str(error)
        return False

    until("the policy quotes", quotes)


def work(name: str, canaries: Canaries, script: str = "true", config: str = "config1", **fields: object) -> Object:
    """A job that holds a secret of each kind, and uses none."""
    env = [
        {"name": "PLAIN", "value": canaries.new("env")},
        {"name": "KEPT", "valueFrom": {"secretKeyRef": {"name": "kept", "key": "value"}}},
    ]
    given = {"env": env, "config": {"password": canaries.new(config)}, "maxAttempts": 1}
    return shell(name, script, "key", **{**given, **fields})


def whole(canaries: Canaries, config: str = "config1") -> Object:
    """What goes well, and what fails."""
    warm = {
        **work("warm", canaries, config=config),
        "command": ["python", "-c", WORKER],
        "image": IMAGE,
        "idleTimeout": "5m",
    }
    hook = {**shell("hook", "true"), "source": {"kind": "webhook", "secretName": "hook", "partition": {"format": "%Y"}}}
    schema = {"properties": {"word": {"type": "string"}, "n": {"type": "integer"}}}
    load = {**shell("load", "true"), "source": {"kind": "manual"}, "paramsSchema": schema}
    return dag(
        "air", trigger("a"), hook, load, warm,
        work("fine", canaries, config=config), work("bad", canaries, "exit 3", config),
        work("cold", canaries, "sleep 900", config, report="gateway"),
        publish=[{"name": "x", "from": {"job": "fine"}}],
    )  # fmt: skip


def wrong(canaries: Canaries) -> list[Object]:
    """What cannot become a version, for its config, its pod or another's."""
    rules = {
        "properties": {"a": {"type": "integer"}, "b": {"pattern": "^x"}, "c": {"enum": ["x"]}, "d": {"maxLength": 1}},
        "additionalProperties": False,
    }
    config = {name: canaries.new("bad-config") for name in "abcd"}
    env = [{"name": "QUOTED", "value": canaries.new("quoted")}]
    plain = [{"name": "PLAIN", "value": canaries.new("refused-env")}]
    twice = {**plain[0], "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    both = {"spec": {"containers": [{"name": "main", "env": [twice]}]}}

    def one(name: str, **fields: object) -> Object:
        return dag(name, trigger("a"), shell("work", "true", "key", **fields))

    return [
        one("config", config=config, configSchema=rules),
        one("extra", config={**config, "e": config["a"]}, configSchema=rules),
        one("host", env=plain, template={"spec": {"hostNetwork": True}}),
        one("field", env=plain, template={"spec": {"nodeSelecter": {"a": "b"}}}),
        one("both", template=both),
        one("quoted", env=env),
    ]


def place(ns: Namespace, canaries: Canaries) -> None:
    """Put them there, and have what comes of it happen."""
    secret(ns, "kept", value=canaries.new("secret"))
    key = base64.b64encode(f"canary-{RAW[:26]}".encode()).decode()
    canaries.know("key", key)
    canaries.know("raw-key", f"canary-{RAW[:26]}")
    secret(ns, "hook", key=f"whsec_{key}")
    readable(ns, "hook")
    headers = json.dumps({"X-Password": canaries.new("news-header")})
    secret(ns, "chat", url=f"http://{canaries.new('news-host')}.invalid/{canaries.new('news-path')}", headers=headers)
    lets_operator_read(ns, "chat")
    say(ns, '{"notify": {"secretName": "chat"}}')
    account(ns, "viewer", "view")
    account(ns, "editor", "edit")
    account(ns, "stranger")
    for name in ("viewer", "editor", "stranger"):
        canaries.know(f"token of {name}", token(ns, name))
    canaries.know("database", str(urlsplit(os.environ["HEADRACE_DATABASE_URL"]).password))
    ns.apply(whole(canaries))
    for one in wrong(canaries):
        with suppress(Refused):
            ns.apply(one)  # the webhook's words are looked through as well
    ns.unchecked()
    for one in wrong(canaries):
        ns.apply(one)
    ns.wait("air", "Serving")
    ns.run("air", "key")
    jobs = {"fine": "Completed", "bad": "Failed", "warm": "Running", "cold": "Running"}
    until("all has happened", lambda: jobs.items() <= {job: state for job, _, state, _ in ns.tasks("air")}.items(), 120)
    for one in wrong(canaries):
        name = one["metadata"]["name"]
        until(f"{name} is told", lambda name=name: condition(ns.get("dag", name), "Stalled"))  # type: ignore[misc]
    for name, where in pods(ns).items():
        path = "/var/run/secrets/kubernetes.io/serviceaccount/token" if where == SYSTEM else "/var/run/headrace/token"
        canaries.know(
            f"token of pod {name}", until(f"{name} has a token", lambda n=name, w=where, p=path: _said(w, n, p))
        )  # type: ignore[misc]
    ns.apply(whole(canaries, "config2"))
    until("the plan is made", lambda: "config.password" in json.dumps(ns.get("dag", "air")["status"].get("plan", {})))


def pods(ns: Namespace) -> dict[str, str]:
    """Pods with a token that is their own, and their namespaces."""
    speak = [pod for pod in ns.items("pod") if pod["metadata"]["labels"]["headrace.dev/job"] in ("warm", "cold")]
    mine = [pod["metadata"] for pod in speak if pod["status"]["phase"] == "Running"]
    theirs = json.loads(kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]
    return {one["name"]: ns.name for one in mine} | {pod["metadata"]["name"]: SYSTEM for pod in theirs}


def _said(where: str, pod: str, path: str) -> str:
    try:
        return kubectl("-n", where, "exec", pod, "--", "cat", path).strip()
    except Refused:
        return ""


async def ask_everything(gateway: Http, ns: Namespace, canaries: Canaries) -> list[tuple[str, str]]:
    """What people and events are answered who may not see a secret: with wrong tokens, without rights, as a viewer."""
    found: list[tuple[str, str]] = []

    async def ask(who: str, bearer: str | None, method: str, path: str, body: object = None, **headers: str) -> int:
        status, answer = await gateway.ask(method, path, bearer, body, **headers)
        found.append((f"{who}: {method} {path}", json.dumps(answer, ensure_ascii=False)))
        return status

    stranger, viewer, editor = (canaries.named[f"token of {who}"] for who in ("stranger", "viewer", "editor"))
    root = f"/v1/namespaces/{ns.name}"
    for who, bearer in {"nobody": canaries.new("no-token"), "stranger": stranger}.items():
        for method, path, body in [*routes(ns), *reads(ns), *WORKERS]:
            assert await ask(who, bearer, method, path, body) in (401, 403, 404)
    for path in ("tasks", "history", "jobs/bad/why", "jobs/warm/why", "jobs/fine/why", "jobs/fine/why?partition=a"):
        assert await ask("viewer", viewer, "GET", f"{root}/dags/air/{path}") == 200
    for path in ("datasets/x", "datasets/x/lineage"):
        assert await ask("viewer", viewer, "GET", f"{root}/{path}") == 200
    run = f"{root}/dags/air/jobs/load/run"
    assert await ask("editor", editor, "POST", run, {"params": {"word": canaries.new("param")}, "id": "one"}) == 200
    assert await ask("editor", editor, "POST", run, {"params": {"n": canaries.new("bad-param")}, "id": "two"}) == 422
    assert await ask("editor", editor, "POST", run, {"params": {"word": canaries.new("param")}, "frob": 1}) == 400
    body = json.dumps({"password": canaries.new("body")}).encode()
    await taken(gateway, ns, key=f"whsec_{canaries.named['key']}", body=body)
    for sent in (signed(body, OTHER_KEY, id_="other"), signed(body, OTHER_KEY, id_="no", at=1)):
        assert await ask("sender", None, "POST", f"/v1/webhooks/{ns.name}/air/hook", body, **sent) == 401
    broken = f'{{"password": "{canaries.new("no-json")}'.encode()
    sent = signed(broken, f"whsec_{canaries.named['key']}", id_="broken")
    assert await ask("sender", None, "POST", f"/v1/webhooks/{ns.name}/air/hook", broken, **sent) == 400
    found.append(("metrics", json.dumps((await gateway.ask("GET", "/openapi.json", viewer))[1])))
    return found


async def test_a_secret_is_nowhere_but_where_it_was_put(http: Http, placed: tuple[Namespace, Canaries]) -> None:  # noqa: F811
    ns, canaries = placed
    answers = await ask_everything(http, ns, canaries)
    until("news could not be sent", lambda: any(f"news of namespace {ns.name}" in text for _, text in canary.logs()))
    until("the event is worked on", lambda: ("hook", "Completed") in {(j, s) for j, _, s, _ in ns.tasks("air")})
    told = [(where, text) for where, text in answers if "/tasks" not in where]
    # Tasks show the parameters that their run was given, to those who may look.
    told += [(where, text.replace(canaries.named["param"], "")) for where, text in answers if "/tasks" in where]
    places = [*told, *canary.statuses(ns), *canary.events(ns), *canary.logs(), *canary.metrics(), *canary.arguments(ns)]
    assert len(places) > 100
    assert [where for where, text in canary.metrics() if ns.name in text] == []  # no tenant is told of there
    leaks = {where: found for where, text in places if (found := canaries.within(text))}
    assert leaks == {}
    kept = canary.tables(canaries)
    assert kept == ALLOWED


def test_the_places_that_were_looked_at_tell_of_what_happened(placed: tuple[Namespace, Canaries]) -> None:
    """An empty log would have no secret either."""
    ns, _ = placed
    statuses = dict(canary.statuses(ns))
    for name, words in {
        "config": "spec.jobs[work].config.a must be of type integer",
        "host": "host",
        "quoted": "no QUOTED",
    }.items():
        assert words.partition(" ")[2] in statuses[f"status of dag/{name}"], statuses[f"status of dag/{name}"]
    assert "config.password" in statuses["status of dag/air"]
    assert "exit code 3" in statuses["status of hjob/air.bad"]
    assert any(ns.name in text for _, text in canary.logs())
    assert all("headrace_sql_duration_seconds_count" in text for _, text in canary.metrics())
    assert any("sleep 900" in text for _, text in canary.arguments(ns))
    assert any('"reason"' in text for _, text in canary.events(ns))
    assert sql(
        "SELECT count(*) > 0 FROM rollouts WHERE org_id = %s AND plan::text LIKE '%%config.password%%'", ns.org()
    ) == [(True,)]
