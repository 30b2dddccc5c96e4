"""What a step is told and what it answers: the only part that knows Headrace.

The task is one JSON document, in the file that HEADRACE_TASK_FILE names or in HEADRACE_TASK itself. The
answer is the exit code, files below the output locations and a short report in the file HEADRACE_REPORT_FILE.
"""

import json
import os
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
    """Tell the operator the rows and bytes of what was written.

    In a pod of its own the file is the termination message; where there is none, nobody asks for it. A line may have a
    `cursor`: how far its output goes.
    """
    cursors = [{**line["cursor"], "output": line["output"]} for line in partitions if "cursor" in line]
    told = {"partitions": [{k: v for k, v in line.items() if k != "cursor"} for line in partitions]}
    if path := os.environ.get("HEADRACE_REPORT_FILE"):
        Path(path).write_text(json.dumps(told | ({"cursor": cursors} if cursors else {}), separators=(",", ":")))
