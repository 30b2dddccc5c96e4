"""A static pool of volumes behind the default StorageClass: directories below the cluster's state.

Called by add-ons at `up`. Any user may write to them, as host paths know no fsGroup. A volume whose claim is gone is
wiped and offered again at the next `up`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness.node.http import Api

COUNT = 24
_PATH = "/api/v1/persistentvolumes"


def ensure(api: Api, state: Path) -> None:
    """Make the volumes that are missing, and free those whose claim was deleted."""
    listed = api.call("GET", f"{_PATH}?labelSelector=headrace.dev/pool") or {"items": []}
    present = {item["metadata"]["name"]: item for item in listed["items"]}
    for name in names():
        directory = state / "volumes" / name
        if name not in present:
            _empty(directory)
            api.apply(f"{_PATH}/{name}", document(name, directory))
        elif present[name].get("status", {}).get("phase") == "Released":
            _empty(directory)
            api.merge(f"{_PATH}/{name}", {"spec": {"claimRef": None}})


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o777)


def names() -> list[str]:
    """Names of the volumes of the pool."""
    return [f"volume-{number:02d}" for number in range(1, COUNT + 1)]


def document(name: str, directory: Path) -> dict[str, Any]:
    """The object of one volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"headrace.dev/pool": "standard"}},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
            "hostPath": {"path": str(directory), "type": "Directory"},
        },
    }
