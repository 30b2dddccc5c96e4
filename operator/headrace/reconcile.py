"""The one reconcile: observe, compile, plan, commit, run, status; for create, update, resume and the periodic pass.

It is called with the key of a DAG and decides from what is there now, never from what the event said. Reconciling twice
in a row does nothing the second time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast
from uuid import UUID

import msgspec

from headrace import tryout
from headrace.api import names
from headrace.api.parse import DagObject, ObjectMeta
from headrace.cluster.client import Client, lacks_right
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.objects import Body, Key, Objects
from headrace.cluster.pods import Pods
from headrace.cluster.writes import Written, write_status
from headrace.compile.document import Compiled
from headrace.compile.members import Members, Waiting, deleting, gather, inline
from headrace.compile.publishing import NameSettings, freshness, name_settings
from headrace.compiler import Compiler, Rejected
from headrace.departure import finish_deletion, keep_finalizer, stop_dag
from headrace.errors import TemporaryError
from headrace.parts import standing_of, tell_orphans, tell_parts
from headrace.plan.decide import decide, intent_of
from headrace.plan.rollout import Stay
from headrace.plan.steps import AddVersion
from headrace.run.commands import are_given, not_understood
from headrace.run.commit import commands_only, commit, is_settled, say_of_names
from headrace.run.dispatch import Dispatcher
from headrace.state import orgs
from headrace.state.database import Database
from headrace.state.observe import observe
from headrace.state.orgs import Org, OrgMoved
from headrace.state.report import Report, read_report
from headrace.status.dag import Outcome, committed_outcome, dag_status, delayed_status
from headrace.status.datasets import stale_in
from headrace.status.members import generation_of
from headrace.status.parts import NotRunning, may_be_full
from headrace.status.waiting import MISSING_SECONDS, awaited, is_news, still_waits
from headrace.tenants import Tenants

logger = logging.getLogger(__name__)

_FULL_SECONDS = 5.0
"""Work of other DAGs may fill the namespace, or leave it room, and tells nobody of this one."""

_NOBODY = Members()


@dataclass
class _Known:
    """What is remembered of a DAG while its object is there: nothing that could not be found out again."""

    uid: str
    org: Org
    compiled: tuple[DagObject, Compiled] | Rejected | None = None
    members: Members = _NOBODY  # of what is compiled
    inline: frozenset[str] = frozenset()  # names of the rest of it
    generations: frozenset[tuple[object, ...]] = frozenset()  # of the DAG and its members, as compiled
    changes: int = -1  # of all that names the DAG, when that was the complete set
    registered: Members = _NOBODY  # of the newest version
    waiting_since: float | None = None
    said: tuple[NameSettings, ...] | None = None  # of its names, as Postgres has it
    stands: tuple[object, ...] = ()  # which version served at the last look, and where its rollout stood
    tried: str = ""  # the document whose pods the cluster would take
    taken: frozenset[str] = frozenset()  # the distinct pods of it


@dataclass
class Reconciler:
    """What a reconcile needs."""

    client: Client
    db: Database
    objects: Objects
    pods: Pods
    dispatcher: Dispatcher
    compiler: Compiler
    tenants: Tenants
    storage_base: str
    epoch: int
    wake: Callable[[Key], None]
    written: Written
    news_trouble: Callable[[UUID], str | None]
    _known: dict[Key, _Known] = field(default_factory=dict)
    _awaiting: set[Key] = field(default_factory=set)  # DAGs that something of others keeps from serving

    async def reconcile(self, key: Key) -> float | None:
        """Bring the DAG `key` to what its object says; after how many seconds to look again, if at all.

        TemporaryError: try again later, ever more seldom.
        """
        body = self.objects.get(names.DAG, key.namespace, key.name)
        if body is None or deleting(body):
            await stop_dag(self.db, self.epoch, self.dispatcher, key)
            self._known.pop(key, None)
            self._awaiting.discard(key)
            if body is not None:
                await finish_deletion(self.client, self.db, self.epoch, self.objects, key, body)
            self._wake_others(key)
            return await tell_orphans(self.client, self.objects, self.written, key, datetime.now(UTC))
        try:
            again = await self._bring_about(key, body)
        except OrgMoved:
            self._known.pop(key, None)
            raise
        except TemporaryError as error:
            await self._tell_delay(key, error)
            raise
        if isinstance(again, TemporaryError):
            raise again
        return again

    def forget(self, namespace: str) -> None:
        """The org of a namespace is another one: what is known of its DAGs is found out again."""
        self._known = {key: known for key, known in self._known.items() if key.namespace != namespace}

    async def _bring_about(self, key: Key, body: Body) -> TemporaryError | float | None:
        """Commit and tell; when or why to look again without being woken, if so."""
        known = await self._remember(key, body)
        if known is None:
            return None
        # Read again after the wait, since the set is to be of one instant.
        body = self.objects.get(names.DAG, key.namespace, key.name) or {}
        if _uid(body) != known.uid:
            return None  # its event is in the queue
        await keep_finalizer(self.client, self.objects, body)
        settings = name_settings(body, self.objects.authored(names.DATASET, key))
        await self._say(key, known, settings)
        found = await self._compiled(key, body, known)
        self.dispatcher.follow(known.org.id, key.namespace)
        again: float | None = None
        parts = True
        if isinstance(found, Waiting | Rejected):
            now = self.objects.clock()
            since = now if known.waiting_since is None else known.waiting_since
            coming = isinstance(found, Waiting) and now - since < MISSING_SECONDS
            await self._command(key, known, body, coming=coming)
        if isinstance(found, Waiting):
            now = self.objects.clock()
            known.waiting_since = now if known.waiting_since is None else known.waiting_since
            since_change = now - self.objects.changes(key).last
            wait = awaited(body, _generation(body), found, now - known.waiting_since, since_change)
            if not is_news(body, _generation(body), found, known=known.compiled is not None):
                return wait.again
            outcome, again, parts = wait.outcome, wait.again, wait.members
        elif isinstance(found, Rejected):
            outcome = Outcome(reason="InvalidSpec", message=found.message)
        else:
            # Labels and annotations change without a new generation.
            dag = msgspec.structs.replace(found[0], metadata=msgspec.convert(body["metadata"], ObjectMeta))
            outcome = await self._commit(known, dag, found[1], settings)
            # A name or a reader may go: whoever changes what serves wakes those that are in its way.
            (self._awaiting.add if outcome.reason else self._awaiting.discard)(key)
            if outcome.waiting:
                outcome, again = self._await(known, body, outcome)
            else:
                known.waiting_since = None
            if outcome.registered:
                known.registered = known.members
            self.dispatcher.cron.changed()
            self.dispatcher.wake()
        due = freshness(body, self.objects.authored(names.DATASET, key))
        report = await self._tell(key, known, body, outcome, found, due, parts=parts)
        looks = [again, _FULL_SECONDS if may_be_full(report) else None]
        if report.dag is not None:
            looks.append(stale_in(report.datasets, due, report.dag.now))
        again = min((seconds for seconds in looks if seconds is not None), default=None)
        # A quota or a service account may come that nobody tells us of; a namespace's leave is told by its watch.
        return TemporaryError("its pods are refused as yet") if outcome.reason == "PodRefused" else again

    def say_again(self) -> None:
        """What names say is to be said anew: Postgres may have been restored to when it was something else."""
        for known in self._known.values():
            known.said = None

    async def _say(self, key: Key, known: _Known, settings: tuple[NameSettings, ...]) -> None:
        """Who may read holds at once: before the rest of the newest spec is compiled and its pods are tried, and
        whatever is wrong with it or awaited. A first version says so itself, since its names are nobody's before.
        """
        if known.said == settings:
            return
        async with self.db.transaction() as tx:
            new = await say_of_names(tx, self.epoch, known.org, key.name, settings)
        if new:
            self.dispatcher.changed()
        known.said = settings

    async def _command(self, key: Key, known: _Known, body: Body, *, coming: bool) -> None:
        """Commands hold for what serves, whatever the newest spec is: a rollback most of all when that is bad.

        `coming`: the rest of that spec's set is on its way.
        """
        annotations = msgspec.convert(body["metadata"], ObjectMeta).annotations
        if not are_given(annotations):
            return
        async with self.db.transaction() as tx:
            done = await commands_only(tx, self.epoch, known.org, key.name, annotations, coming=coming)
        for command, outcome in done.items():
            logger.info("DAG %s/%s: %s: %s", known.org.slug, key.name, command, outcome)
        if done:
            self.dispatcher.changed()
            self.dispatcher.wake()

    def _await(self, known: _Known, body: Body, outcome: Outcome) -> tuple[Outcome, float | None]:
        """Wait for what other DAGs are to publish: they wake it, and for a while only it is no fault."""
        now = self.objects.clock()
        known.waiting_since = now if known.waiting_since is None else known.waiting_since
        return still_waits(body, _generation(body), outcome, now - known.waiting_since)

    def _wake_waiting(self, key: Key, known: _Known, report: Report) -> None:
        """Another version serves, or is built: whoever waits for datasets, or for readers to go, may find that now."""
        rollout = report.rollout
        stands = (report.dag and report.dag.version, rollout and (rollout.yaml_hash, rollout.state))
        if stands != known.stands:
            known.stands = stands
            self._wake_others(key)

    def _wake_others(self, key: Key) -> None:
        """Look at the DAGs of the namespace that another one keeps from serving."""
        for other in self._awaiting:
            if other.namespace == key.namespace and other != key:
                self.wake(other)

    async def _remember(self, key: Key, body: Body) -> _Known | None:
        """What is known of the DAG; None when its namespace is gone by now."""
        uid = _uid(body)
        known = self._known.get(key)
        if known is None or known.uid != uid:
            namespace = await namespace_uid(self.client, key.namespace)
            if namespace is None:
                return None
            async with self.db.transaction() as tx:
                known = _Known(uid=uid, org=await orgs.ensure_org(tx, key.namespace, namespace))
            await self.tenants.first_look(key.namespace, known.org)
            self._known[key] = known
        return known

    async def _compiled(self, key: Key, body: Body, known: _Known) -> tuple[DagObject, Compiled] | Rejected | Waiting:
        """The object and the document of the set, compiled once for each, or what is wrong with it or awaited."""
        changes = self.objects.changes(key)
        if known.compiled is not None and known.changes == changes.count:
            return known.compiled
        now, find = self.objects.clock(), partial(self._find, key.namespace)
        jobs, datasets = (self.objects.authored(kind, key).values() for kind in (names.JOB, names.DATASET))
        found = gather(body, jobs, datasets, now - changes.last, find, now - changes.last_member, known.inline)
        members = found.members if isinstance(found, Waiting) else found
        generations = frozenset(map(generation_of, (body, *members.jobs.values(), *members.datasets.values())))
        same = known.compiled is not None and known.generations == generations
        # What settles has changed nothing when it is what is compiled already, as when another object came and went.
        if isinstance(found, Waiting) and not (same and found.reason == "Settling"):
            return found
        known.waiting_since = None
        if known.compiled is None or not same:
            known.compiled = await self.compiler.compile(key.name, body, members.jobs, members.datasets)
            known.generations = generations
        known.members, known.changes = members, changes.count
        known.inline = inline(body, "jobs") | inline(body, "publish")
        return known.compiled

    def _find(self, namespace: str, kind: str, name: str) -> Body | None:
        return self.objects.get(kind, namespace, name)

    async def _commit(
        self, known: _Known, dag: DagObject, compiled: Compiled, settings: tuple[NameSettings, ...]
    ) -> Outcome:
        """Plan under the DAG's lock and carry it out in the same transaction; try pods out before a new version."""
        org, name = known.org, dag.metadata.name
        intent = intent_of(dag.metadata.uid, dag.spec)
        if compiled.yaml_hash != known.tried:
            async with self.db.transaction() as tx:
                observed = await observe(tx, org, compiled, intent.reuse)
            plan = decide(intent, observed)
            if any(isinstance(step, AddVersion) for step in plan.steps):
                refused = await self._try_out(known, dag, compiled)
                if refused is not None:
                    return refused
            if plan.registered:
                known.tried = compiled.yaml_hash
            if is_settled(observed, plan, dag.metadata.annotations):  # as after a start; names have said theirs before
                return committed_outcome(plan, compiled, not_understood(dag.metadata.annotations))
        async with self.db.transaction() as tx:
            done = await commit(
                tx, self.epoch, org, self.storage_base, compiled, intent, dag.metadata.annotations, settings
            )
        if done.plan.steps or done.commands:
            self.dispatcher.changed()
        for step in done.plan.steps:
            logger.info("DAG %s/%s: %s", org.slug, name, type(step).__name__)
        for command, outcome in done.commands.items():
            logger.info("DAG %s/%s: %s: %s", org.slug, name, command, outcome)
        if not isinstance(done.move, Stay):
            logger.info("DAG %s/%s: %s", org.slug, name, type(done.move).__name__)
        return committed_outcome(done.plan, compiled, not_understood(dag.metadata.annotations))

    async def _try_out(self, known: _Known, dag: DagObject, compiled: Compiled) -> Outcome | None:
        """Ask the API server whether it would take the jobs' pods, once for each distinct one that is new."""
        pods, org = tryout.distinct(compiled, compiled.document.jobs), known.org
        new = [job for digest, job in pods.items() if digest not in known.taken]
        found = await tryout.refusals(self.client, org.slug, dag.metadata.name, dag.metadata.uid, new)
        if not found:
            known.taken = frozenset(pods)
            return None
        if any(lacks_right(error) for _, error in found):
            return Outcome(reason="NotATenant", message=tryout.not_a_tenant(org.slug))
        return Outcome(reason="PodRefused", message=tryout.told(found))

    async def _tell_delay(self, key: Key, error: TemporaryError) -> None:
        """Say why a newer spec is not registered yet; as far as the API server can be reached."""
        # As it is now: what came in the way may have come after it was registered, and told.
        body = self.objects.get(names.DAG, key.namespace, key.name)
        if body is None:
            return
        status = delayed_status(body, _generation(body), str(error), datetime.now(UTC))
        if status is not None:
            try:
                await write_status(self.client, self.objects, names.DAG, body, status, self.written)
            except TemporaryError as other:
                logger.debug("DAG %s/%s: its delay cannot be told: %s", key.namespace, key.name, other)

    async def _tell(
        self,
        key: Key,
        known: _Known,
        body: Body,
        outcome: Outcome,
        found: tuple[DagObject, Compiled] | Rejected | Waiting,
        due: Mapping[str, timedelta],
        *,
        parts: bool,
    ) -> Report:
        """Write the DAG's status if it differs; with `parts`, show the parts of what serves, and write theirs. `due`:
        how old the last updates of datasets may be.
        """
        async with self.db.transaction() as tx:
            await orgs.confirm(tx, known.org)
            report = await read_report(tx, known.org.id, key.name)
        self._wake_waiting(key, known, report)
        refused = tryout.not_a_tenant(key.namespace) if key.namespace in self.pods.refused else None
        troubles = filter(None, (self.tenants.trouble(key.namespace), self.news_trouble(known.org.id)))
        outcome = replace(outcome, warnings=(*outcome.warnings, *troubles))
        now = report.dag.now if report.dag else datetime.now(UTC)
        status = dag_status(body, _generation(body), outcome, report, refused, now)
        await write_status(self.client, self.objects, names.DAG, body, status, self.written)
        if not parts:
            return report
        others = (found.members if isinstance(found, Waiting) else known.members).others
        wrong = found.objects if isinstance(found, Rejected) else {}
        standing = standing_of(key.name, known.registered, others, wrong, waiting=outcome.waiting)
        idle = NotRunning(
            self.dispatcher.why_waiting(key.namespace), self.dispatcher.why_workers(key.namespace, key.name)
        )
        whole = not isinstance(found, Waiting)
        await tell_parts(
            self.client, self.objects, self.written, body, key, report, standing, idle, due, now, whole=whole
        )
        return report


def _uid(body: Body) -> str:
    return str(cast("Mapping[str, object]", body.get("metadata") or {}).get("uid"))


def _generation(body: Body) -> int:
    return cast("int", cast("Mapping[str, object]", body["metadata"])["generation"])
