"""The command line on a real cluster: every way to an identity, every way to the gateway, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.kube import Namespace, Refused, condition, dag, forwarded, kubectl, shell, trigger, until
from tests.cluster.people import ROOT, account, admin, headrace, kubeconfig, token

NEWS = dag("news", trigger("a"), shell("work", "true", "key"))
FORWARD = "headrace-port-forward"


@pytest.fixture
def reader(ns: Namespace) -> Iterator[str]:
    """A token of somebody who may view the namespace, and forward ports to the gateway."""
    user = account(ns, "reader", "view")
    binding = ("rolebinding", f"{FORWARD}-{ns.name}", "-n", "headrace-system")
    kubectl("create", *binding, f"--role={FORWARD}", f"--user={user}")
    yield token(ns, "reader")
    kubectl("delete", *binding)


def plugin(path: Path, bearer: str) -> dict[str, object]:
    """A user whose token a program gives."""
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": bearer}}
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    path.chmod(0o700)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": f"./{path.name}",
            "interactiveMode": "Never", "args": None, "env": None,
        }
    }  # fmt: skip


def test_every_kind_of_user_reaches_the_gateway(ns: Namespace, reader: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(reader)
    users = {"token": {"token": reader}, "file": {"tokenFile": "token"}, "plugin": plugin(tmp_path / "give", reader)}
    for name, user in users.items():
        config = kubeconfig(tmp_path / f"{name}.yaml", ns.name, user)
        done = headrace("plan", "-f", "-", "-o", "json", stdin=json.dumps(NEWS), KUBECONFIG=str(config))
        assert (done.returncode, done.stderr) == (0, ""), name
        assert json.loads(done.stdout)[0]["dag"] == "news"


def test_several_files_make_one_kubeconfig(ns: Namespace, reader: str, tmp_path: Path) -> None:
    whole = admin()
    name = whole["contexts"][0]["name"]
    cluster = {k: whole[k] for k in ("apiVersion", "kind", "clusters")}
    rest = {"users": [{"name": "reader", "user": {"token": reader}}],
            "contexts": [{"name": "mine", "context": {"cluster": whole["clusters"][0]["name"], "user": "reader",
                                                      "namespace": ns.name}}]}  # fmt: skip
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text(yaml.safe_dump({**cluster, "current-context": "mine"}))
    second.write_text(yaml.safe_dump({**rest, "current-context": name}))
    done = headrace("history", "news", KUBECONFIG=f"{first}{os.pathsep}{tmp_path / 'absent'}{os.pathsep}{second}")
    assert done.stderr == f"headrace: DAG news has no version in namespace {ns.name}\n"


def test_a_certificate_s_owner_is_told_which_account_to_make(ns: Namespace) -> None:
    done = headrace("history", "news", "-n", ns.name)
    assert done.returncode == 1
    for line in done.stderr.splitlines():
        if line.startswith("  kubectl "):
            kubectl(*line.split()[1:])
    assert "has no version" in headrace("history", "news", "-n", ns.name).stderr
    assert "no service account other" in headrace("history", "news", "-n", ns.name, "--service-account=other").stderr


def test_who_may_not_forward_ports_is_told_the_ways(ns: Namespace, tmp_path: Path) -> None:
    account(ns, "outsider", "view")
    config = kubeconfig(tmp_path / "config", ns.name, {"token": token(ns, "outsider")})
    done = headrace("history", "news", KUBECONFIG=str(config))
    assert done.returncode == 1
    assert "headrace-port-forward" in done.stderr
    assert "HEADRACE_URL" in done.stderr


@pytest.fixture
def url() -> Iterator[str]:
    """The gateway's address."""
    with forwarded() as found:
        yield found


