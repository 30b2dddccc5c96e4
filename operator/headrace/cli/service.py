"""Where the gateway is: a ready pod of its Service, found as `kubectl port-forward service/…` finds one."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from headrace.cluster.client import Client, Refused, path_of
from headrace.errors import PermanentError, TemporaryError

SERVICE: Final = "headrace-gateway"


class GatewayError(PermanentError):
    """The gateway, or the way to it, says no; `status` is the HTTP one, 0 on the way."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _ServicePort(Struct, rename="camel"):
    port: int
    name: str = ""
    target_port: int | str = 0


class _ServiceSpec(Struct):
    selector: dict[str, str] = field(default_factory=dict)
    ports: list[_ServicePort] = field(default_factory=list)


class _Service(Struct):
    spec: _ServiceSpec


class _Meta(Struct, rename="camel"):
    name: str
    deletion_timestamp: str | None = None


class _ContainerPort(Struct, rename="camel"):
    container_port: int
    name: str = ""


class _Container(Struct):
    ports: list[_ContainerPort] = field(default_factory=list)


class _PodSpec(Struct):
    containers: list[_Container]


class _Condition(Struct):
    type: str
    status: str


class _PodStatus(Struct):
    conditions: list[_Condition] = field(default_factory=list)


class _Pod(Struct):
    metadata: _Meta
    spec: _PodSpec
    status: _PodStatus


class _Pods(Struct):
    items: list[_Pod]


async def ready_pod(client: Client, namespace: str) -> tuple[str, int]:
    """Name and port of a ready pod of the gateway's Service."""
    try:
        service = await client.get(path_of("v1", namespace, "services", SERVICE), _Service)
        if service is None or not service.spec.ports:
            raise GatewayError(
                f"namespace {namespace} has no Service {SERVICE}: set HEADRACE_URL to the gateway's address, or"
                " HEADRACE_SYSTEM_NAMESPACE to where Headrace is installed"
            )
        selector = ",".join(f"{key}={value}" for key, value in sorted(service.spec.selector.items()))
        pods = await client.get(path_of("v1", namespace, "pods"), _Pods, labelSelector=selector)
    except Refused as error:
        raise GatewayError(
            f"you may not look for the gateway's pods: {error}. Ask for the role headrace-port-forward of namespace"
            f" {namespace}, or for the gateway's address, and set HEADRACE_URL"
        ) from error
    wanted = service.spec.ports[0]
    for pod in pods.items if pods else ():
        ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
        if ready and pod.metadata.deletion_timestamp is None:
            named = {p.name: p.container_port for c in pod.spec.containers for p in c.ports}
            port = wanted.target_port or wanted.port
            return pod.metadata.name, named.get(port, wanted.port) if isinstance(port, str) else port
    raise TemporaryError(f"no pod of the gateway is ready in namespace {namespace}: try again, or look at its pods")
