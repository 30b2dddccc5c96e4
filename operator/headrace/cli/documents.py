"""YAML as kubectl reads it, which is not how PyYAML does: manifests and kubeconfigs come in through here.

kubectl knows no dates (`2013-01-01` is a string) and no numbers to the base of sixty (`1:30` is one, too), takes `1e3`
for the number 1000, and `y` and `n` for truths. A key that is there twice is refused: the one that wins is seldom
meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from headrace.errors import PermanentError

# With libyaml, where PyYAML was built with it: ten times faster.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_RESOLVERS = (
    ("bool", r"^(?:[yYnN]|[yY]es|YES|[nN]o|NO|[tT]rue|TRUE|[fF]alse|FALSE|[oO]n|ON|[oO]ff|OFF)$", "yYnNtTfFoO"),
    ("int", r"^[-+]?(?:0b[0-1_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9_]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$",
     "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^(?:<<)$", ["<"]),
)  # fmt: skip


_NO_KEYS = {"tag:yaml.org,2002:bool": "true or false", "tag:yaml.org,2002:null": "nothing"}
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading comes out with: PyYAML makes values of tags without looking at them first."""


class Unreadable(PermanentError):
    """A file that is no YAML, or is not there."""


class Loader(_Base):  # type: ignore[misc]
    """Reads as kubectl does; its nodes know their lines."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML fills it below

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is a string, and this one has keys or items of its own: quote what is in braces"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} is there twice", problem_mark=key.start_mark)
            if key.tag in _NO_KEYS:
                problem = f"key {key.value!r} is read as {_NO_KEYS[key.tag]}, and a key is a string: quote it"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep))


def _truth(loader: Any, node: Any) -> bool:
    return str(loader.construct_scalar(node))[0].lower() in "yt" or node.value.lower() == "on"


def _number(loader: Any, node: Any) -> float:
    """As JSON out of Go, where a number is whole by its value and not by how it is written: hashes see the same."""
    number = float(str(loader.construct_scalar(node)).replace("_", ""))
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


for _tag, _pattern, _first in _RESOLVERS:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
Loader.add_constructor("tag:yaml.org,2002:bool", _truth)
Loader.add_constructor("tag:yaml.org,2002:float", _number)


def documents(text: str, where: str) -> Iterator[object]:
    """The documents in `text`, empty ones left out; Unreadable with the line. JSON is YAML too."""
    try:
        yield from (one for one in yaml.load_all(text, Loader) if one is not None)
    except NOT_YAML as error:
        raise Unreadable(f"{where}: {told(error)}") from error


def told(error: Exception) -> str:
    """Why a text is no YAML, in one line."""
    return f"not YAML: {' '.join(str(error).split())[:500]}"


def read_text(path: Path) -> str:
    """The text of a file; Unreadable when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
