"""The Secret with the webhook's certificate, and the configuration that tells the API server to call it.

Both come with the manifests, so that the operator needs no right to make any: it reads and updates these two.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, cast

from headrace.cluster.client import Client, path_of
from headrace.cluster.secrets import secret_values

NAME: Final = "headrace-admission"
"""Of the Secret, of the Service and of the configuration."""
Json = dict[str, object]


def host(namespace: str) -> str:
    """What the API server calls the Service."""
    return f"{NAME}.{namespace}.svc"


async def read_secret(client: Client, namespace: str) -> Mapping[str, bytes] | None:
    """What the Secret has; None where there is none."""
    return await secret_values(client, namespace, NAME)


async def write_secret(client: Client, namespace: str, values: Mapping[str, bytes]) -> None:
    """Have the Secret be `values`; Conflict when it was changed meanwhile."""
    path = path_of("v1", namespace, "secrets", NAME)
    found = await client.get(path, Json)
    if found is not None:
        data = {name: base64.b64encode(value).decode() for name, value in values.items()}
        await client.replace(path, {**found, "data": data}, Json)


async def configure(client: Client, authorities: bytes, path: str) -> bool:
    """Have the API server trust `authorities` and call `path`; whether that was news. False without a configuration."""
    at = path_of("admissionregistration.k8s.io/v1", None, "validatingwebhookconfigurations", NAME)
    found = await client.get(at, Json)
    if found is None:
        return False
    bundle, news = base64.b64encode(authorities).decode(), False
    for webhook in cast("list[dict[str, Json]]", found.get("webhooks") or []):
        told = webhook["clientConfig"]
        service = cast("Json", told.get("service") or {})
        if told.get("caBundle") != bundle or service.get("path") != path:
            told["caBundle"], service["path"], news = bundle, path, True
    if news:
        await client.replace(at, found, Json)
    return news
