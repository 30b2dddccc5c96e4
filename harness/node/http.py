"""The few HTTP calls that bring-up makes: health endpoints and objects of the API server, over standard sockets.

Called by the daemons' health checks and by the add-ons. kubectl does the same but takes half a second to start, and
`up` on a running cluster has one second for everything.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from harness.console import HarnessError


def healthy(port: int, path: str, *, tls: bool = False, host: str = "127.0.0.1") -> str | None:
    """None when the endpoint answers 200; else what it said. Certificates are not looked at: it is the own host."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(4000).decode(errors="replace")
    except http.client.HTTPException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    # Kubernetes lists its checks, one a line; those that failed begin with a minus sign.
    failed = [line for line in body.splitlines() if line.startswith("[-]")] or body.splitlines()[:1]
    return None if answer.status == 200 else f"{path} answers {answer.status}: {', '.join(failed)}"


class Api:
    """The API server, spoken to as the cluster's administrator."""

    def __init__(self, address: str, pki: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> dict[str, Any] | None:
        """One request; its JSON answer, None for 404, an error for anything else that is not a success."""
        connection = http.client.HTTPSConnection(self._address, 6443, timeout=20, context=self._context)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": kind, "User-Agent": "headrace-harness"})
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise HarnessError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise HarnessError(f"{method} {path} answers {answer.status}: {text[:300].decode(errors='replace')}")
        value: dict[str, Any] = json.loads(text)
        return value

    def apply(self, path: str, document: dict[str, Any]) -> None:
        """Server-side apply of one object at its path."""
        self.call("PATCH", f"{path}?fieldManager=headrace-harness&force=true", document, "application/apply-patch+yaml")

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        """JSON merge patch of one object."""
        self.call("PATCH", path, patch, "application/merge-patch+json")
