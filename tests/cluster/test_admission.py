"""What the API server asks before it stores an object: refused in whole, planned in warnings, and nobody held up."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.admission.certificate import make
from headrace.admission.judge import Judge
from headrace.admission.keep import PATH, Keeper
from headrace.admission.review import Request, Verdict
from headrace.cluster.client import Client
from headrace.cluster.webhook import NAME, configure, host, read_secret, write_secret
from headrace.compiler import Compiler
from headrace.state.database import Database
from tests.cluster.kube import Namespace, Object, Refused, dag, kubectl, no_operator, shell, trigger, until

SYSTEM = "headrace-system"
SECRET = "s3cret-of-the-canary"


def apply(ns: Namespace, *objects: Object, dry: bool = False, user: str = "") -> tuple[str, list[str]]:
    """What kubectl says to applying these, and its warnings; Refused when it is refused."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    flags = [*(["--dry-run=server"] if dry else []), *([f"--as={user}"] if user else [])]
    asked = ["kubectl", "-n", ns.name, "apply", "--server-side", "-f", "-", *flags]
    done = subprocess.run(asked, input=given, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout, [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def job(name: str, of: str, *inputs: str, **fields: object) -> Object:
    spec = {"dag": of, **shell(name, "true", *inputs, **fields)}
    del spec["name"]
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def test_documents_are_refused_whole_and_plans_are_told(ns: Namespace) -> None:
    good = dag("plan", trigger("a", "b"), shell("work", "true", "key"), shell("rank", "true", "work"),
               publish=[{"name": "x", "from": {"job": "work"}}])  # fmt: skip
    told, warnings = apply(ns, good, dry=True)
    assert "plan serverside-applied (server dry run)" in told
    assert warnings[0].startswith("images without a digest")
    assert any("first version" in line for line in warnings)
    assert ns.get("dag", "plan") == {}
    apply(ns, good)
    ns.wait("plan", "Ready")
    stored = ns.get("dag", "plan")["spec"]
    # Everything that is wrong, at once, each with its place, and what is stored stays.
    output = [{"from": {"job": "key", "output": 7}}]
    wrong = dag("plan", trigger("a"), shell("work", "true", "rank"), shell("rank", "true", "work"),
                {**shell("more", "true", "key"), "inputs": output})  # fmt: skip
    with pytest.raises(Refused) as caught:
        apply(ns, wrong)
    assert "these jobs read from one another in a circle" in str(caught.value)
    assert 'spec.jobs[more].inputs[0].from.output "7": the job key has outputs 0 to 0' in str(caught.value)
    assert ns.get("dag", "plan")["spec"] == stored
    # No value is told, of a config that its schema refuses, of an environment in a pod that the cluster refuses.
    schema = {"properties": {"n": {"type": "integer"}}}
    with pytest.raises(Refused, match=r"spec.jobs\[work\].config.n: must be of type integer") as caught:
        apply(ns, dag("plan", trigger("a"), shell("work", "true", "key", config={"n": SECRET}, configSchema=schema)))
    assert SECRET not in str(caught.value)
    bad = {"spec": {"hostNetwork": True}}
    env = [{"name": "X", "value": SECRET}]
    with pytest.raises(Refused, match="violates PodSecurity") as caught:
        apply(ns, dag("plan", trigger("a"), shell("work", "true", "key", template=bad, env=env)))
    assert SECRET not in str(caught.value)
    # What may still come is no refusal: a service account of the same set.
    account = {"spec": {"serviceAccountName": "late"}}
    _, warnings = apply(ns, dag("plan", trigger("a"), shell("work", "true", "key", template=account)), dry=True)
    assert any("service account" in line for line in warnings)
    # An object of its own may bring the job, without being listed: Flux asks for all before it applies any.
    for absent in ("work", "kee"):
        _, warnings = apply(ns, dag("plan", trigger("a"), shell("rank", "true", absent)), dry=True)
        assert any(f'"{absent}": no job of this DAG' in line for line in warnings)
    # The plan of a change, in short lines, few of them, without values; the same again is none.
    many = [shell(f"new{n}", "true", "key", env=env) for n in range(30)]
    changed = dag("plan", trigger("a", "b"), shell("work", "false", "key"), shell("rank", "true", "work"), *many,
                  publish=[{"name": "x", "from": {"job": "work"}}])  # fmt: skip
    _, warnings = apply(ns, changed, dry=True)
    assert "plan: jobs: 30 added, 1 changed, 1 downstream, 1 unchanged" in warnings
    assert any(line.startswith("and ") and line.endswith("headrace plan -f FILES") for line in warnings)
    assert len(warnings) <= 11
    assert all(len(line) <= 120 for line in warnings)
    assert SECRET not in "".join(warnings)
    assert apply(ns, good)[1] == []


def test_sets_arrive_in_any_order_and_only_what_nothing_mends_is_refused(ns: Namespace) -> None:
    # Before its DAG, and reading what is not there yet.
    _, warnings = apply(ns, job("work", "set", "key"))
    assert warnings == ["waits for DAG set, which is not there"]
    with pytest.raises(Refused, match=r"spec.source.schedule"):
        apply(ns, {**job("tick", "set"), "spec": {"dag": "set", "source": {"kind": "cron", "schedule": "99 * * * *"}}})
    listed = dag("set", jobRefs=["key", "work", "more"])
    del listed["spec"]["jobs"]
    _, warnings = apply(ns, listed)
    assert any("spec.jobRefs: 2 of 3 Job objects are not there" in line for line in warnings)
    source = {**job("key", "set"), "spec": {"dag": "set", "source": trigger("a")["source"]}}
    apply(ns, source, job("more", "set", "work"))
    ns.wait("set", "Ready")
    # Moving a job into its DAG: for a moment two have its name.
    moving = dag("set", shell("more", "true", "work"), jobRefs=["key", "work", "more"])
    _, warnings = apply(ns, moving, dry=True)
    assert any("also the name of" in line for line in warnings)
    # Of a member, the plan of the whole.
    _, warnings = apply(ns, job("work", "set", "key", codeVersion="2"), dry=True)
    assert any(line.startswith("plan: work: changed (") for line in warnings)


def test_a_writer_who_may_not_make_pods_is_refused(ns: Namespace) -> None:
    kubectl("-n", ns.name, "create", "rolebinding", "ann", "--clusterrole=headrace-edit", "--user=ann")
    kubectl("-n", ns.name, "create", "role", "read", "--verb=get,patch,create", "--resource=dags.headrace.dev")
    kubectl("-n", ns.name, "create", "rolebinding", "read", "--role=read", "--user=ann")
    given = dag("pods", trigger("a"), shell("work", "true", "key"))
    refused = f"ann may not create pods in namespace {ns.name}"
    for one in (given, job("work", "pods", "key")):
        with pytest.raises(Refused, match=refused):
            apply(ns, one, user="ann")
    apply(ns, given)
    kubectl("-n", ns.name, "annotate", "dag", "pods", "note=1", "--as=ann")
    with pytest.raises(Refused, match=refused):
        apply(ns, dag("pods", trigger("a"), shell("work", "false", "key")), user="ann")
    kubectl("-n", ns.name, "delete", "dag", "pods", "--as=ann", "--wait=false")
    kubectl("-n", ns.name, "create", "role", "pods", "--verb=create", "--resource=pods")
    kubectl("-n", ns.name, "create", "rolebinding", "pods", "--role=pods", "--user=ann")
    until("her right is known", lambda: kubectl("auth", "can-i", "create", "pods", "-n", ns.name, "--as=ann"))
    apply(ns, dag("more", trigger("a"), shell("work", "true", "key")), user="ann")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = await Client.connect()
    yield made
    await made.close()


async def test_what_is_slow_or_away_holds_nobody_up(client: Client, ns: Namespace) -> None:
    compiler = Compiler(0.5)
    good, bad = (dag("d", trigger("a"), shell("work", "true", j)) for j in ("key", "work"))
    slow = shell("work", "true", "key", config={"n": "a" * 40 + "!"},
                 configSchema={"properties": {"n": {"pattern": "^(a+)+$"}}})  # fmt: skip

    async def judged(judge: Judge, given: Object) -> Verdict:
        request = {"uid": "u", "kind": {"kind": "DAG"}, "namespace": ns.name, "name": "d", "object": given}
        return await judge.judge(_request(request))

    try:
        async with Database("postgresql://127.0.0.1:1/none", connections=1) as away:
            judge = Judge(client, away, compiler)
            verdict = await judged(judge, bad)
            assert "in a circle" in verdict.refused
            began = time.monotonic()
            verdict = await judged(judge, good)
            assert time.monotonic() - began < 4.0, "the API server waits for five"
            assert verdict.refused == ""
            assert any("not looked at whole" in line for line in verdict.warnings)
            verdict = await judged(judge, dag("d", trigger("a"), slow))
            assert (verdict.refused, len(verdict.warnings)) == ("", 1)
            assert "takes long" in verdict.warnings[0]
    finally:
        compiler.close()
    # Whoever reaches the port without the API server's word is told nothing.
    with _Forwarded() as port:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert await _post(port, context, "/admit/guessed") == 404


def _request(given: object) -> Request:
    import msgspec  # noqa: PLC0415

    return msgspec.convert(given, Request)


async def test_a_renewed_certificate_is_served_without_a_restart_and_nobody_is_told_twice(
    client: Client, ns: Namespace
) -> None:
    before = await read_secret(client, SYSTEM)
    assert before is not None
    # One with a life of a minute, seen when two thirds of it are over.
    now, path = datetime.now(UTC), before["path"]
    short = make(host(SYSTEM), now, timedelta(minutes=1), before["ca.crt"])
    await configure(client, short.authorities, f"{PATH}{path.decode()}")
    values = {"tls.crt": short.certificate, "tls.key": short.key, "ca.crt": short.authorities, "path": path}
    await write_secret(client, SYSTEM, values)
    keeper = Keeper(client, SYSTEM, clock=lambda: now + timedelta(seconds=41))
    assert await keeper.look() == ""
    new = await read_secret(client, SYSTEM)
    assert new is not None
    assert (new["tls.crt"] != short.certificate, new["path"]) == (True, path)
    versions = _versions()
    await keeper.look()
    assert _versions() == versions, "nothing differs, and nothing is written"
    bad = dag("bad", trigger("a"), shell("work", "true", "work"))
    with pytest.raises(Refused, match="in a circle"):
        apply(ns, bad)  # served with the one before, which is still trusted
    own = new["ca.crt"].split(b"-----END CERTIFICATE-----")[0] + b"-----END CERTIFICATE-----\n"
    context = ssl.create_default_context(cadata=own.decode())
    with _Forwarded() as port:
        for _ in range(300):
            try:
                assert await _post(port, context, "/admit/guessed") == 404
                break
            except ssl.SSLError:
                await asyncio.sleep(0.1)
        else:
            raise AssertionError("the renewed certificate is not served within 30 s")
    with pytest.raises(Refused, match="in a circle"):
        apply(ns, bad)


def _versions() -> list[str]:
    return [
        kubectl("get", *what, "-o", "jsonpath={.metadata.resourceVersion}")
        for what in (("secret", NAME, "-n", SYSTEM), ("validatingwebhookconfiguration", NAME))
    ]


class _Forwarded:
    """A port of this machine that leads to the operator's webhook during the block."""

    def __enter__(self) -> int:
        asked = ["kubectl", "-n", SYSTEM, "port-forward", "deployment/headrace-operator", ":8443"]
        self._process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        assert self._process.stdout is not None
        return int(self._process.stdout.readline().split(":")[1].split()[0])

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


async def _post(port: int, context: ssl.SSLContext, path: str) -> int:
    """The status of an empty question."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host(SYSTEM))
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode())
    line: Any = await reader.readline()
    writer.close()
    return int(line.split()[1])


@pytest.mark.alone
def test_with_the_operator_away_objects_come_and_go_and_rights_hold(ns: Namespace) -> None:
    kubectl("-n", ns.name, "create", "rolebinding", "ann", "--clusterrole=headrace-edit", "--user=ann")
    bad = dag("bad", trigger("a"), shell("work", "true", "rank"), shell("rank", "true", "work"))
    with no_operator():
        apply(ns, bad)
        with pytest.raises(Refused, match="ann may not create pods"):
            apply(ns, dag("more", trigger("a")), user="ann")
        ns.kubectl("delete", "dag", "bad", "--timeout=20s")
    with pytest.raises(Refused, match="in a circle"):
        until("the webhook is back", lambda: apply(ns, bad, dry=True) and None, 60)
