"""Objects that are accepted and objects that are refused, once; the parser's and the API server's tests share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

CRON = {"kind": "cron", "schedule": "30 2 * * *"}
HOOK = {"kind": "webhook", "secretName": "hook"}
RANGE = {"start": "2013-01", "end": "2013-12", "every": "1mo", "format": "%Y-%m"}


def obj(kind: str, spec: Object, name: str = "example") -> Object:
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def dag(**spec: object) -> Object:
    return obj("DAG", spec)


def one_job(**fields: object) -> Object:
    return dag(jobs=[{"name": "load", **fields}])


def source(**fields: object) -> Object:
    return one_job(source=fields)


def reactive(**fields: object) -> Object:
    return one_job(**{"inputs": [{"from": {"job": "day"}}], "image": "example/etl:1", **fields})


def reads(**fields: object) -> Object:
    return reactive(inputs=[{"from": {"job": "day"}, **fields}])


def publish(**fields: object) -> Object:
    return dag(publish=[{"name": "loaded", "from": {"job": "load"}, **fields}])


def within(make: Callable[..., Object], field: str) -> Callable[..., Object]:
    """A maker of objects whose struct `field` has the fields that it is called with."""
    return lambda **fields: make(**{field: fields})


JOB_OBJECT = {"dag": "nightly", "source": CRON}
DATASET_OBJECT = {"from": {"dag": "nightly", "job": "report"}}

ACCEPTED: dict[str, Object] = {
    "empty": dag(),
    "manual with listed partitions": source(kind="manual", partitions={"values": ["*", "2013-01", "a:b=c.d_e-f"]}),
    "webhook": source(**HOOK),
    "webhook with a pattern": source(kind="webhook", secretName="0.hook-keys", partition={"format": "%Y-%m-%d"}),
    "webhook over a list": source(**HOOK, partitions={"values": ["a"]}),
    "manual with a range": source(kind="manual", partitions={"range": RANGE}),
    "cron in full": source(
        **CRON,
        timeZone="America/New_York",
        start="2026-01-01",
        end="2026-12-31T23:00:00Z",
        catchUp="all",
        partition={"format": "%Y-%m-%d", "offset": -1},
        partitions={"range": RANGE},
    ),
    "reactive in full": reactive(
        inputs=[
            {"name": "days", "from": {"job": "day", "output": 15}, "match": "same"},
            {
                "from": {"dataset": "flights_clean"},
                "match": "latest",
                "onChange": "rerun",
                "where": {"carrier": ["UA", "AA"], "year": 2013},
            },
        ],
        command=["etl"],
        args=["load"],
        env=[{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        resources={"requests": {"cpu": "100m"}},
        template={"spec": {"containers": [{"name": "main"}]}},
        operator="container",
        outputs=0,
        executionStrategy="PerPartition",
        coalesce=None,
        updateStrategy="replace",
        report="termination",
        idleTimeout="0",
        scaling={"maxConcurrency": 4, "batch": 1, "mode": "live"},
        timeoutSeconds=60,
        heartbeatTimeoutSeconds=30,
        maxAttempts=1,
        config={"a": {"b": [1, None, "x"]}},
        configSchema={"type": "object"},
        codeVersion="1",
    ),
    "dag in full": dag(
        jobs=[{"name": "a_b-c", "source": {"kind": "manual"}}],
        publish=[
            {
                "name": "out_",
                "from": {"job": "a_b-c", "output": 0},
                "storage": {"base": "s3://bucket/prefix"},
                "description": "what it is",
            }
        ],
        defaults={
            "timeoutSeconds": 1,
            "heartbeatTimeoutSeconds": 1,
            "maxAttempts": 1,
            "idleTimeout": "0",
            "scaling": {"maxConcurrency": 1},
            "template": {"spec": {"volumes": [{"name": "data"}]}},
        },
        rollout={"strategy": "WhenReady"},
        suspend=True,
        deletionPolicy="Retain",
    ),
    "dag of objects": dag(jobRefs=["day", "daily-report"], datasetRefs=["daily-report"]),
    "dag that lists no object": dag(jobRefs=[], datasetRefs=[]),
    "rollout in full": dag(
        rollout={"strategy": "Manual", "maxBuildTasks": 0, "reuse": ["a_b-c"], "deadlineSeconds": 60},
        deletionPolicy="Delete",
    ),
    "authored source job": obj("Job", JOB_OBJECT),
    "authored job": obj(
        "Job",
        {
            "dag": "nightly",
            "jobName": "daily_report",
            "projected": False,
            "inputs": [{"from": {"job": "day"}}, {"from": {"dataset": "of_another_dag"}}],
            "image": "example/etl:1",
        },
        "daily-report",
    ),
    "authored dataset": obj(
        "Dataset",
        {**DATASET_OBJECT, "datasetName": "daily_", "storage": {"base": "s3://bucket"}, "description": "what it is"},
        "daily-report",
    ),
    "projected job": obj("Job", {"dag": "flights", "jobName": "a_b", "projected": True}, "flights.a-b"),
    "projected dataset": obj(
        "Dataset", {"from": {"dag": "flights", "job": "a_b"}, "projected": True}, "flights.flights-clean"
    ),
}
del ACCEPTED["reactive in full"]["spec"]["jobs"][0]["coalesce"]

_BIG_JOBS = [
    {
        "name": f"job-{n}",
        "image": "registry.example/etl:1",
        "args": ["--part", str(n)],
        "env": [{"name": f"V{k}", "value": "x" * 20} for k in range(4)],
        "inputs": [{"name": f"i{k}", "from": {"job": "root", "output": k}} for k in range(4)],
        "idleTimeout": "0",
        "scaling": {"maxConcurrency": 2},
    }
    for n in range(499)
]
# The largest DAG that is allowed: the server's budget for rules and the parser's time are enough for it.
ACCEPTED["report to the gateway"] = reactive(report="gateway")
ACCEPTED["largest"] = dag(
    jobs=[{"name": "root", "source": {"kind": "manual"}}, *_BIG_JOBS],
    publish=[{"name": f"d{n}", "from": {"job": f"job-{n}"}} for n in range(499)],
)

# (path, a part of the message, the object): rules of one field and of several, in rules.py.
REFUSED: list[tuple[str, str, Object]] = [
    ("spec.jobs[0].name", "lower-case letter", dag(jobs=[{"name": "Load", "source": {"kind": "manual"}}])),
    ("spec.publish[0].name", "hold only a-z, 0-9 and _", publish(name="a-b")),
    ("spec.jobs[0].inputs[0].name", "lower-case letter", reads(name="A")),
    ("spec.jobs[0].operator", "letters, digits", reactive(operator="a b")),
    ("spec.jobs[0].idleTimeout", 'must be "0"', reactive(idleTimeout="5 minutes")),
    ("spec.jobs[0].source.start", "RFC 3339", source(**CRON, start="yesterday")),
    ("spec.jobs[0].source.timeZone", "IANA", source(**CRON, timeZone="New York")),
    (
        "spec.jobs[0].source.partitions.range.every",
        "one of s m h d w mo y",
        source(kind="manual", partitions={"range": {**RANGE, "every": "monthly"}}),
    ),
    ("spec.publish[0].storage.base", "must be a URI prefix", publish(storage={"base": "/data"})),
    (
        "spec.publish[0].storage.base",
        "must not carry a password",
        publish(storage={"base": "s3://key:secret@bucket/prefix"}),
    ),
    *(
        (f"spec.jobs[0].source.{field}", f"{field} is for a cron source", source(kind="manual", **{field: value}))
        for field, value in {
            "schedule": "@daily",
            "timeZone": "UTC",
            "start": "2026-01-01",
            "end": "2026-01-01",
            "catchUp": "all",
        }.items()
    ),
    (
        "spec.jobs[0].source.partition",
        "partition is for a cron or webhook source",
        source(kind="manual", partition={"format": "%Y"}),
    ),
    (
        "spec.jobs[0].source.partition",
        "a webhook source has none",
        source(**HOOK, partition={"format": "%Y", "offset": 0}),
    ),
    ("spec.jobs[0].source.secretName", "must be the name of a Secret", source(kind="webhook", secretName="Hook_1")),
    ("spec.jobs[0].source.secretName", "is for a webhook source", source(kind="manual", secretName="s")),
    ("spec.jobs[0].source.replay", "is for an always_on source", source(kind="manual", replay=True)),
    (
        "spec.jobs[0].source.partitions",
        "says itself which partition",
        source(kind="always_on", partitions={"values": ["a"]}),
    ),
    ("spec.jobs[0].source.schedule", "a cron source needs a schedule", source(kind="cron")),
    ("spec.jobs[0].source.secretName", "a webhook source needs secretName", source(kind="webhook")),
    (
        "spec.jobs[0].source.partitions",
        "exactly one of values and range",
        source(kind="manual", partitions={"values": ["a"], "range": RANGE}),
    ),
    ("spec.jobs[0].source.partitions", "exactly one of values and range", source(kind="manual", partitions={})),
    (
        "spec.jobs[0].source.partition.format",
        "no strftime directive",
        source(**CRON, partition={"format": "day"}),
    ),
    (
        "spec.jobs[0].source.partitions.range.format",
        "no strftime directive",
        source(kind="manual", partitions={"range": {**RANGE, "format": "x"}}),
    ),
    (
        "spec.jobs[0].partitionBy.format",
        "no strftime directive",
        reactive(partitionBy={"column": "day", "format": "x"}),
    ),
    ("spec.jobs[0].partitionBy", "exactly one of every and format", reactive(partitionBy={"column": "day"})),
    (
        "spec.jobs[0].env[0].valueFrom",
        "value or valueFrom, not both",
        reactive(env=[{"name": "A", "value": "1", "valueFrom": {}}]),
    ),
    ("spec.jobs[0].env[0].name", "set by the operator", reactive(env=[{"name": "HEADRACE_TASK", "value": "1"}])),
    ("spec.jobs[0].inputs[0].from", "exactly one of job and dataset", reads(**{"from": {}})),
    (
        "spec.jobs[0].inputs[0].from",
        "exactly one of job and dataset",
        reads(**{"from": {"job": "a", "dataset": "b"}}),
    ),
    (
        "spec.jobs[0].inputs[0].from.output",
        "counts the outputs of a job",
        reads(**{"from": {"dataset": "b", "output": 1}}),
    ),
    ("spec.jobs[0].inputs", "either a source or inputs", reactive(source={"kind": "manual"})),
    ("spec.jobs[0]", "needs a source", one_job(image="a")),
    ("spec.jobs[0]", "needs a source", one_job(inputs=[])),
    (
        "spec.jobs[0].inputs",
        "at least one must give the task its partition",
        reactive(inputs=[{"from": {"job": n}, "match": "latest"} for n in ("a", "b")]),
    ),
    (
        "spec.jobs[0].inputs[0].onChange",
        "set match: latest",
        reactive(inputs=[{"from": {"job": "a"}, "onChange": "rerun"}]),
    ),
    (
        "spec.jobs[0].executionStrategy",
        "PerUpdate is for a job that reads",
        one_job(source={"kind": "manual"}, executionStrategy="PerUpdate"),
    ),
    ("spec.jobs[0].coalesce", "coalesce merges", reactive(coalesce=True)),
    ("spec.jobs[0].uniqueKey", "append requires uniqueKey", reactive(updateStrategy="append")),
    ("spec.jobs[0].uniqueKey", "is for updateStrategy: append", reactive(uniqueKey=["a"])),
    ("spec.jobs[0].sideEffects", "requires outputs: 0", reactive(sideEffects=True)),
    ("spec.jobs[0].sideEffects", "requires outputs: 0", reactive(sideEffects=True, outputs=1)),
    (
        "spec.jobs[0].idleTimeout",
        "a source job has none",
        one_job(source={"kind": "manual"}, idleTimeout="5m"),
    ),
    *(
        (f"spec.jobs[0].{field}", why, one_job(source={"kind": "always_on"}, image="a", **{field: value}))
        for field, value, why in (
            ("timeoutSeconds", 60, "until it ends by itself"),
            ("maxAttempts", 2, "however often it ends"),
            ("scaling", {"maxConcurrency": 2}, "one holder"),
            ("paramsSchema", {"type": "object"}, "not run by people"),
            ("report", "termination", "reports events"),
        )
    ),
    *(
        (f"spec.jobs[0].{field}", "has no container", one_job(source={"kind": "manual"}, **{field: value}))
        for field, value in (("env", []), ("resources", {}), ("paramsSchema", {"type": "object"}))
    ),
    ("spec.jobs[0].image", "is a process: give it an image", one_job(source={"kind": "always_on"})),
    ("spec", "a job needs a source", obj("Job", {"dag": "nightly"})),
    (
        "spec",
        "has only dag and jobName",
        obj("Job", {"dag": "a", "jobName": "b", "projected": True, "image": "c"}, "a.b"),
    ),
    (
        "spec",
        "has only from",
        obj("Dataset", {**DATASET_OBJECT, "projected": True, "description": "c"}, "a.b"),
    ),
    ("metadata.name", "the name of a DAG must begin", obj("DAG", {}, "a.b")),
    ("metadata.name", "names with a dot are reserved", obj("Job", JOB_OBJECT, "a.b")),
    ("metadata.name", "names with a dot are reserved", obj("Dataset", DATASET_OBJECT, "a.b")),
    ("metadata.name", "names with a dot are reserved", obj("Job", {"dag": "a", "projected": True}, "ab")),
]

# Shapes that the types alone refuse: (path, the object); the words are each checker's own.
MISSHAPEN: list[tuple[str, Object]] = [
    ("spec.colour", dag(colour="red")),
    ("spec.jobs[0].colour", one_job(source={"kind": "manual"}, colour="red")),
    ("spec.jobs[0].source.kind", source(kind="moon")),
    ("spec.jobs[0].source.kind", source()),
    ("spec.jobs[0].outputs", reactive(outputs=17)),
    ("spec.jobs[0].partitionBy.every", reactive(partitionBy={"column": "n", "every": 0})),
    ("spec.jobs[0].outputs", reactive(outputs=-1)),
    ("spec.jobs[0].codeVersion", reactive(codeVersion=1.1)),
    ("spec.jobs[0].scaling.maxConcurrency", reactive(scaling={"maxConcurrency": 0})),
    ("spec.jobs[0].inputs[0].from.output", reads(**{"from": {"job": "a", "output": 16}})),
    ("spec.jobs[0].source.partitions.values[0]", source(kind="manual", partitions={"values": ["a/b"]})),
    ("spec.jobs[0].source.partitions.values", source(kind="manual", partitions={"values": []})),
    ("spec.jobs[0].env[0].name", reactive(env=[{"name": "1A", "value": "1"}])),
    ("spec.jobs", dag(jobs=[{"name": f"j{n}", "source": {"kind": "manual"}} for n in range(501)])),
    ("spec.publish[0].from", dag(publish=[{"name": "a"}])),
    ("spec.suspend", dag(suspend="yes")),
    ("spec.jobRefs[0]", dag(jobRefs=["a_b"])),
    ("spec.datasetRefs[0]", dag(datasetRefs=["a.b"])),
    ("spec.rollout.strategy", dag(rollout={"strategy": "Now"})),
    ("spec.rollout.maxBuildTasks", dag(rollout={"maxBuildTasks": -1})),
    ("spec.rollout.deadlineSeconds", dag(rollout={"deadlineSeconds": 0})),
    ("spec.dag", obj("Job", {"source": CRON})),
    ("spec.jobName", obj("Job", {**JOB_OBJECT, "jobName": "a.b"})),
    ("spec.from", obj("Dataset", {})),
    ("spec.from.dag", obj("Dataset", {"from": {"job": "report"}})),
    ("spec.datasetName", obj("Dataset", {**DATASET_OBJECT, "datasetName": "a-b"})),
    ("spec.deletionPolicy", dag(deletionPolicy="Forget")),
]
