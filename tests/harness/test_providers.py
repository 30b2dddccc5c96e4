"""The providers that continuous integration cannot exercise: the commands they would run, and what they refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import cluster_command
from harness.console import HarnessError
from harness.providers import choice
from harness.providers.existing import Existing
from harness.providers.kind import Kind

# Each call is one line of the log: the program, its arguments, what it was told on standard input in one line.
FAKE = """\
#!/bin/sh
name=$(basename "$0")
echo "$name $*" >> "$CALLS"
case "$name $*" in
  "kind get clusters") cat "$CLUSTERS" 2>/dev/null || true ;;
  "kind create cluster"*) echo headrace-k > "$CLUSTERS" ;;
  "docker inspect --format"*) echo 172.18.0.3 ;;
  "docker inspect"*) test -e "$POSTGRES" || exit 1 ;;
  "docker run"*) echo "$POSTGRES_PASSWORD" > "$POSTGRES" ;;
  "kubectl"*"apply"*) cat > "$APPLIED" ;;
  "kubectl config current-context") echo their-cluster ;;
  "kubectl get --raw"*) test -z "${REFUSED:-}" || { echo "connection refused" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but a shell, on which fakes are put by `give`; its clusters are kept apart."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "basename", "cat"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("harness.packages._PATH", str(programs))
    monkeypatch.setenv("HEADRACE_CLUSTERS", str(tmp_path / "clusters"))
    for name in ("CALLS", "CLUSTERS", "POSTGRES", "APPLIED"):
        monkeypatch.setenv(name, str(tmp_path / f"{name.lower()}.txt"))
    monkeypatch.delenv("HEADRACE_DATABASE_URL", raising=False)
    return tmp_path


def give(machine: Path, *names: str) -> None:
    for name in names:
        program = machine / "bin" / name
        program.write_text(FAKE)
        program.chmod(0o755)


def calls(machine: Path) -> list[str]:
    return (machine / "calls.txt").read_text().splitlines()


def test_kind_says_in_one_line_what_is_missing(machine: Path) -> None:
    with pytest.raises(HarnessError, match="needs kind, which is missing"):
        Kind("k").up()
    give(machine, "kind", "kubectl")
    with pytest.raises(HarnessError, match="needs Docker or Podman"):
        Kind("k").up()


def test_kind_makes_a_cluster_with_volumes_and_a_database(machine: Path) -> None:
    give(machine, "kind", "kubectl", "docker")
    Kind("k").up()
    made = calls(machine)
    config = f"--kubeconfig={machine / 'clusters' / 'k' / 'kubeconfig'}"
    assert f"kind create cluster --name=headrace-k {config} --wait=180s" in made
    [database] = [line for line in made if line.startswith("docker run")]
    assert "--network=kind" in database
    assert database.endswith("docker.io/library/postgres:15 -c max_connections=200")
    applied = json.loads((machine / "applied.txt").read_text())["items"]
    assert len(applied) == 24
    assert all("ReadWriteMany" in item["spec"]["accessModes"] for item in applied)

    env = Kind("k").env()
    password = (machine / "postgres.txt").read_text().strip()
    assert password not in "\n".join(calls(machine))
    assert env["HEADRACE_DATABASE_URL"] == f"postgresql://headrace:{password}@172.18.0.3:5432/headrace"
    assert choice.recorded("k") == "kind"


def test_kind_makes_nothing_twice(machine: Path) -> None:
    give(machine, "kind", "kubectl", "docker")
    Kind("k").up()
    Kind("k").up()
    made = calls(machine)
    assert len([line for line in made if line.startswith("kind create")]) == 1
    assert len([line for line in made if line.startswith("docker run")]) == 1


def test_kind_loads_archives_and_deletes_what_it_made(machine: Path) -> None:
    give(machine, "kind", "kubectl", "docker")
    Kind("k").up()
    Kind("k").load_image(Path("/x/headrace.tar"))
    assert calls(machine)[-1] == "kind load image-archive /x/headrace.tar --name=headrace-k"
    Kind("k").down(keep=False)
    assert any(line.startswith("kind delete cluster --name=headrace-k") for line in calls(machine))
    assert calls(machine)[-1] == "docker rm --force --volumes headrace-k-postgres"
    assert choice.recorded("k") is None


def test_an_existing_cluster_is_checked_and_remembered(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match="kubectl is missing"):
        Existing("e").up()
    give(machine, "kubectl")
    with pytest.raises(HarnessError, match="HEADRACE_DATABASE_URL is not set"):
        Existing("e").up()
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://u:secret@db.example/headrace")
    Existing("e").up()
    assert choice.recorded("e") == "existing"
    parts = Existing("e").status().parts
    assert [(part.where, part.health) for part in parts] == [("their-cluster", "healthy"), ("db.example", "healthy")]
    monkeypatch.setenv("REFUSED", "yes")
    with pytest.raises(HarnessError, match="connection refused"):
        Existing("e").up()


def test_an_existing_cluster_is_never_changed(machine: Path) -> None:
    give(machine, "kubectl")
    with pytest.raises(HarnessError, match=r"push headrace\.tar there"):
        Existing("e").load_image(Path("headrace.tar"))
    with pytest.raises(HarnessError, match="not ours to kill"):
        Existing("e").kill("etcd")
    Existing("e").down(keep=False)
    assert not (machine / "calls.txt").exists()


def test_one_name_has_one_provider(machine: Path) -> None:
    give(machine, "kind", "kubectl", "docker")
    Kind("k").up()
    assert isinstance(choice.get("k"), Kind)
    with pytest.raises(HarnessError, match="made with --provider kind"):
        choice.get("k", "native")


def test_the_command_line_shows_one_line_and_fails(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster_command.main(["up", "--name", "k", "--provider", "kind"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "headrace: the kind provider needs kind, which is missing on this machine\n"
    assert cluster_command.main(["env", "--name", "nowhere"]) == 1
    assert "`harness/cluster up --name nowhere` makes it" in capsys.readouterr().err


def test_env_is_quoted_for_a_shell(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://u:a'b$c@db/headrace")
    assert cluster_command.main(["env", "--name", "e", "--provider", "existing"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "DATABASE" in line)
    echoed = subprocess.check_output(["sh", "-c", f"{line}; cat <<E\n$HEADRACE_DATABASE_URL\nE"], text=True)
    assert echoed == "postgresql://u:a'b$c@db/headrace\n"
