"""The pages that tell people what to type: every box of them is run, as it stands.

`pages/` has, for some, a script that makes what the page takes to be there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import console, deployment
from tests.cluster.guided import ALONE, DOCS, FIRST, OTHERS, ROOT, follow
from tests.cluster.kube import forwarded, kubectl

PREPARED = Path(__file__).parent / "pages"
HERE = {
    "HEADRACE_CLUSTER": os.environ.get("HEADRACE_CLUSTER", ""),
    "PATH": f"{ROOT / 'harness'}:{os.environ['PATH']}",
    "PAGES": str(PREPARED),
    "PYTHON": sys.executable,
    "OPERATOR": str(ROOT / "operator"),
}


def before(page: str) -> str:
    """The script that makes what a page takes to be there."""
    own = PREPARED / f"{page}.sh"
    return (PREPARED / "common.sh").read_text() + (own.read_text() if own.exists() else "")


@pytest.fixture(scope="module")
def demo() -> None:
    """The demo's pipeline, which pages speak of."""
    console.run([str(ROOT / "harness" / "demo"), "--name", HERE["HEADRACE_CLUSTER"]], timeout=900)


@pytest.fixture(scope="module")
def url(demo: None) -> Iterator[str]:
    """The gateway's address."""
    with forwarded() as found:
        yield found


def test_a_new_user_follows_the_guide_and_finds_what_is_wrong(tmp_path: Path) -> None:
    """The second page goes by the demo's pipeline, which the guide begins with."""
    kubectl("delete", "namespace", "shop", "--ignore-not-found")  # of a run before
    for page in FIRST:
        (tmp_path / page).mkdir()
        try:
            follow(DOCS / f"{page}.md", tmp_path / page, HERE)
        finally:
            kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("page", OTHERS)
def test_the_boxes_of_a_page_do_what_it_says(page: str, url: str, tmp_path: Path) -> None:
    follow(DOCS / f"{page}.md", tmp_path, {**HERE, "HEADRACE_URL": url}, before=before(page))


@pytest.mark.alone
@pytest.mark.parametrize("page", ALONE)
def test_an_admin_does_what_a_page_says(page: str, tmp_path: Path) -> None:
    try:
        follow(DOCS / f"{page}.md", tmp_path, HERE, before=before(page))
    finally:
        if page == "install":  # it ends with the uninstallation
            deployment.install(dict(os.environ))
