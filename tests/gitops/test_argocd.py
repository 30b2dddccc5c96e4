"""What Argo CD shows of recorded objects of every state, and what its actions ask of the operator."""

from __future__ import annotations

import pytest
import yaml
from lupa.lua51 import LuaError

from headrace.api.names import COMMAND_ANNOTATIONS, COMMANDS
from headrace.api.runs import read_cancel, read_run
from headrace.run.commands import not_understood
from tests.gitops import argo, recorded
from tests.gitops.states import HASH, NEW, states
from tests.kstatus import kstatus

OBJECTS = recorded.read()
HEALTH = (argo.ARGOCD / "health.lua").read_text()
DISCOVERY = (argo.ARGOCD / "discovery.lua").read_text()
ACTIONS = {path.stem: path.read_text() for path in (argo.ARGOCD / "actions").glob("*.lua")}


def test_the_records_are_what_the_operator_tells() -> None:
    found = {path.name: path.read_text() for path in recorded.OBJECTS.glob("*.yaml")}
    assert found == recorded.written(), "write them anew: PYTHONPATH=operator:. python -m tests.gitops.recorded"


AGREES = {"InProgress": {"Progressing"}, "Failed": {"Degraded"}, "Current": {"Healthy", "Degraded", "Suspended"}}


@pytest.mark.parametrize("name", OBJECTS)
def test_health(name: str) -> None:
    """As kstatus has it; of what is Current also what waits for a person, and whose data are in trouble."""
    obj = OBJECTS[name]
    told = argo.run(HEALTH, obj)
    assert told["status"] == states()[name].argo
    assert told["status"] in AGREES[kstatus(obj)]
    assert set(told) == {"status", "message"}
    idle = {"dag-idle", "job-idle", "job-running", "dataset-fresh", "dataset-without-freshness"}
    assert bool(told["message"]) == (name not in idle)


def test_every_state_of_argo_cd_is_there_for_each_kind_that_has_it() -> None:
    seen = {(OBJECTS[name]["kind"], state.argo) for name, state in states().items()}
    everywhere = {(kind, argo) for kind in ("DAG", "Job", "Dataset") for argo in ("Healthy", "Progressing", "Degraded")}
    assert seen == everywhere | {("DAG", "Suspended"), ("Job", "Suspended")}


def test_an_object_without_a_status_is_progressing() -> None:
    """A client may see one before its defaults."""
    assert argo.run(HEALTH, {"metadata": {"generation": 1}, "spec": {}})["status"] == "Progressing"


def enabled(name: str) -> set[str]:
    """The actions that Argo CD offers for an object."""
    return {action for action, told in argo.run(DISCOVERY, OBJECTS[name]).items() if not told["disabled"]}


ALWAYS = {"run", "pin", "suspend"}


@pytest.mark.parametrize(("name", "offered"), [
    ("dag-new", {"suspend"}),
    ("dag-never-good", {"suspend"}),
    ("dag-idle", ALWAYS),
    ("dag-working", ALWAYS | {"cancel"}),
    ("dag-tasks-failed", ALWAYS | {"cancel", "retry"}),
    ("dag-rollout-failed", ALWAYS | {"retry"}),
    ("dag-rebuilding", ALWAYS | {"cancel", "cancel-rollout"}),
    ("dag-waits-to-build", ALWAYS | {"cancel", "cancel-rollout", "approve"}),
    ("dag-waits-to-serve", ALWAYS | {"cancel", "cancel-rollout", "approve"}),
    ("dag-pinned", {"run", "suspend", "unpin"}),
    ("dag-suspended", {"run", "pin", "resume", "cancel"}),
])  # fmt: skip
def test_what_is_offered(name: str, offered: set[str]) -> None:
    assert enabled(name) == offered


def test_each_action_that_is_offered_is_defined() -> None:
    assert set(argo.run(DISCOVERY, OBJECTS["dag-idle"])) == set(ACTIONS)


