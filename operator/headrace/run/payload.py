"""The task as its pod sees it: one JSON document, made from a claimed row. Pure; `run.render` puts it into the pod."""

from __future__ import annotations

import msgspec

from headrace.state.attempts import RunningPod


def payload(task: RunningPod) -> str:
    """The JSON text of a task (see docs/contract.md): ids, partitions, inputs and outputs with locations, config."""
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
        }
    ).decode()


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
