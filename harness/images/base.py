"""The base of the project's images: Debian with its Python, made from packages, for machines without a registry.

Called by `harness/image` and by the builder. Elsewhere the Dockerfiles' own default base serves as well.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from harness import files, packages, places
from harness.console import HarnessError, Progress, run
from harness.images import archive

TAG = "docker.io/local/python-base:bookworm"
SUITE = "bookworm"
# The version that the suite's Python has: wheels are chosen for it.
PYTHON = "3.11"
PACKAGES = ("python3", "python3-venv", "ca-certificates", "tzdata")
# What no container needs; the places that packages came from are this machine's business, too.
_DROPPED = (
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/locale",
    "/var/lib/apt/lists",
    "/var/cache/apt",
    "/var/log",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d/99mmdebstrap",
)


def key() -> str:
    """Key of the base: what it is made of."""
    return files.digest([repr((SUITE, PACKAGES, _DROPPED, archive.architecture(), 2)).encode()])


def ensure() -> Path:
    """Docker archive of the base; made when the cache has none."""
    target = places.cache() / "images" / f"base-{key()}.tar"
    with files.locked(target.with_suffix(".lock"), "it makes the base image"):
        if not target.exists():
            if os.geteuid() != 0:
                raise HarnessError("making the base image needs root")
            packages.ensure(packages.IMAGES)
            with Progress("base image"), tempfile.TemporaryDirectory(dir=target.parent, prefix="base-") as scratch:
                root = Path(scratch) / "root.tar"
                _bootstrap(Path(scratch), root)
                archive.single_layer(target, TAG, root, {"Cmd": ["/bin/sh"], "Env": ["LC_ALL=C.UTF-8"]})
    return target


def _bootstrap(scratch: Path, target: Path) -> None:
    sources = debian_sources(_apt_files(), SUITE)
    mirror: list[str] = []
    if sources:
        listed = scratch / "debian.list"
        listed.write_text("".join(f"{line}\n" for line in sources))
        mirror = [str(listed)]
    # The machine's own settings of apt, such as a proxy, hold for this download as for any other.
    settings = scratch / "apt.conf"
    settings.write_text(run(["apt-config", "dump", "Acquire"]).stdout)
    cleaning = [f'--customize-hook=rm -rf "$1{path}"' for path in _DROPPED]
    included = f"--include={','.join(PACKAGES)}"
    options = ["--mode=root", "--variant=minbase", "--format=tar", included, f"--aptopt={settings}", *cleaning]
    run(["mmdebstrap", *options, SUITE, str(target), *mirror])


def _apt_files() -> list[str]:
    home = Path("/etc/apt")
    found = [
        home / "sources.list",
        *sorted(home.glob("sources.list.d/*.list")),
        *sorted(home.glob("sources.list.d/*.sources")),
    ]
    return [one.read_text() for one in found if one.exists()]


def debian_sources(texts: list[str], suite: str) -> list[str]:
    """One-line entries, out of files of both of apt's formats, for the suite and its updates; no other archives."""
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    lines = []
    for text in texts:
        if re.search(r"^Types:", text, re.MULTILINE):
            lines += _from_stanzas(text)
        else:
            lines += [line.strip() for line in text.splitlines() if line.strip().startswith("deb ")]
    return [line for line in lines if _suite(line) in wanted and " main" in line]


def _from_stanzas(text: str) -> list[str]:
    lines = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(\S.*)$", stanza, re.MULTILINE))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled", "yes").lower() == "no":
            continue
        signed = f"[signed-by={fields['Signed-By']}] " if fields.get("Signed-By", "").startswith("/") else ""
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                lines.append(f"deb {signed}{uri} {suite} {fields.get('Components', 'main')}")
    return lines


def _suite(line: str) -> str:
    words = re.sub(r"\[.*?\]", "", line).split()
    return words[2] if len(words) > 2 else ""
