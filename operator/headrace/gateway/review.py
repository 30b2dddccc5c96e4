"""Questions to the API server about people: TokenReview and SubjectAccessReview, asked as the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from headrace.cluster.client import Client, Refused, path_of
from headrace.errors import TemporaryError

T = TypeVar("T")


async def review(client: Client, group: str, kind: str, spec: Mapping[str, object], shape: type[T]) -> T:
    """What the API server answers, as a `shape`; TemporaryError when it does not, for want of rights too.

    That the gateway may not ask is no fault of the person's, and over when somebody binds its role.
    """
    body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
    try:
        return await client.create(path_of(f"{group}/v1", None, f"{kind.lower()}s"), body, shape)
    except Refused as error:
        raise TemporaryError(f"the gateway cannot ask who may do what: {error}") from error
