"""Which objects make up a DAG, and whether they are all there: a set of objects never lands at once. Pure.

reconcile asks before it compiles, so that no version is made of a half-applied set. Bodies are as the API server gives
them, unchecked: what is malformed is left for `api.parse` to tell, and breaks nothing here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final, Literal

from headrace.api import names

Body = Mapping[str, object]
Find = Callable[[str, str], Body | None]
"""(kind, name) to the object of that name in the DAG's namespace, whatever DAG it names; None if there is none."""

SETTLE: Final = 1.0
"""Seconds without a change after which a set counts as applied."""
_TOLD: Final = 8


@dataclass(frozen=True)
class Members:
    """The complete set: the authored objects that belong to the DAG, by name; `others` (kind, name) are not listed."""

    jobs: Mapping[str, Body] = field(default_factory=dict)
    datasets: Mapping[str, Body] = field(default_factory=dict)
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Waiting:
    """Why the set is not complete. `look_again_after`: seconds; None when only a change of an object can end it.

    `members`: those that are there so far; while a set is Settling, the whole set if nothing more comes.
    """

    reason: Literal["MembersMissing", "RevisionsDiffer", "Settling"]
    message: str
    members: Members
    look_again_after: float | None = None


def gather(
    dag: Body,
    jobs: Iterable[Body],
    datasets: Iterable[Body],
    since_change: float,
    find: Find,
    since_member_change: float = float("inf"),
    was_inline: Set[str] = frozenset(),
) -> Members | Waiting:
    """The members of the DAG, or what is awaited.

    `jobs` and `datasets`: every authored object that names the DAG. `since_change`: seconds since the last change of
    any of them or of the DAG; `since_member_change`: of any of them alone, those that are gone or moved included.
    `was_inline`: the names of what the DAG wrote inline when it was compiled last. A DAG that is whole in itself, and
    has had no such objects, does not settle: it is taken at once.
    """
    spec = _map(dag.get("spec"))
    there = {names.JOB: _present(jobs), names.DATASET: _present(datasets)}
    listed = {names.JOB: _listed(spec.get("jobRefs")), names.DATASET: _listed(spec.get("datasetRefs"))}
    belong = {
        kind: found if wanted is None else {name: found[name] for name in wanted if name in found}
        for (kind, found), wanted in zip(there.items(), listed.values(), strict=True)
    }
    others = sorted((kind, name) for kind, found in there.items() for name in found.keys() - belong[kind].keys())
    members = Members(belong[names.JOB], belong[names.DATASET], tuple(others))
    missing = "; ".join(_missing(name_of(dag), listed, belong, find))
    if missing:
        return Waiting("MembersMissing", f"{missing}. Apply them, or take them off the list.", members)
    differ = _revisions(dag, belong)
    if differ:
        return Waiting("RevisionsDiffer", differ, members)
    apart = any(there.values()) or not _whole(dag, was_inline)
    quiet = since_change if apart else since_member_change
    if quiet < SETTLE:
        told = f"an object of the set changed less than {SETTLE:.0f} s ago: more may be on their way"
        return Waiting("Settling", told, members, SETTLE - quiet)
    return members


def authored(body: Body) -> bool:
    """Whether a Job or Dataset was written by somebody, and is not the operator's picture of an inline one."""
    return _map(body.get("spec")).get("projected") is not True


def deleting(body: Body) -> bool:
    """Whether somebody has deleted it and a finalizer still holds it."""
    return _map(body.get("metadata")).get("deletionTimestamp") is not None


def revision(body: Body) -> str | None:
    """The revision of the set that it was applied with, where that is used."""
    given = _map(_map(body.get("metadata")).get("annotations")).get(names.ANNOTATION_REVISION)
    return given if isinstance(given, str) else None


def name_of(body: Body) -> str:
    """The object's name."""
    return str(_map(body.get("metadata")).get("name", ""))


def dag_named(kind: str, body: Body) -> str | None:
    """The name of the DAG that a Job or Dataset belongs to, by its spec; None where that says nothing."""
    spec = _map(body.get("spec"))
    dag = (_map(spec.get("from")) if kind == names.DATASET else spec).get("dag")
    return dag if isinstance(dag, str) else None


def inline(dag: Body, field_name: Literal["jobs", "publish"]) -> frozenset[str]:
    """The names of what a DAG writes inline."""
    found = (_map(item).get("name") for item in _list(_map(dag.get("spec")).get(field_name)))
    return frozenset(name for name in found if isinstance(name, str))


def _whole(dag: Body, was_inline: Set[str]) -> bool:
    """Whether a DAG has jobs, all that it had inline before, and the datasets that it reads.

    What it lacks may be on its way as an object of its own, or stay with another DAG: a second tells.
    """
    jobs, publish = inline(dag, "jobs"), inline(dag, "publish")
    reads = [
        _map(_map(each).get("from")).get("dataset")
        for job in _list(_map(dag.get("spec")).get("jobs"))
        for each in _list(_map(job).get("inputs"))
    ]
    known = was_inline <= jobs | publish and all(name is None or name in publish for name in map(_text, reads))
    return bool(jobs) and known


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _present(bodies: Iterable[Body]) -> dict[str, Body]:
    return {name_of(body): body for body in bodies if not deleting(body)}


def _listed(given: object) -> list[str] | None:
    """A list of references, None when it is absent: then every object that names the DAG joins."""
    return sorted({name for name in given if isinstance(name, str)}) if isinstance(given, list) else None


def _missing(
    dag: str, listed: Mapping[str, list[str] | None], belong: Mapping[str, Mapping[str, Body]], find: Find
) -> Iterator[str]:
    for kind, field_name in ((names.JOB, "jobRefs"), (names.DATASET, "datasetRefs")):
        absent, misplaced = [], []
        wanted = listed[kind] or []
        for name in wanted:
            if name in belong[kind]:
                continue
            body = find(kind, name)
            if body is None or not authored(body):
                absent.append(name)
            elif deleting(body):
                misplaced.append(f"{kind} {name} is being deleted")
            else:
                at = "spec.from.dag" if kind == names.DATASET else "spec.dag"
                misplaced.append(f"{kind} {name} is there, but its {at} is {dag_named(kind, body)}, not {dag}")
        if absent:
            yield f"spec.{field_name}: {len(absent)} of {len(wanted)} {kind} objects are not there: {_some(absent)}"
        if misplaced:
            yield f"spec.{field_name}: {_some(misplaced)}"


def _revisions(dag: Body, belong: Mapping[str, Mapping[str, Body]]) -> str:
    """Who has which revision, when they are not one; empty when they are, or nobody uses it."""
    by_value: dict[str | None, list[str]] = defaultdict(list)
    by_value[revision(dag)].append(f"{names.DAG} {name_of(dag)}")
    for kind, found in belong.items():
        for name, body in found.items():
            by_value[revision(body)].append(f"{kind} {name}")
    if len(by_value) == 1:
        return ""
    told = [
        f"{value or 'none'} on {_some(sorted(who))}"
        for value, who in sorted(by_value.items(), key=lambda v: (v[0] is None, v[0]))
    ]
    return (
        f"the annotation {names.ANNOTATION_REVISION} has not one value over the set: {'; '.join(told[:_TOLD])}."
        " Apply the rest of it."
    )


def _some(given: list[str]) -> str:
    more = len(given) - _TOLD
    return ", ".join(given[:_TOLD]) + (f" and {more} more" if more > 0 else "")


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