@pytest.mark.parametrize(("action", "name", "command", "argument"), [
    ("approve", "dag-waits-to-build", "approve", NEW),
    ("retry", "dag-tasks-failed", "retry", ""),
    ("cancel-rollout", "dag-rebuilding", "cancel", "--rollout"),
    ("cancel", "dag-working", "cancel", "--all"),
    ("run", "dag-idle", "run", "month"),
    ("pin", "dag-rebuilding", "pin", HASH),
    ("unpin", "dag-pinned", "unpin", ""),
])  # fmt: skip
def test_an_action_asks_by_the_annotation_and_changes_nothing_else(
    action: str, name: str, command: str, argument: str
) -> None:
    made = argo.run(ACTIONS[action], OBJECTS[name])
    annotations = made["metadata"].pop("annotations")
    request, _, given = annotations.pop(COMMAND_ANNOTATIONS[command]).partition(" ")
    assert (request, given, annotations) == (f"argocd-{argo.NOW}", argument, {})
    assert made == argo.run("return obj", OBJECTS[name])
    if command == "cancel":
        assert read_cancel(given).rollout or read_cancel(given).everything
    if command == "run":
        assert read_run(given)[0] == "month"


def test_annotations_that_are_there_stay() -> None:
    obj = {**OBJECTS["dag-tasks-failed"]}
    obj["metadata"] = {**obj["metadata"], "annotations": {"a": "b", "headrace.dev/retry": "1"}}
    annotations = argo.run(ACTIONS["retry"], obj)["metadata"]["annotations"]
    assert annotations == {"a": "b", "headrace.dev/retry": f"argocd-{argo.NOW}"}
    assert not_understood({name: text for name, text in annotations.items() if name != "a"}) == []


def test_the_parameters_of_run_and_pin_win() -> None:
    made = argo.run(ACTIONS["run"], OBJECTS["dag-idle"], {"job": "clean"})
    assert made["metadata"]["annotations"]["headrace.dev/run"].endswith(" clean")
    made = argo.run(ACTIONS["pin"], OBJECTS["dag-idle"], {"yamlHash": NEW})
    assert made["metadata"]["annotations"]["headrace.dev/pin"].endswith(f" {NEW}")
    offered = argo.run(DISCOVERY, OBJECTS["dag-idle"])
    assert offered["run"]["params"] == [{"name": "job", "default": "month"}]
    assert offered["pin"]["params"] == [{"name": "yamlHash", "default": HASH}]


def test_a_run_of_which_source_is_asked() -> None:
    obj = {**OBJECTS["dag-idle"], "spec": {"jobs": [{"name": name, "source": {"kind": "manual"}} for name in "ab"]}}
    with pytest.raises(LuaError, match="several sources"):
        argo.run(ACTIONS["run"], obj)
    with pytest.raises(LuaError, match="no inline source"):
        argo.run(ACTIONS["run"], {**obj, "spec": {"jobRefs": ["a"]}})


def test_suspend_and_resume_are_of_the_spec() -> None:
    suspended = argo.run(ACTIONS["suspend"], OBJECTS["dag-idle"])
    assert suspended["spec"]["suspend"] is True
    assert argo.run(ACTIONS["resume"], suspended)["spec"]["suspend"] is False


def test_every_command_is_an_action() -> None:
    assert {"cancel", *COMMANDS} <= set(ACTIONS)


def test_the_lua_has_no_more_than_argo_cd_gives() -> None:
    for gone in ("string", "math", "io", "os", "python", "debug"):
        assert argo.run(f"return {gone}", {}) is None
    with pytest.raises(LuaError):
        argo.run("return ('x'):upper()", {})
    with pytest.raises(LuaError):
        argo.run("return require('io')", {})


def test_the_config_map_has_these_files() -> None:
    data = yaml.safe_load((argo.ARGOCD / "argocd-cm.yaml").read_text())["data"]
    for kind in ("DAG", "Job", "Dataset"):
        assert data[f"resource.customizations.health.headrace.dev_{kind}"] == HEALTH
    actions = yaml.safe_load(data["resource.customizations.actions.headrace.dev_DAG"])
    assert actions["discovery.lua"] == DISCOVERY
    assert {one["name"]: one["action.lua"] for one in actions["definitions"]} == ACTIONS
    assert len(data) == 4
