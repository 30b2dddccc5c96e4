"""`headrace purge` on a real cluster: what a deployment leaves is shown, retired and forgotten, by whom RBAC lets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import Namespace, dag, kubectl, shell, sql, trigger
from tests.cluster.people import account, headrace, kubeconfig, token

PUBLISH = [{"name": "rows", "from": {"job": "work"}, "retention": {"versions": 1}}]


@pytest.fixture
def configs(ns: Namespace, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The kubeconfigs of an editor and of an owner of the namespace, who may forward ports to the gateway."""
    found = {}
    for name, role in (("editor", "edit"), ("owner", "admin")):
        user = account(ns, name, role)
        kubectl("create", "rolebinding", f"forward-{name}-{ns.name}", "-n", "headrace-system",
                "--role=headrace-port-forward", f"--user={user}")  # fmt: skip
        found[name] = str(kubeconfig(tmp_path / f"{name}.yaml", ns.name, {"token": token(ns, name)}))
    yield found
    for name in found:
        kubectl("delete", "rolebinding", f"forward-{name}-{ns.name}", "-n", "headrace-system")


def test_what_a_deployment_leaves_is_purged(ns: Namespace, configs: dict[str, str]) -> None:
    for script in ("true", "true; true"):
        ns.apply(dag("air", trigger("a"), shell("work", script, "key"), publish=PUBLISH))
        ns.wait("air", "Serving")
    of = "FROM orgs o WHERE o.id = t.org_id AND o.slug = %s RETURNING 1"
    sql(f"UPDATE rollouts t SET finished_at = t.finished_at - interval '2 days' {of}", ns.name)
    refused = headrace("purge", "air", KUBECONFIG=configs["editor"])
    assert (refused.returncode, "may not create dags/purge" in refused.stderr) == (1, True)
    shown = headrace("purge", "air", KUBECONFIG=configs["owner"])
    assert "1 generation of datasets to retire" in shown.stdout, shown.stderr
    done = headrace("purge", "air", "--confirm", "-o", "json", KUBECONFIG=configs["owner"])
    told = json.loads(done.stdout)
    assert [one["dataset"] for one in told["generations"]] == ["rows"]
    forgotten = headrace("purge", "air", "--forget", told["listed"], KUBECONFIG=configs["owner"])
    assert forgotten.stdout == "DAG air: 1 location forgotten\n", forgotten.stderr
