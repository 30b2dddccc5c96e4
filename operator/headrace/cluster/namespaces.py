"""Namespaces by uid: an org is a namespace's uid, never its name."""

from __future__ import annotations

from msgspec import Struct

from headrace.cluster.client import Client, path_of


class _Meta(Struct):
    uid: str


class _Namespace(Struct):
    metadata: _Meta


async def namespace_uid(client: Client, name: str) -> str | None:
    """The uid of the namespace; None if it is gone."""
    found = await client.get(path_of("v1", None, "namespaces", name), _Namespace)
    return None if found is None else found.metadata.uid