def test_an_address_needs_no_right_to_forward(ns: Namespace, url: str, tmp_path: Path) -> None:
    account(ns, "outsider", "view")
    config = kubeconfig(tmp_path / "config", ns.name, {"token": token(ns, "outsider")})
    done = headrace("history", "news", KUBECONFIG=str(config), HEADRACE_URL=url)
    assert done.stderr == f"headrace: DAG news has no version in namespace {ns.name}\n"
    bad = kubeconfig(tmp_path / "bad", ns.name, {"token": "nobody"})
    assert (
        "the cluster does not know this token" in headrace("history", "x", KUBECONFIG=str(bad), HEADRACE_URL=url).stderr
    )


def test_a_plan_a_history_and_their_exit_codes(ns: Namespace, reader: str, tmp_path: Path) -> None:
    config = str(kubeconfig(tmp_path / "config", ns.name, {"token": reader}))
    file = tmp_path / "news.yaml"
    file.write_text(yaml.safe_dump(NEWS))
    plan = ("plan", "-f", str(file), "--exit-code")
    done = headrace(*plan, KUBECONFIG=config)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("DAG news  (no version) → ")
    assert "  + work                      added\n" in done.stdout
    ns.apply(NEWS)
    ns.wait("news", "Serving")
    done = headrace(*plan, KUBECONFIG=config)
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "  No changes: 2 jobs as they are.")
    more = dag("news", trigger("a"), shell("work", "true", "key"), shell("extra", "true", "work"))
    file.write_text(yaml.safe_dump(more))
    assert headrace(*plan, KUBECONFIG=config).returncode == 2
    ns.apply(more)
    ns.wait("news", "Serving")
    listed = headrace("history", "news", KUBECONFIG=config).stdout.splitlines()
    assert [line[:1] for line in listed if line[2:12].strip()] == [" ", "*", " "]
    told = json.loads(headrace("history", "news", "-o", "json", KUBECONFIG=config).stdout)
    assert told == yaml.safe_load(headrace("history", "news", "-o", "yaml", KUBECONFIG=config).stdout)
    assert told["previous"] == told["versions"][1]["yaml_hash"]
    wrong = headrace("plan", "-f", "-", stdin=json.dumps(dag("news", shell("work", "true", "x"))), KUBECONFIG=config)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("headrace: DAG news: spec.jobs[work].inputs[0].from.job")


def test_a_retry_is_given_as_the_person_and_its_answer_told(ns: Namespace, tmp_path: Path) -> None:
    account(ns, "writer", "edit")
    config = str(kubeconfig(tmp_path / "config", ns.name, {"token": token(ns, "writer")}))
    ns.apply(dag("broken", trigger("a"), shell("work", "exit 1", "key", maxAttempts=1)))
    ns.wait("broken", "Serving")
    idle = headrace("retry", "broken", KUBECONFIG=config)
    assert (idle.returncode, idle.stdout) == (0, "DAG broken: retry: nothing has failed for good\n")
    ns.run("broken", "key")
    until("it has failed", lambda: condition(ns.get("dag", "broken"), "Degraded"))
    done = headrace("retry", "broken/work", "-o", "json", KUBECONFIG=config)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["command"], told["argument"], told["dag"]) == ("retry", "work", "broken")
    there = ns.get("dag", "broken")
    assert there["metadata"]["annotations"]["headrace.dev/retry"] == f"{told['request']} work"


def test_commands_that_cannot_be_given_or_are_not_answered_are_told(ns: Namespace, reader: str, tmp_path: Path) -> None:
    config = str(kubeconfig(tmp_path / "config", ns.name, {"token": reader}))
    assert "there is no DAG absent in namespace" in headrace("unpin", "absent", "-n", ns.name).stderr
    ns.unchecked()
    ns.apply(dag("wrong", shell("work", "true", "nothing")))
    done = headrace("retry", "wrong", KUBECONFIG=config)
    assert done.returncode == 1
    assert 'cannot patch resource "dags"' in done.stderr
    done = headrace("retry", "wrong", "-n", ns.name, "--timeout", "2")
    assert done.returncode == 1
    assert "the operator has not answered within 2 s. The request stays" in done.stderr


