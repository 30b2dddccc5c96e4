"""Everything that must hold, in one run: form, types, layers, then tests, at last those on a cluster.

Called by the executable `harness/test`, inside the virtual environment. Tests on a cluster that cannot bear others on
it wait for the most part: all others run with what these leave of the processors, several at once, where they need a
cluster on one of their own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import deployment, flux, places
from harness.console import HarnessError, elapsed, say
from harness.providers import choice

CLUSTER = "test"
WITHOUT_CLUSTER = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
"""Bound by the processors; each process has a Postgres of its own."""
SIDE_BY_SIDE = ("-n", "4", "--dist", "loadscope")
"""These wait more than they work."""
_NO_TESTS = 5
_NICE = 10
"""A tenth of a processor is left to it, whatever others do."""
_BESIDE = "-2"
"""Ends the name of a second cluster."""


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
    def beside(self, name: str, *argv: str) -> Iterator[None]:
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
                process.send_signal(signal.SIGINT)  # it takes its cluster down
                raise
            finally:
                watch.join()
                output.seek(0)
                say(f"== {name}")
                say(output.read().decode(errors="replace").rstrip())
            self._ended.append((name, ended[0] - began, process.returncode == 0))

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
    parser.add_argument("--others", action="store_true", help="only what can bear others beside it")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: native")
    chosen, rest = parser.parse_known_args(argv)
    phases = Phases()
    pytest = (sys.executable, "-m", "pytest", "-q")
    if chosen.others:
        _others(phases, chosen, pytest, rest)
    else:
        _static(phases)
        kept = "not cluster and not long" if chosen.fast else "not cluster"
        phases.command("measured starts", *pytest, "-m", f"{kept} and alone", *rest, fine=(0, _NO_TESTS))
        if chosen.fast:
            _others(phases, chosen, pytest, rest)
        else:
            again = (sys.executable, "-m", "harness.checks", "--others", "--name", f"{chosen.name}{_BESIDE}")
            provider = ("--provider", chosen.provider) if chosen.provider else ()
            with phases.beside("what can bear others", *again, *provider, *rest):
                _on_cluster(phases, chosen, "tests on a cluster, alone", *pytest, "-m", "cluster and alone", *rest)
    say("\n" + phases.summary())
    return 0 if phases.well else 1


def _others(phases: Phases, chosen: argparse.Namespace, pytest: Sequence[str], rest: Sequence[str]) -> None:
    kept = "not cluster and not alone and not long" if chosen.fast else "not cluster and not alone"
    phases.command("tests without a cluster", *pytest, *WITHOUT_CLUSTER, "-m", kept, *rest, fine=(0, _NO_TESTS))
    if not chosen.fast:
        phases.run("Flux", lambda: bool(flux.ensure()))
        which = (*SIDE_BY_SIDE, "-m", "cluster and not alone")
        _on_cluster(phases, chosen, "tests on a cluster, side by side", *pytest, *which, *rest)


def _static(phases: Phases) -> None:
    python, scripts = sys.executable, Path(sys.executable).parent
    phases.command("format", python, "-m", "ruff", "format", "--check", "--quiet", ".")
    phases.command("lint", python, "-m", "ruff", "check", "--quiet", ".")
    phases.command("types", python, "-m", "mypy", "-p", "headrace", "-p", "harness", "-p", "bench")
    phases.command(
        "layers", str(scripts / "lint-imports"), env={"PYTHONPATH": f"{places.ROOT / 'operator'}:{places.ROOT}"}
    )


def _on_cluster(phases: Phases, chosen: argparse.Namespace, name: str, *argv: str) -> None:
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
            phases.command(name, *argv, env=deployment.environment(provider), fine=(0, _NO_TESTS))
    finally:
        if not chosen.keep and not was_there:
            phases.run("cluster down", take_down)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HarnessError as problem:
        sys.exit(f"headrace: {problem}")
