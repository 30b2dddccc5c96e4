"""The task as its pod sees it: one JSON document, made from a claimed row. Pure; `run.render` puts it into the pod."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from headrace.state.attempts import MOST_EVENT_BYTES, RunningPod, TaskEvent
from headrace.state.queue import Started
from headrace.state.workers import Claimable


def payload(task: RunningPod) -> str:
    """The JSON text of a task (see docs/contract.md): ids, partitions, inputs and outputs with locations, config."""
    events = {"events": [_event(event) for event in task.events]} if task.told else {}
    return msgspec.json.encode(
        {
            "id": str(task.id),
            "attempt": task.attempt,
            "org": task.org,
            "dag": task.dag,
            "job": task.job,
            "operator": task.operator,
            "partitions": task.partitions,
            "inputs": {name: _input(given) for name, given in task.inputs.items()},
            "outputs": [_output(made) for made in task.outputs],
            "config": task.config,
            "params": task.params,
            **events,
        }
    ).decode()


class _Partition(Struct):
    key: str
    location: str | None


class _Input(Struct):
    dataset: str
    version: str
    partitions: list[_Partition]


class _Output(Struct):
    index: int
    dataset: str
    version: str
    partitions: list[_Partition]


_INPUTS: Final = msgspec.json.Decoder(dict[str, _Input])
_OUTPUTS: Final = msgspec.json.Decoder(list[_Output])


def worker_payload(job: Claimable, task: Started) -> bytes:
    """The same document of a task that a worker has just claimed."""
    return msgspec.json.encode(
        {
            "id": str(task.id),
            "attempt": task.attempt,
            "org": job.org,
            "dag": job.dag,
            "job": job.job,
            "operator": job.operator,
            "partitions": task.partitions,
            "inputs": _INPUTS.decode(task.inputs),
            "outputs": _OUTPUTS.decode(task.outputs),
            "config": msgspec.Raw(job.config.encode()),
            "params": task.params,
        }
    )


def beyond_bounds(task: RunningPod) -> str | None:
    """Why a task cannot be handed to its pod, in words; None if it can."""
    if task.event_bytes <= MOST_EVENT_BYTES:
        return None
    return (
        f"the events of its partition are {task.event_bytes} bytes, and a task is handed {MOST_EVENT_BYTES} at most:"
        " give source.partition a format of shorter periods, such as %Y-%m-%dT%H, or leave the source without an image,"
        " so that it only sets off the jobs that read it"
    )


def _event(event: TaskEvent) -> dict[str, object]:
    return {"id": event.id, "timestamp": event.timestamp, "body": msgspec.Raw(event.body.encode())}


def _input(given: dict[str, object]) -> dict[str, object]:
    partitions = given["partitions"]
    return {
        "dataset": given["dataset"],
        "version": given["version"],
        "partitions": [
            {"key": p["key"], "location": p["location"]} for p in (partitions if isinstance(partitions, list) else ())
        ],
    }


def _output(made: dict[str, object]) -> dict[str, object]:
    return {key: made[key] for key in ("index", "dataset", "version", "partitions")}
