"""The rules that a single field's type cannot state, each once: as CEL for the API server and as Python for us.

`crd` writes the CEL into the schemas, `parse` calls the Python (the command line's offline lint has no API server,
and an object may be older than the schema). A message says what is wrong and the way out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from headrace.api import duration, job, names, source
from headrace.api.base import Strict, attributes
from headrace.api.dataset import URI_PATTERN, DatasetSpec, Storage
from headrace.api.inputs import Input, InputFrom, PartitionBy
from headrace.api.job import EnvVar, InlineJob, JobFields, JobSpec
from headrace.api.source import CronPartition, PartitionRange, Partitions, Source

T = TypeVar("T", bound=Strict)


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold for every `owner` in an object; `field` is the JSON name of the field to point at."""

    owner: type[Strict]
    field: str | None
    cel: str
    message: str
    holds: Callable[[Strict], bool]


def _rule(owner: type[T], field: str | None, cel: str, message: str, holds: Callable[[T], bool]) -> Rule:
    return Rule(owner, field, cel, message, lambda value: not isinstance(value, owner) or holds(value))


def _only_for(field: str, kind: str) -> Rule:
    """A field of Source that means something for one kind alone."""
    attribute = attributes(Source)[field]
    return _rule(
        Source,
        field,
        f"!has(self.{field}) || self.kind == '{kind}'",
        f"{field} is for {'an' if kind[0] in 'aeiou' else 'a'} {kind} source: set kind: {kind}, or leave {field} out",
        lambda s: getattr(s, attribute) is None or s.kind == kind,
    )


def _has_directive(owner: type[CronPartition] | type[PartitionRange] | type[PartitionBy]) -> Rule:
    return _rule(
        owner,
        "format",
        "!has(self.format) || self.format.contains('%')",
        "format has no strftime directive, so that every key would be the same: write one, such as %Y-%m-%d",
        lambda p: p.format is None or "%" in p.format,
    )


def _reads(spec: JobFields) -> bool:
    return bool(spec.inputs)


def _only(owner: type[JobSpec] | type[DatasetSpec], allowed: tuple[str, ...], message: str) -> Rule:
    """A projected object says which thing it shows, and nothing else."""
    others = {f: name for f, name in attributes(owner).items() if f not in (*allowed, "projected")}
    any_other = " || ".join(f"has(self.{name})" for name in others)
    return _rule(
        owner,
        None,
        f"!has(self.projected) || !self.projected || !({any_other})",
        message,
        lambda s: not s.projected or all(getattr(s, name) is None for name in others.values()),
    )


def _runs_on(spec: JobFields) -> bool:
    return spec.source is not None and spec.source.kind == "always_on"


def _not_always_on(field: str, why: str) -> Rule:
    """A field that means nothing for a job that runs on and on."""
    attribute = attributes(JobFields)[field]
    return _rule(
        JobFields,
        field,
        f"!has(self.{field}) || !has(self.source) || self.source.kind != 'always_on'",
        f"an always_on source {why}: leave {field} out",
        lambda j: getattr(j, attribute) is None or not _runs_on(j),
    )


def _needs_container(field: str) -> Rule:
    """A field of a container, which a source without any does not have."""
    attribute = attributes(JobFields)[field]
    return _rule(
        JobFields,
        field,
        f"!has(self.{field}) || !has(self.source) || {_CONTAINER}",
        f"a source without an image runs in the operator and has no container: give it an image, or leave {field} out",
        lambda j: getattr(j, attribute) is None or j.source is None or _has_container(j),
    )


def _has_container(spec: JobFields) -> bool:
    return any(given is not None for given in (spec.image, spec.command, spec.args, spec.template))


