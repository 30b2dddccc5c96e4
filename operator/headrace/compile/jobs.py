"""One job: from its fields and the DAG's defaults to the document. Pure; `compile.dag` calls it for each job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal, cast

import msgspec
from msgspec.structs import replace

from headrace.api.dag import Defaults
from headrace.api.duration import parse_idle_timeout
from headrace.api.inputs import Input, Match, OnChange
from headrace.api.job import JobFields
from headrace.api.runs import NotUnderstood
from headrace.compile.columns import lineage_of
from headrace.compile.document import InputDocument, JobDocument, Runtime, ScalingDocument
from headrace.compile.hashes import canonical_json
from headrace.compile.problems import Problems
from headrace.compile.runs import wrong_schema, wrong_values
from headrace.compile.sources import compile_source
from headrace.compile.template import Bases, Tree, container, merge

Published = Mapping[str, tuple[str, int]]
"""The DAG's own published datasets: name to (job, output). Any other dataset is another DAG's."""

_NONE: Final = timedelta()
_TIMEOUT: Final = 3600
_HEARTBEAT: Final = 60
_ATTEMPTS: Final = 3


def compile_job(
    name: str, job: JobFields, defaults: Defaults, bases: Bases, published: Published, path: str, problems: Problems
) -> JobDocument:
    """The document of a job, over the DAG's `defaults`, whose template `bases` has.

    What is wrong is added to `problems`, with its place under `path`; the document is then not to be used.
    """
    source = compile_source(job.source, f"{path}.source", problems) if job.source is not None else None
    if (job.source is None) == (not job.inputs):
        problems.add(path, None, "a job has either a source or at least one input")
    in_operator = job.source is not None and not any(
        given is not None for given in (job.image, job.command, job.args, job.template)
    )
    idle_timeout = "0" if job.source is not None else job.idle_timeout or defaults.idle_timeout or "0"
    runtime: Runtime = "dispatcher" if in_operator else "worker" if parse_idle_timeout(idle_timeout) != _NONE else "pod"
    runs_on = job.source is not None and job.source.kind == "always_on"
    if runs_on and in_operator:
        problems.add(f"{path}.image", None, "an always_on source is a process: give it an image")
    gateway, append = job.report == "gateway" or None, job.update_strategy == "append" or None
    for field, given in (
        ("env", job.env), ("resources", job.resources), ("report", gateway), ("updateStrategy", append)
    ):  # fmt: skip
        if in_operator and given is not None:
            problems.add(f"{path}.{field}", None, "a source without an image runs in the operator and has no container:"
                         f" give it an image, or leave {field} out")  # fmt: skip
    pod, main = (None, "main") if in_operator else _pod(job, bases, path, problems)
    config = job.config or {}
    _check_config(config, job.config_schema, path, problems)
    _check_params_schema(job.params_schema, in_operator, path, problems)
    scaling = None if runs_on else job.scaling or defaults.scaling
    inputs = _inputs(job, published, f"{path}.inputs", problems)
    outputs = 1 if job.outputs is None else job.outputs
    return JobDocument(
        name=name,
        activation="source" if job.source is not None else "reactive",
        runtime=runtime,
        operator=job.operator or (job.source.kind if in_operator and job.source is not None else "container"),
        source=source,
        inputs=inputs,
        outputs=outputs,
        pod=pod,
        container=main,
        execution_strategy=job.execution_strategy or "PerPartition",
        update_strategy=job.update_strategy or "replace",
        unique_key=tuple(sorted(job.unique_key or ())),
        idle_timeout=idle_timeout,
        scaling=ScalingDocument(
            # One for the version that serves, and one for the version being built.
            max_concurrency=2 if runs_on else (scaling and scaling.max_concurrency) or 1,
            batch=(scaling and scaling.batch) or 1,
            mode=(scaling and scaling.mode) or "live",
        ),
        timeout_seconds=job.timeout_seconds or defaults.timeout_seconds or _TIMEOUT,
        heartbeat_timeout_seconds=(job.heartbeat_timeout_seconds or defaults.heartbeat_timeout_seconds or _HEARTBEAT),
        max_attempts=job.max_attempts or defaults.max_attempts or _ATTEMPTS,
        config=config,
        config_schema=job.config_schema,
        code_version=job.code_version,
        params_schema=job.params_schema,
        side_effects=bool(job.side_effects),
        coalesce=bool(job.coalesce),
        partition_by=job.partition_by,
        report="gateway" if runs_on else job.report or "termination",
        lineage=lineage_of(job, {given.name for given in inputs}, outputs, f"{path}.lineage", problems),
    )


def _pod(job: JobFields, bases: Bases, path: str, problems: Problems) -> tuple[Tree, str]:
    """The merged template with the job's own fields on its task container, and that container's name."""
    template, main, wrong = bases.under(job.template)
    for where, message in wrong:
        problems.add(f"{path}.template.{where}", None, message, between=True)  # the DAG's defaults may be at fault
    own: Tree = {"name": main}
    for key, value in (
        ("image", job.image), ("command", job.command), ("args", job.args),
        ("env", msgspec.to_builtins(job.env) if job.env is not None else None), ("resources", job.resources),
    ):  # fmt: skip
        if value is not None:
            own[key] = value
    merged = merge(template, {"spec": {"containers": [own]}})
    if not container(merged, main).get("image"):
        told = "the job needs an image, here or in the template's container"
        problems.add(f"{path}.image", None, told, between=True)  # the DAG's defaults may bring one
    return merged, main


def _inputs(job: JobFields, published: Published, path: str, problems: Problems) -> tuple[InputDocument, ...]:
    compiled: list[InputDocument] = []
    names: set[str] = set()
    for index, given in enumerate(job.inputs or ()):
        at = f"{path}[{index}]"
        source = given.from_
        if (source.job is None) == (source.dataset is None):
            problems.add(f"{at}.from", None, "give either job or dataset")
            continue
        external = source.dataset if source.dataset not in published else None
        producer, output = source.job or "", source.output or 0
        if source.dataset is not None and external is None:
            producer, output = published[source.dataset]
        name = given.name or source.dataset or producer
        if name in names:
            problems.add(f"{at}.name", name, "another input has this name: give this one a name of its own")
        names.add(name)
        match, on_change = _reading(job, index, at, problems)
        compiled.append(
            InputDocument(
                name=name,
                job=producer,
                output=output,
                match=match,
                dataset=external,
                where=_where(given, at, problems),
                on_change=on_change,
            )
        )
    return tuple(compiled)


def _reading(job: JobFields, index: int, path: str, problems: Problems) -> tuple[Match, OnChange | Literal["update"]]:
    """How a job reads an input, and what a change of it does."""
    inputs = job.inputs or []
    match, on_change = inputs[index].match, inputs[index].on_change or "stale"
    if job.execution_strategy == "PerUpdate":
        if index == 0:
            return "latest", "update" if job.update_strategy == "append" else "rerun"
        if match == "same":
            problems.add(f"{path}.match", match, "with executionStrategy PerUpdate the first input sets the job off"
                         " and the others are read as a whole: say latest, or leave match out")  # fmt: skip
        return "latest", on_change
    # A sole input sets the job off, whatever it says.
    return match or "same", "rerun" if len(inputs) == 1 and match == "latest" else on_change


def _where(given: Input, path: str, problems: Problems) -> dict[str, object] | None:
    """The filter with its lists as sets: sorted, each value once."""
    found: dict[str, object] = {}
    for field, value in (given.where or {}).items():
        if not isinstance(value, list):
            found[field] = value
        elif value:
            found[field] = [json.loads(text) for text in sorted({canonical_json(one) for one in value})]
        else:
            problems.add(f"{path}.where.{field}", None, "nothing is in an empty list: name values, or leave it out")
    return found or None


def _check_config(
    config: Mapping[str, object], schema: dict[str, object] | None, path: str, problems: Problems
) -> None:
    if schema is None:
        return
    if wrong := wrong_schema(schema):
        problems.add(f"{path}.configSchema", None, wrong)
        return
    try:
        found = wrong_values(config, schema)
    except NotUnderstood as error:
        problems.add(f"{path}.configSchema", None, str(error))
        return
    for where, message in found:
        problems.add(f"{path}.config{where}", None, f"{message}; change it as configSchema asks")


def _check_params_schema(schema: dict[str, object] | None, in_operator: bool, path: str, problems: Problems) -> None:
    if schema is None:
        return
    if in_operator:
        problems.add(f"{path}.paramsSchema", None, "a source without an image runs in the operator, and nothing would"
                     " get the parameters: give it an image, or leave paramsSchema out")  # fmt: skip
    if wrong := wrong_schema(schema):
        problems.add(f"{path}.paramsSchema", None, wrong)
        return
    try:
        wrong_values({}, schema)
    except NotUnderstood as error:
        problems.add(f"{path}.paramsSchema", None, str(error))


def hashed(job: JobDocument) -> dict[str, object]:
    """What `config_hash` covers: the fields of a job that decide what its data are (design section 3)."""
    code: object = job.code_version
    if code is None:
        main = container(job.pod or {}, job.container)
        code = {key: main.get(key) for key in ("image", "command", "args", "env")}
    document = cast("dict[str, object]", msgspec.to_builtins(job))
    return {
        "inputs": msgspec.to_builtins([replace(given, on_change="stale") for given in job.inputs]),
        **{key: document[key] for key in (
            "operator", "config", "execution_strategy", "update_strategy", "unique_key", "outputs",
        )},
        "code": code,
        "source": None if job.source is None else {
            "kind": job.source.kind,
            "partition": msgspec.to_builtins(job.source.partition),
        },
    }  # fmt: skip
