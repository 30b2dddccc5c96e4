"""Objects in, typed objects out, or every problem at once; called by `reconcile` and by the offline lint.

The API server has checked the same types and rules already; this is the second barrier, for objects that were stored
under an older schema, for files that no server has seen, and for what the server prunes instead of refusing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar

import jsonschema
import msgspec
from jsonschema.exceptions import ValidationError
from msgspec import field

from headrace.api import names
from headrace.api.base import Lenient, Strict, attributes, walk
from headrace.api.dag import DagSpec
from headrace.api.dataset import DatasetSpec, Publish
from headrace.api.job import InlineJob, JobSpec
from headrace.api.rules import OBJECT_NAME_RULES, PATTERN_MESSAGES, rules_of
from headrace.api.schema_words import asked
from headrace.errors import PermanentError

Problem: TypeAlias = tuple[str, str]
S = TypeVar("S", bound=Strict)

SPECS: Final[dict[str, type[Strict]]] = {names.DAG: DagSpec, names.JOB: JobSpec, names.DATASET: DatasetSpec}
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_MAX_BYTES: Final = {names.DAG: names.DAG_SPEC_MAX_BYTES, names.JOB: names.JOB_SPEC_MAX_BYTES}


class InvalidObject(PermanentError):
    """An object that cannot be what it says; `problems` are (path, message), all that were found."""

    def __init__(self, kind: str, name: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"{kind} {name}: " + "; ".join(f"{path}: {message}" for path, message in problems))
        self.kind = kind
        self.name = name
        self.problems = tuple(problems)


class ObjectMeta(Lenient, frozen=True, kw_only=True):
    """What the operator uses of an object's metadata; empty where a file has none yet."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    finalizers: list[str] = field(default_factory=list)


