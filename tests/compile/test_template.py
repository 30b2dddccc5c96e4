"""Pod templates: the strategic merge, the container that is the task, and the job's own fields on top."""

from __future__ import annotations

import copy

import pytest

from headrace.compile.template import conflicts, container, merge, task_container
from tests.compile.documents import Spec, compiled, step


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}, id="fields"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}, id="maps within"),
        pytest.param({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}}, {"b": {"d": 2}}, id="null takes"),
        pytest.param({}, {"a": None, "b": {"c": None}}, {"b": {}}, id="null of nothing"),
        pytest.param({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}, id="a map for a scalar"),
        pytest.param({"a": {"b": 2}}, {"a": 1}, {"a": 1}, id="a scalar for a map"),
        pytest.param({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}, id="plain lists replace"),
        pytest.param({"tolerations": [{"key": "a"}]}, {"tolerations": []}, {"tolerations": []}, id="other lists too"),
        pytest.param(
            {"containers": [{"name": "a", "x": 1}, {"name": "b"}]},
            {"containers": [{"name": "c"}, {"name": "a", "y": 2}]},
            {"containers": [{"name": "a", "x": 1, "y": 2}, {"name": "b"}, {"name": "c"}]},
            id="containers by name, in the order of the base",
        ),
        pytest.param({"containers": [{"name": "a", "x": 1}]}, {"containers": [{"name": "a", "x": None}]},
                     {"containers": [{"name": "a"}]}, id="null within a container"),
        pytest.param({"containers": [{"name": "a"}]}, {"containers": []}, {"containers": [{"name": "a"}]},
                     id="an empty list adds nothing"),
        *(
            pytest.param({kind: [{key: 1, "x": 1}, {key: 2}]}, {kind: [{key: 3}, {key: 1, "x": 2}]},
                         {kind: [{key: 1, "x": 2}, {key: 2}, {key: 3}]}, id=kind)
            for kind, key in (("initContainers", "name"), ("volumes", "name"), ("env", "name"),
                              ("imagePullSecrets", "name"), ("volumeMounts", "mountPath"), ("ports", "containerPort"))
        ),
        pytest.param({"env": [{"value": "1"}, 5]}, {"env": [{"value": "2"}, {"name": None}, "x"]},
                     {"env": [{"value": "1"}, 5, {"value": "2"}, {"name": None}, "x"]}, id="items without a name stay"),
        pytest.param({"env": [{"name": {}}, {"name": ["a"]}]}, {"env": [{"name": {}}]},
                     {"env": [{"name": {}}, {"name": ["a"]}, {"name": {}}]}, id="names that are none"),
        pytest.param({"env": [{"name": "a"}]}, {"env": None}, {}, id="null removes a list"),
        pytest.param({"env": "x"}, {"env": [{"name": "a"}]}, {"env": [{"name": "a"}]}, id="a list for none"),
    ],
)  # fmt: skip
def test_merge(base: Spec, over: Spec, merged: Spec) -> None:
    """As Kubernetes' strategic merge patch of the same fields; neither side is changed by it."""
    kept = copy.deepcopy((base, over))
    assert merge(base, over) == merged
    assert (base, over) == kept


@pytest.mark.parametrize(
    ("names", "main"),
    [(["a", "main"], "main"), (["main", "a"], "main"), (["a", "b"], "a"), ([], "main"), ([None, "b"], "main")],
)
def test_the_task_is_main_or_the_first_container(names: list[str | None], main: str) -> None:
    assert task_container({"spec": {"containers": [{"name": name} for name in names]}}) == main


@pytest.mark.parametrize(
    "template", [{}, {"spec": None}, {"spec": {"containers": None}}, {"spec": {"containers": "x"}}]
)
def test_without_containers_the_task_is_main(template: Spec) -> None:
    assert task_container(template) == "main"
    assert container(template, "main") == {}


def pod_of(job: Spec, template: Spec | None = None) -> tuple[Spec, str]:
    """The compiled pod template of a job, and the name of its task's container."""
    source = {"name": "s", "source": {"kind": "manual"}}
    document = compiled({"jobs": [source, job], "defaults": {"template": template}}).document
    compiled_job = next(j for j in document.jobs if j.name == job["name"])
    assert compiled_job.pod is not None
    return compiled_job.pod, compiled_job.container


def variables(**values: str) -> list[Spec]:
    """The environment of a container."""
    return [{"name": name, "value": value} for name, value in values.items()]


SIDECAR: Spec = {"spec": {"containers": [{"name": "side", "image": "proxy"}]}}


def test_a_job_without_a_template_is_one_container_called_main() -> None:
    job = step("a", "s", command=["c"], args=["x"], env=variables(E="1"), resources={"limits": {"cpu": 1}})
    main = {
        "name": "main", "image": "i", "command": ["c"], "args": ["x"], "env": variables(E="1"),
        "resources": {"limits": {"cpu": 1}},
    }  # fmt: skip
    assert pod_of(job) == ({"spec": {"containers": [main]}}, "main")


