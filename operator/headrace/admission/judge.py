"""The verdict on one object that is being written: what the whole document says of it, its pods, and the plan.

Reconcile looks at all of this again, so what cannot be found out in time is allowed, and said. Refused is only what
nobody else's object can mend: what lies between the objects of a set that is still on its way is told as a warning.
Nothing is written, neither to the API server nor to Postgres.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final, cast
from uuid import UUID

from headrace.admission.live import LISTS, LiveSet, live_set
from headrace.admission.review import Request, Verdict
from headrace.admission.words import plan_lines
from headrace.api import names
from headrace.api.parse import DagObject
from headrace.cluster.client import Client, Refused, lacks_right
from headrace.cluster.namespaces import namespace_uid
from headrace.compile.document import Compiled, JobDocument
from headrace.compile.members import Body, Waiting, authored, deleting, name_of
from headrace.compiler import Compiler, Rejected
from headrace.errors import HeadraceError
from headrace.preview import explained
from headrace.state.database import Database
from headrace.state.orgs import find_org
from headrace.status.members import written_job
from headrace.tryout import distinct, not_a_tenant, refusals, told

logger = logging.getLogger(__name__)

SECONDS: Final = 2.5
"""For everything about one object; the API server waits for twice that."""
CPU_SECONDS: Final = 1.5
"""Of processor time for one document; reconcile gives more."""
AT_ONCE: Final = 16
"""Objects that are looked at at once: others wait for their turn, and that is of their time."""
_MOST_PODS: Final = 32
_LATER: Final = "the operator looks at it after it is stored: see the object's conditions"


class Judge:
    """Judges objects; `compiler` is its own, so that nobody's document holds up a reconcile."""

    def __init__(self, client: Client, db: Database, compiler: Compiler, seconds: float = SECONDS) -> None:
        self._client = client
        self._db = db
        self._compiler = compiler
        self._seconds = seconds
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._lists = asyncio.Semaphore(LISTS)

    async def judge(self, request: Request) -> Verdict:
        """The verdict, within SECONDS: never an error."""
        body, warnings = request.new, list[str]()
        kind = request.kind.kind
        if body is None or kind not in names.PLURALS or deleting(body) or not authored(body):
            return Verdict()
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                refused = await self._judge(request, kind, body, warnings)
        except TimeoutError:
            warnings.append(f"not looked at whole within {self._seconds:g} s: {_LATER}")
        except HeadraceError as error:
            logger.info("%s %s/%s not judged: %s", kind, request.namespace, request.name, error)
            warnings.append(f"not looked at whole, something it takes is away or busy: {_LATER}")
        except Exception:
            # A defect must not keep anybody from applying: reconcile looks at all of it again.
            logger.exception("%s %s/%s not judged", kind, request.namespace, request.name)
            warnings.append(f"not looked at whole: {_LATER}")
        else:
            return Verdict(refused, warnings)
        return Verdict(warnings=warnings)

    async def _judge(self, request: Request, kind: str, body: Body, warnings: list[str]) -> str:
        """Why it is refused; empty where it is not."""
        found = await live_set(self._client, request.namespace, kind, body, self._lists)
        if found is None:
            return ""
        members = found.members
        if not found.there:
            warnings.append(f"waits for DAG {found.dag}, which is not there")
        elif found.found is None:
            warnings.append("of a large set: not planned one by one, ask headrace plan -f FILES")
        elif isinstance(found.found, Waiting):
            warnings.append(f"waits: {found.found.message}")
        compiled = await self._compiler.compile(found.dag, found.body, members.jobs, members.datasets)
        if isinstance(compiled, Rejected):
            return self._rejected(found, compiled, f"{kind} {name_of(body)}", warnings)
        dag, document = compiled
        # What can be refused comes first, and the plan with what is left of the time.
        jobs = concerned(found, kind, body, request.old, document)
        refused = await self._tried(request.namespace, dag, distinct(document, jobs).values(), warnings)
        warnings += document.warnings
        if not refused and found.complete:
            await self._plan(request.namespace, dag, document, warnings)
        return refused

    def _rejected(self, found: LiveSet, rejected: Rejected, about: str, warnings: list[str]) -> str:
        if rejected.too_long:
            warnings.append(f"compiling it takes long: {_LATER}")
            return ""
        # A name that nobody has may be that of an object that comes after the DAG: none has to be listed.
        own = rejected.certain if found.whole else rejected.own.get(about, "")
        # With its DAG away, or others awaited, only what is wrong with the object itself is wrong.
        if not own and found.complete:
            warnings += [f"as the set stands: {line}" for line in rejected.message.splitlines()]
        return own

    async def _tried(self, namespace: str, dag: DagObject, jobs: Iterable[JobDocument], warnings: list[str]) -> str:
        """Why the cluster would not take the pods of these jobs; empty where it would, or may soon."""
        pods = list(jobs)
        if len(pods) > _MOST_PODS:
            warnings.append(f"of {len(pods)} different pods, {_MOST_PODS} were tried")
        uid = dag.metadata.uid or str(UUID(int=0))
        found = await refusals(self._client, namespace, dag.metadata.name, uid, pods[:_MOST_PODS])
        if any(lacks_right(error) for _, error in found):
            warnings.append(not_a_tenant(namespace))
            return ""
        passing = [(job, error) for job, error in found if _may_come(error)]
        warnings += [f"{job}: no pod as yet: {str(error).rpartition(' is forbidden: ')[2]}" for job, error in passing]
        lasting = [one for one in found if one not in passing]
        return told(lasting) if lasting else ""

    async def _plan(self, namespace: str, dag: DagObject, compiled: Compiled, warnings: list[str]) -> None:
        uid = await namespace_uid(self._client, namespace)
        if uid is None:
            return
        async with self._db.transaction() as tx:
            org = await find_org(tx, uid)
        plan = await explained(self._db, org, dag, compiled)
        # The document's own are there already.
        warnings += [line for line in plan_lines(plan) if line not in compiled.warnings]


def concerned(found: LiveSet, kind: str, body: Body, old: Body | None, compiled: Compiled) -> list[JobDocument]:
    """The jobs whose pods an object says something of: of a DAG all, by its defaults; of a Job itself.

    None of a Job whose DAG is not there: that may bring what the cluster asks of pods. None of a DAG that only says
    other things of the same jobs: it may be suspended also where the cluster would not take its pods any more.
    """
    if kind == names.DAG:
        return [] if old is not None and _works(old) == _works(body) else list(compiled.document.jobs)
    if not found.there:
        return []
    name = written_job(body) if kind == names.JOB else ""
    return [compiled.document_of(name)] if name in compiled.jobs else []


def _works(dag: Body) -> tuple[object, object]:
    """What a DAG's own pods are made from."""
    spec = cast("Mapping[str, object]", dag.get("spec") or {})
    return spec.get("jobs"), spec.get("defaults")


def _may_come(error: Refused) -> bool:
    """Whether what the pod lacks may be on its way with the same set: its service account."""
    return error.status == 403 and "looking up service account" in str(error)
