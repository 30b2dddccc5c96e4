"""Where is measured: a namespace of its own on a cluster, its pods followed, and what is asked of it.

Both kinds of pods run the same image and the same command, which tells by the termination message at which instant it
ran: a pod's own timestamps are whole seconds. The node's clock is this machine's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec

from harness.console import HarnessError
from harness.deployment import kubectl
from headrace.api import names
from headrace.cluster.client import Client, path_of
from headrace.cluster.objects import object_path
from headrace.cluster.pods import Pod
from headrace.cluster.watch import Changed, Deleted, Listed, watch

IMAGE = "docker.io/local/flights:demo"
COMMAND = ["sh", "-c", 'printf \'{"at": %s}\' "$(date +%s.%N)" > /dev/termination-log']
WITHIN = 180.0
_OPERATOR = "headrace-system:headrace-operator"


class _Said(msgspec.Struct):
    at: float


@dataclass
class Place:
    """A namespace; `ran` is the instant at which each pod's command ran, by the pod's name, seconds since 1970.

    `asked`: the last run asked for, by DAG.
    """

    client: Client
    env: Mapping[str, str]
    namespace: str
    audit: str | None
    ran: dict[str, float] = field(default_factory=dict)
    there: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self) -> None:
        """Take in what pods say, for ever."""
        async for event in watch(self.client, path_of("v1", self.namespace, "pods"), Pod):
            async with self._changed:
                match event:
                    case Listed(items=items):
                        self.there = {pod.metadata.name for pod in items}
                        for pod in items:
                            self._note(pod)
                    case Changed(item=pod):
                        self.there.add(pod.metadata.name)
                        self._note(pod)
                    case Deleted(item=pod):
                        self._note(pod)
                        self.there.discard(pod.metadata.name)
                self._changed.notify_all()

    def _note(self, pod: Pod) -> None:
        for container in pod.status.container_statuses:
            if container.state.terminated is not None and container.state.terminated.message:
                self.ran[pod.metadata.name] = msgspec.json.decode(container.state.terminated.message, type=_Said).at

    async def run(self, count: int, known: set[str]) -> list[float]:
        """The instants at which `count` pods ran that are not among the `known` ones, once all have."""
        async with self._changed:
            await _within(
                self._changed.wait_for(lambda: len(self.ran.keys() - known) >= count), f"{count} pods have run"
            )
            return sorted(at for name, at in self.ran.items() if name not in known)

    async def has_run(self, name: str) -> None:
        """Wait until this pod has run."""
        async with self._changed:
            await _within(self._changed.wait_for(lambda: name in self.ran), f"pod {name} has run")

    async def empty(self) -> None:
        """Wait until no pod is there."""
        async with self._changed:
            await _within(self._changed.wait_for(lambda: not self.there), "the pods are gone")

    async def bare_pod(
        self, name: str, *, volume: bool = False, image: str = IMAGE, command: Sequence[str] = COMMAND
    ) -> None:
        """Create a pod without the operator: bare, or with a volume of the downward API as a task pod has for its task.

        For a pod with a volume the kubelet looks again only every 300 ms whether it is mounted (`volumemanager`,
        podAttachAndMountRetryInterval).
        """
        mounts = {"volumeMounts": [{"name": "task", "mountPath": "/task"}]} if volume else {}
        item = {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
        volumes = {"volumes": [{"name": "task", "downwardAPI": {"items": [item]}}]} if volume else {}
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "command": list(command),
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        **mounts,
                    }
                ],
                **volumes,
            },
        }
        await self.client.create(path_of("v1", self.namespace, "pods"), manifest, Pod)

    async def delete_pods(self) -> None:
        """Delete every pod and wait until they are gone."""
        await self.client.delete(path_of("v1", self.namespace, "pods"), {"gracePeriodSeconds": 0})
        await self.empty()

    async def apply(self, dag: str, source: Mapping[str, object], concurrency: int) -> None:
        """Create a DAG: a source, and one job that runs the command for each of its partitions."""
        job = {"name": "work", "image": IMAGE, "command": COMMAND, "inputs": [{"from": {"job": "key"}}],
               "scaling": {"maxConcurrency": concurrency}}  # fmt: skip
        document = {
            "apiVersion": names.API_VERSION,
            "kind": names.DAG,
            "metadata": {"name": dag, "namespace": self.namespace},
            "spec": {"jobs": [{"name": "key", "source": dict(source)}, job]},
        }
        await self.create(document)

    async def create(self, dag: Mapping[str, Any]) -> None:
        """Create a DAG as it is written."""
        await self.client.create(object_path(names.DAG, self.namespace), dag, dict[str, object])

    async def fill(self, name: str, dags: int, jobs: int) -> None:
        """Create so many DAGs of a source and jobs that read from it, `NAME-0` and so on; nothing runs."""
        work = [{"name": f"work-{n}", "image": IMAGE, "command": COMMAND, "inputs": [{"from": {"job": "key"}}]}
                for n in range(1, jobs)]  # fmt: skip
        at_once = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with at_once:
                await self.create(
                    {
                        "apiVersion": names.API_VERSION,
                        "kind": names.DAG,
                        "metadata": {"name": f"{name}-{number}", "namespace": self.namespace},
                        "spec": {"jobs": [{"name": "key", "source": {"kind": "manual"}}, *work]},
                    }
                )

        async with asyncio.TaskGroup() as group:
            for number in range(dags):
                group.create_task(one(number))

    async def all_ready(self, name: str, dags: int, within: float = 1200.0) -> None:
        """Wait until so many DAGs `NAME-0` and so on serve their newest spec."""
        deadline = time.monotonic() + within
        path = object_path(names.DAG, self.namespace)
        while True:
            found = await self.client.get(path, dict[str, Any]) or {}
            there = [dag for dag in found.get("items", ()) if dag["metadata"]["name"].startswith(f"{name}-")]
            if sum(_is_true(dag, "Serving", None) for dag in there) == dags:
                return
            if time.monotonic() > deadline:
                raise HarnessError(f"not within {within:.0f} s: {dags} DAGs serve")
            await asyncio.sleep(0.5)

    async def ask(self, dag: str, run: str = "key") -> None:
        """Ask for a run of the DAG's source."""
        self.asked[dag] = uuid4().hex
        annotation = {names.ANNOTATION_RUN: f"{self.asked[dag]} {run}"}
        path = object_path(names.DAG, self.namespace, dag)
        if await self.client.patch(path, {"metadata": {"annotations": annotation}}, dict[str, object]) is None:
            raise HarnessError(f"the DAG {dag} is gone")

    async def settled(self, dag: str, type_: str = "UpToDate") -> None:
        """Wait until a condition of the DAG is true for its newest spec, and the last run asked for is made."""
        deadline = time.monotonic() + WITHIN
        path = object_path(names.DAG, self.namespace, dag)
        while not _is_true(await self.client.get(path, dict[str, Any]), type_, self.asked.get(dag)):
            if time.monotonic() > deadline:
                raise HarnessError(f"not within {WITHIN:.0f} s: {type_} of DAG {dag}")
            await asyncio.sleep(0.05)


