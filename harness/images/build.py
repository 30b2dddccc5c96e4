"""The project's images: Dockerfile and wheels in, docker archive out, keyed by all that went in.

Called by `harness/image`, by the checks and by the demo. The build context holds the Dockerfile and `wheels/` alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness import files, packages, places
from harness.console import HarnessError, Progress, run
from harness.images import archive, base, wheels

# Archives of one tag that the cache keeps; each is a few hundred megabytes, and every change of the code makes one.
_KEPT = 3


@dataclass(frozen=True)
class Image:
    """One image: directory of its Dockerfile, tag, lock of its wheels, projects whose own wheels it holds."""

    directory: Path
    tag: str
    lock: Path
    projects: tuple[Path, ...] = ()


OPERATOR = Image(places.ROOT, "docker.io/local/headrace:dev", places.ROOT / "requirements.lock", (places.ROOT,))
FLIGHTS = Image(
    places.ROOT / "examples" / "flights",
    "docker.io/local/flights:demo",
    places.ROOT / "examples" / "flights" / "requirements.lock",
    (places.ROOT / "examples" / "flights", places.ROOT / "worker"),
)
NAMED = {"operator": OPERATOR, "flights": FLIGHTS}


def key(image: Image) -> str:
    """Key of an image: Dockerfile, lock, base, the files of the project, and the tag it is saved under."""
    parts = [
        image.tag.encode(),
        base.key().encode(),
        (image.directory / "Dockerfile").read_bytes(),
        image.lock.read_bytes(),
    ]
    for project in image.projects:
        for file in wheels.sources(project):
            parts += [str(file.relative_to(project)).encode(), b"\0", file.read_bytes(), b"\0"]
    return files.digest(parts)


def ensure(image: Image) -> Path:
    """Docker archive of the image; built when the cache has none of this content."""
    name = image.tag.rpartition("/")[2].replace(":", "-")
    target = places.cache() / "images" / f"{name}-{key(image)}.tar"
    if target.exists():
        os.utime(target)
        return target
    if os.geteuid() != 0:
        raise HarnessError("building images needs root")
    packages.ensure(packages.IMAGES)
    foundation = base.ensure()
    with files.locked(places.cache() / "buildah.lock", "it builds an image"):
        if target.exists():
            return target
        locked = wheels.locked(image.lock)
        with Progress(f"image {image.tag}"), tempfile.TemporaryDirectory(prefix="headrace-image-") as scratch:
            context = Path(scratch)
            shutil.copytree(locked, context / "wheels")
            for project in image.projects:
                wheels.build(project, context / "wheels")
            shutil.copy(image.directory / "Dockerfile", context)
            _bake(context, image.tag, foundation, target)
        for old in sorted(target.parent.glob(f"{name}-*.tar"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return target


def _bake(context: Path, tag: str, foundation: Path, target: Path) -> None:
    store = places.cache() / "buildah"
    policy = store / "policy.json"
    files.write_json(policy, {"default": [{"type": "insecureAcceptAnything"}]})
    buildah = ["buildah", f"--root={store / 'storage'}", f"--runroot={store / 'run'}"]
    # chroot is the one isolation that needs no rights beyond root's.
    env = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}
    signed = f"--signature-policy={policy}"
    own = f"{base.TAG}-{base.key()}"
    if run([*buildah, "inspect", "--type=image", own], check=False, env=env).returncode != 0:
        pulled = run([*buildah, "pull", "-q", signed, f"docker-archive:{foundation}"], env=env).stdout.split()[-1]
        run([*buildah, "tag", pulled, own], env=env)
    arguments = [f"--build-arg=BASE={own}", "--pull-never", "--timestamp=0", "--squash", signed, "-t", tag]
    run([*buildah, "bud", *arguments, "-f", str(context / "Dockerfile"), str(context)], env=env, timeout=1800)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    run([*buildah, "push", "-q", signed, tag, f"docker-archive:{draft}:{tag}"], env=env)
    archive.contents(draft)
    draft.replace(target)
    run([*buildah, "rmi", tag], check=False, env=env)
    run([*buildah, "rmi", "--prune"], check=False, env=env)
