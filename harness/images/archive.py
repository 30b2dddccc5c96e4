"""Docker archives: writes the two images that are a single program each, and tells what an archive holds.

Called by the native provider for pause and CoreDNS, and before an image is loaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from pathlib import Path

from harness.console import HarnessError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's architecture as images call it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def normalised(tag: str) -> str:
    """A tag with its registry, as containerd keeps it."""
    first = tag.split("/")[0]
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
    """Write an image that holds one static program, at `/name`, run with `command`; byte for byte reproducible."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar, program.open("rb") as file:
        entry = _entry(name, program.stat().st_size)
        entry.mode = 0o755
        tar.addfile(entry, file)
    diff = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": architecture(),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": [f"/{name}"], "Cmd": command, "User": "65532:65532", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
        },
        sort_keys=True,
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": [f"{diff}.tar"]}]).encode()
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(draft, "w") as tar:
        for inner, data in (("manifest.json", manifest), (config_name, config), (f"{diff}.tar", layer.getvalue())):
            tar.addfile(_entry(inner, len(data)), io.BytesIO(data))
    draft.replace(target)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry
