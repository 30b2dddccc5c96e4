"""The task as its pod sees it: one JSON document, made from a claimed row. Pure; `run.render` puts it into the pod.

An input with very many partitions is not in it, but where the gateway has them (`gateway.attempt_routes`): a pod's
annotations hold 256 KiB, and a pod that cannot be made would be a task that cannot be run.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.state.attempts import MOST_EVENT_BYTES, Last, RunningPod, TaskEvent
from headrace.state.queue import Started
from headrace.state.workers import Claimable

MOST_PARTITIONS: Final = 1000
ROOM: Final = 192 * 1024


class Payload(Struct, frozen=True):
    """The JSON text of a task (see docs/contract.md); `manifests`: the inputs that are at the gateway."""

    text: str
    manifests: tuple[str, ...] = ()


def payload(task: RunningPod, room: int = ROOM) -> Payload:
    """The document of a task: ids, partitions, inputs and outputs with locations, config.

    `room`: its bytes at most, as far as leaving out inputs makes it smaller; the largest go first.
    """
    apart = [name for name, given in task.inputs.items() if len(_partitions(given)) > MOST_PARTITIONS]
    text = _text(task, apart)
    if len(text) > room:
        sizes = {name: len(msgspec.json.encode(_input(given))) for name, given in task.inputs.items()}
        for name in sorted(task.inputs.keys() - set(apart), key=lambda name: (-sizes[name], name)):
            apart.append(name)
            text = _text(task, apart)
            if len(text) <= room:
                break
    return Payload(text.decode(), tuple(apart))


def manifest_path(task: UUID | str, attempt: int | str, name: str, page: int | str = 0) -> str:
    """Where the gateway has a page of an input's partitions, counted from 0; below HEADRACE_URL."""
    return f"/v1/worker/tasks/{task}/{attempt}/inputs/{name}/{page}"


def _text(task: RunningPod, apart: Collection[str]) -> bytes:
    inputs = {
        name: _apart(task.id, task.attempt, name, _input(given)) if name in apart else _input(given)
        for name, given in task.inputs.items()
    }
    events = {"events": [_event(event) for event in task.events]} if task.told else {}
    outputs = msgspec.convert(task.outputs, list[_Output])
    return msgspec.json.encode(
        {
            "id": str(task.id),
            "attempt": task.attempt,
            "org": task.org,
            "dag": task.dag,
            "job": task.job,
            "operator": task.operator,
            "partitions": [] if task.runs_on else task.partitions,
            "inputs": inputs,
            "outputs": [_below(output) for output in outputs] if task.runs_on else outputs,
            "config": task.config,
            "params": task.params,
            **events,
            **({"last": _last(task.last)} if task.runs_on else {}),
        }
    )


def _below(output: _Output) -> _Place:
    """An output of a source that runs on and on: each event has a place of its own below the location."""
    return _Place(output.index, output.dataset, output.version, output.partitions[0].location, output.unique_key)


def _last(last: Last | None) -> dict[str, object] | None:
    if last is None or (last.event is None and not last.cursors):
        return None
    return {"event": last.event, "partition": last.partition, "cursor": last.cursors}


def _partitions(given: dict[str, object]) -> list[dict[str, object]]:
    partitions = given["partitions"]
    return partitions if isinstance(partitions, list) else []


class _Part(Struct, omit_defaults=True):
    location: str | None
    replaces: list[dict[str, object]] | None = None


class _Partition(Struct, omit_defaults=True):
    key: str
    location: str | None
    parts: list[_Part] | None = None
    replaces: list[dict[str, object]] | None = None


class _Input(Struct, omit_defaults=True, rename="camel"):
    dataset: str
    version: str
    partitions: list[_Partition]
    where: dict[str, object] | None = None
    unique_key: list[str] | None = None
    range: dict[str, object] | None = None
    filters: list[dict[str, object]] | None = None


class _Manifest(Struct, omit_defaults=True, rename="camel"):
    dataset: str
    version: str
    count: int
    manifest: str
    where: dict[str, object] | None = None
    unique_key: list[str] | None = None
    range: dict[str, object] | None = None
    filters: list[dict[str, object]] | None = None


class _Output(Struct, omit_defaults=True, rename="camel"):
    index: int
    dataset: str
    version: str
    partitions: list[_Partition]
    unique_key: list[str] | None = None


class _Place(Struct, omit_defaults=True, rename="camel"):
    index: int
    dataset: str
    version: str
    location: str | None
    unique_key: list[str] | None = None


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
            "inputs": {
                name: given if len(given.partitions) <= MOST_PARTITIONS else _apart(task.id, task.attempt, name, given)
                for name, given in _INPUTS.decode(task.inputs).items()
            },
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


def _input(given: dict[str, object]) -> _Input:
    return msgspec.convert(given, _Input)


def _apart(task: UUID, attempt: int, name: str, given: _Input) -> _Manifest:
    return _Manifest(
        dataset=given.dataset,
        version=given.version,
        count=len(given.partitions),
        manifest=manifest_path(task, attempt, name),
        where=given.where,
        unique_key=given.unique_key,
        range=given.range,
        filters=given.filters,
    )
