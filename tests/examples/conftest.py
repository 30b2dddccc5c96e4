"""Runs the example's steps from the checkout, as its image would: by a task document and nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
sys.path.insert(0, str(EXAMPLE))  # for those that call the steps without a process of their own

INPUTS = {"clean": ("month",), "weather": ("month",), "join": ("clean", "weather"), "rank": ("join",)}
OUTPUTS = {"rank": 2}


@dataclass
class Pipeline:
    """The pipeline on a directory in place of the volume: what the operator does, without it."""

    volume: Path
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)

    def location(self, job: str, index: int, key: str) -> Path:
        attempt = self.attempts.get((job, key), 1)
        return self.volume / f"flights.{job}.{index}" / key / f"attempt-{attempt}"

    def task(self, job: str, key: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        def partitions(of: str, index: int) -> list[dict[str, Any]]:
            location = None if of == "month" else self.location(of, index, key).as_uri()
            return [{"key": key, "location": location}]

        return {
            "id": "00000000-0000-0000-0000-000000000001",
            "attempt": self.attempts.get((job, key), 1),
            "org": "air",
            "dag": "flights",
            "job": job,
            "operator": "container",
            "partitions": [key],
            "inputs": {
                name: {"dataset": f"flights.{name}.0", "version": "v", "partitions": partitions(name, 0)}
                for name in INPUTS[job]
            },
            "outputs": [
                {
                    "index": index,
                    "dataset": f"flights.{job}.{index}",
                    "version": "v",
                    "partitions": partitions(job, index),
                }
                for index in range(OUTPUTS.get(job, 1))
            ],
            "config": config or {},
            "params": {},
        }

    def run(self, job: str, key: str, config: dict[str, Any] | None = None, inline: bool = False) -> "Outcome":
        """Run one step in a process of its own."""
        log = self.volume / "termination-log"
        log.write_text("")
        document = json.dumps(self.task(job, key, config))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(EXAMPLE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HEADRACE_REPORT_FILE": str(log),
        }
        if inline:
            environment["HEADRACE_TASK"] = document
        else:
            path = self.volume / "task.json"
            path.write_text(document)
            environment["HEADRACE_TASK_FILE"] = str(path)
        return flights([job], environment, log)


@dataclass(frozen=True)
class Outcome:
    """How a step ended: exit code, both streams, and the report of the termination message, of which `report` has the
    partitions."""

    code: int
    stdout: str
    stderr: str
    said: dict[str, Any]

    @property
    def report(self) -> list[dict[str, Any]]:
        return list(self.said.get("partitions", ()))


def flights(arguments: list[str], environment: dict[str, str], log: Path, stdin: str = "") -> Outcome:
    """The command `flights`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flights", *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    message = log.read_text()
    return Outcome(done.returncode, done.stdout, done.stderr, json.loads(message) if message else {})


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)
