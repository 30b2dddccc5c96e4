"""What applying a set of objects would do: planned as a reconcile would, and nothing written. The gateway calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.compile.document import Compiled
from headrace.compiler import Compiler, Rejected
from headrace.errors import PermanentError
from headrace.plan.decide import decide
from headrace.plan.explanation import Change, Explanation, JobChange, Swap
from headrace.plan.observed import Observed
from headrace.plan.steps import Plan
from headrace.state.database import Database
from headrace.state.history import known_org
from headrace.state.versions import observe


class NotPlanned(PermanentError):
    """The objects cannot become versions; the text says of each why, and the way out."""


async def preview(
    db: Database, client: Client, compiler: Compiler, namespace: str, objects: Sequence[Mapping[str, object]]
) -> list[Explanation]:
    """What each DAG among `objects` (manifests; other groups' are passed over) would do in `namespace`, by name.

    NotPlanned with everything that is wrong with any of them.
    """
    dags = _dags(namespace, objects)
    uid = await namespace_uid(client, namespace)
    if uid is None:
        raise NotPlanned(f"there is no namespace {namespace}: create it first")
    compiled: list[Compiled] = []
    wrong: list[str] = []
    for name, body in sorted(dags.items()):
        found = await compiler.compile(name, body)
        if isinstance(found, Rejected):
            wrong += [f"DAG {name}: {line}" for line in found.message.splitlines()]
        else:
            compiled.append(found[1])
    if wrong:
        raise NotPlanned("\n".join(wrong))
    async with db.transaction() as tx:
        org = await known_org(tx, uid)
        seen = [Observed(org_id=UUID(int=0)) if org is None else await observe(tx, org, one) for one in compiled]
    return [_explained(one, observed) for one, observed in zip(compiled, seen, strict=True)]


def _dags(namespace: str, objects: Sequence[Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """The DAGs by name; NotPlanned for what cannot be planned yet, or lives elsewhere."""
    found: dict[str, Mapping[str, object]] = {}
    for body in objects:
        metadata = body.get("metadata")
        given = cast("Mapping[str, object]", metadata if isinstance(metadata, Mapping) else {})
        kind, name = str(body.get("kind")), str(given.get("name", "?"))
        if not str(body.get("apiVersion")).startswith(f"{names.GROUP}/"):
            continue
        if given.get("namespace", namespace) != namespace:
            raise NotPlanned(f"{kind} {name} is for namespace {given['namespace']}, not {namespace}")
        if kind != names.DAG:
            raise NotPlanned(f"{kind} {name}: {kind} objects written by hand are not supported yet")
        if name in found:
            raise NotPlanned(f"DAG {name} is there twice: remove one")
        found[name] = body
    if not found:
        raise NotPlanned(f"no DAG of {names.API_VERSION} is among the objects")
    return found


def _explained(compiled: Compiled, observed: Observed) -> Explanation:
    if observed.current_hash == compiled.yaml_hash:
        return Explanation(
            dag=compiled.document.dag,
            yaml_hash=compiled.yaml_hash,
            base_hash=observed.current_hash,
            unchanged=len(compiled.jobs),
            notes=compiled.warnings,
        )
    jobs = _changes(compiled, observed)
    plan = decide(compiled, "", suspended=False, observed=observed)
    kept = len(compiled.jobs) - sum(job.change != "removed" for job in jobs)
    return Explanation(
        dag=compiled.document.dag,
        yaml_hash=compiled.yaml_hash,
        base_hash=observed.current_hash,
        swap=_swap(observed, plan),
        unchanged=kept,
        jobs=jobs,
        blocked=plan.blocked.message if plan.blocked else "",
        notes=compiled.warnings,
    )


def _swap(observed: Observed, plan: Plan) -> Swap:
    if plan.blocked is not None:
        return "none"
    return "first version" if observed.current_hash is None else "swap only"


def _changes(compiled: Compiled, observed: Observed) -> tuple[JobChange, ...]:
    before = {job.name: job for job in observed.jobs}
    changes: list[JobChange] = []
    for name in sorted({*compiled.jobs, *before}):
        change: Change
        if name not in compiled.jobs:
            change = "removed"
        elif name not in before:
            change = "added"
        elif compiled.jobs[name].fingerprint != before[name].fingerprint:
            change = "changed"
        else:
            continue
        units = before[name].undone if name in before else 0
        changes.append(JobChange(job=name, change=change, rebuilds=units > 0, units=units))
    return tuple(changes)
