"""A cluster in containers, through kind and the container engine that is there.

Picked by choice.py. Needs Docker or Podman, and their registry for the images of the node and of Postgres; CI has
neither, so its tests look at the commands that it would run.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from harness import files, places
from harness.console import HarnessError, Progress, run, say
from harness.node import volumes
from harness.packages import find
from harness.providers.provider import HEALTHY, Part, Report

POSTGRES = "docker.io/library/postgres:15"
ENGINES = ("docker", "podman")
_VOLUMES = "/var/local/headrace-volumes"


def engine() -> str:
    """The container engine to use; HarnessError when none answers."""
    for name in ENGINES:
        if find(name) and run([name, "info"], check=False).returncode == 0:
            return name
    raise HarnessError("the kind provider needs Docker or Podman, running; use --provider native or existing")


class Kind:
    """The kind provider for the cluster `name`."""

    def __init__(self, name: str) -> None:
        self._name = f"headrace-{name}" if name != places.DEFAULT_CLUSTER else name
        self._state = places.cluster(name)
        self._cluster = name
        self._kubeconfig = self._state / "kubeconfig"
        self._database = f"{self._name}-postgres"
        self._node = f"{self._name}-control-plane"

    def up(self) -> None:
        """Create the cluster, its volumes and its Postgres, as far as they are missing."""
        for program in ("kind", "kubectl"):
            if find(program) is None:
                raise HarnessError(f"the kind provider needs {program}, which is missing on this machine")
        using = engine()
        with files.locked(self._state.with_name(f".{self._cluster}.lock"), f"it works on cluster {self._cluster}"):
            record = files.read_json(self._state / "cluster.json")
            if record is None:
                record = {"provider": "kind", "engine": using, "password": secrets.token_hex(16)}
                files.write_json(self._state / "cluster.json", record, 0o600)
            if self._name not in self._kind("get", "clusters").split():
                with Progress(f"kind cluster {self._name}"):
                    self._kind("create", "cluster", *self._named(), "--wait=180s")
            self._kind("export", "kubeconfig", *self._named())
            self._offer_volumes(using)
            if run([using, "inspect", self._database], check=False).returncode != 0:
                run(self._postgres_command(using), env={"POSTGRES_PASSWORD": record["password"]}, timeout=600)
            run([using, "start", self._database])
            say(f"cluster {self._cluster} is up")

    def _postgres_command(self, using: str) -> list[str]:
        # The password comes from this process's environment: an argument could be read by others.
        settings = ("-e", "POSTGRES_USER=headrace", "-e", "POSTGRES_DB=headrace", "-e", "POSTGRES_PASSWORD")
        limits = ("-c", "max_connections=200")
        return [using, "run", "--detach", "--name", self._database, "--network=kind", *settings, POSTGRES, *limits]

    def _offer_volumes(self, using: str) -> None:
        """Volumes that many pods may mount: kind's own class knows only volumes of a single writer."""
        names = volumes.names()
        made = " ".join(f"{_VOLUMES}/{name}" for name in names)
        run([using, "exec", self._node, "sh", "-c", f"mkdir -p {made} && chmod 0777 {made}"])
        items = [volumes.document(name, Path(_VOLUMES) / name) for name in names]
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        run(["kubectl", f"--kubeconfig={self._kubeconfig}", "apply", "--server-side", "-f", "-"], stdin=listed)

    def down(self, *, keep: bool) -> None:
        """Delete the cluster and its Postgres."""
        if keep:
            raise HarnessError("a kind cluster cannot be stopped and kept; leave out --keep to delete it")
        self._kind("delete", "cluster", *self._named())
        run([engine(), "rm", "--force", "--volumes", self._database], check=False)
        for name in ("kubeconfig", "cluster.json"):
            (self._state / name).unlink(missing_ok=True)
        say(f"cluster {self._cluster} is down")

    def env(self) -> dict[str, str]:
        """Kubeconfig, and the address of the database in the engine's network, which pods and a Linux host reach."""
        record = self._known()
        where = '{{(index .NetworkSettings.Networks "kind").IPAddress}}'
        address = run([str(record["engine"]), "inspect", "--format", where, self._database]).stdout.strip()
        return {
            "HEADRACE_CLUSTER": self._cluster,
            "KUBECONFIG": str(self._kubeconfig),
            "HEADRACE_DATABASE_URL": f"postgresql://headrace:{record['password']}@{address}:5432/headrace",
        }

    def status(self) -> Report:
        """Whether the node's API server and the database answer."""
        using = str(self._known()["engine"])
        asked = run(["kubectl", f"--kubeconfig={self._kubeconfig}", "get", "--raw", "/readyz"], check=False)
        ready = run([using, "exec", self._database, "pg_isready", "-q", "-U", "headrace"], check=False)
        parts = (
            Part("api server", self._node, HEALTHY if asked.returncode == 0 else "it does not answer"),
            Part("postgres", self._database, HEALTHY if ready.returncode == 0 else "it does not answer"),
        )
        return Report(parts, {})

    def load_image(self, archive: Path) -> None:
        """Load the archive into the node."""
        self._known()
        self._kind("load", "image-archive", str(archive), f"--name={self._name}")

    def kill(self, daemon: str) -> int:
        """Refuse: the daemons are the node's."""
        raise HarnessError(f"kill of {daemon} needs the native provider")

    def _named(self) -> tuple[str, str]:
        return f"--name={self._name}", f"--kubeconfig={self._kubeconfig}"

    def _kind(self, *arguments: str) -> str:
        record = files.read_json(self._state / "cluster.json") or {}
        podman = {"KIND_EXPERIMENTAL_PROVIDER": "podman"} if record.get("engine") == "podman" else {}
        return run(["kind", *arguments], env={**os.environ, **podman}, timeout=900).stdout

    def _known(self) -> dict[str, object]:
        record = files.read_json(self._state / "cluster.json")
        if record is None:
            raise HarnessError(f"cluster {self._cluster} is not there; `harness/cluster up --provider kind` makes it")
        return record
