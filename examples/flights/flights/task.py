"""What a step is told and what it answers: the only part that knows Headrace.

The task is one JSON document, in the file that HEADRACE_TASK_FILE names or in HEADRACE_TASK itself. The
answer is the exit code, files below the output locations and a report: in the file HEADRACE_REPORT_FILE, which
is short, or told by the program headrace-report to Headrace's gateway, where the job says `report: gateway`.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DATA_FILE = "data.parquet"


class TaskError(Exception):
    """The task cannot succeed as it was given; the message says why and is shown on the task."""


@dataclass(frozen=True)
class Task:
    """The document of one attempt: the keys to make, where its inputs are, where its outputs go."""

    document: dict[str, Any]

    @property
    def keys(self) -> list[str]:
        """The partition keys of this task."""
        return list(self.document["partitions"])

    @property
    def config(self) -> dict[str, Any]:
        """The job's `config`, as in the DAG."""
        return dict(self.document.get("config") or {})

    def input(self, name: str, key: str) -> Path:
        """The Parquet file of one partition of the input called `name`."""
        try:
            partitions = self.document["inputs"][name]["partitions"]
        except KeyError:
            raise TaskError(f"the task has no input {name!r}; declare it under the job's inputs") from None
        for partition in partitions:
            if partition["key"] == key and partition["location"]:
                return local_path(partition["location"]) / DATA_FILE
        raise TaskError(f"input {name!r} has no data for partition {key!r}")

    def output(self, index: int, key: str) -> Path:
        """The directory of this attempt for one partition of an output. It need not exist yet."""
        for output in self.document["outputs"]:
            if output["index"] != index:
                continue
            for partition in output["partitions"]:
                if partition["key"] == key:
                    return local_path(partition["location"])
        raise TaskError(f"the task has no output {index} for partition {key!r}; see the job's `outputs`")


def read_task() -> Task:
    """Find the task document. Raises TaskError outside a task pod."""
    if path := os.environ.get("HEADRACE_TASK_FILE"):
        return Task(json.loads(Path(path).read_text()))
    if text := os.environ.get("HEADRACE_TASK"):
        return Task(json.loads(text))
    raise TaskError("neither HEADRACE_TASK_FILE nor HEADRACE_TASK is set: this command runs in a task's pod")


def local_path(location: str) -> Path:
    """The path that a `file://` URI names. Other schemes are not for this example."""
    parts = urlsplit(location)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise TaskError(f"cannot use {location!r}: this example reads and writes file:///… locations only")
    return Path(unquote(parts.path))


def report(partitions: list[dict[str, Any]]) -> None:
    """Tell Headrace what was written: rows and bytes, columns, and what these are made from.

    In a pod of its own the file is the termination message; where there is neither file nor gateway, nobody asks.
    """
    told = {
        "partitions": [{name: line[name] for name in ("key", "rows", "bytes", "output")} for line in partitions],
        "cursor": [{**line["cursor"], "output": line["output"]} for line in partitions if "cursor" in line],
        "columns": [
            {"name": name, "type": kind, "output": line["output"]}
            for line in partitions
            for name, kind in line.get("columns", {}).items()
        ],
        "lineage": [
            {"output": line["output"], "column": column, "from": [{"input": i, "column": c} for i, c in sources]}
            for line in partitions
            for column, sources in line.get("lineage", {}).items()
        ],
    }
    text = json.dumps({name: listed for name, listed in told.items() if listed}, separators=(",", ":"))
    if path := os.environ.get("HEADRACE_REPORT_FILE"):
        Path(path).write_text(text)
    elif "HEADRACE_URL" in os.environ:
        subprocess.run(["headrace-report"], input=text, text=True, check=True)
