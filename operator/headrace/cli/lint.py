"""`headrace lint`: what is wrong with the objects of files, offline, each with its file and line."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from headrace.api.names import GROUP
from headrace.api.words import counted
from headrace.cli.documents import Unreadable
from headrace.cli.findings import Finding, Sets, fault
from headrace.cli.manifests import texts
from headrace.cli.output import machine_text
from headrace.cli.places import Located, Unparsed, located
from headrace.cli.style import Paint, clean, colours, paint, plain

_COLOURS: Final = {"error": "red", "warning": "yellow"}


class Linted(Struct, frozen=True, kw_only=True):
    """All that was found, by file and line."""

    objects: int
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


def run(arguments: Namespace) -> int:
    """Print what was found; 1 when an error is among it."""
    found = lint(texts(arguments.files, arguments.recursive))
    if not found.objects and not found.errors:
        raise Unreadable(f"{', '.join(arguments.files)}: no object of {GROUP} is there")
    if arguments.output == "text":
        sys.stdout.write(show_lint(found, paint if colours() else plain))
    else:
        sys.stdout.write(machine_text(found, arguments.output))
    return 1 if found.errors else 0


def lint(given: Iterable[tuple[str, str]]) -> Linted:
    """What is wrong with the objects in texts, given with the names of their files."""
    sets, found = Sets(), list[Finding]()
    for file, text in given:
        for one in located(text, file):
            if isinstance(one, Unparsed):
                found.append(Finding(file=one.file, line=one.line, severity="error", message=one.message))
                continue
            for item in _objects(one):
                found += [item] if isinstance(item, Finding) else sets.add(item)
    found += sets.findings()
    # One mistake may be seen by more than one check.
    found = sorted(set(found), key=lambda f: (f.file, f.line, f.severity, f.path, f.message))
    told = Counter(f.severity for f in found)
    return Linted(objects=len(sets), errors=told["error"], warnings=told["warning"], findings=tuple(found))


def _objects(one: Located) -> Iterator[Located | Finding]:
    """The object itself, or those of a List; what of other groups is there is passed over."""
    value = one.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        if not Path(one.file).name.startswith("kustomization."):
            yield fault(one, "", "a document is no Kubernetes object: it has no kind")
    elif value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for item in one.items():
            yield from _objects(item)
    elif str(value.get("apiVersion")).partition("/")[0] == GROUP:
        yield one


def show_lint(found: Linted, paint: Paint = plain) -> str:
    """A line for each, as compilers write them, and one for all."""
    lines = []
    for one in found.findings:
        about = "".join(f"{part}: " for part in (one.object, one.path) if part)
        value = f'"{one.value}": ' if one.value else ""
        severity = paint(f"{one.severity}:", _COLOURS[one.severity])
        lines.append(f"{clean(one.file)}:{one.line}: {severity} {clean(about + value + ' '.join(one.message.split()))}")
    told = f"{counted(found.errors, 'error')}, {counted(found.warnings, 'warning')}"
    lines.append(f"{counted(found.objects, 'object')}: {told}")
    return "\n".join(lines) + "\n"
