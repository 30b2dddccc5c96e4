"""SQLMesh's plan of a project of the same shape, from its package, beside ours in the same run.

SQLMesh is the nearest tool that plans by fingerprints: models of SQL, compared with snapshots that it keeps in a
database. It gets an environment of its own (`bench/sqlmesh.lock`), since its dependencies are not ours.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.shape import Shape, edited, layered, sql_models
from harness import environment
from harness.console import HarnessError, Progress, run

_HERE = Path(__file__).resolve().parent
_WITHIN = 900.0
_CONFIG = """\
gateways:
  local:
    connection: {{type: duckdb, database: {state}}}
model_defaults: {{dialect: duckdb, start: 2013-01-01}}
"""


class Told(msgspec.Struct, frozen=True):
    """What `sqlmesh_plan.py` prints: seconds by step, models touched, peak of memory."""

    load: float
    plan: float
    touched: int
    peak_kib: int


@dataclass(frozen=True)
class Planned:
    """One plan: what its process told, and the seconds that the whole process took."""

    told: Told
    whole: float


class Project:
    """A project on disk with its state, in a directory of its own."""

    def __init__(self, python: Path, home: Path) -> None:
        self._python, self._home = python, home
        self._models = home / "models"

    def write(self, shape: Shape) -> None:
        """Write the models that are not as they are to be: its cache knows files by their times."""
        self._models.mkdir(exist_ok=True)
        (self._home / "config.yaml").write_text(_CONFIG.format(state=self._home / "state.db"))
        for name, text in sql_models(shape).items():
            file = self._models / f"{name}.sql"
            if not file.exists() or file.read_text() != text:
                file.write_text(text)

    def forget(self) -> None:
        """Empty its cache of parsed models."""
        shutil.rmtree(self._home / ".cache", ignore_errors=True)

    def act(self, what: str) -> Planned:
        """`plan` or `apply`, in a process of its own."""
        argv = [str(self._python), str(_HERE / "sqlmesh_plan.py"), str(self._home), what]
        # It would send statistics of its use, and keeps their settings in the home directory.
        env = {"HOME": str(self._home), "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true"}
        began = time.perf_counter()
        done = run(argv, env=env, cwd=self._home, timeout=_WITHIN)
        return Planned(msgspec.json.decode(done.stdout, type=Told), time.perf_counter() - began)


def plans(jobs: int, rounds: int) -> dict[str, list[Planned]]:
    """Plans by what was changed: `new`, `unchanged`, `leaf`, `root`, against the state of an applied first plan.

    HarnessError where its package is not to be had.
    """
    python = environment.ensure(_HERE / "sqlmesh.lock")
    shape = layered(jobs)
    found: dict[str, list[Planned]] = {"new": [], "unchanged": [], "leaf": [], "root": []}
    with tempfile.TemporaryDirectory(prefix="headrace-sqlmesh-") as home:
        project = Project(python, Path(home))
        project.write(shape)
        with Progress(f"SQLMesh, {jobs:,} models", lambda: ", ".join(f"{k}: {len(v)}" for k, v in found.items())):
            for _ in range(rounds):
                project.forget()
                found["new"].append(project.act("plan"))
            project.act("apply")
            for _ in range(rounds):
                found["unchanged"].append(project.act("plan"))
            for change in ("leaf", "root"):
                for edits in range(1, rounds + 1):
                    project.write(edited(shape, leaf=change == "leaf", edits=edits))
                    found[change].append(project.act("plan"))
    wrong = {change: planned[0].told.touched for change, planned in found.items()}
    if (wrong["new"], wrong["unchanged"], wrong["leaf"]) != (jobs, 0, 1) or wrong["root"] < 2:
        raise HarnessError(f"SQLMesh planned something else than was changed: {wrong}")
    return found