@pytest.fixture
def owner(ns: Namespace, tmp_path: Path) -> Iterator[str]:
    """A kubeconfig of somebody who may do everything in the namespace, and forward ports to the gateway."""
    account(ns, "owner", "admin")
    binding = ("rolebinding", f"{FORWARD}-{ns.name}", "-n", "headrace-system")
    kubectl("create", *binding, f"--role={FORWARD}", f"--serviceaccount={ns.name}:owner")
    yield str(kubeconfig(tmp_path / "config", ns.name, {"token": token(ns, "owner")}))
    kubectl("delete", *binding)


def ran(config: str, *arguments: str) -> str:
    """What a command that goes well prints."""
    done = headrace(*arguments, KUBECONFIG=config)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_back_to_the_version_before_and_on_again(ns: Namespace, owner: str) -> None:
    def versions() -> dict[str, bool]:
        told = json.loads(ran(owner, "history", "news", "-o", "json"))["versions"]
        return {one["short"]: one.get("current", False) for one in told}

    ns.apply(NEWS)
    ns.wait("news", "Serving")
    (first,) = versions()
    ns.apply(dag("news", *NEWS["spec"]["jobs"], shell("extra", "true", "work"), rollout={"strategy": "Manual"}))
    ns.wait("news", "Rebuilding")
    second = next(short for short in versions() if short != first)
    refused = headrace("approve", "news", first, KUBECONFIG=owner)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "approve: refused: no rollout of" in refused.stderr
    told = ran(owner, "approve", "news", "--wait", "--timeout", "60")
    assert told == f"DAG news: approve {second}: approved; version {second} serves\n"
    assert versions() == {first: False, second: True}
    told = ran(owner, "rollback", "news", "--wait", "--timeout", "60")
    assert told == f"DAG news: rollback {first}: pinned until unpin; version {first} serves\n"
    assert versions() == {first: True, second: False}
    assert ran(owner, "unpin", "news") == "DAG news: unpin: unpinned\n"
    assert "no version of the DAG begins with 'zzzz'" in headrace("rollback", "news", "zzzz", KUBECONFIG=owner).stderr


def test_a_name_is_transferred_once_it_is_published_no_more(ns: Namespace, owner: str) -> None:
    jobs, publish = (trigger("a"), shell("work", "true", "key")), [{"name": "rows", "from": {"job": "work"}}]
    ns.apply(dag("old", *jobs, publish=publish))
    ns.wait("old", "Serving")
    ns.apply(dag("new", *jobs, publish=publish))
    stalled = condition(ns.wait("new", "Stalled"), "Stalled")
    command = "headrace transfer rows --to new"
    assert (stalled["reason"], command in stalled["message"]) == ("NameTaken", True)
    refused = headrace(*command.split()[1:], KUBECONFIG=owner)
    assert (refused.returncode, "DAG old publishes rows: let it publish it no more" in refused.stderr) == (1, True)
    ns.apply(dag("old", *jobs))
    ns.wait("old", "Serving")
    told = ran(owner, *command.split()[1:])
    assert told == "dataset rows belongs to DAG new now; before, to old\n"
    ns.wait("new", "Serving")
    shown = until("it is shown", lambda: ns.get("dset", "new.rows"))
    assert shown["spec"]["from"]["dag"] == "new"


