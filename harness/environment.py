"""Virtual environments of locked packages: made once for each content of the lock file and Python version.

Called by entry.sh for that of the checks, which needs one line on standard output: the path of the interpreter; and by
the measurements for what they compare with. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness import files, packages, places
from harness.console import HarnessError, Progress, run


def key(lock: bytes, version: str) -> str:
    """Name of the environment: content of the lock file and the interpreter's version."""
    return files.digest([lock, b"\0", version.encode()])


def ensure(lock: Path = places.ROOT / "requirements-dev.lock") -> Path:
    """Interpreter of the environment that `lock` describes, which is made first when absent.

    A virtual environment cannot be renamed into place, since its scripts carry its path; a marker file written last
    says that it is whole.
    """
    home = places.cache() / "venv" / key(lock.read_bytes(), sys.version)
    python = home / "bin" / "python"
    marker = home / ".complete"
    if marker.exists() and python.exists():
        return python
    with files.locked(home.with_suffix(".lock"), "it makes the Python environment"):
        if marker.exists() and python.exists():
            return python
        with Progress(f"Python environment of {lock.name}"):
            shutil.rmtree(home, ignore_errors=True)
            _create(home)
            # pip gives up on one slow answer after fifteen seconds, which a loaded machine meets.
            pip = [str(python), "-m", "pip", "install", "-q", "--timeout", "60", "--retries", "10"]
            run([*pip, "--require-hashes", "-r", str(lock)])
            files.write(marker, "")
    return python


def _create(home: Path) -> None:
    probe = subprocess.run(
        [sys.executable, "-c", "import ensurepip, venv"], check=False, capture_output=True, timeout=60
    )
    if probe.returncode != 0:
        packages.install([f"python3.{sys.version_info.minor}-venv"])
    run([os.path.realpath(sys.executable), "-m", "venv", str(home)])


if __name__ == "__main__":
    try:
        print(ensure())
    except HarnessError as error:
        sys.exit(f"headrace: {error}")
