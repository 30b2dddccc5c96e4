"""What applying a set of objects would do: planned as a reconcile would, and nothing written. The gateway calls it.

The objects are the whole set of each DAG among them: what names such a DAG in the cluster and is not given counts as
removed, and that is said. Jobs and datasets of a DAG that is not among them are planned against the rest that lives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Final, cast
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from headrace.api import names
from headrace.api.parse import DagObject
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.objects import object_path
from headrace.compile.document import Compiled
from headrace.compile.members import Body, Members, Waiting, authored, dag_named, gather, name_of
from headrace.compiler import Compiler, Rejected
from headrace.errors import PermanentError
from headrace.plan.decide import decide, intent_of
from headrace.plan.explanation import Explanation
from headrace.plan.observed import DifferingJob, Observed
from headrace.state.database import Database
from headrace.state.observe import observe
from headrace.state.orgs import Org, find_org

_MOST_DAGS: Final = 50
_Found = dict[str, dict[str, Body]]


class NotPlanned(PermanentError):
    """The objects cannot become versions; the text says of each why, and the way out."""


class _Listing(Struct, frozen=True):
    items: list[dict[str, object]]


class _Set(Struct, frozen=True, kw_only=True):
    """A DAG with its members; `notes`: what to say of those that were not given."""

    dag: Body
    members: Members
    notes: tuple[str, ...]


async def preview(
    db: Database, client: Client, compiler: Compiler, namespace: str, objects: Sequence[Mapping[str, object]]
) -> list[Explanation]:
    """What each DAG that `objects` are about (manifests; other groups' are passed over) would do, by name.

    NotPlanned with everything that is wrong with any of them.
    """
    given = _by_kind(namespace, objects)
    uid = await namespace_uid(client, namespace)
    if uid is None:
        raise NotPlanned(f"there is no namespace {namespace}: create it first")
    live = {kind: await _live(client, kind, namespace) for kind in given}
    wrong: list[str] = []
    ready: list[tuple[_Set, DagObject, Compiled]] = []
    for dag in sorted(_dags(given)):
        found = _gathered(dag, given, live)
        if isinstance(found, str):
            wrong.append(f"DAG {dag}: {found}")
            continue
        compiled = await compiler.compile(dag, found.dag, found.members.jobs, found.members.datasets)
        if isinstance(compiled, Rejected):
            wrong += [f"DAG {dag}: {line}" for line in compiled.message.splitlines()]
        else:
            ready.append((found, *compiled))
    if wrong:
        raise NotPlanned("\n".join(wrong))
    async with db.transaction() as tx:
        org = await find_org(tx, uid)
    published = {p.name for _, _, compiled in ready for p in compiled.document.publish}
    return [await explained(db, org, dag, compiled, published, found.notes) for found, dag, compiled in ready]


async def explained(
    db: Database,
    org: Org | None,
    dag: DagObject,
    compiled: Compiled,
    published: Set[str] = frozenset(),
    notes: Iterable[str] = (),
) -> Explanation:
    """What a document would do in the org of a namespace, None while that has none; nothing is written.

    `published`: by the DAGs of the same set, which are there once it is applied. `notes`: what else to say.
    """
    intent = intent_of("", dag.spec)
    # Nothing of the namespace is known yet: everything is new.
    every = tuple(DifferingJob(name=name, wanted=True) for name in compiled.jobs)
    observed = Observed(org_id=UUID(int=0), compiled=compiled, jobs=every)
    if org is not None:
        async with db.transaction() as tx:
            observed = await observe(tx, org, compiled, intent.reuse)
    elif compiled.external:
        observed = replace(observed, absent=compiled.external)
    coming = sorted(set(observed.absent) & published)
    observed = replace(observed, absent=tuple(name for name in observed.absent if name not in published))
    plan = decide(intent, observed)
    told = plan.explanation
    notes = (*told.notes, *notes, *_state(observed), *compiled.warnings)
    if coming:
        notes = (f"it reads what other DAGs of this set publish, and waits for these: {', '.join(coming[:8])}", *notes)
    return replace(told, blocked=plan.blocked.message if plan.blocked else "", notes=notes)


def _state(observed: Observed) -> Iterator[str]:
    """What else goes on that a person who plans wants to know."""
    under_way = observed.under_way
    if under_way is not None and under_way.yaml_hash == observed.compiled.yaml_hash:
        yield "a rollout to this very document is under way: see the DAG's status for its plan"
    elif under_way is not None:
        yield "the rollout that is under way would be superseded"
    if observed.presence is not None and observed.presence.pinned_hash is not None:
        yield f"a version is pinned: this one would serve after headrace unpin {observed.compiled.document.dag}"


def _by_kind(namespace: str, objects: Sequence[Mapping[str, object]]) -> _Found:
    """The objects of our kinds by name; NotPlanned for what lives elsewhere or is there twice."""
    found: _Found = {kind: {} for kind in names.PLURALS}
    for body in objects:
        metadata = body.get("metadata")
        given = cast("Mapping[str, object]", metadata if isinstance(metadata, Mapping) else {})
        kind, name = str(body.get("kind")), str(given.get("name", "?"))
        if body.get("apiVersion") != names.API_VERSION or kind not in found:
            continue
        if given.get("namespace", namespace) != namespace:
            raise NotPlanned(f"{kind} {name} is for namespace {given['namespace']}, not {namespace}")
        if name in found[kind]:
            raise NotPlanned(f"{kind} {name} is there twice: remove one")
        if kind == names.DAG or authored(body):
            found[kind][name] = body
    return found


def _dags(given: _Found) -> set[str]:
    """The DAGs that the objects are about; NotPlanned when there are none, or too many."""
    found = set(given[names.DAG])
    for kind in (names.JOB, names.DATASET):
        found |= {dag for body in given[kind].values() if (dag := dag_named(kind, body)) is not None}
    if not found:
        raise NotPlanned(f"no DAG, Job or Dataset of {names.API_VERSION} is among the objects")
    if len(found) > _MOST_DAGS:
        raise NotPlanned(f"the objects are about {len(found)} DAGs, and at most {_MOST_DAGS} are planned at once")
    return found


async def _live(client: Client, kind: str, namespace: str) -> dict[str, Body]:
    listing = await client.get(object_path(kind, namespace), _Listing)
    items = listing.items if listing else []
    return {name_of(body): body for body in items if kind == names.DAG or authored(body)}


def _gathered(dag: str, given: _Found, live: _Found) -> _Set | str:
    """The set of a DAG as it would be, or what it lacks."""
    whole = dag in given[names.DAG]
    body = given[names.DAG].get(dag) or live[names.DAG].get(dag)
    if body is None:
        return "it is neither among the objects nor in the cluster"
    of_dag: dict[str, dict[str, Body]] = defaultdict(dict)
    left: list[str] = []
    listed = {names.JOB: _refs(body, "jobRefs"), names.DATASET: _refs(body, "datasetRefs")}
    for kind in (names.JOB, names.DATASET):
        for name, there in live[kind].items():
            if name in given[kind] or dag_named(kind, there) != dag:
                continue
            if not whole or name in listed[kind]:
                of_dag[kind][name] = there
            else:
                left.append(f"{kind} {name}")
        for name, new in given[kind].items():
            if dag_named(kind, new) == dag:
                of_dag[kind][name] = new

    def find(kind: str, name: str) -> Body | None:
        return given[kind].get(name) or live[kind].get(name)

    found = gather(body, of_dag[names.JOB].values(), of_dag[names.DATASET].values(), float("inf"), find)
    if isinstance(found, Waiting):
        return found.message
    return _Set(dag=body, members=found, notes=tuple(_notes(found, left)))


def _refs(body: Body, field: str) -> set[str]:
    spec = body.get("spec")
    given = spec.get(field) if isinstance(spec, Mapping) else None
    return {name for name in given if isinstance(name, str)} if isinstance(given, list) else set()


def _notes(members: Members, left: Sequence[str]) -> Iterator[str]:
    for kind, name in members.others:
        yield f"{kind} {name} names this DAG and is not listed by it: it would wait"
    if left:
        listed = ", ".join(sorted(left)[:8]) + (", ..." if len(left) > 8 else "")
        yield f"in the cluster, not among these, and taken as removed (kubectl apply alone keeps them): {listed}"
