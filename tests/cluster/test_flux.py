"""Flux's real kustomize-controller applies the examples, waits for them, sees what is wrong, goes back, and prunes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.places import ROOT
from tests.cluster.api import read
from tests.cluster.fluxed import Source, controller, outcome
from tests.cluster.kube import Namespace, Object, kubectl, until

FLUX = ROOT / "deploy" / "flux"
EXAMPLES = {
    f"examples/{name}/{path.name}": path.read_text()
    for name in ("flights", "weather")
    for path in (ROOT / "examples" / name).glob("*.yaml")
    if path.name in ("kustomization.yaml", "setup.yaml", f"{name}.yaml")
}
"""As the repository has them."""
SUSPENDED = [{"target": {"kind": "DAG"}, "patch": '[{"op": "add", "path": "/spec/suspend", "value": true}]'}]
"""Nothing is to run here: it is about what Flux does."""
OFF = '[{"op": "add", "path": "/metadata/labels/headrace.dev~1admission", "value": "off"}]'
UNCHECKED = [{"target": {"kind": "Namespace"}, "patch": OFF}]


def followed(name: str, namespace: str, patches: list[Any], health: str | None = None) -> Object:
    """The Kustomization of deploy/flux for an example, in a namespace of the test's own; `health`: by another file."""
    (made,) = (one for one in yaml.safe_load_all(kubectl("kustomize", str(FLUX))) if one["kind"] == "Kustomization")
    del made["metadata"]["namespace"]
    made["metadata"]["name"] = name
    if health:
        made["spec"] |= yaml.safe_load((FLUX / health).read_text())["spec"]
    made["spec"] |= {
        "sourceRef": {"kind": "ExternalArtifact", "name": "repo"}, "path": f"./examples/{name}",
        "targetNamespace": namespace, "patches": SUSPENDED + patches,
    }  # fmt: skip
    return made


def changed(name: str, old: str, new: str) -> dict[str, str]:
    """The repository with an edit of an example."""
    file = f"examples/{name}/{name}.yaml"
    assert old in EXAMPLES[file]
    return {**EXAMPLES, file: EXAMPLES[file].replace(old, new)}


def test_flux_follows_the_examples(ns: Namespace, tmp_path: Path) -> None:
    flights, weather = Namespace(f"{ns.name}-air"), Namespace(f"{ns.name}-wind")
    with controller(ns, tmp_path) as source:
        first = source.push(EXAMPLES)
        ns.apply(
            followed("flights", flights.name, []),
            followed("weather", weather.name, UNCHECKED, "serving.yaml"),
        )
        for name in ("flights", "weather"):
            assert outcome(ns, name, first)[:2] == ("True", "ReconciliationSucceeded")
        before = flights.wait("flights", "Ready")["status"]["version"]
        assert weather.wait("weather", "Ready")

        edited = source.push(changed("flights", "timeoutSeconds: 600 ", "timeoutSeconds: 601 "))
        assert outcome(ns, "flights", edited)[0] == "True"
        assert flights.wait("flights", "Serving")["status"]["version"] != before

        refused(ns, source, flights)
        seen_as_failed(ns, source, weather)

        again = source.push(EXAMPLES)
        for name in ("flights", "weather"):
            assert outcome(ns, name, again)[0] == "True"
        assert flights.wait("flights", "Serving")["status"]["version"]["id"] == before["id"]

        without = source.push({name: text.replace("- flights.yaml\n", "") for name, text in EXAMPLES.items()})
        assert outcome(ns, "flights", without)[0] == "True"
        until("the pipeline is pruned", lambda: not flights.get("dag", "flights") and not flights.items("hjob"))
        assert flights.get("pvc", "data"), "and nothing else"
    for one in (flights, weather):
        until("what Flux had made is gone", lambda one=one: not read(f"/api/v1/namespaces/{one.name}"), 60)  # type: ignore[misc]


def refused(ns: Namespace, source: Source, flights: Namespace) -> None:
    """Flux tries what it applies out first, and our webhook refuses it there: nothing of it is stored."""
    before = flights.get("dag", "flights")["metadata"]["generation"]
    broken = source.push(changed("flights", "from: {job: clean}", "from: {job: clean, output: 9}"))
    status, reason, message = outcome(ns, "flights", broken)
    assert (status, reason) == ("False", "ReconciliationFailed")
    assert "the job clean has outputs 0 to 0" in message
    assert flights.get("dag", "flights")["metadata"]["generation"] == before


def seen_as_failed(ns: Namespace, source: Source, weather: Namespace) -> None:
    """What is stored and cannot become a version is failed by its health, at once and not at the timeout."""
    broken = source.push(changed("weather", "- from: {job: tidy}", "- from: {job: tide}"))
    status, reason, message = outcome(ns, "weather", broken)
    assert (status, reason) == ("False", "HealthCheckFailed")
    assert f"DAG/{weather.name}/weather status: 'Failed'" in message
    assert weather.wait("weather", "Stalled")
