"""Wheels for an image, fetched and built outside it: a build step sees no package settings and needs no network.

Called by the image builder.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import files, places
from harness.console import HarnessError, Progress, run
from harness.images import base

# glibc of the base is 2.36; pip takes a wheel only for platforms that are named.
_GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17", "2_12", "2_5")


def platforms() -> list[str]:
    """Platform tags that run in the base image, newest first."""
    machine = platform.machine()
    return [f"manylinux_{version}_{machine}" for version in _GLIBC] + [f"manylinux2014_{machine}", f"linux_{machine}"]


def locked(lock: Path) -> Path:
    """Directory with the wheels that a lock file names, for the base image's Python; cached by the lock's content."""
    described = f"{base.PYTHON} {platforms()}".encode()
    home = places.cache() / "wheels" / files.digest([lock.read_bytes(), b"\0", described])
    with files.locked(home.with_suffix(".lock"), "it fetches wheels"):
        if not home.exists():
            with Progress(f"wheels of {lock.name}"):
                draft = Path(tempfile.mkdtemp(dir=home.parent, prefix=f"{home.name}.draft-"))
                chosen = [f"--platform={one}" for one in platforms()]
                pip = [sys.executable, "-m", "pip", "download", "-q", "--timeout", "60", "--retries", "10", "--no-deps"]
                target = [f"--python-version={base.PYTHON}", "--implementation=cp", *chosen]
                run([*pip, *target, "--require-hashes", "-r", str(lock), "-d", str(draft)])
                _build_sources(draft)
                draft.chmod(0o755)
                draft.rename(home)
    return home


def _build_sources(directory: Path) -> None:
    """Replace source distributions by wheels; they must be pure, since the base may have another Python than ours."""
    for source in [one for one in directory.iterdir() if one.suffix != ".whl"]:
        known = set(directory.glob("*.whl"))
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--timeout",
                "60",
                "--no-deps",
                "-w",
                str(directory),
                str(source),
            ]
        )
        for made in set(directory.glob("*.whl")) - known:
            if not made.name.endswith("-none-any.whl"):
                raise HarnessError(
                    f"{source.name} has no wheel for Python {base.PYTHON}, and building gives {made.name}"
                )
        source.unlink()


def build(project: Path, target: Path) -> None:
    """Build the wheel of a project into `target`, with the environment's own build backend."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    # The build backend writes next to the sources; a copy keeps the checkout as it is.
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / project.name
        for file in sources(project):
            kept = copy / file.relative_to(project)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, kept)
        run([*pip, "-w", str(target), str(copy)], env={"SOURCE_DATE_EPOCH": "315532800"})


def sources(project: Path) -> list[Path]:
    """Files that a project's wheel is made of, as its pyproject.toml says."""
    with (project / "pyproject.toml").open("rb") as file:
        settings = tomllib.load(file)
    return sorted(set(_named(project, settings)))


def _named(project: Path, settings: dict[str, Any]) -> Iterator[Path]:
    about = settings.get("project", {})
    wheel = settings.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {}).get("wheel", {})
    readme = about.get("readme")
    names = ["pyproject.toml", *about.get("license-files", ()), *([readme] if isinstance(readme, str) else [])]
    names += [*wheel.get("packages", ()), *wheel.get("force-include", {})]
    for name in names:
        place = project / name
        if place.is_file():
            yield place
        for directory, inner, found in os.walk(place):
            inner[:] = [one for one in inner if one != "__pycache__"]
            yield from (Path(directory) / one for one in found if not one.endswith(".pyc"))
