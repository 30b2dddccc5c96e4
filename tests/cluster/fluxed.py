"""Flux's real kustomize-controller beside the cluster, and a source that it reads, for test_flux."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness import flux
from tests.cluster.api import read
from tests.cluster.kube import Namespace, Object, kubectl, until

KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
SOURCE = "source.toolkit.fluxcd.io/v1"


class Source:
    """What Flux is to apply: files by path, as an ExternalArtifact of its own namespace."""

    def __init__(self, ns: Namespace, directory: Path, url: str) -> None:
        self._ns, self._directory, self._url = ns, directory, url
        spec = {"sourceRef": {"apiVersion": "v1", "kind": "Namespace", "name": ns.name}}
        ns.apply({"apiVersion": SOURCE, "kind": "ExternalArtifact", "metadata": {"name": "repo"}, "spec": spec})

    def push(self, files: Mapping[str, str]) -> str:
        """Make these the newest revision; its name."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        name = f"{digest}.tar.gz"
        (self._directory / name).write_bytes(packed.getvalue())
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        artifact = {
            "digest": f"sha256:{digest}",
            "lastUpdateTime": now,
            "path": name,
            "revision": f"main@sha1:{digest[:40]}",
            "size": len(packed.getvalue()),
            "url": f"{self._url}/{name}",
        }
        ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": now}
        status = json.dumps({"status": {"artifact": artifact, "conditions": [ready]}})
        self._ns.kubectl("patch", "externalartifact/repo", "--subresource=status", "--type=merge", "-p", status)
        return str(artifact["revision"])


def kustomization(ns: Namespace, name: str) -> Object:
    """A Kustomization as it is."""
    return read(f"/apis/{KUSTOMIZE}/namespaces/{ns.name}/kustomizations/{name}")


def outcome(ns: Namespace, name: str, revision: str, within: float = 60) -> tuple[str, str, str]:
    """(status, reason, message) of Ready once Flux is done with a revision."""

    def done() -> tuple[str, str, str] | None:
        found = kustomization(ns, name)
        status = found.get("status", {})
        conditions = {c["type"]: c for c in status.get("conditions", ())}
        ready = conditions.get("Ready", {"status": "Unknown"})
        if status.get("lastAttemptedRevision") != revision or ready["status"] == "Unknown":
            return None
        if conditions.get("Reconciling", {}).get("reason") == "Progressing":
            return None
        return ready["status"], ready["reason"], ready["message"]

    return until(f"Flux is done with {name}", done, within)


@contextmanager
def controller(ns: Namespace, directory: Path) -> Iterator[Source]:
    """The controller over the Kustomizations of a namespace, as the administrator; both gone after the block."""
    found = flux.ensure()
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(found.definitions))
    kubectl("wait", "--for=condition=Established", "-f", str(found.definitions), "--timeout=30s")
    with _served(directory) as url, _running(found.controller, ns, directory):
        try:
            yield Source(ns, directory, url)
        finally:
            ns.kubectl("delete", "kustomizations.kustomize.toolkit.fluxcd.io", "--all", "--timeout=60s")
            kubectl("delete", "-f", str(found.definitions), "--wait=false")


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _running(program: Path, ns: Namespace, directory: Path) -> Iterator[None]:
    """The process, until it is ready; its log is shown when it is not."""
    metrics, health = _free(), _free()
    temporary = directory / "tmp"
    temporary.mkdir()
    argv = [str(program), "--watch-all-namespaces=false", "--no-remote-bases", "--feature-gates=ExternalArtifact=true",
            f"--metrics-addr=127.0.0.1:{metrics}", f"--health-addr=127.0.0.1:{health}", "--min-retry-delay=1s",
            "--max-retry-delay=2s", "--requeue-dependency=1s"]  # fmt: skip
    env = {
        **os.environ,
        "RUNTIME_NAMESPACE": ns.name,
        "TMPDIR": str(temporary),
        "NO_PROXY": _near("NO_PROXY"),
        "no_proxy": _near("no_proxy"),
    }
    with (directory / "controller.log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until("Flux's controller is ready", lambda: process.poll() is not None or _ready(health), 30)
            assert process.poll() is None, (directory / "controller.log").read_text()[-3000:]
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _near(name: str) -> str:
    return ",".join(part for part in ("127.0.0.1", os.environ.get(name, "")) if part)


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(port: int) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/readyz", timeout=2
        ):
            return True
    except OSError:
        return False
