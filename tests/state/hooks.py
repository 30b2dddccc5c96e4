"""A DAG with a webhook source, deliveries to it, and which events its attempts were given."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from headrace.run.payload import payload
from headrace.state import webhooks
from headrace.state.attempts import RunningPod
from headrace.state.webhooks import Stored
from tests.state.world import World, step

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def hook(pattern: str | None, image: str | None = "i", **fields: object) -> dict[str, object]:
    """The source `load`, set off by deliveries that are signed with a key of the Secret `hook`."""
    source: dict[str, object] = {"kind": "webhook", "secretName": "hook"}
    if pattern is not None:
        source["partition"] = {"format": pattern}
    return {"name": "load", "source": source, **({} if image is None else {"image": image}), **fields}


def hooked(pattern: str | None, n: int = 0) -> list[dict[str, object]]:
    """load -> clean; the config of load."""
    return [hook(pattern, config={"n": n}), step("clean", "load")]


def listing(*keys: str) -> dict[str, object]:
    """The source, with a list in place of a pattern."""
    source = {"kind": "webhook", "secretName": "hook", "partitions": {"values": list(keys)}}
    return {"name": "load", "image": "i", "source": source}


async def accept(
    world: World, id_: str, at: datetime, body: object, *, job: str = "load", dag: str = "flights"
) -> Stored | None:
    """Deliver an event, its signature checked."""
    text = body if isinstance(body, str) else json.dumps(body)
    org = await world.org()
    async with world.db.transaction() as tx:
        return await webhooks.store(tx, org.id, dag, job, "hook", webhooks.Event(id=id_, sent=at, body=text))


def told(pods: list[RunningPod]) -> dict[tuple[str, str], list[str]]:
    """(job, key) of attempts to the ids of the events that each is given."""
    return {
        (pod.job, pod.partitions[0]): [event["id"] for event in json.loads(payload(pod).text)["events"]] for pod in pods
    }
