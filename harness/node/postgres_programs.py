"""Postgres's programs and account: found or installed, and run as someone who is not root.

Called by database.py for the cluster's own server and by postgres.py for throw-away ones. Postgres refuses to run as
root, so as root it runs as the account that Debian's package makes.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness import files, packages
from harness.console import HarnessError, run

OLDEST = 15
_KEEP_CLUSTERLESS = Path("/etc/postgresql-common/createcluster.d/headrace.conf")


def binaries() -> Path:
    """Directory of Postgres's programs: 15 where there is one, else the newest after it; installs Debian's if none."""
    found = _installed()
    if found is None:
        # Debian's package would otherwise start a server of its own on port 5432.
        if os.geteuid() == 0:
            files.write(_KEEP_CLUSTERLESS, "create_main_cluster = false\n")
        packages.install([f"postgresql-{OLDEST}"])
        found = _installed()
    if found is None:
        raise HarnessError(f"Postgres {OLDEST} is missing on this machine")
    return found


def _installed() -> Path | None:
    versions = {
        int(one.parent.name): one for one in Path("/usr/lib/postgresql").glob("[0-9]*/bin") if (one / "initdb").exists()
    }
    suitable = sorted(version for version in versions if version >= OLDEST)
    if suitable:
        return versions[suitable[0]]
    program = shutil.which("postgres")
    if program is None:
        return None
    told = re.search(r"(\d+)", run([program, "--version"]).stdout)
    home = Path(program).resolve().parent
    return home if told and int(told[1]) >= OLDEST and (home / "initdb").exists() else None


def account() -> str | None:
    """The account Postgres runs as: None for the caller's own, when that is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise HarnessError("Postgres needs an account that is not root: there is neither `postgres` nor `nobody`")


def as_account(argv: Sequence[str], *, die_with_parent: bool = False) -> list[str]:
    """The command as Postgres's account runs it; with `die_with_parent` the kernel ends it when the caller ends."""
    user = account()
    prefix = ["--pdeathsig", "QUIT"] if die_with_parent else []
    if user is not None:
        group = pwd.getpwnam(user).pw_gid
        prefix = ["--reuid", user, "--regid", str(group), "--init-groups", *prefix]
    return ["setpriv", *prefix, "--", *argv] if prefix else list(argv)


def own(path: Path) -> None:
    """Make a directory that is the account's alone."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    user = account()
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    path.chmod(0o700)


def initialise(home: Path) -> None:
    """Make a data directory at `home`, whole or not at all: a half-made one lacks the marker and is made again."""
    marker = home / "headrace.complete"
    if marker.exists():
        return
    shutil.rmtree(home, ignore_errors=True)
    own(home)
    options = ["--auth-local=peer", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    run(as_account([str(binaries() / "initdb"), "-D", str(home), "--username=postgres", *options]), cwd=Path("/"))
    files.write(marker, "")


def ready(sockets: Path, port: int) -> bool:
    """Whether the Postgres whose socket is in `sockets` takes connections."""
    argv = [str(binaries() / "pg_isready"), "-q", "-h", str(sockets), "-p", str(port)]
    return subprocess.run(argv, check=False, capture_output=True, timeout=10).returncode == 0


def make_database(sockets: Path, port: int, password: str) -> None:
    """Make the role and the database `headrace`, unless they are there."""
    # The password goes by standard input: an argument could be read by any account of the machine.
    script = rf"""
        SELECT 'CREATE ROLE headrace LOGIN CREATEDB' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headrace')
        \gexec
        ALTER ROLE headrace PASSWORD '{password}';
        SELECT 'CREATE DATABASE headrace OWNER headrace'
        WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'headrace')
        \gexec
    """
    psql = [str(binaries() / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(sockets), "-p", str(port)]
    run(as_account([*psql, "-U", "postgres", "-d", "postgres"]), stdin=script, cwd=Path("/"))
