"""Completion in bash, zsh, fish and, by way of kubectl, wherever that has it: words, and names that the cluster knows.

argcomplete looks the words up in the parser; this says what stands where an argument is a name. It is imported only
when somebody completes, or asks for the script.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import StringIO
from typing import Any, Final, NoReturn

from argcomplete.completers import FilesCompleter
from argcomplete.finders import CompletionFinder
from argcomplete.shell_integration import shellcode
from msgspec import Struct

from headrace.api.names import DAG, DATASET, JOB
from headrace.cli.connection import connected
from headrace.cli.kubeconfig import contexts
from headrace.cli.objects import Dataset, Job, Meta
from headrace.cli.parser import parser
from headrace.cluster.client import Client, path_of
from headrace.cluster.objects import object_path
from headrace.errors import HeadraceError

PROGRAMS: Final = ("headrace", "kubectl-headrace")
_SECONDS: Final = 2.0
"""Whoever presses a key does not wait longer for names."""
_NO_FILES: Final = 4
_NO_SPACE: Final = 2


class _Named(Struct):
    metadata: Meta


class _Names(Struct):
    items: list[_Named]


class _Jobs(Struct):
    items: list[Job]


class _Datasets(Struct):
    items: list[Dataset]


def script(arguments: Namespace) -> int:
    """Print what a shell is to evaluate."""
    sys.stdout.write(shellcode(PROGRAMS, shell=arguments.shell) + "\n")
    return 0


def complete(root: argparse.ArgumentParser) -> None:
    """Answer a shell that completes, and end; nothing where none asks."""
    CompletionFinder()(with_completers(root), always_complete_options=False)


def kubectl() -> int:
    """What kubectl asks by `kubectl_complete-headrace WORD …`: a candidate a line, and how they are to be taken."""
    told = StringIO()
    line = shlex.join(["kubectl-headrace", *sys.argv[1:-1]]) + " " + (sys.argv[-1] if sys.argv[1:] else "")
    os.environ |= {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_DFS": "\t", "_ARGCOMPLETE_SHELL": "fish",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line.encode())), "COMP_TYPE": "",
    }  # fmt: skip
    root = with_completers(parser("kubectl-headrace"))
    with suppress(_EndError):
        CompletionFinder()(root, always_complete_options=False, exit_method=_end, output_stream=told)
    found = [one for one in told.getvalue().split("\n") if one]
    directive = _NO_FILES | (_NO_SPACE if any(one.partition("\t")[0].endswith("/") for one in found) else 0)
    print("\n".join([*found, f":{directive}"]))
    return 0


class _EndError(Exception):
    """Instead of the end of the process."""


def _end(_: int = 0) -> NoReturn:
    raise _EndError


def with_completers(root: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """`root`, whose arguments know what they may be, by what they are called."""
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                with_completers(verb)
            continue
        if action.choices is None and action.nargs != 0:
            action.completer = _completer(action)  # type: ignore[attr-defined]
    return root


def _completer(action: argparse.Action) -> Callable[..., Iterable[str]]:
    called = str(action.metavar or action.dest)
    if called == "context":
        return _contexts
    if "FILE" in called:
        files: Callable[..., Iterable[str]] = FilesCompleter()
        return files
    kinds = [kind for kind in ("namespace", "DATASET", "DAG") if kind in called]

    def names(prefix: str, parsed_args: Namespace, **_: Any) -> Iterable[str]:
        if not kinds:
            return ()
        chosen = Namespace(
            **{name: getattr(parsed_args, name, None) for name in ("namespace", "context", "kubeconfig")}
        )
        try:
            return asyncio.run(asyncio.wait_for(_names(chosen, kinds, prefix, jobs="JOB" in called), _SECONDS))
        except (HeadraceError, TimeoutError, ValueError):
            return ()

    return names


async def _names(arguments: Namespace, kinds: list[str], prefix: str, *, jobs: bool) -> list[str]:
    """Names that fit; of jobs only once their DAG is there, since there may be thousands."""
    async with connected(arguments) as (client, _, namespace):
        dag, slash, _ = prefix.partition("/")
        if slash:
            return [f"{dag}/{one}" for one in await _jobs(client, namespace, dag)] if jobs else []
        found: list[str] = []
        if "namespace" in kinds:
            found += await _of(client, path_of("v1", None, "namespaces"))
        if "DAG" in kinds:
            dags = await _of(client, object_path(DAG, namespace))
            found += dags if kinds != ["DAG"] or not jobs else [f"{one}/" for one in dags]
        if "DATASET" in kinds:
            there = await client.get(object_path(DATASET, namespace), _Datasets)
            found += [one.name for one in there.items] if there else []
        return found


async def _of(client: Client, path: str) -> list[str]:
    there = await client.get(path, _Names)
    return [one.metadata.name for one in there.items] if there else []


async def _jobs(client: Client, namespace: str, dag: str) -> list[str]:
    there = await client.get(object_path(JOB, namespace), _Jobs)
    return [one.name for one in there.items if one.spec.dag == dag] if there else []


def _contexts(parsed_args: Namespace, **_: Any) -> Iterable[str]:
    try:
        return contexts(os.environ, getattr(parsed_args, "kubeconfig", None))
    except HeadraceError:
        return ()
