"""The transaction of a reconcile: commands, plan, commit, and the next move of the rollout. reconcile calls it.

Everything that the DAG's lock protects happens here, so that what is decided is what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headrace.compile.document import Compiled
from headrace.compile.publishing import NameSettings
from headrace.plan.decide import Intent, decide
from headrace.plan.observed import Observed
from headrace.plan.rollout import Move, Stay
from headrace.plan.steps import Cutover, Plan
from headrace.run.commands import AFTER, BEFORE, are_given, handle_commands
from headrace.run.rollouts import advance
from headrace.run.sources import make_listed
from headrace.state import locks, names, versions
from headrace.state.database import Transaction
from headrace.state.observe import observe
from headrace.state.orgs import Org


@dataclass(frozen=True)
class Committed:
    """What a reconcile did: its plan, what came of each command, and how the rollout moved."""

    plan: Plan
    commands: Mapping[str, str]
    move: Move


async def commit(
    tx: Transaction,
    epoch: int,
    org: Org,
    storage_base: str,
    compiled: Compiled,
    intent: Intent,
    annotations: Mapping[str, str],
    settings: Sequence[NameSettings] = (),
) -> Committed:
    """Bring Postgres to what the document and the intent say. TemporaryError: somebody else was first, plan again.

    `settings`: what the object says of its names beside the document.
    """
    dag = compiled.document.dag
    await versions.lock_dag(tx, org, dag)
    # Before a first version there is nothing to command: requests wait for it.
    serves = await versions.serves(tx, org, dag)
    done = await handle_commands(tx, epoch, org.id, dag, annotations, BEFORE) if serves else {}
    plan = decide(intent, await observe(tx, org, compiled, intent.reuse, to_act=True))
    if plan.steps:
        await locks.fence(tx, epoch)
        await versions.apply(tx, org, dag, storage_base, plan.steps)
    if await names.say(tx, org.id, dag, settings) and not plan.steps:
        await locks.fence(tx, epoch)
    if any(isinstance(step, Cutover) and step.base is not None for step in plan.steps):
        await make_listed(tx, org.id, dag)
    # A rollout that goes on is the dispatcher's, which knows when to look.
    move: Move = await advance(tx, epoch, org.id, dag) if plan.steps or done else Stay()
    if serves or any(isinstance(step, Cutover) for step in plan.steps):
        done |= await handle_commands(tx, epoch, org.id, dag, annotations, AFTER)
    if "approve" in done:
        move = await advance(tx, epoch, org.id, dag)
    return Committed(plan=plan, commands=done, move=move)


def is_settled(observed: Observed, plan: Plan, annotations: Mapping[str, str]) -> bool:
    """Whether `commit` would only read: the document serves, its plan has nothing to do, and nobody asks for anything.
    What its names say is not looked at.
    """
    serves = observed.current_hash == observed.compiled.yaml_hash
    return serves and not plan.steps and plan.blocked is None and not are_given(annotations)


async def say_of_names(tx: Transaction, epoch: int, org: Org, dag: str, settings: Sequence[NameSettings]) -> bool:
    """What the object says of its names holds, though its document does not serve; whether that is new."""
    await versions.lock_dag(tx, org, dag)
    if not await names.say(tx, org.id, dag, settings):
        return False
    await locks.fence(tx, epoch)
    return True


async def commands_only(
    tx: Transaction, epoch: int, org: Org, dag: str, annotations: Mapping[str, str], *, coming: bool = False
) -> Mapping[str, str]:
    """Carry out commands while the object's own document is none that could serve; what came of each.

    `coming`: the rest of it is on its way. What depends on the plan then waits for that: an approval that came with the
    document which it names would be refused, once and for all.
    """
    await versions.lock_dag(tx, org, dag)
    if not await versions.serves(tx, org, dag):
        return {}
    done = await handle_commands(tx, epoch, org.id, dag, annotations, BEFORE if coming else (*BEFORE, *AFTER))
    if done:
        await advance(tx, epoch, org.id, dag)
    return done
