"""What an uninstallation leaves: nothing in the cluster, in the right order and in the wrong one; in Postgres the rows.

It is installed again after each, for the tests that follow.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness import deployment
from harness.places import ROOT
from tests.cluster.kube import Namespace, kubectl, sql, stop_operator, until
from tests.cluster.test_deletion import counts, pipeline, serve

pytestmark = pytest.mark.alone
INSTALL = ROOT / "deploy" / "install.yaml"
EVERY_KIND = (
    "crds,clusterroles,clusterrolebindings,namespaces,mutatingwebhookconfigurations,priorityclasses,"
    "validatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings"
)


def left() -> list[str]:
    """What is called like it in the whole cluster, and RoleBindings to its roles."""
    found = kubectl("get", EVERY_KIND, "-o", "name").split()
    bindings = json.loads(kubectl("get", "rolebindings", "-A", "-o", "json"))["items"]
    ours = [one["metadata"] for one in bindings if one["roleRef"]["name"].startswith("headrace-")]
    # `headrace:` begins what the harness's own node has.
    return [name for name in found if "headrace" in name.replace("headrace:", "")] + [
        f"{one['namespace']}/{one['name']}" for one in ours
    ]


def uninstall(*arguments: str) -> str:
    """Run deploy/uninstall."""
    command = [str(ROOT / "deploy" / "uninstall"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def installed_again() -> Iterator[None]:
    """After the block, also a failed one."""
    try:
        yield
    finally:
        deployment.install(dict(os.environ))


def test_nothing_is_left_and_what_said_delete_has_no_rows(ns: Namespace) -> None:
    serve(ns, pipeline("kept"), pipeline("dropped", "Delete"))
    org, before = ns.org(), counts(ns.org(), "kept")
    shown = uninstall()
    assert {
        f"dags.headrace.dev {ns.name} kept",
        f"dags.headrace.dev {ns.name} dropped",
        f"rolebinding {ns.name} headrace-tenant",
        "namespace/headrace-system",
        "crd dags.headrace.dev",
    } <= set(shown.splitlines())
    assert ns.get("dag", "kept"), "showing does nothing"
    with installed_again():
        uninstall("--yes")
        assert left() == []
        assert (counts(org, "kept"), counts(org, "dropped")) == (before, {})
    # The namespace is no tenant any more; what was made is there for whoever applies the same again.
    ns.kubectl("apply", "-k", str(ROOT / "deploy" / "tenant"))
    ns.apply(pipeline("kept"))
    ns.wait("kept", "UpToDate")
    assert counts(org, "kept") == before


def test_the_wrong_order_hangs_only_until_the_right_one_is_taken_or_an_operator_is_back(ns: Namespace) -> None:
    """Manifests and definitions go while no operator can clear a finalizer."""
    serve(ns, pipeline("kept"), pipeline("dropped", "Delete"))
    org = ns.org()
    with installed_again():
        stop_operator()
        kubectl("delete", "-f", str(INSTALL), "--wait=false")
        until("what said Retain is gone", lambda: not ns.get("dag", "kept"), 30)
        assert ns.get("dag", "dropped")["metadata"]["deletionTimestamp"]
        assert "customresourcedefinition.apiextensions.k8s.io/dags.headrace.dev" in left()
        uninstall("--yes")
        assert left() == []
        assert counts(org, "dropped"), "nobody was there to delete them"
        uninstall("--yes")
    assert sql("SELECT 1 FROM dags WHERE org_id = %s", org)
    # No RoleBinding is there any more.
    everywhere = str(ROOT / "deploy" / "overlays" / "cluster-wide" / "everywhere.yaml")
    kubectl("apply", "-f", everywhere)
    try:
        serve(ns, pipeline("made", "Delete"))
    finally:
        kubectl("delete", "-f", everywhere)
    with installed_again():
        stop_operator()
        kubectl("delete", "-k", str(ROOT / "crds"), "--wait=false")
        deployment.install(dict(os.environ))
        until("the operator that came back has deleted the rows", lambda: not counts(org, "made"))
        until("what hung is gone", lambda: not [name for name in left() if name.endswith("/dags.headrace.dev")])
