"""The library alone: a wheel of its own, with nothing in it but the standard library's needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel's files and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT / "worker", check=True, capture_output=True, timeout=120)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        assert {Path(name).parts[0] for name in packed.namelist()} == {"headrace", "headrace_worker-0.1.0.dist-info"}
        assert {Path(name).parts[1] for name in packed.namelist() if name.startswith("headrace/")} == {"worker"}
        packed.extractall(place / "site")
    return place / "site"


def python(site: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds the wheel's files and the standard library only."""
    argv = [sys.executable, "-S", "-c", program, *arguments]
    env = HERE | {"PYTHONPATH": str(site)}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=env, timeout=60)


def test_it_needs_the_standard_library_only(site: Path) -> None:
    program = (
        "import sys, headrace.worker, headrace.worker.command\n"
        "own = {m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'headrace', '__main__'}\n"
        "print(sorted(own))"
    )
    done = python(site, program)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_outside_of_a_pod_it_says_what_it_is_for(site: Path) -> None:
    done = python(site, "import headrace.worker as w\n@w.task\ndef f(t): ...\nw.run()")
    assert done.returncode == 1
    assert "HEADRACE_URL' is not set: a job with idleTimeout starts this in its pods" in done.stderr


def test_a_function_that_nobody_wrote_is_told_with_those_that_are_there(site: Path) -> None:
    program = (
        "import os, headrace.worker as w\n"
        "os.environ.update(HEADRACE_URL='http://x', HEADRACE_TOKEN_FILE='t', HEADRACE_OPERATOR='clean')\n"
        "@w.task\ndef f(t): ...\n@w.task('g')\ndef h(t): ...\nw.run()"
    )
    assert "no task function 'clean', which the job's operator names; there are: f, g" in python(site, program).stderr


def test_the_command_says_how_to_use_it(site: Path) -> None:
    done = python(site, "from headrace.worker.command import main; main()", "--help")
    assert (done.returncode, done.stderr) == (64, "usage: headrace-worker -- COMMAND [ARGUMENT ...]\n")
