"""The main screens in good and bad states, as pictures of a terminal of 80 columns: `docs/screens.md`.

Called by the executable `harness/screens`. Brings cluster and operator up, plays the scenes in a namespace of their
own, and writes what a person would see. Pictures are made anew with each call; nothing compares them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from harness import deployment, places
from harness.console import HarnessError, run, say
from harness.deployment import kubectl
from harness.providers import choice

WIDTH = 80
NAMESPACE = "shop"
DOCS = places.ROOT / "docs"
PICTURES = DOCS / "screens"
_WAIT = "kubectl wait -n shop dag/shop --timeout=180s --for=condition="
_RIGHTS = """
kubectl create rolebinding headrace-tenant -n shop --clusterrole=headrace-tenant \
  --serviceaccount=headrace-system:headrace-operator
"""


@dataclass(frozen=True)
class Scene:
    """What is told of it, how it comes about, and the commands whose screens are shown."""

    title: str
    told: str
    script: str
    commands: tuple[str, ...]


_GET = "kubectl get dag,hjob,dset -n shop -o wide"
_STATUS, _WHY = "headrace status -n shop", "headrace why shop -n shop"
SCENES = (
    Scene(
        "Not a tenant",
        "The operator may not make pods in the namespace yet.",
        f"kubectl apply -n shop -f shop.yaml\n{_WAIT}Stalled",
        (_STATUS, _WHY, _GET),
    ),
    Scene(
        "All is well",
        "Everything is made, and of the newest version.",
        f"{_RIGHTS}\n{_WAIT}Ready\nheadrace run shop/day -n shop --wait\n"
        "kubectl wait -n shop dset/shop.shop-revenue --timeout=180s --for=jsonpath='{.status.partitions}'=3\n"
        f"{_WAIT}UpToDate",
        (_STATUS, _GET, _WHY),
    ),
    Scene(
        "A change, planned",
        "`plan` shows what applying would do, and does nothing.",
        "sed 's/orders: 100/orders: 200/' shop.yaml > changed.yaml",
        ("headrace plan -f changed.yaml -n shop",),
    ),
    Scene(
        "A version is built",
        "The former one serves, until everything is there.",
        "sed 's/seconds: 0/seconds: 30/' changed.yaml > slow.yaml\nkubectl apply -n shop -f slow.yaml\n"
        "kubectl wait -n shop dag/shop --timeout=60s --for=jsonpath='{.status.rollout.state}'=Building\n"
        "kubectl wait -n shop hjob/shop.orders --timeout=60s --for=jsonpath='{.status.running}'=2",
        (_STATUS, _GET, _WHY),
    ),
    Scene(
        "A version that fails",
        "The former one serves on.",
        "sed 's/total = sum/total = 1 \\/\\/ 0 + sum/' shop.yaml > broken.yaml\n"
        f"kubectl apply -n shop -f broken.yaml\n{_WAIT}Stalled",
        (_STATUS, _WHY, _GET),
    ),
    Scene(
        "After a rollback",
        "A person had it return to a version, and it stays there until `unpin`.",
        f"kubectl apply -n shop -f changed.yaml\n{_WAIT}UpToDate\nheadrace rollback shop -n shop --wait",
        ("headrace history shop -n shop", _STATUS),
    ),
)


def main(argv: list[str]) -> int:
    """Play the scenes and write the page; 0 when all could be shown."""
    parser = argparse.ArgumentParser(prog="harness/screens", description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=places.chosen_cluster(), help="which cluster (default: %(default)s)")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: the one it was made with, else native")
    chosen = parser.parse_args(argv)
    try:
        provider = choice.get(chosen.name, chosen.provider)
        provider.up()
        env = deployment.environment(provider)
        deployment.load_images(provider)
        deployment.install(env)
        _check_free(env)
        try:
            _play(env)
        finally:
            kubectl(env, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
    except HarnessError as error:
        say(f"headrace: {error}")
        return 1
    return 0


def _check_free(env: Mapping[str, str]) -> None:
    if kubectl(env, "get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
        raise HarnessError(f"the namespace {NAMESPACE} is there, of the guide perhaps: delete it first")


def _play(env: Mapping[str, str]) -> None:
    run([deployment.program(env), "apply", "-f", str(PICTURES / "setup.yaml")], env=env)
    shell = {**env, "PATH": f"{places.ROOT / 'harness'}{os.pathsep}{env.get('PATH', os.environ['PATH'])}"}
    page, pictures = [_HEAD], dict[str, str]()
    with TemporaryDirectory() as directory:
        place = Path(directory)
        shutil.copy(PICTURES / "shop.yaml", place)
        for scene in SCENES:
            say(scene.title)
            run(["bash", "-c", f"set -e\n{scene.script}"], env=shell, cwd=place, timeout=400)
            page.append(f"## {scene.title}\n\n{scene.told}\n")
            for command in scene.commands:
                name = re.sub(r"\W+", "-", f"{scene.title} {command.split()[1]}".lower())
                pictures[f"{name}.svg"] = picture(command, _screen(shell, place, command))
                page.append(f"![{command}](screens/{name}.svg)\n")
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for name, text in pictures.items():
        (PICTURES / name).write_text(text)
    (DOCS / "screens.md").write_text("\n".join(page))


_HEAD = """# Screens

What people see, in good and in bad states, in a terminal of 80 columns. Made by `harness/screens`, which plays these
scenes on a cluster; the pipeline is [shop.yaml](screens/shop.yaml).
"""


def _screen(env: Mapping[str, str], place: Path, command: str) -> str:
    """What a command writes to a terminal, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    child = subprocess.Popen(
        ["bash", "-c", command], env={**os.environ, **env, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}, cwd=place,
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    found = bytearray()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                piece = terminal.read(65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            found += piece
    child.wait(60)
    return found.decode(errors="replace").replace("\r\n", "\n")


def picture(command: str, screen: str) -> str:
    """A terminal's screen as SVG."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    console.print(Text.from_ansi(screen.rstrip("\n")))
    return console.export_svg(title=command, theme=MONOKAI)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
