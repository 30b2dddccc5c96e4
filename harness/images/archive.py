"""Docker archives: writes images of a single layer, and tells what an archive holds.

Called by the native provider for pause and CoreDNS, by the base image, and before an image is loaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from harness.console import HarnessError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's architecture as images call it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def normalised(tag: str) -> str:
    """A tag with its registry, as containerd keeps it."""
    first = tag.split("/", maxsplit=1)[0]
    if "/" in tag and ("." in first or ":" in first or first == "localhost"):
        return tag
    return f"docker.io/{tag}" if "/" in tag else f"docker.io/library/{tag}"


def contents(archive: Path) -> dict[str, str]:
    """Tags of an archive, each with the name of its image's configuration, which is its digest."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            assert member is not None
            manifest = json.load(member)
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise HarnessError(f"{archive} is not a docker archive: {error}") from error
    return {normalised(tag): entry["Config"] for entry in manifest for tag in entry.get("RepoTags") or ()}


def single_program(target: Path, tag: str, program: Path, name: str, command: list[str]) -> None:
    """Write an image that holds one static program, at `/name`, run with `command`."""
    with tempfile.TemporaryFile() as layer:
        with tarfile.open(fileobj=layer, mode="w") as tar, program.open("rb") as file:
            entry = _entry(name, program.stat().st_size)
            entry.mode = 0o755
            tar.addfile(entry, file)
        user = {"User": "65532:65532", "WorkingDir": "/"}
        _write(target, tag, layer, {"Entrypoint": [f"/{name}"], "Cmd": command, **user})


def single_layer(target: Path, tag: str, root: Path, settings: dict[str, Any]) -> None:
    """Write an image whose only layer is the tar file `root`, with the container settings given."""
    with root.open("rb") as layer:
        _write(target, tag, layer, settings)


def _write(target: Path, tag: str, layer: io.BufferedRandom | io.BufferedReader, settings: dict[str, Any]) -> None:
    """Write the archive in one step. The same layer and settings give the same bytes."""
    size = layer.seek(0, os.SEEK_END)
    layer.seek(0)
    diff = hashlib.file_digest(layer, "sha256").hexdigest()
    layer.seek(0)
    document = {
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
    }
    config = json.dumps(document, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": [f"{diff}.tar"]}]).encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(draft, "w") as tar:
        for inner, data in (("manifest.json", manifest), (config_name, config)):
            tar.addfile(_entry(inner, len(data)), io.BytesIO(data))
        tar.addfile(_entry(f"{diff}.tar", size), layer)
    draft.replace(target)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry
