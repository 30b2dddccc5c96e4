"""Desired document and observed rows to a plan. Pure: no I/O, no clock; reconcile calls `decide` under the DAG's lock.

Deciding twice, with the first plan applied in between, gives an empty plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from headrace.api.dag import DagSpec, Rollout
from headrace.plan.explain import explain
from headrace.plan.explanation import Explanation, Swap
from headrace.plan.observed import Observed, Obstacle, UnderWay
from headrace.plan.obstacles import told
from headrace.plan.steps import (
    AddVersion,
    AdjustRollout,
    Blocked,
    ClaimNames,
    Cutover,
    EndRollout,
    MarkPresent,
    Plan,
    Repoint,
    StartRollout,
    Step,
    Strategy,
)

_MAX_BUILD_TASKS: Final = 1000


class Intent(Struct, frozen=True, kw_only=True):
    """What an object says beside its document: who it is, and how it wants to be rolled out. `deadline` in seconds."""

    object_uid: str
    suspended: bool = False
    strategy: Strategy = "WhenReady"
    max_build_tasks: int = _MAX_BUILD_TASKS
    deadline: int | None = None
    reuse: tuple[str, ...] = ()


def intent_of(object_uid: str, spec: DagSpec) -> Intent:
    """The intent of a DAG's spec, with its defaults."""
    rollout = spec.rollout or Rollout()
    return Intent(
        object_uid=object_uid,
        suspended=bool(spec.suspend),
        strategy=rollout.strategy or "WhenReady",
        max_build_tasks=_MAX_BUILD_TASKS if rollout.max_build_tasks is None else rollout.max_build_tasks,
        deadline=rollout.deadline_seconds,
        reuse=tuple(sorted(rollout.reuse or ())),
    )


def decide(intent: Intent, observed: Observed) -> Plan:
    """What to do so that the wanted document serves, given what is `observed`.

    While a version is pinned, a document is registered and does not come to serve.
    """
    compiled = observed.compiled
    pinned = observed.presence is not None and observed.presence.pinned_hash is not None
    new = observed.wanted_version is None
    swap = _swap(observed, intent)
    explanation = explain(compiled, observed, observed.same_data, swap, _approval(intent, observed, swap))
    back = _back(observed)
    if back is not None:
        return Plan(steps=(), explanation=explanation, registered=not new, blocked=back)
    names = {p.name for p in compiled.document.publish}
    # What serves may have lost a name to a transfer while its object was gone.
    blocked = _blocked(observed, names) if swap != "none" else _taken(observed, names)
    steps: list[Step] = [*_presence(intent, observed)]
    if new and blocked is None:
        steps += _registered(observed)
    stopped = blocked if pinned else blocked or _failed(observed, swap)
    if stopped is None and not pinned:
        steps += _moved(intent, observed, swap, explanation)
    elif blocked is not None:
        # What the object said before is not wanted any more, though what it says now cannot serve.
        steps += _ended(observed, "build first")
    return Plan(steps=tuple(steps), explanation=explanation, registered=not new or blocked is None, blocked=stopped)


def _swap(observed: Observed, intent: Intent) -> Swap:
    """How pointers come to be those of the wanted document."""
    if observed.current_hash == observed.compiled.yaml_hash:
        return "none"
    if observed.current_version is None:
        return "first version"
    if observed.served and observed.intact and intent.strategy == "WhenReady":
        return "swap only"
    return "build first"


def _approval(intent: Intent, observed: Observed, swap: Swap) -> str:
    """Why the build waits for a person, if it does."""
    if swap != "build first":
        return ""
    why = []
    tasks = sum(count.units - count.done for count in observed.counts)
    if tasks > intent.max_build_tasks:
        why.append(f"it would run {tasks} tasks, more than the {intent.max_build_tasks} of rollout.maxBuildTasks")
    if observed.forgotten:
        why.append(f"the history of {', '.join(observed.forgotten[:8])} would not be made again in full")
    return " and ".join(why)


def _presence(intent: Intent, observed: Observed) -> Iterator[Step]:
    seen = observed.presence
    if seen and (seen.object_uid, seen.suspended, seen.absent) == (intent.object_uid, intent.suspended, False):
        return
    returns = bool(seen and seen.absent)
    yield MarkPresent(object_uid=intent.object_uid, suspended=intent.suspended, returns=returns)


def _registered(observed: Observed) -> Iterator[Step]:
    compiled = observed.compiled
    owned = {owner.name for owner in observed.owners}
    names = tuple(p.name for p in compiled.document.publish if p.name not in owned)
    if names:
        yield ClaimNames(names=names)
    yield AddVersion(compiled=compiled, same_data=observed.same_data)


def _repointed(observed: Observed) -> Iterator[Step]:
    if observed.wanted_version is not None and (observed.repoints or not observed.intact):
        yield Repoint(compiled=observed.compiled, same_data=observed.same_data)


def _ended(observed: Observed, swap: Swap) -> Iterator[Step]:
    """Rollouts that the plan makes idle: one under way, and one that failed, so that nobody resumes it."""
    under_way, failed, wanted = observed.under_way, observed.failed, observed.compiled.yaml_hash
    if under_way is not None and (under_way.yaml_hash != wanted or swap != "build first"):
        same = under_way.yaml_hash == wanted
        why = "its version has served before: the pointers swap at once" if same else "a newer document took its place"
        yield EndRollout(id=under_way.id, state="Superseded", cause=why, keep=wanted)
    if failed is not None and (failed.yaml_hash != wanted or swap != "build first"):
        yield EndRollout(id=failed.id, state="Superseded", keep=wanted)


def _moved(intent: Intent, observed: Observed, swap: Swap, explanation: Explanation) -> Iterator[Step]:
    """The steps that bring the wanted document to serve."""
    under_way, wanted = observed.under_way, observed.compiled.yaml_hash
    if swap == "build first":
        # Before anything is kept of another build, which is told by the fingerprints.
        yield from _repointed(observed)
    yield from _ended(observed, swap)
    if swap == "none":
        return
    if swap != "build first":
        yield Cutover(
            base=observed.current_version, yaml_hash=wanted, strategy=intent.strategy, explanation=explanation
        )
    elif under_way is not None and under_way.yaml_hash == wanted:
        yield from _adjusted(intent, under_way)
    else:
        yield _start(intent, observed, explanation)


def _adjusted(intent: Intent, under_way: UnderWay) -> Iterator[Step]:
    # A build that waits for another reason than its tasks has no bound that could let it go.
    builds = under_way.builds or (under_way.bounded and under_way.planned_tasks <= intent.max_build_tasks)
    if (under_way.strategy, under_way.deadline, under_way.builds) != (intent.strategy, intent.deadline, builds):
        yield AdjustRollout(id=under_way.id, strategy=intent.strategy, build_approved=builds, deadline=intent.deadline)


def _start(intent: Intent, observed: Observed, explanation: Explanation) -> StartRollout:
    if observed.current_version is None:
        raise ValueError("a first version is not rolled out: it serves at once")
    return StartRollout(
        base=observed.current_version,
        yaml_hash=observed.compiled.yaml_hash,
        strategy=intent.strategy,
        explanation=explanation,
        build_approved=not explanation.approval,
        cutover_approved=intent.strategy == "WhenReady",
        deadline=intent.deadline,
    )


def _blocked(observed: Observed, names: set[str]) -> Blocked | None:
    """Why the wanted document cannot become a version now: what is wrong first, then what is awaited."""
    return _taken(observed, names) or _cycle(observed) or _readers(observed, names) or _awaited(observed)


def _back(observed: Observed) -> Blocked | None:
    """Why a DAG that comes back may not go on where it was: what it reads or publishes has changed hands."""
    if not observed.obstacles:
        return None
    return Blocked(
        reason=observed.obstacles[0].reason,
        message="the DAG was gone and cannot go on where it was: "
        f"{told(observed.compiled.document.dag, observed.obstacles)}. Mend that, or apply another document: until then "
        "its work stays stopped.",
        waits={obstacle.reason for obstacle in observed.obstacles} == {"InputsMissing"},
    )


def _failed(observed: Observed, swap: Swap) -> Blocked | None:
    """A rollout that failed, or was given up, is not begun again by itself."""
    failed = observed.failed
    if failed is None or failed.yaml_hash != observed.compiled.yaml_hash or swap != "build first":
        return None
    if failed.stopped:
        return Blocked(
            reason="RolloutCanceled",
            message=f"the rollout was {failed.cause}. The version that serves goes on. To resume it run headrace retry "
            f"{observed.compiled.document.dag}, or apply another document.",
        )
    return Blocked(
        reason="RolloutFailed",
        message=f"the rollout failed: {failed.cause}. The version that serves goes on. Mend the cause and run headrace "
        f"retry {observed.compiled.document.dag}, or apply another document.",
    )


def _in_the_way(observed: Observed, reason: str, what: Iterable[str], *, waits: bool = False) -> Blocked | None:
    """Blocked by obstacles of one kind, if there are any."""
    found = [Obstacle(reason=reason, what=one) for one in what]
    if not found:
        return None
    return Blocked(reason=reason, message=f"{told(observed.compiled.document.dag, found)}.", waits=waits)


def _taken(observed: Observed, names: set[str]) -> Blocked | None:
    """A name belongs to the DAG that published it first, also after that DAG is gone."""
    dag = observed.compiled.document.dag
    others = (f"{o.name} (of DAG {o.dag})" for o in observed.owners if o.dag != dag and o.name in names)
    return _in_the_way(observed, "NameTaken", others)


def _cycle(observed: Observed) -> Blocked | None:
    """A job that reads what is made, in other DAGs, from what it makes itself."""
    if not observed.ancestry:
        return None
    compiled = observed.compiled
    made_of: dict[str, set[str]] = {}
    for ancestry in observed.ancestry:
        made_of.setdefault(ancestry.dataset, set()).add(ancestry.job)
    for job in compiled.document.jobs:
        place = compiled.jobs[job.name].position
        for given in job.inputs:
            for ancestor in sorted(made_of.get(given.dataset or "", ())):
                known = compiled.jobs.get(ancestor)
                if known is not None and (ancestor == job.name or known.upstream >> place & 1):
                    return Blocked(
                        reason="CycleAcrossDAGs",
                        message=f"job {job.name} reads the dataset {given.dataset}, which other DAGs make from what "
                        f"job {ancestor} makes of it: cut one of these inputs.",
                    )
    return None


def _readers(observed: Observed, kept: set[str]) -> Blocked | None:
    """What other DAGs read stays published."""
    lost = sorted({f"{r.dataset} (read by {r.dag}/{r.reader})" for r in observed.readers if r.dataset not in kept})
    return _in_the_way(observed, "ConsumersExist", lost)


def _awaited(observed: Observed) -> Blocked | None:
    return _in_the_way(observed, "InputsMissing", observed.absent, waits=True)
