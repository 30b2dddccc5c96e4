"""Task pods in the cluster: followed in each tenant's namespace, created, deleted. `run` decides, this does.

The operator has rights on pods only where its ClusterRole is bound, so each namespace has a watch of its own. What a
namespace refuses is kept in words for the status of its DAGs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

from msgspec import Struct, field

from headrace import metrics
from headrace.api import names
from headrace.cluster.client import AlreadyExists, Client, Refused, lacks_right, path_of
from headrace.cluster.refusals import unquoted
from headrace.cluster.watch import Changed, Deleted, Listed, watch
from headrace.errors import TemporaryError

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0


class Terminated(Struct, rename="camel", frozen=True):
    """How a container ended, when, and when it began."""

    exit_code: int
    started_at: datetime | None = None
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class Waiting(Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Running(Struct, rename="camel", frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    """The state of a container: one of these."""

    terminated: Terminated | None = None
    waiting: Waiting | None = None
    running: Running | None = None


class ContainerStatus(Struct, frozen=True):
    """A container of a pod."""

    name: str
    state: ContainerState = ContainerState()


class PodCondition(Struct, frozen=True):
    """One condition of a pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodStatus(Struct, rename="camel", frozen=True):
    """What the kubelet tells of a pod."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    conditions: tuple[PodCondition, ...] = ()


class PodMeta(Struct, rename="camel", frozen=True):
    """The metadata that the operator uses."""

    name: str
    namespace: str
    uid: str = ""
    creation_timestamp: datetime | None = None
    resource_version: str = "0"  # none in the answer of a dry run
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class PodSpec(Struct, rename="camel", frozen=True):
    """Of a pod's spec, how many seconds after its start the kubelet ends it."""

    active_deadline_seconds: int | None = None


class Pod(Struct, frozen=True):
    """A task pod as the API server shows it."""

    metadata: PodMeta
    status: PodStatus = PodStatus()
    spec: PodSpec = PodSpec()


Place = tuple[str, str]
"""A namespace and a pod's name."""


