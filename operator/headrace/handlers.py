"""kopf's edge: every event of the three kinds wakes the reconcile of its DAGs, and nothing else happens here.

Only `on.event`: kopf's other handlers would write annotations and finalizers on every object and keep a second idea of
what was handled. Its own posting, peering and scanning are off.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import msgspec

from headrace.api import names
from headrace.cluster.objects import KINDS, Key, Objects

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class _Claims(msgspec.Struct):
    exp: int


def registry(objects: Objects, wake: Callable[[Key], None], wake_later: Callable[[Key], None]) -> kopf.OperatorRegistry:
    """Handlers that keep `objects` up to date and wake the DAGs that an event is about.

    For Jobs and Datasets that is `wake_later`, since they come in sets.
    """
    handlers = kopf.OperatorRegistry()

    def add(kind: str) -> None:
        @kopf.on.event(names.GROUP, names.VERSION, names.PLURALS[kind], id=f"{kind}-event", registry=handlers)
        async def note(event: Any, **_: Any) -> None:
            body: Mapping[str, object] = {"apiVersion": names.API_VERSION, "kind": kind, **event["object"]}
            for key in objects.note(kind, body, deleted=event["type"] == "DELETED"):
                (wake if kind == names.DAG else wake_later)(key)

    for kind in KINDS:
        add(kind)

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return service_account() or kopf.login_with_kubeconfig(**kwargs)

    return handlers


def settings() -> kopf.OperatorSettings:
    """kopf as quiet as it goes: no events posted, no peering, no scanning for kinds that come and go."""
    quiet = kopf.OperatorSettings()
    quiet.posting.enabled = False
    quiet.peering.standalone = True
    quiet.scanning.disabled = True
    quiet.watching.server_timeout = 300
    quiet.watching.client_timeout = 330
    quiet.networking.connect_timeout = 10
    return quiet


def service_account() -> kopf.ConnectionInfo | None:
    """This pod's own identity, by the address that needs no DNS, to be read anew at 80 % of the token's life."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not _ACCOUNT.is_dir():
        return None
    token = (_ACCOUNT / "token").read_text().strip()
    return kopf.ConnectionInfo(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_path=str(_ACCOUNT / "ca.crt"),
        token=token,
        default_namespace=(_ACCOUNT / "namespace").read_text().strip(),
        expiration=renewal_time(token, datetime.now(UTC)),
    )


def renewal_time(token: str, now: datetime) -> datetime | None:
    """When 80 % of the rest of a token's life is over; None for one that tells no end."""
    try:
        claims = token.split(".")[1]
        end = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)), type=_Claims).exp
    except (IndexError, ValueError, msgspec.ValidationError):
        return None
    return now + (datetime.fromtimestamp(end, UTC) - now) * 0.8
