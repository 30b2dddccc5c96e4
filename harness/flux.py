"""Flux's kustomize-controller, built from its Go module, and the definitions of its objects, both kept in the cache.

Called by the test of GitOps. The sources that it can read are defined by another module, which is fetched for that and
not built: what the test gives it to read is an ExternalArtifact, which anybody may serve.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness import files, gobuild, places
from harness.console import HarnessError

MODULE = "flux"
_CONTROLLER = "github.com/fluxcd/kustomize-controller"
_SOURCES = "github.com/fluxcd/source-controller@v1.9.6"
_SOURCES_SUM = "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc="
_DEFINITIONS = Path("config") / "crd" / "bases"


@dataclass(frozen=True)
class Flux:
    """What there is of Flux: a program, and a directory of definitions."""

    controller: Path
    definitions: Path


def ensure() -> Flux:
    """Build and fetch what is absent: 4 to 7 minutes on two cores the first time."""
    home = gobuild.ensure((MODULE,))[MODULE]
    kept = home.with_name(f"flux-crds-{files.digest([home.name.encode(), _SOURCES_SUM.encode()])}")
    with files.locked(kept.with_suffix(".lock"), "it fetches Flux's definitions"):
        if not kept.exists():
            draft = Path(tempfile.mkdtemp(prefix=f"{kept.name}.draft-", dir=kept.parent))
            for module in (_module(_CONTROLLER, _required()), _module(_SOURCES, Path("/"), _SOURCES_SUM)):
                for one in (module / _DEFINITIONS).glob("*.yaml"):
                    shutil.copyfile(one, draft / one.name)
            draft.rename(kept)
    return Flux(home / "kustomize-controller", kept)


def _required() -> Path:
    return places.ROOT / "harness" / "gomod" / MODULE


def _module(module: str, where: Path, wanted: str | None = None) -> Path:
    """The directory of a module, fetched if need be: in the version that `where` requires, or with this sum."""
    argv = [gobuild.compiler(), "mod", "download", "-json", module]
    done = subprocess.run(argv, cwd=where, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise HarnessError(f"fetching {module} failed: {done.stderr.strip() or done.stdout.strip()}")
    told = json.loads(done.stdout)
    if wanted is not None and told["Sum"] != wanted:
        raise HarnessError(f"{module} is not what it was: {told['Sum']}")
    return Path(told["Dir"])
