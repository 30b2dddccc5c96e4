"""Secrets, one by its name: what the gateway checks a webhook's signatures with. Where it may read it, a Role says."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from msgspec import Struct, field

from headrace.cluster.client import Client, path_of


class _Secret(Struct):
    data: dict[str, str] = field(default_factory=dict)


async def secret_values(client: Client, namespace: str, name: str) -> Mapping[str, bytes] | None:
    """The values of a Secret by their names; None where there is none. Refused when it may not be read."""
    found = await client.get(path_of("v1", namespace, "secrets", name), _Secret)
    if found is None:
        return None
    values: dict[str, bytes] = {}
    for key, text in found.data.items():
        try:
            values[key] = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
    return values
