"""The checks of `lint`: objects gathered into the sets that they make, each parsed and compiled as the operator would.

The operator's own parser and compiler are asked, so that what passes here is what it takes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from msgspec import Struct

from headrace.api import names
from headrace.api.parse import DagObject, InvalidObject, parse_dag, parse_dataset, parse_job
from headrace.cli.envelope import faults
from headrace.cli.places import Located
from headrace.compile.dag import size_warnings, unpinned
from headrace.compile.document import Compiled
from headrace.compile.members import Body, Members, Waiting, authored, dag_named, gather, name_of
from headrace.compile.parts import dataset_name, job_name
from headrace.compile.problems import Problem
from headrace.compiler import compile_or_problems

_PARSE: Final = {names.DAG: parse_dag, names.JOB: parse_job, names.DATASET: parse_dataset}
_UNKNOWN: Final = re.compile(r"unknown field ([^:]+): ")
_PATH: Final = re.compile(r"(spec\.[A-Za-z]+): (.+)", re.DOTALL)
_DEEP: Final = "objects within objects go too deep: keep config, schemas and templates flatter"


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to mend, or with `warning` to mind: where, in which object, and what to do about it."""

    file: str
    line: int
    severity: Literal["error", "warning"]
    message: str
    object: str = ""
    path: str = ""
    value: str = ""


def fault(
    one: Located, path: str, message: str, value: str = "", severity: Literal["error", "warning"] = "error"
) -> Finding:
    """What is to be said of the field at `path` of an object."""
    return Finding(
        file=one.file, line=one.line(path), severity=severity, message=message, object=_called(one), path=path,
        value=value,
    )  # fmt: skip


@dataclass
class Sets:
    """The objects of our group, by namespace, kind and name; those without a name, and what the
    operator shows itself, are checked by themselves.
    """

    _named: dict[str, dict[str, dict[str, Located]]] = field(default_factory=lambda: defaultdict(_kinds))
    _alone: list[Located] = field(default_factory=list)
    _count: int = 0

    def __len__(self) -> int:
        """How many objects there are."""
        return self._count

    def add(self, one: Located) -> Iterator[Finding]:
        """Take an object in; what keeps it from belonging anywhere is told."""
        body, metadata = _body(one), _map(_body(one).get("metadata"))
        kind, name = str(body.get("kind")), metadata.get("name")
        if body.get("apiVersion") != names.API_VERSION or kind not in _PARSE:
            known = f"there are {', '.join(_PARSE)} of {names.API_VERSION}"
            yield fault(one, "kind", f"{body.get('apiVersion')} has no such kind: {known}", kind)
            return
        self._count += 1
        yield from (fault(one, path, message, value) for path, value, message in faults(body))
        projected = kind != names.DAG and not authored(body)
        if not isinstance(name, str) or not name or projected:
            self._alone.append(one)
            return
        there = self._named[str(metadata.get("namespace", ""))][kind]
        if name in there:
            first = there[name]
            yield fault(one, "metadata.name", f"also in {first.file}:{first.line()}: remove one", name)
        else:
            there[name] = one

    def findings(self) -> Iterator[Finding]:
        """What is wrong with any object, or with what they make together."""
        for one in self._alone:
            yield from _alone(one)
        for found in self._named.values():
            yield from _of_namespace(found)


def _kinds() -> dict[str, dict[str, Located]]:
    return {kind: {} for kind in _PARSE}


def _of_namespace(found: dict[str, dict[str, Located]]) -> Iterator[Finding]:
    publishers: dict[str, str] = {}
    joined: set[tuple[str, str]] = set()
    for name in sorted(found[names.DAG]):
        joined |= {
            (kind, member)
            for kind in (names.JOB, names.DATASET)
            for member, one in found[kind].items()
            if dag_named(kind, _body(one)) == name
        }
        yield from _of_dag(name, found, publishers)
    for kind in (names.JOB, names.DATASET):
        for name, one in found[kind].items():
            if (kind, name) not in joined:
                yield from _alone(one)
                dag = dag_named(kind, _body(one))
                if dag is not None:
                    told = "this DAG is not among the files: the object is checked by itself only"
                    at = "spec.from.dag" if kind == names.DATASET else "spec.dag"
                    yield fault(one, at, told, dag, "warning")