def test_the_job_lies_on_its_template_and_that_on_the_default() -> None:
    default = {"containers": [{"name": "main", "image": "d", "env": variables(A="d", B="d", C="d")}], "priority": 1}
    own = {"containers": [{"name": "main", "image": "t", "env": variables(B="t", C="t")}], "priority": None}
    pod, main = pod_of(step("a", "s", template={"spec": own}, env=variables(C="j")), {"spec": default})
    merged = {"name": "main", "image": "i", "env": variables(A="d", B="t", C="j")}
    assert (pod, main) == ({"spec": {"containers": [merged]}}, "main")


def test_without_a_main_the_first_container_of_the_template_is_the_task() -> None:
    """So a template's sidecar alone would be the task: who adds one names `main`, too."""
    assert pod_of(step("a", "s"), SIDECAR) == ({"spec": {"containers": [{"name": "side", "image": "i"}]}}, "side")
    both = {"spec": {"containers": [{"name": "side", "image": "proxy"}, {"name": "main"}]}}
    pod, main = pod_of(step("a", "s"), both)
    assert (main, container(pod, "side")["image"], container(pod, "main")["image"]) == ("main", "proxy", "i")


@pytest.mark.parametrize(
    ("fields", "runtime", "operator"),
    [
        pytest.param({}, "dispatcher", "manual", id="nothing given: the operator runs it, whatever the default"),
        pytest.param({"image": "i"}, "pod", "container", id="image"),
        pytest.param({"command": ["x"]}, "pod", "container", id="command"),
        pytest.param({"args": []}, "pod", "container", id="args"),
        pytest.param({"template": {}}, "pod", "container", id="template"),
        pytest.param({"operator": "mine"}, "dispatcher", "mine", id="operator"),
    ],
)
def test_a_source_runs_in_the_operator_unless_it_says_how(fields: Spec, runtime: str, operator: str) -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "default"}]}}
    spec = {"jobs": [{"name": "a", "source": {"kind": "manual"}, **fields}], "defaults": {"template": template}}
    (job,) = compiled(spec).document.jobs
    assert (job.runtime, job.operator, job.pod is None) == (runtime, operator, runtime == "dispatcher")


MAIN: Spec = {"name": "main"}


@pytest.mark.parametrize(
    ("template", "place"),
    [
        pytest.param({"foo": "bar"}, "foo", id="no part of a template"),
        pytest.param({"metadata": {"name": "x"}}, "metadata.name", id="a name"),
        pytest.param({"metadata": {"finalizers": ["x.y/z"]}}, "metadata.finalizers", id="a finalizer"),
        pytest.param({"metadata": {"ownerReferences": []}}, "metadata.ownerReferences", id="an owner"),
        pytest.param({"metadata": {"labels": {"headrace.dev/task": "x"}}},
                     "metadata.labels[headrace.dev/task]", id="label"),
        pytest.param({"metadata": {"annotations": {"headrace.dev/task-container": "x"}}},
                     "metadata.annotations[headrace.dev/task-container]", id="annotation"),
        pytest.param({"spec": {"restartPolicy": "Always"}}, "spec.restartPolicy", id="restarts"),
        pytest.param({"spec": {"activeDeadlineSeconds": 1}}, "spec.activeDeadlineSeconds", id="a deadline"),
        pytest.param({"spec": {"volumes": [{"name": "headrace-task"}]}},
                     "spec.volumes[headrace-task]", id="the volume"),
        pytest.param({"spec": {"containers": [{**MAIN, "env": [{"name": "HEADRACE_TASK", "value": "x"}]}]}},
                     "spec.containers[main].env[HEADRACE_TASK]", id="the variable"),
        pytest.param({"spec": {"containers": [{**MAIN, "volumeMounts": [{"mountPath": "/var/run/headrace/"}]}]}},
                     "spec.containers[main].volumeMounts", id="the directory"),
    ],
)  # fmt: skip
def test_what_a_pod_would_not_have_is_refused_with_its_place(template: Spec, place: str) -> None:
    """Nothing that a template says is dropped or overwritten in silence."""
    assert [where for where, _ in conflicts(template, "main")] == [place]


@pytest.mark.parametrize(
    "template",
    [
        {},
        {"metadata": {"labels": {"team": "a"}, "annotations": {"example.org/x": "y"}}},
        {"spec": {"nodeSelector": {"a": "b"}, "volumes": [{"name": "data"}],
                  "containers": [MAIN, {"name": "side", "env": [{"name": "HEADRACE_X", "value": "its own"}]}]}},
    ],
)  # fmt: skip
def test_all_else_is_the_template_s(template: Spec) -> None:
    assert list(conflicts(template, "main")) == []


@pytest.mark.parametrize(
    ("fields", "report"),
    [
        pytest.param({}, None, id="by its termination message"),
        pytest.param({"report": "termination"}, None, id="so said"),
        pytest.param({"report": "gateway"}, "gateway", id="to the gateway"),
        pytest.param({"report": "gateway", "idleTimeout": "5m"}, None, id="of a worker, which reports there anyway"),
    ],
)
def test_how_a_job_reports_is_known_where_its_pods_are_made(fields: Spec, report: str | None) -> None:
    source = {"name": "s", "source": {"kind": "manual"}}
    made = compiled({"jobs": [source, {**step("work", "s"), **fields}]}).document_of("work").made_from()
    assert made is not None
    assert made.get("report") == report
