"""Which API server, and as whom: the kubeconfig as kubectl reads it. `connection` makes a transport of the answer.

Of its own, though the official client has a reader: that one takes 0.3 s to import (it brings the synchronous client
and pydantic along), takes the current context from the last file of KUBECONFIG where kubectl takes the first, and goes
on without credentials when a plugin fails. What kubectl itself has left out (auth-provider), and impersonation, are
refused.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from headrace.cli.documents import documents, read_text
from headrace.errors import PermanentError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(PermanentError):
    """A kubeconfig that does not say what is needed; the text says what."""


class EnvVar(Struct, frozen=True):
    """A variable of a credential plugin."""

    name: str
    value: str = ""


class Plugin(Struct, frozen=True, rename="camel"):
    """A program that gives credentials, as in client.authentication.k8s.io."""

    command: str
    api_version: str = ""
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool | None = None
    interactive_mode: str | None = None


class Cluster(Struct, frozen=True, rename="kebab"):
    """A cluster's entry."""

    server: str = ""
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None


class User(Struct, frozen=True, rename="kebab"):
    """A user's entry."""

    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    username: str | None = None
    password: str | None = None
    exec: Plugin | None = None
    auth_provider: object = None
    as_: str | None = msgspec.field(default=None, name="as")


class _Context(Struct, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str | None = None


class _NamedCluster(Struct, frozen=True):
    name: str
    cluster: Cluster | None = None


class _NamedUser(Struct, frozen=True):
    name: str
    user: User | None = None


class _NamedContext(Struct, frozen=True):
    name: str
    context: _Context | None = None


class _File(Struct, frozen=True, rename="kebab"):
    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None


@dataclass(frozen=True)
class Access:
    """An API server and an identity. PEM texts are whole; `directory`: what a plugin's relative path starts from."""

    server: str
    namespace: str
    authority: str | None = None
    insecure: bool = False
    server_name: str | None = None
    proxy: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    plugin: Plugin | None = field(default=None, repr=False)
    directory: Path = Path()


def access(environment: Mapping[str, str], given: Path | None = None, context: str | None = None) -> Access:
    """What the kubeconfig says: of the file `given`, else of those in KUBECONFIG, else of ~/.kube/config.

    Without any, a pod's own account. KubeconfigError when something needed is missing.
    """
    paths = _paths(environment, given)
    there = [path for path in paths if path.exists()]
    if not there and context is None and environment.get("KUBERNETES_SERVICE_HOST") and _ACCOUNT.is_dir():
        return _own_account(environment)
    if not there:
        listed = ", ".join(map(str, paths))
        raise KubeconfigError(f"no kubeconfig: {listed} is not there; set KUBECONFIG, or give --kubeconfig")
    return _resolved([(path, _read(path)) for path in there], context)


def contexts(environment: Mapping[str, str], given: Path | None = None) -> list[str]:
    """The names of the contexts that there are; KubeconfigError where a file is none."""
    files = (_read(path) for path in _paths(environment, given) if path.exists())
    return sorted({one.name for file in files for one in file.contexts or ()})


def _paths(environment: Mapping[str, str], given: Path | None) -> Sequence[Path]:
    if given is not None:
        if not given.exists():
            raise KubeconfigError(f"{given}: there is no such file")
        return [given]
    if environment.get("KUBECONFIG"):
        return [Path(one) for one in environment["KUBECONFIG"].split(os.pathsep) if one]
    return [Path(environment.get("HOME") or Path.home()) / ".kube" / "config"]


def _read(path: Path) -> _File:
    for document in documents(read_text(path), str(path)):
        try:
            return msgspec.convert(document, _File)
        except msgspec.ValidationError as error:
            raise KubeconfigError(f"{path}: no kubeconfig: {error}") from None
    return _File()


def _resolved(files: Sequence[tuple[Path, _File]], chosen: str | None) -> Access:
    """The first file that has a name, or a current context, is the one that counts; paths start from their file."""
    name = chosen or next((f.current_context for _, f in files if f.current_context), None)
    if not name:
        raise KubeconfigError("no current context: kubectl config use-context NAME, or give --context")
    _, found = _named("context", name, ((p, c.name, c.context) for p, f in files for c in f.contexts or ()))
    at, cluster = _named("cluster", found.cluster, ((p, c.name, c.cluster) for p, f in files for c in f.clusters or ()))
    if not cluster.server.startswith(("https://", "http://")):
        raise KubeconfigError(f"cluster {found.cluster}: its server is {cluster.server!r}, no https:// address")
    from_, user = Path(), User()
    if found.user:
        from_, user = _named("user", found.user, ((p, u.name, u.user) for p, f in files for u in f.users or ()))
    for what, is_there in (("auth-provider", user.auth_provider), ("as", user.as_)):
        if is_there:
            raise KubeconfigError(f"user {found.user}: `{what}` is not supported; kubectl create token gives one")
    return Access(
        server=cluster.server.rstrip("/"),
        namespace=found.namespace or "default",
        authority=_pem(cluster.certificate_authority_data, cluster.certificate_authority, at),
        insecure=bool(cluster.insecure_skip_tls_verify),
        server_name=cluster.tls_server_name or None,
        proxy=cluster.proxy_url or None,
        token=user.token or None,
        token_file=from_ / user.token_file if user.token_file else None,
        certificate=_pem(user.client_certificate_data, user.client_certificate, from_),
        key=_pem(user.client_key_data, user.client_key, from_),
        basic=(user.username, user.password or "") if user.username else None,
        plugin=user.exec,
        directory=from_,
    )


T = TypeVar("T")


def _named(kind: str, name: str, entries: Iterable[tuple[Path, str, T | None]]) -> tuple[Path, T]:
    """Directory of its file and entry of that name."""
    for path, given, entry in entries:
        if given == name and entry is not None:
            return path.absolute().parent, entry
    raise KubeconfigError(f"the kubeconfig has no {kind} {name!r}")


def _pem(data: str | None, file: str | None, directory: Path) -> str | None:
    """The text of a certificate or key; data go before a file."""
    if data:
        try:
            return base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise KubeconfigError(f"a certificate or key of the kubeconfig is no base64: {error}") from None
    return read_text(directory / file) if file else None


def _own_account(environment: Mapping[str, str]) -> Access:
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=read_text(_ACCOUNT / "namespace").strip(),
        authority=read_text(_ACCOUNT / "ca.crt"),
        token_file=_ACCOUNT / "token",
    )