def _of_dag(name: str, found: dict[str, dict[str, Located]], publishers: dict[str, str]) -> Iterator[Finding]:
    """A DAG with all that belongs to it. `publishers`: names of datasets to the DAGs that were found to have them."""
    dag = found[names.DAG][name]
    of_dag = {
        kind: {n: one for n, one in found[kind].items() if dag_named(kind, _body(one)) == name}
        for kind in (names.JOB, names.DATASET)
    }

    def find(kind: str, wanted: str) -> Body | None:
        one = found[kind].get(wanted)
        return None if one is None else _body(one)

    bodies = {kind: [_body(one) for one in members.values()] for kind, members in of_dag.items()}
    set_ = gather(_body(dag), bodies[names.JOB], bodies[names.DATASET], float("inf"), find)
    if isinstance(set_, Waiting):
        split = _PATH.match(set_.message)
        yield fault(dag, *((split[1], split[2]) if split else ("metadata.annotations", set_.message)))
        for one in (dag, *of_dag[names.JOB].values(), *of_dag[names.DATASET].values()):
            yield from _alone(one)
        return
    for kind, other in set_.others:
        message = f"DAG {name} lists its members, and not this one: it would wait"
        yield fault(found[kind][other], "metadata.name", message, other, "warning")
        yield from _alone(found[kind][other])
    compiled = compile_or_problems(name, _body(dag), set_.jobs, set_.datasets)
    where = {_called(one): one for one in (dag, *of_dag[names.JOB].values(), *of_dag[names.DATASET].values())}
    if isinstance(compiled, tuple):
        yield from _of_compiled(dag, where, set_, *compiled, publishers)
        return
    for problem in compiled:
        yield from _told(where[problem.object], problem)


def _of_compiled(
    dag: Located, where: Mapping[str, Located], members: Members, parsed: DagObject, compiled: Compiled,
    publishers: dict[str, str],
) -> Iterator[Finding]:  # fmt: skip
    """What a good document is to be minded of, and names that two DAGs give."""
    for message in size_warnings(parsed.spec):
        yield fault(dag, "spec", message, severity="warning")
    jobs = {job_name(n, _map(body.get("spec")).get("jobName")): n for n, body in members.jobs.items()}
    datasets = {dataset_name(n, _map(body.get("spec")).get("datasetName")): n for n, body in members.datasets.items()}
    for image, users in unpinned(compiled.document).items():
        for job in users:
            at = (where[f"{names.JOB} {jobs[job]}"], "spec.image") if job in jobs else (dag, f"spec.jobs[{job}].image")
            yield fault(*at, "it has no digest, so its contents can change unseen", image, "warning")
    for publish in compiled.document.publish:
        first = publishers.setdefault(publish.name, compiled.document.dag)
        if first != compiled.document.dag:
            own = datasets.get(publish.name)
            one = where[f"{names.DATASET} {own}"] if own else dag
            path = "metadata.name" if own else f"spec.publish[{publish.name}].name"
            yield fault(one, path, f"DAG {first} of these files publishes this name too: rename one", publish.name)


def _alone(one: Located) -> Iterator[Finding]:
    """What is wrong with an object by itself; of a Job also what compiling it says that no other object can mend."""
    body = _body(one)
    kind, dag = str(body.get("kind")), dag_named(str(body.get("kind")), body)
    try:
        _PARSE[kind](body)
    except InvalidObject as error:
        for path, message in error.problems:
            yield from _told(one, Problem(_called(one), path, "", message))
    except RecursionError:
        yield fault(one, "spec", _DEEP)
    else:
        if kind == names.JOB and authored(body) and dag is not None:
            nobody = {"apiVersion": names.API_VERSION, "kind": names.DAG, "metadata": {"name": dag}, "spec": {}}
            compiled = compile_or_problems(dag, nobody, {name_of(body): body})
            for problem in compiled if isinstance(compiled, list) else ():
                if problem.object == _called(one) and not problem.between:
                    yield from _told(one, problem)


def _told(one: Located, problem: Problem) -> Iterator[Finding]:
    """A problem with its line; an unknown field is told where it is."""
    unknown = _UNKNOWN.match(problem.message)
    if unknown is None:
        yield fault(one, problem.path, problem.message, problem.value)
        return
    for name in unknown[1].split(", "):
        yield fault(one, f"{problem.path}.{name}", f"unknown field: {problem.message[unknown.end() :]}")


def _called(one: Located) -> str:
    """`DAG flights`, as problems call it."""
    body = one.value if isinstance(one.value, dict) else {}
    name = _map(body.get("metadata")).get("name")
    return f"{body['kind']} {name or '?'}" if body.get("kind") else ""


def _body(one: Located) -> dict[str, Any]:
    return cast("dict[str, Any]", one.value)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