def test_it_is_a_plugin_of_kubectl(ns: Namespace, tmp_path: Path) -> None:
    program = tmp_path / "kubectl-headrace"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom headrace.cli import main\nsys.exit(main())\n")
    program.chmod(0o700)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    argv = ["kubectl", "headrace", "history", "news", "-n", ns.name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert "has no service account headrace-cli" in done.stderr
    usage = subprocess.run(["kubectl", "headrace"], capture_output=True, text=True, check=False, env=env, timeout=60)
    assert usage.stderr.startswith("usage: kubectl headrace")


def test_what_is_wrong_is_seen_from_the_namespace_to_the_root(ns: Namespace, owner: str, tmp_path: Path) -> None:
    """status, why and completion of a DAG whose first job fails, and of one that is well."""
    ns.apply(
        dag("news", trigger("a"), shell("work", "echo no such column; exit 3", "key", maxAttempts=1),
            shell("rank", "true", "work"), publish=[{"name": "ranks", "from": {"job": "rank"}}]),
        dag("idle", trigger("a")),
    )  # fmt: skip
    ns.wait("news", "Serving")
    ns.wait("idle", "UpToDate")
    ns.run("news", "key")
    until("it has failed", lambda: condition(ns.get("dag", "news"), "Degraded"))
    message = condition(ns.get("dag", "news"), "Degraded")["message"]
    why = until("its job says why", lambda: ns.get("hjob", "news.work").get("status", {}).get("waitingFor"))
    assert why in message
    until("what it made is shown", lambda: ns.get("dset", "news.ranks").get("status", {}).get("name"))

    whole = headrace("status", KUBECONFIG=owner)
    assert (whole.returncode, whole.stderr) == (2, "")
    assert max(map(len, whole.stdout.splitlines())) <= 80
    assert headrace("status", "idle", KUBECONFIG=owner).returncode == 0
    told = json.loads(headrace("status", "news", "-o", "json", KUBECONFIG=owner).stdout)
    jobs = {one["name"]: one for one in told["dags"][0]["jobs"]}
    assert (told["upToDate"], told["dags"][0]["state"], jobs["work"]["why"]) == (False, "Degraded", why)
    assert [one["name"] for one in jobs["rank"]["datasets"]] == ["ranks"]

    found = json.loads(ran(owner, "why", "ranks", "-o", "json"))
    assert (found["object"], found["state"]) == ("dataset ranks", "Empty")
    rank = found["causes"][0]
    assert (rank["object"], rank["causes"][0]["object"]) == ("job news/rank", "job news/work")
    assert rank["causes"][0]["words"][0] == why
    assert json.loads(ran(owner, "why", "news", "-o", "json"))["causes"]
    assert why.split(":")[0] in ran(owner, "why", "news/rank")
    # With the gateway away the objects still say it.
    away = headrace("why", "news/rank", KUBECONFIG=owner, HEADRACE_URL="http://127.0.0.1:1")
    assert (away.returncode, why.split(":")[0] in away.stdout) == (0, True), away.stderr
    assert "the gateway cannot be reached" in away.stderr
    (cause,) = json.loads(ran(owner, "why", "news/rank", "-p", "a", "-o", "json"))["causes"]
    assert (cause["object"], cause["state"]) == ("job news/work a", "Failed")
    log = json.loads(ran(owner, "logs", "news/work", "-o", "json"))
    assert (log["partition"], "no such column" in log["log"]) == ("a", True)

    for name, call in (("kubectl-headrace", "cli import main"), ("kubectl_complete-headrace", "cli.completion import"
                                                                 " kubectl as main")):  # fmt: skip
        program = tmp_path / name
        program.write_text(f"#!{sys.executable}\nimport sys\nfrom headrace.{call}\nsys.exit(main())\n")
        program.chmod(0o700)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": owner,
           "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    expected = {
        ("status", ""): {"idle", "news", "ranks"},
        ("why", "news/"): {"news/key", "news/rank", "news/work"},
        ("run", ""): {"idle/", "news/"},
        ("invalidate", "r"): {"ranks"},
    }
    for words, names in expected.items():
        argv = ["kubectl", "__complete", "headrace", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=env, timeout=60)
        assert {line.partition("\t")[0] for line in done.stdout.splitlines() if line[:1] != ":"} == names


def test_a_view_role_alone_opens_nothing_in_the_gateway_s_namespace(ns: Namespace) -> None:
    account(ns, "viewer", "view")
    with pytest.raises(Refused, match="cannot get resource"):
        kubectl("-n", "headrace-system", "get", "service", "headrace-gateway",
                "--as", f"system:serviceaccount:{ns.name}:viewer")  # fmt: skip
