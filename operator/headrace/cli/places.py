"""Where in a file a field of an object is: documents with their lines, for `lint`.

A path is one as problems have it: `spec.jobs[clean].inputs[0].from.job`, an element by its place or by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from headrace.cli.documents import NOT_YAML, Loader, told

_STEP: Final = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True)
class Located:
    """A document, or an object of a List: its value, its file, and the node of it that knows lines."""

    value: object
    file: str
    node: Any

    def line(self, path: str = "") -> int:
        """The line of the field at `path`, or, where there is none, of the nearest field around it that is there."""
        return _line(self.node, path)

    def items(self) -> Iterator[Located]:
        """The objects of a List, each at its own place."""
        node = _child(self.node, "items")
        values = self.value.get("items") if isinstance(self.value, dict) else None
        if isinstance(node, yaml.SequenceNode) and isinstance(values, list):
            for value, one in zip(values, node.value, strict=True):
                yield Located(value, self.file, one)


@dataclass(frozen=True)
class Unparsed:
    """What is no YAML, and where."""

    file: str
    line: int
    message: str


def located(text: str, file: str) -> Iterator[Located | Unparsed]:
    """The documents in `text`, empty ones left out; what follows one that is no YAML cannot be read."""
    loader = None
    try:
        loader = Loader(text)
        while loader.check_node():
            node = loader.get_node()
            value = loader.construct_document(node)
            if value is not None:
                yield Located(value, file, node)
    except NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        yield Unparsed(file, mark.line + 1 if mark is not None else 1, told(error))
    finally:
        if loader is not None:
            loader.dispose()


def _line(node: Any, path: str) -> int:
    """Keys may have dots themselves, so of a mapping the longest key with which the path goes on is meant."""
    line: int = node.start_mark.line + 1
    while path:
        found, rest = (_in_mapping if isinstance(node, yaml.MappingNode) else _in_sequence)(node, path)
        if found is None:
            break
        key, node = found
        line, path = key.start_mark.line + 1, rest
    return line


def _in_mapping(node: Any, path: str) -> tuple[tuple[Any, Any] | None, str]:
    path = path.removeprefix(".")
    fits = [
        (key, value)
        for key, value in node.value
        if path.startswith(str(key.value)) and path[len(str(key.value)) :][:1] in ("", ".", "[")
    ]
    best = max(fits, key=lambda pair: len(pair[0].value), default=None)
    return best, path[len(best[0].value) :] if best else ""


def _in_sequence(node: Any, path: str) -> tuple[tuple[Any, Any] | None, str]:
    step = _STEP.match(path)
    if step is None or not isinstance(node, yaml.SequenceNode):
        return None, ""
    given = step[1]
    for index, item in enumerate(node.value):
        name = _child(item, "name")
        if given == str(index) or (name is not None and name.value == given):
            return (item, item), path[step.end() :]
    return None, ""


def _child(node: Any, wanted: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == wanted), None)
