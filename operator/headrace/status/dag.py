"""The status of a DAG from its report and the outcome of its last reconcile. Pure; reconcile calls it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

import msgspec

from headrace.api.history import short_hash
from headrace.api.names import COMMAND_ANNOTATIONS
from headrace.api.status import Condition, DagStatus, TaskCounts, Total, VersionStatus
from headrace.compile.document import Compiled
from headrace.plan.steps import Plan
from headrace.state.report import BuildRow, GoneRow, JobRow, Report
from headrace.status.conditions import condition, dated, observed_generation, whole_seconds, words
from headrace.status.parts import SUSPENDED, never_run, webhook_trouble
from headrace.status.rollout import UNDER_WAY, plan_status, rebuilding, rollout_status

NEWS: Final = timedelta(minutes=15)
"""How long the refusal of a request is told in the message; lastOutcome keeps it."""


@dataclass(frozen=True)
class Outcome:
    """What came of reconciling a spec: `yaml_hash` of the document it compiles to, or why it does not come to serve.

    `waiting`: what it lacks is on its way, as far as can be told; else it is stalled. `registered`: it is a version.
    `warnings`: of what has no effect; `notes`: what a good spec may be better in.
    """

    yaml_hash: str | None = None
    reason: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    waiting: bool = False
    registered: bool = False


def committed_outcome(plan: Plan, compiled: Compiled, not_understood: Sequence[str]) -> Outcome:
    """What came of a plan that was carried out."""
    blocked = plan.blocked
    return Outcome(
        yaml_hash=compiled.yaml_hash if plan.registered else None,
        reason=blocked.reason if blocked else "",
        message=blocked.message if blocked else "",
        warnings=tuple(not_understood),
        notes=compiled.warnings,
        waiting=blocked is not None and blocked.waits,
        registered=plan.registered,
    )


def dag_status(
    body: Mapping[str, object], generation: int, outcome: Outcome, report: Report, refused: str | None, now: datetime
) -> DagStatus:
    """What the DAG is doing. `refused`: why the operator may not make pods in its namespace, if so."""
    name = str(cast("Mapping[str, object]", body["metadata"])["name"])
    conditions = list(_conditions(name, outcome, report, refused))
    serving = report.dag
    rows: list[JobRow | BuildRow] = [*report.jobs, *report.builds]
    return DagStatus(
        # A waiting spec is not handled yet, but the wait may be for members of a spec that was.
        observed_generation=observed_generation(body) if outcome.waiting else generation,
        conditions=dated(conditions, body, generation, now),
        version=None
        if serving is None
        else VersionStatus(
            id=str(serving.version),
            yaml_hash=serving.yaml_hash,
            short=short_hash(serving.yaml_hash),
            since=whole_seconds(serving.since),
        ),
        pinned=report.dag.pinned_hash if report.dag else None,
        rollout=rollout_status(name, report.rollout),
        plan=plan_status(report.rollout),
        last_handled={c.command: c.request_id for c in report.commands} or None,
        last_outcome={c.command: words(c.outcome, 256) for c in report.commands} or None,
        jobs=Total(total=len(report.jobs)) if serving else None,
        tasks=TaskCounts(
            waiting=sum(j.waiting for j in rows),
            running=sum(j.running for j in rows),
            failed=sum(j.failed for j in rows),
            completed=sum(j.done for j in report.jobs),
        )
        if serving
        else None,
        datasets=Total(total=len(report.datasets)) if serving else None,
        message=words(_message(name, conditions, outcome, report, _refused(body, report))) or None,
    )


def delayed_status(body: Mapping[str, object], generation: int, why: str, now: datetime) -> DagStatus | None:
    """The status in `body` with the word that its newer spec is not registered yet; None when it was."""
    given = body.get("status")
    before = msgspec.convert(given if isinstance(given, Mapping) else {}, DagStatus)
    if before.observed_generation == generation:
        return None
    kept = [c for c in before.conditions or () if c.type not in ("Reconciling", "Stalled")]
    told = condition("Reconciling", True, "Delayed", f"the newest spec is not registered yet: {why}")
    return msgspec.structs.replace(before, conditions=[*kept, *dated([told], body, generation, now)])


def _conditions(name: str, outcome: Outcome, report: Report, refused: str | None) -> Iterator[Condition]:
    serving = report.dag is not None
    current = (
        report.dag is not None
        and report.dag.yaml_hash == outcome.yaml_hash
        and not outcome.reason
        and report.dag.pinned_hash is None
    )
    building = report.rollout if report.rollout and report.rollout.state in UNDER_WAY else None
    if serving:
        yield condition("Ready", True, "VersionServes")
    else:
        yield condition("Ready", False, outcome.reason or "NoVersion", outcome.message or "no version serves yet")
    if outcome.reason:
        yield condition("Reconciling" if outcome.waiting else "Stalled", True, outcome.reason, outcome.message)
    if current:
        yield condition("Serving", True, "NewestSpecServes", "; ".join(outcome.notes))
    else:
        yield condition("Serving", False, *_not_serving(name, outcome, report))
    waits = _not_up_to_date(report) if current else "the newest spec does not serve: see Serving"
    yield condition("UpToDate", not waits, "Idle" if not waits else "WorkLeft" if current else "NotServing", waits)
    if building is not None:
        suspended = report.dag is not None and report.dag.suspended
        yield condition("Rebuilding", True, *rebuilding(name, building, suspended=suspended))
    if refused and serving:
        yield condition("Degraded", True, "NotATenant", refused)
    elif any(j.failed for j in report.jobs):
        yield condition("Degraded", True, "TasksFailed", _failures(name, report.jobs))


def _not_serving(name: str, outcome: Outcome, report: Report) -> tuple[str, str]:
    """Why the newest spec does not serve: in a word, and in words or where they are; thrice the same is no help."""
    if outcome.reason:
        return outcome.reason, f"see {'Reconciling' if outcome.waiting else 'Stalled'}"
    if report.rollout is not None and report.rollout.state in UNDER_WAY:
        return rebuilding("", report.rollout)[0], "see Rebuilding"
    if report.dag is not None and report.dag.pinned_hash is not None:
        told = f"{short_hash(report.dag.pinned_hash)} is pinned; headrace unpin {name} lets the newest spec serve"
        return "Pinned", told
    return "NotCurrent", "another version serves" if report.dag else "no version serves yet"


def _not_up_to_date(report: Report) -> str:
    """Why work is left, in words; empty when none is."""
    counts = [
        (sum(j.running for j in report.jobs if not j.runs_on), "running"),
        (sum(j.waiting for j in report.jobs), "waiting"),
        (sum(j.failed for j in report.jobs), "failed for good"),
    ]
    left = ", ".join(f"{count} {what}" for count, what in counts if count)
    if not left:
        return ""
    suspended = "; the DAG is suspended" if report.dag and report.dag.suspended else ""
    return f"tasks: {left}{suspended}"


def _failures(name: str, jobs: tuple[JobRow, ...]) -> str:
    told = [
        f"job {j.name}: {j.failed} failed for good, last {j.failed_key}: {words(j.failure or '', 200)}"
        for j in jobs
        if j.failed
    ]
    command = f"kubectl annotate --overwrite dag {name} headrace.dev/retry='ID JOB'"
    way_out = f"Mend the cause, then run them again: {command} (ID: any new word; without JOB: all)"
    return words("; ".join(told), 750) + f". {way_out}."


def _message(name: str, conditions: list[Condition], outcome: Outcome, report: Report, refused: str) -> str:
    """What matters most now: what is wrong, then what goes on, what was refused, how to begin, what to mind."""
    for wanted in ("Stalled", "Reconciling", "Degraded"):
        for c in conditions:
            if c.type == wanted:
                mind = outcome.warnings if wanted != "Reconciling" else ()
                return "; ".join(part for part in (c.message, refused, *mind) if part)
    told = [c.message for c in conditions if (c.type, c.reason) == ("Serving", "Pinned")]
    told += [c.message for c in conditions if c.type == "Rebuilding"]
    told += [c.message for c in conditions if c.type == "UpToDate" and c.message and c.reason != "NotServing"]
    if report.dag is not None and report.dag.suspended and not any("suspended" in one for one in told):
        told.append(SUSPENDED)
    told += [refused] if refused else []
    told += [f"job {j.name}: {hint}" for j in report.jobs if (hint := webhook_trouble(j) or never_run(name, j))]
    told += _gone(report.gone)
    return "; ".join([*told, *outcome.warnings])


def _refused(body: Mapping[str, object], report: Report) -> str:
    """The last request of all, while its annotation is there and it is news, if it was refused; else empty."""
    last = max(report.commands, key=lambda c: c.handled_at, default=None)
    if last is None or not last.outcome.startswith("refused") or report.dag is None:
        return ""
    given = cast("Mapping[str, Mapping[str, str]]", body["metadata"]).get("annotations") or {}
    there = given.get(COMMAND_ANNOTATIONS[last.command], "").split(" ")[0].startswith(last.request_id)
    news = report.dag.now - last.handled_at < NEWS
    return f"{last.command} {last.request_id}: {last.outcome}" if there and news else ""


def _gone(rows: Sequence[GoneRow]) -> list[str]:
    """Readers of what nobody makes any more: they keep what they have."""
    if not rows:
        return []
    listed = ", ".join(f"{r.dataset} (of DAG {r.dag}, read by job {r.job})" for r in rows[:4])
    more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
    return [f"nothing new comes of {listed}{more}: that DAG is gone; apply it again, or read another dataset"]
