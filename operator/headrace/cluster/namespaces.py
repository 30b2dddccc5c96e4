"""Namespaces by uid: an org is a namespace's uid, never its name. And what a Namespace says of its org."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from headrace.api.org import ANNOTATION_SETTINGS
from headrace.cluster.client import Client, path_of

PATH: Final = path_of("v1", None, "namespaces")


class _Meta(Struct, frozen=True):
    name: str
    uid: str
    annotations: dict[str, str] = field(default_factory=dict)


class Namespace(Struct, frozen=True):
    """A Namespace as the API server shows it."""

    metadata: _Meta

    @property
    def settings(self) -> str | None:
        """What it says of its org's settings, if anything."""
        return self.metadata.annotations.get(ANNOTATION_SETTINGS)


async def find_namespace(client: Client, name: str) -> Namespace | None:
    """The namespace; None if it is gone."""
    return await client.get(path_of("v1", None, "namespaces", name), Namespace)


async def namespace_uid(client: Client, name: str) -> str | None:
    """The uid of the namespace; None if it is gone."""
    found = await find_namespace(client, name)
    return None if found is None else found.metadata.uid
