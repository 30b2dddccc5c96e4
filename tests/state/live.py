"""A source that runs on and on, and what its pod does: for tests of it."""

from __future__ import annotations

import msgspec
import pytest

from headrace.gateway.errors import RequestError
from headrace.gateway.event_routes import Events, SourceEvent
from headrace.gateway.identity import PodIdentity
from headrace.gateway.wake import Waker
from headrace.run.payload import payload
from headrace.state import task_pods
from headrace.state.attempts import RunningPod
from headrace.state.task_pods import SeenPod
from tests.state.world import World

LIVE = {"name": "blocks", "image": "i", "source": {"kind": "always_on"}}
REPLAY = {"name": "blocks", "image": "i", "source": {"kind": "always_on", "replay": True}}
PARTS = {"updateStrategy": "append", "uniqueKey": ["block"]}


class Chain(World):
    """A world with a source of blocks."""

    async def source(self) -> RunningPod:
        """The attempt of the source that runs, of the last version that has one."""
        return [pod for pod in await self.claim() if pod.job == "blocks"][-1]

    async def known(self, pod: RunningPod) -> PodIdentity:
        """The pod of an attempt, once the operator has seen it."""
        seen = SeenPod(pod.org, pod.pod_name, f"uid-{pod.pod_name}")
        async with self.db.transaction() as tx:
            await task_pods.record(tx, 0, [seen])
        return PodIdentity(seen.namespace, seen.name, seen.uid)

    async def tell(self, pod: RunningPod, *told: dict[str, object], after: str | None = None) -> int:
        """The source reports; how many events were new."""
        listed = msgspec.json.decode(msgspec.json.encode(told), type=tuple[SourceEvent, ...])
        return (await Events(self.db, Waker(self.db)).accept(await self.known(pod), listed, after)).accepted

    async def keys(self, job: str = "blocks") -> list[str]:
        """The partitions of a job that serves."""
        return [str(key) for (key,) in await self.rows(
            "SELECT p.partition_key FROM partition_versions p JOIN dag_version_datasets v"
            " ON v.dataset_uuid = p.dataset_uuid AND v.dataset_version = p.dataset_version"
            " JOIN dag_current_versions c ON c.dag_version_id = v.dag_version_id"
            " JOIN datasets d ON d.id = p.dataset_uuid WHERE d.producer_job_name = %(job)s ORDER BY 1", job=job,
        )]  # fmt: skip

    async def waits(self) -> None:
        """What is to be tried again is."""
        await self.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")


def upto(block: int, first: int | None = None) -> dict[str, object]:
    return {"id": f"b{block}", "cursor": {"column": "block", "type": "bigint", "from": first, "to": block}}


def document(pod: RunningPod) -> dict[str, object]:
    return msgspec.json.decode(payload(pod).text, type=dict[str, object])


async def refused(chain: Chain, pod: RunningPod, *told: dict[str, object], after: str | None = None) -> int:
    with pytest.raises(RequestError) as caught:
        await chain.tell(pod, *told, after=after)
    return caught.value.status


async def finish(chain: Chain, *jobs: str) -> list[tuple[str, str]]:
    done = []
    while pods := [pod for pod in await chain.claim() if pod.job in jobs]:
        for pod in pods:
            assert await chain.complete(pod)
            done.append((pod.job, pod.partitions[0]))
    return done
