"""The pod of an attempt: restricted, without a token, owned by its DAG, and the template's wherever it speaks."""

from __future__ import annotations

import copy
import re
from typing import Any

import msgspec
import pytest

from headrace.run.payload import payload
from headrace.run.render import ANNOTATION_CONTAINER, ANNOTATION_SPEAKS, ANNOTATION_TASK, render_pod
from tests.run.claimed import TASK, TOKEN, Tree, claimed

LIMIT = 64 * 1024
URL = "http://gateway.test"
MAIN: Tree = {"name": "main", "image": "i"}


def pod(template: Tree | None = None, container: str = "main", **fields: object) -> Any:
    """The manifest, as JSON would have it."""
    return msgspec.to_builtins(render_pod(claimed(template, container, **fields), URL))


def environment(manifest: Any, container: str = "main") -> dict[str, str]:
    """The variables of a container."""
    (found,) = (c for c in manifest["spec"]["containers"] if c["name"] == container)
    return {e["name"]: e.get("value") for e in found["env"]}


def spec(*containers: Tree, **fields: object) -> Tree:
    """A template."""
    return {"spec": {"containers": list(containers) or [MAIN], **fields}}


def test_by_default_every_container_satisfies_the_restricted_standard() -> None:
    """The fields that Kubernetes' pod security standard `restricted` asks for, sidecars and init containers too."""
    made = pod(spec(MAIN, {"name": "side"}, initContainers=[{"name": "init"}]))["spec"]
    assert made["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in made["containers"] + made["initContainers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.parametrize(
    ("template", "path", "value"),
    [
        pytest.param(spec(securityContext={"runAsNonRoot": False}), "spec.securityContext",
                     {"runAsNonRoot": False, "seccompProfile": {"type": "RuntimeDefault"}}, id="pod security"),
        pytest.param(spec({**MAIN, "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}}),
                     "spec.containers.0.securityContext",
                     {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}},
                     id="container security"),
        pytest.param(spec(automountServiceAccountToken=True), "spec.automountServiceAccountToken", True, id="a token"),
        pytest.param(spec(enableServiceLinks=True), "spec.enableServiceLinks", True, id="service links"),
        pytest.param(spec(serviceAccountName="x"), "spec.serviceAccountName", "x", id="account"),
        pytest.param(spec(nodeSelector={"a": "b"}), "spec.nodeSelector", {"a": "b"}, id="placement"),
        pytest.param(spec({**MAIN, "resources": {"limits": {"cpu": 1}}}), "spec.containers.0.resources",
                     {"limits": {"cpu": 1}}, id="resources"),
        pytest.param({**spec(), "metadata": {"labels": {"team": "air"}}}, "metadata.labels.team", "air", id="label"),
        pytest.param({**spec(), "metadata": {"annotations": {"a": "b"}}}, "metadata.annotations.a", "b",
                     id="annotation"),
    ],
)  # fmt: skip
def test_the_template_has_the_last_word(template: Tree, path: str, value: object) -> None:
    """Whether the namespace allows it is for the API server to say."""
    found: Any = pod(template)
    for name in path.split("."):
        found = found[int(name)] if isinstance(found, list) else found[name]
    assert found == value


@pytest.mark.parametrize(
    ("template", "path", "value"),
    [
        pytest.param(spec(restartPolicy="Always"), "spec.restartPolicy", "Never", id="no restart"),
        pytest.param(spec(activeDeadlineSeconds=5), "spec.activeDeadlineSeconds", 900, id="timeoutSeconds"),
        pytest.param({**spec(), "kind": "Job", "apiVersion": "batch/v1"}, "kind", "Pod", id="kind"),
        pytest.param({**spec(), "metadata": {"name": "x"}}, "metadata.name", f"flights-join-{TOKEN.hex}", id="name"),
        pytest.param({**spec(), "metadata": {"namespace": "kube-system"}}, "metadata.namespace", "air", id="namespace"),
        pytest.param({**spec(), "metadata": {"labels": {"headrace.dev/task": "x"}}},
                     "metadata.labels.headrace.dev/task", str(TASK), id="label of the task"),
        pytest.param({**spec(), "metadata": {"annotations": {ANNOTATION_CONTAINER: "x"}}},
                     f"metadata.annotations.{ANNOTATION_CONTAINER}", "main", id="annotation of the container"),
    ],
)  # fmt: skip
def test_what_the_operator_relies_on_is_its_own(template: Tree, path: str, value: object) -> None:
    found: Any = pod(template)
    for name in re.split(r"\.(?!dev/)", path):
        found = found[name]
    assert found == value


def test_without_a_word_from_the_template_no_token_and_no_service_is_in_the_pod() -> None:
    made = pod()["spec"]
    assert (made["automountServiceAccountToken"], made["enableServiceLinks"]) == (False, False)
    assert "serviceAccountName" not in made
    assert [v["name"] for v in made["volumes"]] == ["headrace-task"]


def test_the_pod_belongs_to_its_dag_and_nothing_holds_it() -> None:
    template = {**spec(), "metadata": {"ownerReferences": [{"uid": "x"}], "finalizers": ["x"], "generateName": "x"}}
    metadata = pod(template)["metadata"]
    assert metadata.pop("ownerReferences") == [
        {"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "name": "flights", "uid": "uid-of-flights",
         "controller": True}
    ]  # fmt: skip
    assert set(metadata) == {"name", "namespace", "labels", "annotations"}


def test_labels_are_an_allow_list() -> None:
    assert pod()["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "headrace",
        "headrace.dev/dag": "flights",
        "headrace.dev/job": "join",
        "headrace.dev/task": str(TASK),
        "headrace.dev/attempt": "2",
    }


def test_the_task_is_in_a_file_and_in_the_environment() -> None:
    made = pod()
    (volume,) = made["spec"]["volumes"]
    (mount,) = made["spec"]["containers"][0]["volumeMounts"]
    (item,) = volume["downwardAPI"]["items"]
    assert mount == {"name": volume["name"], "mountPath": "/var/run/headrace", "readOnly": True}
    assert environment(made)["HEADRACE_TASK_FILE"] == f"{mount['mountPath']}/{item['path']}"
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{ANNOTATION_TASK}']"
    given = payload(claimed()).text
    assert made["metadata"]["annotations"][ANNOTATION_TASK] == environment(made)["HEADRACE_TASK"] == given


@pytest.mark.parametrize(("beyond", "given"), [(0, True), (1, False)])
@pytest.mark.parametrize("letter", ["x", "ü"])
def test_the_environment_holds_the_task_up_to_64_kib(letter: str, beyond: int, given: bool) -> None:
    """In bytes; beyond that it is in the file alone."""
    bare = len(payload(claimed(config={"a": ""})).text.encode())
    count, rest = divmod(LIMIT + beyond - bare, len(letter.encode()))
    made = pod(config={"a": letter * count + "x" * rest})
    assert len(made["metadata"]["annotations"][ANNOTATION_TASK].encode()) == LIMIT + beyond
    assert ("HEADRACE_TASK" in environment(made)) is given
    assert "HEADRACE_TASK_FILE" in environment(made)


def expanded(value: str) -> str:
    """What the kubelet makes of a variable's value: `$$` is a dollar, `$(NAME)` a reference to another variable."""
    return re.sub(r"\$(\$|\((\w+)\))", lambda m: "$" if m[1] == "$" else f"<{m[2]}>", value)


@pytest.mark.parametrize("text", ["$(SECRET)", "$$(SECRET)", "$", "$$", "$$$(A)", "${A}", "a$b", "$HOME"])
def test_a_dollar_of_the_task_is_no_reference(text: str) -> None:
    task = claimed(config={"text": text})
    made = msgspec.to_builtins(render_pod(task, URL))
    assert expanded(environment(made)["HEADRACE_TASK"]) == payload(task).text
    assert made["metadata"]["annotations"][ANNOTATION_TASK] == payload(task).text


def test_the_first_container_is_the_task_when_none_is_called_main() -> None:
    made = pod(spec({"name": "load", "image": "i"}, {"name": "side", "image": "j"}), container="load")
    assert made["metadata"]["annotations"][ANNOTATION_CONTAINER] == "load"
    load, side = made["spec"]["containers"]
    assert "HEADRACE_TASK_FILE" in environment(made, "load")
    assert load["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert set(side) == {"name", "image", "securityContext"}


def test_mounts_and_variables_of_the_template_stay() -> None:
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "x", "mountPath": "/var/run/headrace"}]
    template = spec({**MAIN, "env": [{"name": "A", "value": "$(B)"}], "volumeMounts": mounts},
                    volumes=[{"name": "data", "emptyDir": {}}])  # fmt: skip
    made = pod(template)
    assert [(m["name"], m["mountPath"]) for m in made["spec"]["containers"][0]["volumeMounts"]] == [
        ("data", "/data"), ("headrace-task", "/var/run/headrace"),
    ]  # fmt: skip
    assert [v["name"] for v in made["spec"]["volumes"]] == ["data", "headrace-task"]
    assert environment(made)["A"] == "$(B)"


def test_rendering_is_pure() -> None:
    """The same row gives the same pod, and the row's template is not touched."""
    task = claimed(spec({**MAIN, "env": [{"name": "A", "value": "1"}]}))
    kept = copy.deepcopy(task)
    assert render_pod(task, URL) == render_pod(task, URL)
    assert task == kept


def test_a_report_goes_to_the_termination_message_wherever_that_is() -> None:
    assert environment(pod())["HEADRACE_REPORT_FILE"] == "/dev/termination-log"
    moved = environment(pod(spec({**MAIN, "terminationMessagePath": "/tmp/said"})))
    assert (moved["HEADRACE_REPORT_FILE"], moved["HEADRACE_REPORT_LIMIT"]) == ("/tmp/said", "4096")
    assert not {"HEADRACE_URL", "HEADRACE_TOKEN_FILE"} & moved.keys()
    assert ANNOTATION_SPEAKS not in pod()["metadata"]["annotations"]


def token_of(made: Any) -> Tree:
    """The token that a pod has beside its task."""
    (volume,) = made["spec"]["volumes"]
    own, token = volume["projected"]["sources"]
    assert own["downwardAPI"]["items"][0]["path"] == "task.json"
    assert made["metadata"]["annotations"][ANNOTATION_SPEAKS] == "true"
    assert (environment(made)["HEADRACE_URL"], environment(made)["HEADRACE_TOKEN_FILE"]) == (
        URL, f"/var/run/headrace/{token['serviceAccountToken']['path']}",
    )  # fmt: skip
    found: Tree = token["serviceAccountToken"]
    return found


def test_a_pod_that_reports_to_the_gateway_has_a_token_for_that_alone() -> None:
    task = claimed()
    made = msgspec.to_builtins(render_pod(claimed(pod={**task.pod, "report": "gateway"}), URL))
    assert token_of(made) == {"audience": "headrace.dev/worker", "expirationSeconds": 600, "path": "token"}
    assert made["spec"]["automountServiceAccountToken"] is False
    assert not {"HEADRACE_REPORT_FILE", "HEADRACE_REPORT_LIMIT"} & environment(made).keys()


def many(count: int, location: str) -> Tree:
    """Inputs of a task."""
    partitions = [{"key": f"k{number}", "location": location} for number in range(count)]
    return {"days": {"dataset": "d", "version": "5f", "partitions": partitions}}


def test_a_pod_whose_inputs_are_at_the_gateway_has_a_token_whatever_it_reports_to() -> None:
    made = pod(inputs=many(1001, "f:/"))
    assert token_of(made)["audience"] == "headrace.dev/worker"
    assert environment(made)["HEADRACE_REPORT_FILE"] == "/dev/termination-log"


@pytest.mark.parametrize("own", [0, 100_000, 200_000])
@pytest.mark.parametrize("location", ["file:///" + "x" * 900, "ü" * 450])
def test_annotations_are_never_more_than_the_api_server_takes(own: int, location: str) -> None:
    """However long locations are, and whatever the template has of its own: a pod that cannot be made runs nothing."""
    template = {**spec(MAIN), "metadata": {"annotations": {"note": "y" * own}}}
    made = pod(template, inputs=many(1000, location), config={"text": "z" * 40_000})
    size = sum(len(f"{name}{text}".encode()) for name, text in made["metadata"]["annotations"].items())
    assert size <= 256 * 1024
    assert made["metadata"]["annotations"]["note"] == "y" * own
    token_of(made)
