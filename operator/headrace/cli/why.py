"""`headrace why OBJECT`: the chain of causes of a DAG, a job, a partition of a job, or a dataset, down to the root.

Of DAGs and datasets the objects tell; of a job, and of its partitions, the gateway knows more, and is asked first.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

from msgspec.structs import replace

from headrace.api.runs import NotUnderstood, Why
from headrace.cli.causes import Cause, cause_of, causes_of_job
from headrace.cli.connection import connected
from headrace.cli.gateway import Gateway, reached
from headrace.cli.objects import NoSuchObject, View, read_view
from headrace.cli.output import machine_text
from headrace.cli.service import GatewayError
from headrace.cli.style import WIDTH, clean, shorten, table, wrapped
from headrace.cluster.client import Client, Refused
from headrace.errors import TemporaryError

_MOST_ASKED: Final = 20


class WhyJob(Why, frozen=True, kw_only=True):
    """Why a job, or a partition of it, does not run, with the causes of that."""

    causes: tuple[Cause, ...] = ()


def run(arguments: Namespace) -> int:
    """Print why."""
    if arguments.partition and "/" not in arguments.target:
        raise NotUnderstood("--partition is one of a job: give DAG/JOB")
    found = asyncio.run(_ask(arguments))
    if arguments.output != "text":
        sys.stdout.write(machine_text(found, arguments.output))
    else:
        sys.stdout.write(show_cause(found) if isinstance(found, Cause) else show_why(found) + show_causes(found.causes))
    return 0


async def _ask(arguments: Namespace) -> Cause | WhyJob:
    target = arguments.target
    async with connected(arguments) as (client, connection, namespace):
        if "/" not in target:
            return cause_of(await read_view(client, namespace), target)
        try:
            async with reached(arguments, client, connection, namespace) as gateway:
                return await _of_job(client, gateway, namespace, target, arguments.partition)
        except (GatewayError, TemporaryError) as error:
            return await _of_objects(client, namespace, target, arguments.partition, error)


async def _of_objects(
    client: Client, namespace: str, target: str, partition: str | None, error: GatewayError | TemporaryError
) -> Cause:
    """What the objects say, where the gateway knows of no such job or is away; the error where they do not say it."""
    status = error.status if isinstance(error, GatewayError) else 0
    view = await _look(client, namespace) if status in (0, 404) or status >= 500 else None
    if view is None or partition:
        raise error
    try:
        found = cause_of(view, target)
    except NoSuchObject:
        raise error from None
    if status != 404:
        print(f"headrace: {error}\nThis is what the objects say:", file=sys.stderr)
    return found


async def _of_job(client: Client, gateway: Gateway, namespace: str, target: str, partition: str | None) -> WhyJob:
    dag, _, job = target.partition("/")
    found = await _of(gateway, namespace, dag, job, partition)
    told = WhyJob(**{name: getattr(found, name) for name in Why.__struct_fields__})
    if partition and (found.state != "Queued" or found.waits_for):
        return replace(told, causes=await _of_lacks(gateway, namespace, found))
    view = await _look(client, namespace)
    shown = view.jobs.get((dag, job)) if view is not None else None
    words = with_pods(
        (shown.status.waiting_for or None) if shown else None, found.words, "its job: " if partition else ""
    )
    if partition or view is None:
        return replace(told, words=words, causes=await _of_lacks(gateway, namespace, found))
    return replace(told, words=words, causes=causes_of_job(view, dag, job))


async def _look(client: Client, namespace: str) -> View | None:
    """The objects; None for who may not look at them."""
    try:
        return await read_view(client, namespace)
    except Refused:
        return None


async def _of(gateway: Gateway, namespace: str, dag: str, job: str, partition: str | None) -> Why:
    query = f"?{urlencode({'partition': partition})}" if partition else ""
    return await gateway.ask("GET", f"/v1/namespaces/{namespace}/dags/{dag}/jobs/{job}/why{query}", Why)


async def _of_lacks(gateway: Gateway, namespace: str, why: Why) -> tuple[Cause, ...]:
    """Why the jobs have not made what a partition lacks, and so on up; each is asked once."""
    seen = {(why.dag, why.job, why.partition)}

    async def causes(of: Why) -> tuple[Cause, ...]:
        made: list[Cause] = []
        for lack in of.lacks:
            place = (lack.dag, lack.job, lack.partition)
            if place in seen or len(seen) > _MOST_ASKED:
                continue
            seen.add(place)
            try:
                found = await _of(gateway, namespace, *place)
            except GatewayError as error:
                if error.status not in (403, 404):
                    raise
                made.append(Cause(object=_named(*place), state="Unknown", words=(str(error),)))
                continue
            made.append(Cause(object=_named(*place), state=found.state, words=tuple(_words(found)),
                              causes=await causes(found)))  # fmt: skip
        return tuple(made)

    return await causes(why)


def _words(why: Why) -> Iterator[str]:
    yield from why.words
    for one in why.waits_for:
        yield f"it waits for {one.job} {one.partition}, {one.state}" + (f": {one.message}" if one.message else "")


def _named(dag: str, job: str, partition: str | None) -> str:
    return f"job {dag}/{job}" + (f" {partition}" if partition else "")


def with_pods(told: str | None, words: tuple[str, ...], about: str = "") -> tuple[str, ...]:
    """`words`, and first what is told of pods (of whose: `about`), unless they say so already: a status has the same
    reasons, cut.
    """
    known = told is None or any(told.partition(": ")[0] in one for one in words)
    return words if told is None or known else (f"{about}{told}", *words)


def show_cause(cause: Cause, depth: int = 0) -> str:
    """An object, why, and below it the causes of that, each at its own depth."""
    outer, inner = "  " * depth, "  " * (depth + 1)
    lines = wrapped(f"{cause.object}: {cause.state}", f"{outer}← " if depth else "", inner)
    for words in cause.words:
        lines += wrapped(words, f"{inner}- ", f"{inner}  ")
    text = "\n".join(lines) + "\n" + "".join(show_cause(one, depth + 1) for one in cause.causes)
    return text + (f"{inner}and {cause.more} more\n" if cause.more else "")


def show_causes(causes: tuple[Cause, ...]) -> str:
    """Those of what was told above."""
    return "".join(show_cause(one, 1) for one in causes)


def show_why(why: Why) -> str:
    """The answer as text."""
    about = f"{why.dag}/{why.job}" + (f" {why.partition}" if why.partition else "")
    lines = [f"{clean(about)}: {why.state}"]
    for words in why.words:
        lines += wrapped(words, "  - ", "    ")
    if why.waits_for:
        lines.append("  It waits for")
        rows = [
            (clean(f"{b.job} {b.partition}"), b.state, shorten(clean(" ".join((b.message or "").split())), WIDTH // 2))
            for b in why.waits_for
        ]
        lines += table(rows, "    ")
    return "\n".join(lines) + "\n"
