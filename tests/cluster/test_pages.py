"""The pages that tell people what to type: every box of them is run, as it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.guided import ROOT, follow
from tests.cluster.kube import kubectl

DOCS = ROOT / "docs"
HERE = {"HEADRACE_CLUSTER": os.environ.get("HEADRACE_CLUSTER", ""), "PATH": f"{ROOT / 'harness'}:{os.environ['PATH']}"}


def test_a_new_user_follows_the_guide_and_finds_what_is_wrong(tmp_path: Path) -> None:
    """The second page goes by the demo's pipeline, which the guide begins with."""
    kubectl("delete", "namespace", "shop", "--ignore-not-found")  # of a run before
    for page in ("guide", "troubleshooting"):
        (tmp_path / page).mkdir()
        try:
            follow(DOCS / f"{page}.md", tmp_path / page, HERE)
        finally:
            kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")


@pytest.mark.alone
def test_an_admin_backs_up_and_restores(tmp_path: Path) -> None:
    follow(DOCS / "operations.md", tmp_path, HERE)
