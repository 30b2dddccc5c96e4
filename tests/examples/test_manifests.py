"""What the manifests promise, read from the files: no cluster and no kubectl needed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flights.cli import LIVE, STEPS
from tests.examples import oracle

ROOT = Path(__file__).parents[2]
FLIGHTS, WEATHER = ROOT / "examples" / "flights", ROOT / "examples" / "weather"


def documents(*paths: Path) -> list[dict[str, Any]]:
    return [document for path in paths for document in yaml.safe_load_all(path.read_text()) if document]


def of_kind(kind: str, *paths: Path) -> list[dict[str, Any]]:
    return [document for document in documents(*paths) if document["kind"] == kind]


BASE = sorted((ROOT / "deploy" / "base").glob("*.yaml"))


@pytest.mark.parametrize(("file", "keys"), [("flights.yaml", oracle.MONTHS), ("days.yaml", oracle.DAYS)])
def test_the_pipeline_covers_the_year_with_steps_that_exist(file: str, keys: tuple[str, ...]) -> None:
    [dag] = documents(FLIGHTS / file)
    source, *jobs = dag["spec"]["jobs"]
    span = source["source"]["partitions"]["range"]
    assert (span["start"], span["end"]) == (keys[0], keys[-1])
    assert [job["name"] for job in jobs] == list(STEPS)
    # By workers, or in a pod for each.
    assert [job["operator"] if "idleTimeout" in job else job["command"][1] for job in jobs] == list(STEPS)
    assert {"idleTimeout" in job: job["command"][1] for job in jobs if job["name"] in ("join", "rank")} == {
        False: "join", True: "worker",
    }  # fmt: skip


def test_months_and_days_are_the_same_pipeline() -> None:
    [months], [days] = documents(FLIGHTS / "flights.yaml"), documents(FLIGHTS / "days.yaml")
    assert months["spec"]["defaults"] == days["spec"]["defaults"]

    def comparable(dag: dict[str, Any], source: str) -> list[dict[str, Any]]:
        text = yaml.safe_dump([{**job, "configSchema": None} for job in dag["spec"]["jobs"][1:]])
        return list(yaml.safe_load(text.replace(f"job: {source}\n", "job: source\n")))

    assert comparable(months, "month") == comparable(days, "day")


def test_the_feed_is_set_up_like_the_other_example() -> None:
    """In a namespace of its own."""
    own, other = documents(WEATHER / "setup.yaml"), documents(FLIGHTS / "setup.yaml")
    assert yaml.safe_dump(own) == yaml.safe_dump(other).replace(": air\n", ": weather\n")
    [dag] = documents(WEATHER / "weather.yaml")
    source, *jobs = dag["spec"]["jobs"]
    assert source["command"] == ["flights", "observe"]
    assert tuple(job["operator"] for job in jobs) == LIVE


def rules(name: str) -> list[dict[str, list[str]]]:
    [role] = [role for role in of_kind("ClusterRole", *BASE) if role["metadata"]["name"] == name]
    return list(role["rules"])


def test_no_role_has_a_wildcard_or_reaches_a_secret_but_that_of_the_webhook() -> None:
    reached = []
    for role in of_kind("ClusterRole", *BASE) + of_kind("Role", *BASE):
        for rule in role["rules"]:
            granted = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not granted & {"*", "escalate", "bind", "impersonate"}, role["metadata"]["name"]
            if "secrets" in granted:
                reached.append((role["kind"], role["metadata"]["name"], rule["resourceNames"], rule["verbs"]))
    assert reached == [("Role", "headrace-operator", ["headrace-admission"], ["get", "update"])]


def test_pods_are_reached_only_through_the_tenant_role_which_no_one_holds_everywhere() -> None:
    for role in of_kind("ClusterRole", *BASE) + of_kind("Role", *BASE):
        pods = [rule for rule in role["rules"] if any(name.startswith("pods") for name in rule["resources"])]
        if (role["kind"], role["metadata"]["name"]) == ("Role", "headrace-port-forward"):
            assert {name for rule in pods for name in rule["resources"]} == {"pods", "pods/portforward"}
        else:
            assert bool(pods) == (role["metadata"]["name"] == "headrace-tenant")
    for binding in of_kind("ClusterRoleBinding", *BASE) + of_kind("RoleBinding", *BASE):
        assert binding["roleRef"]["name"] not in ("headrace-tenant", "headrace-port-forward")


def test_the_gateway_writes_no_object() -> None:
    reviews = {"tokenreviews", "subjectaccessreviews"}
    for rule in rules("headrace-gateway"):
        asks = bool(reviews & set(rule["resources"]))
        assert set(rule["verbs"]) <= ({"create"} if asks else {"get", "list"})


def test_the_operator_makes_and_deletes_no_dag() -> None:
    """It patches finalizers, which no right of their own covers; tests/cluster watches that it writes nothing else."""
    verbs = {verb for rule in rules("headrace-operator") if "dags" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch", "patch"}


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "deploy" / "base" / "deployment.yaml",
        ROOT / "deploy" / "base" / "gateway.yaml",
        ROOT / "deploy" / "overlays" / "try" / "postgres.yaml",
        FLIGHTS / "result.yaml",
    ],
    ids=lambda path: path.name,
)
def test_our_own_pods_satisfy_the_restricted_standard(path: Path) -> None:
    for document in documents(path):
        if document["kind"] not in ("Pod", "Deployment", "StatefulSet"):
            continue
        pod = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("path", [ROOT / "Dockerfile", FLIGHTS / "Dockerfile"], ids=["operator", "flights"])
def test_the_images_run_as_a_user_that_the_kubelet_can_see_is_not_root(path: Path) -> None:
    user = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("USER ")][-1]
    assert int(user.split(":")[0]) > 0