class Pods:
    """The task pods of every followed namespace.

    `changed` is called after each change; `told` with a namespace that was listed first, or is refused from now on.
    """

    def __init__(self, client: Client, changed: Callable[[], None], told: Callable[[str], None]) -> None:
        self._client = client
        self._changed = changed
        self._told = told
        self._making: set[Place] = set()
        self._starting: set[Place] = set()  # made here, and not begun yet
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.seen: dict[Place, Pod] = {}
        self.gone: dict[Place, Pod] = {}
        self.workers: dict[Place, Pod] = {}
        self.workers_gone: dict[Place, Pod] = {}
        self.listed: set[str] = set()
        self.refused: dict[str, str] = {}

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run the watches in `group`: one that dies of a defect ends the process."""
        self._group = group

    def follow(self, namespace: str) -> None:
        """Follow the task pods of a namespace from now on."""
        if namespace not in self._watches and self._group is not None:
            self._watches[namespace] = self._group.create_task(self._follow(namespace))

    def unfollow(self, namespace: str) -> None:
        """Follow a namespace no longer, and forget it."""
        task = self._watches.pop(namespace, None)
        if task is not None:
            task.cancel()
        metrics.unheard(path_of("v1", namespace, "pods"))
        self.listed.discard(namespace)
        self.refused.pop(namespace, None)
        self._starting = {place for place in self._starting if place[0] != namespace}
        for known in (self.seen, self.gone, self.workers, self.workers_gone):
            for place in [place for place in known if place[0] == namespace]:
                del known[place]

    def followed(self) -> set[str]:
        """The namespaces that are followed."""
        return set(self._watches)

    def watches(self) -> list[asyncio.Task[None]]:
        """The running watches, for an orderly end."""
        return list(self._watches.values())

    async def create(self, namespace: str, manifest: Mapping[str, object]) -> Pod | None:
        """Create a pod; None if it is there already. Refused when the cluster will not have it."""
        place = (namespace, cast("Mapping[str, str]", manifest["metadata"])["name"])
        self._making.add(place)
        self._starting.add(place)
        try:
            pod = await self._client.create(path_of("v1", namespace, "pods"), manifest, Pod)
        except AlreadyExists:
            self._starting.discard(place)
            return None
        except TemporaryError:
            self._starting.discard(place)
            raise
        except Refused as error:
            self._starting.discard(place)
            if lacks_right(error):
                self._shut(namespace, error)
            raise Refused(error.status, unquoted(str(error), manifest)) from None
        else:
            # An event about it that came before this answer knows better: the pod may even be gone.
            if place in self._making:
                self._seen(pod)[place] = pod
            return pod
        finally:
            self._making.discard(place)

    async def delete(self, place: Place) -> None:
        """Delete a pod at once; one that is gone is fine."""
        namespace, name = place
        await self._client.delete(path_of("v1", namespace, "pods", name), {"gracePeriodSeconds": 5})

    def _shut(self, namespace: str, error: Refused) -> None:
        """The right to make pods is gone. A watch that was let in goes on for minutes: it begins anew."""
        if namespace in self.refused:
            return
        self._refuse(namespace, error)
        task = self._watches.pop(namespace, None)
        if task is not None and self._group is not None:
            task.cancel()
            self._watches[namespace] = self._group.create_task(self._follow(namespace, _RETRY_SECONDS))

    def _refuse(self, namespace: str, error: Refused) -> None:
        known = namespace in self.refused
        self.refused[namespace] = str(error)
        self.listed.discard(namespace)
        if not known:
            self._told(namespace)

    async def _follow(self, namespace: str, first: float = 0.0) -> None:
        path = path_of("v1", namespace, "pods")
        await asyncio.sleep(first)
        while True:
            try:
                async for event in watch(self._client, path, Pod, labelSelector=names.LABEL_JOB):
                    self._note(namespace, event)
            except Refused as error:
                self._refuse(namespace, error)
                await asyncio.sleep(_RETRY_SECONDS)
            except TemporaryError as error:
                logger.warning("pods of %s: %s", namespace, error)
                await asyncio.sleep(1.0)
            else:
                await asyncio.sleep(_RETRY_SECONDS)

    def _seen(self, pod: Pod) -> dict[Place, Pod]:
        return self.workers if names.LABEL_WORKER in pod.metadata.labels else self.seen

    def _measure(self, place: Place, pod: Pod) -> None:
        """How long a pod of ours took to begin, once, when it has."""
        if place in self._starting and (seconds := start_seconds(pod)) is not None:
            self._starting.discard(place)
            metrics.POD_START.observe(seconds)

    def _gone(self, place: Place) -> None:
        self._starting.discard(place)
        for seen, gone in ((self.seen, self.gone), (self.workers, self.workers_gone)):
            if place in seen:
                gone[place] = seen.pop(place)

    def _note(self, namespace: str, event: Listed[Pod] | Changed[Pod] | Deleted[Pod]) -> None:
        if isinstance(event, Listed):
            self._note_list(namespace, event)
        else:
            place = (namespace, event.item.metadata.name)
            self._making.discard(place)
            self._seen(event.item)[place] = event.item
            self._measure(place, event.item)
            if isinstance(event, Deleted):
                self._gone(place)
        self._changed()

    def _note_list(self, namespace: str, event: Listed[Pod]) -> None:
        there = {(namespace, pod.metadata.name): pod for pod in event.items}
        for place, pod in [*self.seen.items(), *self.workers.items()]:
            # A pod that we made after the list was taken is newer than the list: it is not gone.
            if place[0] == namespace and place not in there and int(pod.metadata.resource_version) <= event.version:
                self._gone(place)
        for place, pod in there.items():
            self._seen(pod)[place] = pod
            self._measure(place, pod)
        self.refused.pop(namespace, None)
        if namespace not in self.listed:
            self.listed.add(namespace)
            self._told(namespace)


def start_seconds(pod: Pod) -> float | None:
    """From a pod's creation until a first container began; None if none has, as far as is known."""
    states = [status.state for status in pod.status.container_statuses]
    began = [one.started_at for state in states for one in (state.running, state.terminated) if one is not None]
    first = min((at for at in began if at is not None), default=None)
    if first is None or pod.metadata.creation_timestamp is None:
        return None
    return max(0.0, (first - pod.metadata.creation_timestamp).total_seconds())


async def try_out(client: Client, namespace: str, manifest: Mapping[str, object]) -> None:
    """Ask whether the cluster would take this pod, without making it; Refused if not."""
    asked = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await client.create(path_of("v1", namespace, "pods"), manifest, Pod, **asked)
    except Refused as error:
        raise Refused(error.status, unquoted(str(error), manifest)) from None
