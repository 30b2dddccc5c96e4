"""The settings of the operator and the gateway, read from the environment in one place."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field

from headrace.errors import PermanentError


@dataclass(frozen=True)
class Settings:
    """What the Deployments tell; times are in seconds.

    `metrics_port`: of the gateway. `gateway_url`: where workers find the gateway. `unready`: how long a gateway that
    was told to stop still takes connections; `drain`: how long it then lets requests finish. `notify_loopback`: news
    may be sent to the operator's own machine, for tests alone.
    """

    database_url: str = field(repr=False)
    storage_base: str = "file:///data"
    namespace: str = "headrace-system"
    identity: str = ""
    health_port: int = 8080
    admission_port: int = 8443
    full_pass: float = 300.0
    retry_backoff: float = 10.0
    gateway_port: int = 8080
    metrics_port: int = 8081
    gateway_url: str = "http://headrace-gateway.headrace-system.svc"
    unready: float = 3.0
    drain: float = 20.0
    notify_loopback: bool = False

    @classmethod
    def from_environment(cls) -> Settings:
        """Read `HEADRACE_*`; PermanentError when the database's address is missing."""
        url = os.environ.get("HEADRACE_DATABASE_URL", "")
        if not url:
            raise PermanentError("HEADRACE_DATABASE_URL is not set: give it the state database's libpq URI")
        namespace = os.environ.get("HEADRACE_NAMESPACE", cls.namespace)
        return cls(
            database_url=url,
            storage_base=os.environ.get("HEADRACE_STORAGE_BASE", cls.storage_base).rstrip("/"),
            namespace=namespace,
            identity=os.environ.get("HEADRACE_IDENTITY", "") or f"{socket.gethostname()}-{os.getpid()}",
            health_port=int(os.environ.get("HEADRACE_HEALTH_PORT", str(cls.health_port))),
            admission_port=int(os.environ.get("HEADRACE_ADMISSION_PORT", str(cls.admission_port))),
            full_pass=float(os.environ.get("HEADRACE_FULL_PASS_SECONDS", str(cls.full_pass))),
            retry_backoff=float(os.environ.get("HEADRACE_RETRY_BACKOFF_SECONDS", str(cls.retry_backoff))),
            gateway_port=int(os.environ.get("HEADRACE_LISTEN_PORT", str(cls.gateway_port))),
            metrics_port=int(os.environ.get("HEADRACE_METRICS_PORT", str(cls.metrics_port))),
            gateway_url=os.environ.get("HEADRACE_GATEWAY_URL", f"http://headrace-gateway.{namespace}.svc").rstrip("/"),
            unready=float(os.environ.get("HEADRACE_UNREADY_SECONDS", str(cls.unready))),
            drain=float(os.environ.get("HEADRACE_DRAIN_SECONDS", str(cls.drain))),
            notify_loopback=os.environ.get("HEADRACE_NOTIFY_LOOPBACK") == "1",
        )
