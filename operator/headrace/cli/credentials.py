"""What the API server is shown: a token, a certificate, or what a credential plugin gives. `connection` asks for them.

Plugins are run as client-go runs them (client.authentication.k8s.io): once, and again when a token is about to expire.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import ssl
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from headrace.cli.documents import read_text
from headrace.cli.kubeconfig import Access, KubeconfigError, Plugin

_EARLY: Final = timedelta(seconds=30)
_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class _Given(Struct, frozen=True, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Credential(Struct, frozen=True, rename="camel"):
    api_version: str
    status: _Given


class Credentials:
    """The credentials of one access."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._given: _Given | None = None

    async def token(self) -> str | None:
        """The bearer token that is valid now; None for who has none."""
        if self._access.token_file is not None:
            return read_text(self._access.token_file).strip()
        return self._access.token or (await self._from_plugin()).token

    async def header(self) -> dict[str, str]:
        """The Authorization header, if there is any."""
        token = await self.token()
        if token:
            return {"Authorization": f"Bearer {token}"}
        if self._access.basic is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(self._access.basic).encode()).decode()}

    async def tls(self) -> ssl.SSLContext:
        """How the server is checked, and the certificate that is shown to it."""
        try:
            context = ssl.create_default_context(cadata=self._access.authority)
        except ssl.SSLError as error:
            raise KubeconfigError(f"the cluster's certificate authority cannot be read: {error}") from None
        # As kubectl: many clusters' own authorities lack what the strict check of newer Pythons asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self._access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        given = await self._from_plugin()
        certificate = self._access.certificate or given.client_certificate_data
        key = self._access.key or given.client_key_data
        if certificate and key:
            _show(context, certificate, key)
        return context

    async def _from_plugin(self) -> _Given:
        if self._access.plugin is None or self._access.token or self._access.token_file:
            return _Given()
        until = None if self._given is None else self._given.expiration_timestamp
        if self._given is None or (until is not None and datetime.now(UTC) + _EARLY >= until):
            self._given = await run_plugin(self._access, self._access.plugin, os.environ)
        return self._given


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python loads certificates from files only: they are there, for the owner alone, as long as that takes."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise KubeconfigError(f"the client certificate and its key cannot be used: {error}") from None


async def run_plugin(access: Access, plugin: Plugin, environment: Mapping[str, str]) -> _Given:
    """Run a credential plugin; it may talk to the person on the terminal, so there is no limit of time."""
    if plugin.api_version not in _VERSIONS:
        raise KubeconfigError(f"exec: apiVersion {plugin.api_version!r} is not supported: use {_VERSIONS[0]}")
    mode = plugin.interactive_mode or "IfAvailable"
    interactive = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not interactive:
        raise KubeconfigError(f"exec: {plugin.command} needs a terminal")
    spec: dict[str, object] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        spec["cluster"] = _cluster(access)
    told = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    variables = {one.name: one.value for one in plugin.env or ()}
    process = await asyncio.create_subprocess_exec(
        _program(access, plugin),
        *(plugin.args or ()),
        env={**environment, **variables, "KUBERNETES_EXEC_INFO": msgspec.json.encode(told).decode()},
        stdin=None if interactive else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise KubeconfigError(f"exec: {plugin.command} ended with {process.returncode}")
    try:
        found = msgspec.json.decode(said, type=_Credential)
    except msgspec.DecodeError as error:
        raise KubeconfigError(f"exec: {plugin.command} printed no ExecCredential: {error}") from None
    if found.api_version != plugin.api_version:
        raise KubeconfigError(f"exec: {plugin.command} answers as {found.api_version}, not {plugin.api_version}")
    if not found.status.token and not (found.status.client_certificate_data and found.status.client_key_data):
        raise KubeconfigError(f"exec: {plugin.command} gave neither a token nor a certificate with its key")
    return found.status


def _program(access: Access, plugin: Plugin) -> str:
    """A path starts from the kubeconfig's directory; a bare name is looked for in PATH."""
    place = str(access.directory / plugin.command) if os.sep in plugin.command else plugin.command
    found = shutil.which(place)
    if found is None:
        hint = f"\n{plugin.install_hint}" if plugin.install_hint else ""
        raise KubeconfigError(f"exec: {plugin.command} is not there or cannot be run{hint}")
    return str(Path(found))


def _cluster(access: Access) -> dict[str, object]:
    facts: dict[str, object] = {"server": access.server}
    if access.authority:
        facts["certificate-authority-data"] = base64.b64encode(access.authority.encode()).decode()
    if access.insecure:
        facts["insecure-skip-tls-verify"] = True
    if access.server_name:
        facts["tls-server-name"] = access.server_name
    if access.proxy:
        facts["proxy-url"] = access.proxy
    return facts
