"""The reference in `docs/reference/`, made of what the product itself says: the CRDs and the command line's parser.

Called by the executable `harness/reference`; `--check` only looks whether the pages are as they should be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from harness import places
from harness.console import say
from headrace.cli.parser import parser

PAGES = places.ROOT / "docs" / "reference"
_MADE = "<!-- Made by harness/reference: change what it is made of, and make it anew. -->\n"
Schema = Mapping[str, Any]


def main(argv: list[str]) -> int:
    """Write the pages, or look at them; 1 when one was not as it should be."""
    options = argparse.ArgumentParser(prog="harness/reference", description=__doc__.splitlines()[0])
    options.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    chosen = options.parse_args(argv)
    stale = [name for name, text in pages().items() if not _is(name, text)]
    for name in stale if not chosen.check else ():
        PAGES.mkdir(exist_ok=True)
        (PAGES / name).write_text(pages()[name])
    for name in stale:
        say(f"docs/reference/{name}: {'is out of date: run harness/reference' if chosen.check else 'written'}")
    return 1 if stale and chosen.check else 0


def pages() -> dict[str, str]:
    """The pages' names and texts."""
    return {"objects.md": objects(), "command-line.md": command_line()}


def _is(name: str, text: str) -> bool:
    return (PAGES / name).exists() and (PAGES / name).read_text() == text


def objects() -> str:
    """Every field of the three kinds."""
    parts = [
        _MADE,
        "# Objects\n",
        "Every field, as `kubectl explain` tells it; [api.md](../api.md) says how they work together.\n",
    ]
    for path in ("dags", "jobs", "datasets"):
        crd = yaml.safe_load((places.ROOT / "crds" / f"{path}.yaml").read_text())["spec"]
        names, version = crd["names"], crd["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]
        short = ", ".join(f"`{name}`" for name in names["shortNames"])
        parts.append(f"## {names['kind']}\n")
        parts.append(f"{schema.get('description', '')} Short names: {short}.\n")
        for part in ("spec", "status"):
            rows = "".join(
                f"| `{at}` | {kind} | {told} |\n" for at, kind, told in _fields(schema["properties"][part], part)
            )
            parts.append(f"| {part} | type | |\n| --- | --- | --- |\n{rows}")
        columns = "".join(
            f"| {one['name']} | `{one['jsonPath']}` | {'' if one.get('priority', 0) == 0 else '`-o wide`'} |\n"
            for one in version["additionalPrinterColumns"]
        )
        parts.append(f"| column | from | |\n| --- | --- | --- |\n{columns}")
    return "\n".join(parts)


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, str, str]]:
    """Path, type and description of each field below."""
    required = set(schema.get("required", ()))
    for name, field in sorted(schema.get("properties", {}).items()):
        below, at, kind = field, f"{path}.{name}", field.get("type", "any")
        if kind == "array":
            below, at, kind = field["items"], f"{at}[]", f"list of {field['items'].get('type', 'any')}"
        elif isinstance(field.get("additionalProperties"), dict):
            below, at = field["additionalProperties"], f"{at}.*"
            kind = f"map of {below.get('type', 'any')}"
        yield at, kind, _told(field, name in required)
        yield from _fields(below, at)


def _told(field: Schema, required: bool) -> str:
    words = [str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")]
    words += ["Required."] if required else []
    words += [f"One of {', '.join(f'`{value}`' for value in field['enum'])}."] if "enum" in field else []
    words += [f"Default `{field['default']}`."] if field.get("default") not in (None, {}) else []
    return " ".join(filter(None, words))


def command_line() -> str:
    """Every verb with its help."""
    root = parser("headrace")
    verbs = next(action for action in root._actions if isinstance(action, argparse._SubParsersAction))
    helps = {one.dest: one.help or "" for one in verbs._choices_actions}
    parts = [
        _MADE,
        "# Command line\n",
        "What `headrace VERB --help` says; [cli.md](../cli.md) shows the verbs at work.\n",
    ]
    for name, verb in sorted(verbs.choices.items()):
        parts.append(f"## {name}\n\n{(verb.description or helps.get(name, '')).strip()}\n\n{_arguments(verb)}")
    return "\n".join(parts)


def _arguments(verb: argparse.ArgumentParser) -> str:
    """Not as argparse lays them out, which each version of Python does in its own way."""
    formatter, rows = argparse.HelpFormatter(verb.prog), list[str]()
    for action in verb._actions:
        if action.help is None or action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        given = action.metavar if isinstance(action.metavar, str) else action.dest
        value = "" if action.nargs == 0 else f" {'|'.join(map(str, action.choices))}" if action.choices else f" {given}"
        name = ", ".join(action.option_strings) + value if action.option_strings else given
        told = formatter._expand_help(action)
        cells = (cell.replace("|", "\\|") for cell in (f"`{name}`", told))
        rows.append(f"| {' | '.join(cells)} |\n")
    return "| argument | |\n| --- | --- |\n" + "".join(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
