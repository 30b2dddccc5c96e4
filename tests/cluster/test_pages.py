"""The pages that tell people what to type: every box of them is run, as it stands."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cluster.guided import ROOT, follow
from tests.cluster.kube import kubectl


def test_a_new_user_follows_the_guide(tmp_path: Path) -> None:
    try:
        follow(ROOT / "docs" / "guide.md", tmp_path, {"HEADRACE_CLUSTER": os.environ["HEADRACE_CLUSTER"]})
    finally:
        kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")
