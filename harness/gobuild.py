"""The Kubernetes programs, etcd and CoreDNS, built from the pinned modules in harness/gomod into the cache.

Called by the native provider, and by `flux`. The cache is keyed by go.mod and go.sum, so a build happens once for each
pin. A build goes to a draft directory that is renamed when whole; the lock is handed to the compiler, so that a build
whose parent was killed still keeps others away until it ends.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from harness import files, places
from harness.console import HarnessError, Progress
from harness.packages import find

MODULES = ("etcd", "coredns", "kube")
OLDEST_GO = (1, 24)


def key(module: Path) -> str:
    """Key of a module's binaries: its go.mod and go.sum."""
    return files.digest([(module / "go.mod").read_bytes(), (module / "go.sum").read_bytes()])


def directory(name: str) -> Path:
    """Where the binaries of the module `name` are, once built."""
    return places.cache() / "bin" / f"{name}-{key(places.ROOT / 'harness' / 'gomod' / name)}"


def ensure(names: Sequence[str] = MODULES) -> dict[str, Path]:
    """Directories of binaries by module; builds those that are absent, telling which of how many and for how long."""
    homes = {name: directory(name) for name in names}
    absent = [name for name in names if not homes[name].exists()]
    for number, name in enumerate(absent, 1):
        with files.locked(homes[name].with_suffix(".lock"), f"it builds {name}") as lock:
            if not homes[name].exists():
                _build(name, homes[name], lock, f"building {name} ({number} of {len(absent)})")
    return homes


def version(text: str) -> tuple[int, int]:
    """Version out of `go version`'s line; (0, 0) when it cannot be read."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def compiler() -> str:
    """Path of a Go that can build the modules; Go itself fetches a newer toolchain where a module asks for one."""
    wanted = ".".join(map(str, OLDEST_GO))
    for candidate in (find("go"), "/usr/local/go/bin/go", "/usr/lib/go/bin/go"):
        if candidate and Path(candidate).exists():
            told = subprocess.run([candidate, "version"], check=False, capture_output=True, text=True, cwd="/")
            if version(told.stdout) >= OLDEST_GO:
                return candidate
    raise HarnessError(f"go {wanted} or newer is missing: install it from go.dev/dl (Debian 12's is too old)")


def _build(name: str, home: Path, lock: int, title: str) -> None:
    go = compiler()
    module = places.ROOT / "harness" / "gomod" / name
    for stale in home.parent.glob(f"{home.name}.draft-*"):
        shutil.rmtree(stale, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{home.name}.draft-", dir=home.parent))
    argv = [go, "build", "-v", "-ldflags=-s -w", "-o", f"{draft}/", "tool"]
    seen: list[str] = []
    with Progress(title, lambda: f"{len(seen)} packages compiled" if seen else "fetching modules"):
        build = subprocess.Popen(
            argv,
            cwd=module,
            env={**os.environ, "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[lock],
        )
        assert build.stderr is not None
        reader = threading.Thread(target=_collect, args=(build.stderr, seen), daemon=True)
        reader.start()
        try:
            code = build.wait()
        except BaseException:
            build.terminate()
            build.wait()
            raise
        reader.join()
        if code != 0:
            raise HarnessError(f"building {name} failed: {' | '.join(seen[-5:])}")
    draft.chmod(0o755)
    draft.rename(home)


def _collect(stream: IO[str], seen: list[str]) -> None:
    for line in stream:
        seen.append(line.strip())
