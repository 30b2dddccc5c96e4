"""Everything that must hold, in one run: form, types, layers, then tests, at last those on a cluster.

Called by the executable `harness/test`, inside the virtual environment. Tests run in several processes, but for those
that cannot bear others beside them. Tests that need no cluster are bound by the processors, those on one wait for the
most part: the former run with what the latter leave.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import deployment, places
from harness.console import HarnessError, elapsed, say
from harness.providers import choice

CLUSTER = "test"
WITHOUT_CLUSTER = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
"""Bound by the processors; each process has a Postgres of its own."""
SIDE_BY_SIDE = ("-n", "4", "--dist", "loadscope")
"""These wait more than they work."""
_NO_TESTS = 5
_NICE = 10
"""A tenth of a processor is left to them, whatever others do."""


class Phases:
    """Runs one phase after another, remembers how each ended and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._ended: list[tuple[str, float, bool]] = []

    def run(self, name: str, act: Callable[[], bool]) -> bool:
        """Run a phase; an error that a person can act on fails it, and the next ones go on."""
        say(f"== {name}")
        began = time.monotonic()
        try:
            well = act()
        except HarnessError as error:
            say(f"headrace: {error}")
            well = False
        self._ended.append((name, time.monotonic() - began, well))
        return well

    def command(
        self, name: str, *argv: str, env: Mapping[str, str] | None = None, fine: tuple[int, ...] = (0,)
    ) -> bool:
        """Run a command as a phase, with its output shown."""
        whole = {**os.environ, **(env or {})}
        run = lambda: subprocess.run(argv, check=False, cwd=places.ROOT, env=whole).returncode in fine  # noqa: E731
        return self.run(name, run)

    @contextmanager
    def beside(self, name: str, *argv: str, fine: tuple[int, ...] = (0,)) -> Iterator[None]:
        """Run a command, of low priority, while the block does; its output is shown when both are over."""
        say(f"== {name}: begun, beside what follows")
        began = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                ("nice", "-n", str(_NICE), *argv), cwd=places.ROOT, stdout=output, stderr=subprocess.STDOUT
            )
            ended: list[float] = []

            def wait() -> None:
                process.wait()
                ended.append(time.monotonic())

            watch = threading.Thread(target=wait)
            watch.start()
            try:
                yield
            except BaseException:
                process.terminate()
                raise
            finally:
                watch.join()
                output.seek(0)
                say(f"== {name}")
                say(output.read().decode(errors="replace").rstrip())
            self._ended.append((name, ended[0] - began, process.returncode in fine))

    @property
    def well(self) -> bool:
        """Whether no phase failed."""
        return all(well for _, _, well in self._ended)

    def summary(self) -> str:
        """One line for each phase."""
        width = max(len(name) for name, _, _ in self._ended)
        lines = [
            f"{name:{width}}  {elapsed(took):>7}  {'ok' if well else 'FAILED'}" for name, took, well in self._ended
        ]
        total = time.monotonic() - self._began
        return "\n".join([*lines, f"{'all':{width}}  {elapsed(total):>7}  {'ok' if self.well else 'FAILED'}"])


def main(argv: list[str]) -> int:
    """Run the checks; 0 when all is well."""
    parser = argparse.ArgumentParser(
        prog="harness/test", description="All checks and tests; other arguments go to pytest."
    )
    parser.add_argument("--fast", action="store_true", help="leave out what needs a cluster, and long tests")
    parser.add_argument("--keep", action="store_true", help="leave the cluster of the tests up")
    parser.add_argument("--name", default=CLUSTER, help="cluster to test on (default: %(default)s)")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: native")
    chosen, rest = parser.parse_known_args(argv)
    phases = Phases()
    _static(phases)
    pytest = (sys.executable, "-m", "pytest", "-q")
    kept = "not cluster and not long" if chosen.fast else "not cluster"
    phases.command("measured starts", *pytest, "-m", f"{kept} and alone", *rest, fine=(0, _NO_TESTS))
    apart = (*pytest, *WITHOUT_CLUSTER, "-m", f"{kept} and not alone", *rest)
    if chosen.fast:
        phases.command("tests without a cluster", *apart, fine=(0, _NO_TESTS))
    else:
        with phases.beside("tests without a cluster", *apart, fine=(0, _NO_TESTS)):
            _on_cluster(phases, chosen, pytest, rest)
    say("\n" + phases.summary())
    return 0 if phases.well else 1


def _static(phases: Phases) -> None:
    python, scripts = sys.executable, Path(sys.executable).parent
    phases.command("format", python, "-m", "ruff", "format", "--check", "--quiet", ".")
    phases.command("lint", python, "-m", "ruff", "check", "--quiet", ".")
    phases.command("types", python, "-m", "mypy", "-p", "headrace", "-p", "harness", "-p", "bench")
    phases.command(
        "layers", str(scripts / "lint-imports"), env={"PYTHONPATH": f"{places.ROOT / 'operator'}:{places.ROOT}"}
    )


def _on_cluster(phases: Phases, chosen: argparse.Namespace, pytest: Sequence[str], rest: Sequence[str]) -> None:
    was_there = choice.recorded(chosen.name) is not None
    provider = choice.get(chosen.name, chosen.provider)

    def bring_up() -> bool:
        provider.up()
        return True

    def prepare() -> bool:
        deployment.load_images(provider)
        deployment.install(deployment.environment(provider))
        return True

    def take_down() -> bool:
        provider.down(keep=False)
        return True

    try:
        # Without its cluster, a test could only repeat what the phase before it said.
        if phases.run("cluster", bring_up) and phases.run("operator", prepare):
            for name, which in {
                "tests on the cluster, side by side": (*SIDE_BY_SIDE, "-m", "cluster and not alone"),
                "tests on the cluster, alone": ("-m", "cluster and alone"),
            }.items():
                env = deployment.environment(provider)
                phases.command(name, *pytest, *which, *rest, env=env, fine=(0, _NO_TESTS))
    finally:
        if not chosen.keep and not was_there:
            phases.run("cluster down", take_down)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HarnessError as problem:
        sys.exit(f"headrace: {problem}")