_CONTAINER = "has(self.image) || has(self.command) || has(self.args) || has(self.template)"
_INPUTS = "(has(self.inputs) && size(self.inputs) > 0)"
_PROJECTED = "(has(self.projected) && self.projected)"
_SOURCE_OR_INPUTS = (
    "a job needs a source (cron, webhook, manual, always_on) or at least one input: add `source: {kind: manual}`, or"
    " `inputs: [{from: {job: NAME}}]`"
)

RULES: Final[tuple[Rule, ...]] = (
    *(_only_for(f, "cron") for f in ("schedule", "timeZone", "start", "end", "catchUp")),
    _rule(
        Source,
        "partition",
        "!has(self.partition) || self.kind == 'cron' || self.kind == 'webhook'",
        "partition is for a cron or webhook source: it names what a tick or an event belongs to; leave it out",
        lambda s: s.partition is None or s.kind in ("cron", "webhook"),
    ),
    _rule(
        Source,
        "partition",
        "!has(self.partition) || !has(self.partition.offset) || self.kind != 'webhook'",
        "partition.offset counts periods of a cron source's schedule: a webhook source has none, leave offset out",
        lambda s: s.partition is None or s.partition.offset is None or s.kind != "webhook",
    ),
    _only_for("secretName", "webhook"),
    _only_for("replay", "always_on"),
    _rule(
        Source,
        "partitions",
        "!has(self.partitions) || self.kind != 'always_on'",
        "an always_on source says itself which partition it has made: leave partitions out",
        lambda s: s.partitions is None or s.kind != "always_on",
    ),
    _rule(
        Source,
        "schedule",
        "self.kind != 'cron' || has(self.schedule)",
        'a cron source needs a schedule: add one, such as schedule: "30 2 * * *"',
        lambda s: s.kind != "cron" or s.schedule is not None,
    ),
    _rule(
        Source,
        "secretName",
        "self.kind != 'webhook' || has(self.secretName)",
        "a webhook source needs secretName: name the Secret that holds the key of its signature",
        lambda s: s.kind != "webhook" or s.secret_name is not None,
    ),
    _rule(
        Partitions,
        None,
        "has(self.values) != has(self.range)",
        "partitions are either listed or a range: give exactly one of values and range",
        lambda p: (p.values is None) != (p.range is None),
    ),
    _has_directive(CronPartition),
    _has_directive(PartitionRange),
    _has_directive(PartitionBy),
    _rule(
        PartitionBy,
        None,
        "has(self.every) != has(self.format)",
        "partitionBy needs exactly one of every and format",
        lambda p: (p.every is None) != (p.format is None),
    ),
    _rule(
        EnvVar,
        "valueFrom",
        "!(has(self.value) && has(self.valueFrom))",
        "a variable has one value: give value or valueFrom, not both",
        lambda e: e.value is None or e.value_from is None,
    ),
    _rule(
        EnvVar,
        "name",
        "!self.name.startsWith('HEADRACE_')",
        "names that begin with HEADRACE_ are set by the operator: choose another name",
        lambda e: not e.name.startswith("HEADRACE_"),
    ),
    _rule(
        InputFrom,
        None,
        "has(self.job) != has(self.dataset)",
        "an input reads one thing: give exactly one of job and dataset",
        lambda f: (f.job is None) != (f.dataset is None),
    ),
    _rule(
        InputFrom,
        "output",
        "!has(self.output) || has(self.job)",
        "output counts the outputs of a job: give job with it, or leave output out",
        lambda f: f.output is None or f.job is not None,
    ),
    _rule(
        JobFields,
        "inputs",
        f"!(has(self.source) && {_INPUTS})",
        "a job has either a source or inputs: leave one out, or split the job in two",
        lambda j: j.source is None or not _reads(j),
    ),
    _rule(
        JobFields,
        "inputs",
        f"!{_INPUTS} || size(self.inputs) < 2 || (has(self.executionStrategy) &&"
        " self.executionStrategy == 'PerUpdate') || self.inputs.exists(i, !has(i.match) || i.match == 'same')",
        "of several inputs at least one must give the task its partition: set match: same on one of them",
        lambda j: (
            len(j.inputs or ()) < 2 or j.execution_strategy == "PerUpdate" or any(_gives_key(i) for i in j.inputs or ())
        ),
    ),
    _rule(
        Input,
        "onChange",
        "!has(self.onChange) || (has(self.match) && self.match == 'latest')",
        "onChange says what a later change of a whole dataset does: set match: latest, or leave onChange out",
        lambda i: i.on_change is None or i.match == "latest",
    ),
    _rule(
        JobFields,
        "executionStrategy",
        f"!has(self.executionStrategy) || self.executionStrategy != 'PerUpdate' || {_INPUTS}",
        "PerUpdate is for a job that reads: give it inputs, or leave executionStrategy out",
        lambda j: j.execution_strategy != "PerUpdate" or _reads(j),
    ),
    _rule(
        JobFields,
        "coalesce",
        "!has(self.coalesce) || !self.coalesce || (has(self.executionStrategy) &&"
        " self.executionStrategy == 'PerUpdate')",
        "coalesce merges the updates of a PerUpdate job: set executionStrategy: PerUpdate, or leave it out",
        lambda j: not j.coalesce or j.execution_strategy == "PerUpdate",
    ),
    _rule(
        JobFields,
        "uniqueKey",
        "!has(self.updateStrategy) || self.updateStrategy != 'append' || has(self.uniqueKey)",
        "append requires uniqueKey: list the columns that identify a row, or use updateStrategy: replace",
        lambda j: j.update_strategy != "append" or j.unique_key is not None,
    ),
    _rule(
        JobFields,
        "uniqueKey",
        "!has(self.uniqueKey) || (has(self.updateStrategy) && self.updateStrategy == 'append')",
        "uniqueKey is for updateStrategy: append: set it, or leave uniqueKey out",
        lambda j: j.unique_key is None or j.update_strategy == "append",
    ),
    _rule(
        JobFields,
        "sideEffects",
        "!has(self.sideEffects) || !self.sideEffects || (has(self.outputs) && self.outputs == 0)",
        "sideEffects requires outputs: 0: a job that acts on the world makes no dataset",
        lambda j: not j.side_effects or j.outputs == 0,
    ),
    _rule(
        JobFields,
        "idleTimeout",
        "!has(self.idleTimeout) || self.idleTimeout == '0' || !has(self.source)",
        "idleTimeout keeps workers of a job that reads: a source job has none, leave idleTimeout out",
        lambda j: j.idle_timeout in (None, "0") or j.source is None,
    ),
    _not_always_on("timeoutSeconds", "runs until it ends by itself, and is then started again"),
    _not_always_on("maxAttempts", "is started again however often it ends"),
    _not_always_on("scaling", "has one holder for each version that works"),
    _not_always_on("paramsSchema", "is not run by people"),
    _not_always_on("report", "reports events while it runs"),
    *(_needs_container(f) for f in ("env", "resources", "paramsSchema")),
    _rule(
        JobFields,
        "image",
        f"!has(self.source) || self.source.kind != 'always_on' || {_CONTAINER}",
        "an always_on source is a process: give it an image",
        lambda j: not _runs_on(j) or _has_container(j),
    ),
    _rule(
        InlineJob,
        None,
        f"has(self.source) || {_INPUTS}",
        _SOURCE_OR_INPUTS,
        lambda j: j.source is not None or _reads(j),
    ),
    _rule(
        JobSpec,
        None,
        f"{_PROJECTED} || has(self.source) || {_INPUTS}",
        _SOURCE_OR_INPUTS,
        lambda j: bool(j.projected) or j.source is not None or _reads(j),
    ),
    _only(
        JobSpec,
        ("dag", "jobName"),
        "a projected Job shows a job of its DAG and has only dag and jobName: edit the job in the DAG",
    ),
    _only(
        DatasetSpec,
        ("from",),
        "a projected Dataset shows a publish of its DAG and has only from: edit the publish in the DAG",
    ),
    _rule(
        Storage,
        "base",
        "!has(self.base) || !self.base.matches('://[^/@]*:[^/@]*@')",
        "storage.base must not carry a password: give credentials to the tasks by a Secret",
        lambda s: s.base is None or not re.search(r"://[^/@]*:[^/@]*@", s.base),
    ),
)


