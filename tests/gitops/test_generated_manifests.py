"""The files that are generated below deploy/ are what the rest of it makes."""

from __future__ import annotations

import pytest
import yaml

from harness import manifests
from harness.places import ROOT


def test_the_patch_of_argo_cd_is_current() -> None:
    directory = ROOT / "deploy" / "argocd"
    assert (directory / "argocd-cm.yaml").read_text() == manifests.argocd_patch(directory), "run harness/manifests"


@pytest.mark.cluster  # for its kubectl
def test_the_manifests_in_one_file_are_current() -> None:
    for file, text in manifests.generated().items():
        assert file.read_text() == text, f"{file.name} is old: run harness/manifests"


def test_both_ways_of_installing_differ_in_where_pods_may_be_made() -> None:
    tenant, everywhere = (
        {(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all((ROOT / "deploy" / name).read_text())}
        for name in ("install.yaml", "install-cluster-wide.yaml")
    )
    assert everywhere - tenant == {("ClusterRoleBinding", "headrace-tenant")}
    assert tenant <= everywhere