class ParsedObject(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """A checked object."""

    metadata: ObjectMeta
    spec: S

    @property
    def deleting(self) -> bool:
        """Whether somebody has deleted it and a finalizer still holds it."""
        return self.metadata.deletion_timestamp is not None


DagObject: TypeAlias = ParsedObject[DagSpec]
JobObject: TypeAlias = ParsedObject[JobSpec]
DatasetObject: TypeAlias = ParsedObject[DatasetSpec]


def parse_dag(obj: Mapping[str, object]) -> DagObject:
    """The DAG in `obj` (as the API server or a file gives it); InvalidObject with every problem."""
    return _parse(obj, names.DAG, DagSpec)


def parse_job(obj: Mapping[str, object]) -> JobObject:
    """The Job in `obj`; InvalidObject with every problem."""
    return _parse(obj, names.JOB, JobSpec)


def parse_dataset(obj: Mapping[str, object]) -> DatasetObject:
    """The Dataset in `obj`; InvalidObject with every problem."""
    return _parse(obj, names.DATASET, DatasetSpec)


def _parse(obj: Mapping[str, object], kind: str, spec_type: type[S]) -> ParsedObject[S]:
    try:
        metadata = msgspec.convert(obj.get("metadata"), ObjectMeta)
    except msgspec.ValidationError as error:
        raise InvalidObject(kind, "?", [("metadata", str(error))]) from None
    if (obj.get("apiVersion"), obj.get("kind")) != (names.API_VERSION, kind):
        raise InvalidObject(kind, metadata.name, [("kind", f"must be {kind} of {names.API_VERSION}")])
    spec = obj.get("spec")
    try:
        typed = msgspec.convert(spec, spec_type)
    except msgspec.ValidationError as error:
        problems = list(_shape_problems(spec, spec_type)) or [("spec", str(error))]
        projected = isinstance(spec, Mapping) and spec.get("projected") is True
        problems += [*_name_problems(kind, metadata, projected=projected), *_of_sound_items(spec)]
        raise InvalidObject(kind, metadata.name, problems) from None
    problems = [
        *_name_problems(kind, metadata, projected=bool(getattr(typed, "projected", None))),
        *_size_problems(kind, typed),
        *check(typed),
    ]
    if problems:
        raise InvalidObject(kind, metadata.name, problems)
    return ParsedObject(metadata=metadata, spec=typed)


def check(spec: Strict) -> list[Problem]:
    """(path, message) of every rule that a well-formed `spec` breaks, and of names given twice in one list."""
    return [
        *(
            (f"{path}.{rule.field}" if rule.field else path, rule.message)
            for path, value in walk(spec, "spec")
            for rule in rules_of(type(value))
            if not rule.holds(value)
        ),
        *(problem for path, value in walk(spec, "spec") for problem in _repeated_names(path, value)),
    ]


def _repeated_names(path: str, value: Strict) -> Iterator[Problem]:
    for json_name, attribute in attributes(type(value)).items():
        items = getattr(value, attribute)
        if not isinstance(items, list):
            continue
        seen: set[object] = set()
        for index, item in enumerate(items):
            name = getattr(item, "name", None) if isinstance(item, Strict) else None
            if name is not None and name in seen:
                yield f"{path}.{json_name}[{index}].name", f"{name} is there twice: rename or remove one"
            seen.add(name)


def _of_sound_items(spec: object) -> Iterator[Problem]:
    """The rules that a job or dataset breaks which is well-formed itself, in the spec of a DAG that is not."""
    for name, item_type in (("jobs", InlineJob), ("publish", Publish)):
        items = spec.get(name) if isinstance(spec, Mapping) else None
        for index, item in enumerate(items if isinstance(items, list) else ()):
            try:
                typed = msgspec.convert(item, item_type)
            except msgspec.ValidationError:
                continue
            for path, message in check(typed):
                yield f"spec.{name}[{index}]{path.removeprefix('spec')}", message


def _name_problems(kind: str, metadata: ObjectMeta, *, projected: bool) -> Iterator[Problem]:
    rule = OBJECT_NAME_RULES[kind]
    good = "." in metadata.name if projected else names.matches(rule.pattern, metadata.name)
    if not good or len(metadata.name) > rule.max_length:
        yield "metadata.name", rule.message


def _size_problems(kind: str, spec: Strict) -> Iterator[Problem]:
    limit = _MAX_BYTES.get(kind)
    encoded = msgspec.json.encode(spec)
    if _NUL.search(encoded):
        yield "spec", "holds a NUL character, which Postgres cannot keep: remove it"
    if limit is not None and (size := len(encoded)) > limit:
        yield "spec", f"is {size} bytes of JSON, more than the {limit} allowed: split it, or move text to a ConfigMap"
    if isinstance(spec, DagSpec):
        for index, job in enumerate(spec.jobs or ()):
            if (size := len(msgspec.json.encode(job))) > names.JOB_SPEC_MAX_BYTES:
                yield (
                    f"spec.jobs[{index}]",
                    f"is {size} bytes of JSON, more than the {names.JOB_SPEC_MAX_BYTES} allowed for a job",
                )


def _shape_problems(spec: object, spec_type: type[Strict]) -> Iterator[Problem]:
    """msgspec stops at the first error; the JSON Schema of the same types names them all."""
    for error in _validator(spec_type).iter_errors(spec):
        for leaf in _leaves(error):
            path = "spec" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in leaf.absolute_path)
            yield path, _words(leaf)


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """Of "this or null", which every field that may be left out is, the complaints about this."""
    choices = error.validator_value if error.validator == "anyOf" else None
    given = [i for i, choice in enumerate(choices if isinstance(choices, list) else ()) if choice != {"type": "null"}]
    if len(given) != 1:
        yield error
        return
    for inner in error.context or ():
        if inner.schema_path[0] == given[0]:
            yield from _leaves(inner)


def _words(error: ValidationError) -> str:
    if error.validator == "pattern":
        return PATTERN_MESSAGES.get(str(error.validator_value), asked(error))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = sorted(error.schema.get("properties", ())) if isinstance(error.schema, dict) else []
        unknown = sorted(str(name) for name in error.instance if name not in known)
        return f"unknown field {', '.join(unknown)}: known here are {', '.join(known)}"
    if error.validator not in ("enum", "const"):
        return asked(error)
    return error.message if len(error.message) < 300 else f"{error.message[:300]}…"


@functools.cache
def _validator(spec_type: type[Strict]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(msgspec.json.schema(spec_type))