@functools.cache
def rules_of(owner: type[Strict]) -> tuple[Rule, ...]:
    """The rules that a struct of this type must keep."""
    return tuple(rule for rule in RULES if issubclass(owner, rule.owner))


def _gives_key(item: Input) -> bool:
    return item.match in (None, "same")


# What a pattern asks for, in words: the schema has the words in place of the pattern.
PATTERN_MESSAGES: Final = {
    names.NAME_PATTERN: "must begin with a lower-case letter and hold only a-z, 0-9, _ and -, at most 63, not ending"
    " in _ or -",
    names.OBJECT_NAME_PATTERN: "must begin with a lower-case letter and hold only a-z, 0-9 and -, at most 63, not"
    " ending in -",
    names.DATASET_OBJECT_NAME_PATTERN: "must begin with a lower-case letter and hold only a-z, 0-9 and -, at most"
    " 128, not ending in -",
    names.DATASET_PATTERN: "must begin with a lower-case letter and hold only a-z, 0-9 and _, at most 128",
    names.INPUT_PATTERN: "must begin with a lower-case letter and hold only a-z, 0-9, _ and -, at most 128",
    duration.DURATION_PATTERN: "must be a whole number and one of s m h d w, such as 5m or 26h",
    duration.EVERY_PATTERN: "must be a whole number and one of s m h d w mo y, such as 1d or 1mo",
    duration.IDLE_TIMEOUT_PATTERN: 'must be "0" (a pod per attempt), a duration such as 5m, or never',
    source.INSTANT_PATTERN: "must be a date or an RFC 3339 time, such as 2026-01-01 or 2026-01-01T06:00:00Z",
    source.SUBDOMAIN_PATTERN: "must be the name of a Secret: a-z, 0-9, - and ., not beginning or ending with - or .",
    source.TIME_ZONE_PATTERN: "must be the IANA name of a time zone, such as UTC or America/New_York",
    job.ENV_NAME_PATTERN: "must be letters, digits, _, - and ., not beginning with a digit",
    job.OPERATOR_PATTERN: "must begin with a letter or _ and hold only letters, digits, _, - and .",
    URI_PATTERN: "must be a URI prefix such as s3://bucket/prefix or file:///data, without query or fragment",
}


@dataclass(frozen=True, slots=True)
class ObjectNameRule:
    """What `metadata.name` of a kind must look like; projected objects are `<dag>.<name>`, authored have no dot."""

    pattern: str
    max_length: int
    message: str


OBJECT_NAME_RULES: Final = {
    names.DAG: ObjectNameRule(
        names.OBJECT_NAME_PATTERN,
        names.NAME_MAX,
        "the name of a DAG " + PATTERN_MESSAGES[names.OBJECT_NAME_PATTERN],
    ),
    names.JOB: ObjectNameRule(
        names.OBJECT_NAME_PATTERN,
        names.NAME_MAX * 2 + 1,
        "names with a dot are reserved for jobs that the operator shows; the name of a Job "
        + PATTERN_MESSAGES[names.OBJECT_NAME_PATTERN],
    ),
    names.DATASET: ObjectNameRule(
        names.DATASET_OBJECT_NAME_PATTERN,
        names.NAME_MAX + 1 + names.DATASET_MAX,
        "names with a dot are reserved for datasets that the operator shows; the name of a Dataset "
        + PATTERN_MESSAGES[names.DATASET_OBJECT_NAME_PATTERN],
    ),
}
