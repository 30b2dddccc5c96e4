"""Completion: what a shell and kubectl are told without a cluster, and the scripts (names: tests/cluster)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import ROOT, headrace

CONFIG = """
apiVersion: v1
kind: Config
current-context: mine
contexts: [{name: mine, context: {cluster: c, user: c}}, {name: other, context: {cluster: c, user: c}}]
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A kubeconfig that names no cluster: what is completed with it asks none."""
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return str(path)


def asked(config: str, *words: str) -> tuple[list[str], str]:
    """What kubectl is told: candidates without their descriptions, and the directive."""
    program = "import sys; from headrace.cli.completion import kubectl; sys.exit(kubectl())"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": config}
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True, env=env,
                          timeout=60)  # fmt: skip
    *found, directive = done.stdout.splitlines()
    assert done.stderr == ""
    return sorted(one.partition("\t")[0] for one in found), directive


@pytest.mark.parametrize(
    ("words", "found", "directive"),
    [
        (("sta",), ["status"], ":4"),
        (("status", "--context", ""), ["mine", "other"], ":4"),
        (("tasks", "flights", "--state", "c"), ["canceled", "completed"], ":4"),
        (("completion", ""), ["bash", "fish", "zsh"], ":4"),
        (("run", "flights/clean", "--fr"), ["--from"], ":4"),
        (("status", ""), [], ":4"),
    ],
)
def test_kubectl_is_told_words_and_names(config: str, words: tuple[str, ...], found: list[str], directive: str) -> None:
    assert asked(config, *words) == (found, directive)


def test_files_are_completed_and_a_cluster_that_is_away_gives_no_names(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").touch()
    assert asked("/absent", "plan", "-f", f"{tmp_path}/fl")[0] == [f"{tmp_path}/flights.yaml"]
    assert asked("/absent", "lint", f"{tmp_path}/fl")[0] == [f"{tmp_path}/flights.yaml"]
    assert asked("/absent", "status", "") == ([], ":4")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    done = headrace("completion", shell, KUBECONFIG="/absent")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(program in done.stdout for program in ("headrace", "kubectl-headrace"))
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_completes_with_the_script(config: str, tmp_path: Path) -> None:
    """The function that the script defines is called as bash calls it when somebody presses Tab."""
    program = tmp_path / "headrace"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom headrace.cli import main\nsys.exit(main())\n")
    program.chmod(0o700)
    lines = [
        'eval "$(headrace completion bash)"',
        "COMP_WORDS=(headrace stat); COMP_CWORD=1; COMP_LINE='headrace stat'; COMP_POINT=13; COMP_TYPE=9",
        "$(complete -p headrace | sed 's/.*-F \\([^ ]*\\).*/\\1/') headrace stat headrace",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": config,
           "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False, env=env)
    assert done.stdout.split() == ["status"], done.stderr