def _is_true(dag: Mapping[str, Any] | None, type_: str, asked: str | None) -> bool:
    status = (dag or {}).get("status", {})
    return bool(
        dag
        and status.get("observedGeneration") == dag["metadata"]["generation"]
        and (asked is None or status.get("lastHandled", {}).get("run") == asked)
        and any(c["type"] == type_ and c["status"] == "True" for c in status.get("conditions", ()))
    )


async def _within(fact: Any, what: str) -> None:
    try:
        await asyncio.wait_for(fact, WITHIN)
    except TimeoutError as late:
        raise HarnessError(f"not within {WITHIN:.0f} s: {what}") from late


@asynccontextmanager
async def place(env: Mapping[str, str], audit: str | None) -> AsyncIterator[Place]:
    """A new namespace with restricted pods where the operator may make them; gone after the block."""
    namespace = f"bench-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    kubectl(env, "apply", "-f", "-", stdin=json.dumps(manifest))
    role = ("--clusterrole=headrace-tenant", f"--serviceaccount={_OPERATOR}")
    client = await Client.connect()
    try:
        kubectl(env, "-n", namespace, "create", "rolebinding", "headrace-tenant", *role)
        there = Place(client, env, namespace, audit)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(there.follow())
            yield there
            following.cancel()
    finally:
        await client.close()
        kubectl(env, "delete", "namespace", namespace, "--wait=true")
