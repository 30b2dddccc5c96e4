"""The command line as a program: what it says to wrong usage, how fast it starts, what it imports."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.parser import parser

ROOT = Path(__file__).parents[2]
LIMIT = 0.5
"""Seconds that design section 8 gives to a start."""

CONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: c, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
"""


def headrace(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), **env}
    argv = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=whole, timeout=60)


def spent(argv: list[str], **env: str) -> float:
    """Seconds of processor time that a process takes, since a busy machine is not what is measured.

    On an idle one it is the time that passes: before the network there is nothing to wait for. With its modules
    compiled, as where it was installed.
    """
    whole = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), **env, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *argv], capture_output=True, check=False, env=whole, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts_fast(*arguments: str, **env: str) -> bool:
    """Whether the best of some starts takes less than the limit, or than twice its floor on a machine that is slow.

    The floor is measured in turn with it: an interpreter that imports the libraries and does nothing.
    """
    took, floors = [], []
    for _ in range(7):
        took.append(spent(["-m", "headrace", *arguments], **env))
        floors.append(spent(["-c", "import aiohttp, msgspec, yaml"], **env))
    return min(took) < max(LIMIT, 2 * min(floors))


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A kubeconfig whose server refuses connections at once."""
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.alone
def test_help_starts_fast() -> None:
    assert starts_fast("--help")


@pytest.mark.alone
@pytest.mark.parametrize("verb", [("plan", "-f", str(ROOT / "examples/flights/flights.yaml")), ("history", "x"),
                                  ("retry", "x"), ("status",), ("why", "x")])  # fmt: skip
def test_a_verb_starts_fast(config: str, verb: tuple[str, ...]) -> None:
    done = headrace(*verb, KUBECONFIG=config)
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: API server: ClientConnectorError")
    assert starts_fast(*verb, KUBECONFIG=config)


@pytest.mark.alone
def test_lint_looks_at_a_pipeline_as_fast() -> None:
    argv = ("lint", str(ROOT / "examples/flights/flights.yaml"))
    assert headrace(*argv).returncode == 0
    assert starts_fast(*argv)


def test_nothing_heavy_is_imported_for_people() -> None:
    heavy = "{'kopf', 'psycopg', 'kubernetes', 'jsonschema', 'pydantic'}"
    modules = ["plan", "history", "commands", "transfer", "adopt", "status", "why"]
    program = f"import sys\n{''.join(f'import headrace.cli.{m}' + chr(10) for m in modules)}"
    program += f"print({heavy} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("plan",), ("history", "x", "-o", "xml"), ("transfer", "x"),
                                       ("retry", "x/"), ("retry", "x/y/z"), ("approve", "x/y"),
                                       ("transfer", "x", "--to", "a/b"), ("tasks", "x", "--most", "0"),
                                       ("tasks", "x", "--most", "501"), ("run", "x/y", "-p", "a/b"),
                                       ("why", "x/y", "-p", "a/b"), ("history", "X"), ("logs", "x", "--tail", "-1"),
                                       ("status", "X"), ("status", "x/y/z"),
                                       ])  # fmt: skip
def test_wrong_usage_ends_with_64(arguments: tuple[str, ...]) -> None:
    done = headrace(*arguments)
    assert done.returncode == 64
    assert done.stderr.startswith("usage: headrace")


def test_a_missing_file_and_a_missing_kubeconfig_are_told_in_one_line() -> None:
    done = headrace("plan", "-f", "absent.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "headrace: absent.yaml: No such file or directory\n")
    done = headrace("history", "x", KUBECONFIG="/absent")
    assert done.returncode == 1
    assert done.stderr.startswith("headrace: no kubeconfig: /absent is not there")


@pytest.mark.parametrize(("url", "words"), [
    ("http://gateway.example", "would travel in clear"), ("gateway.example", "give it as https://"),
])  # fmt: skip
def test_a_token_is_not_sent_in_clear(config: str, url: str, words: str) -> None:
    done = headrace("history", "x", KUBECONFIG=config, HEADRACE_URL=url)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "namespace", "output"),
    [
        (("-n", "air", "tasks", "x"), "air", "text"),
        (("tasks", "x", "-n", "air"), "air", "text"),
        (("-n", "a", "-o", "json", "tasks", "-n", "b", "x"), "b", "json"),
        (("tasks", "x"), None, "text"),
    ],
)
def test_common_options_go_before_the_verb_or_after_it(
    arguments: tuple[str, ...], namespace: str | None, output: str
) -> None:
    chosen = parser("headrace").parse_args(arguments)
    assert (chosen.namespace, chosen.output, chosen.service_account) == (namespace, output, "headrace-cli")


@pytest.mark.parametrize("verb", [("run", "x/y"), ("approve", "x"), ("rollback", "x")])
def test_a_wait_has_a_short_option(verb: tuple[str, ...]) -> None:
    assert parser("headrace").parse_args((*verb, "-w")).wait
