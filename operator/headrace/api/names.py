"""Names that objects, rows and pods share, and the patterns they must match.

Everything that spells a group, kind, label, annotation or a legal name takes it from here. Patterns end in
`\\Z`, since Python's `$` lets a newline through; the CRD generator writes `$`, which in Go means the end.
"""

from __future__ import annotations

import re
from typing import Final

GROUP: Final = "headrace.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "headrace"

DAG: Final = "DAG"
JOB: Final = "Job"
DATASET: Final = "Dataset"
PLURALS: Final = {DAG: "dags", JOB: "jobs", DATASET: "datasets"}
SHORT_NAMES: Final = {DAG: "dag", JOB: "hjob", DATASET: "dset"}

# Labels of task pods and projected objects.
LABEL_DAG: Final = f"{GROUP}/dag"
LABEL_JOB: Final = f"{GROUP}/job"
LABEL_TASK: Final = f"{GROUP}/task"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_WORKER: Final = f"{GROUP}/worker"

# What the tokens of workers are for: nothing but the gateway takes them.
WORKER_AUDIENCE: Final = f"{GROUP}/worker"

# On DAGs that say `deletionPolicy: Delete`, until their rows are deleted.
FINALIZER: Final = f"{GROUP}/delete-rows"

# Annotations that people and GitOps tools set.
ANNOTATION_REVISION: Final = f"{GROUP}/revision"
COMMANDS: Final = ("approve", "retry", "cancel", "pin", "unpin", "run")
COMMAND_ANNOTATIONS: Final = {command: f"{GROUP}/{command}" for command in COMMANDS}
ANNOTATION_RUN: Final = COMMAND_ANNOTATIONS["run"]

# On the operator's Lease: where Postgres stood.
STANDING_ANNOTATIONS: Final = {name: f"{GROUP}/{name}" for name in ("incarnation", "epoch", "mark")}

NAME_PATTERN: Final = r"^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?\Z"
DATASET_PATTERN: Final = r"^[a-z][a-z0-9_]{0,127}\Z"
PARTITION_KEY_PATTERN: Final = r"^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})\Z"
INPUT_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,127}\Z"
OBJECT_NAME_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z"
DATASET_OBJECT_NAME_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,126}[a-z0-9])?\Z"

NAME_RE: Final = re.compile(NAME_PATTERN)
DATASET_RE: Final = re.compile(DATASET_PATTERN)
PARTITION_KEY_RE: Final = re.compile(PARTITION_KEY_PATTERN)

NAME_MAX: Final = 63
DATASET_MAX: Final = 128

# Limits of design section 10, promise 13, in bytes of JSON and in items.
DAG_SPEC_MAX_BYTES: Final = 512 * 1024
DAG_SPEC_WARN_BYTES: Final = 200 * 1024
JOB_SPEC_MAX_BYTES: Final = 64 * 1024
MAX_INLINE_JOBS: Final = 500
MAX_JOBS: Final = 10_000
MAX_OUTPUTS: Final = 16


def project_name(dag: str, name: str) -> str:
    """Name of the object that shows an inline job or published dataset: `<dag>.<name>`, `_` as `-`.

    Dashes at the end are dropped, since an object's name must end in a letter or digit and a dataset's may
    end in `_`. Different names can project to one; `compile` refuses such a pair.
    """
    return f"{dag}.{name}".replace("_", "-").rstrip("-")


def default_dataset_name(dag: str, job: str, output: int) -> str:
    """Name of an output that nobody published: `<dag>.<job>.<index>`."""
    return f"{dag}.{job}.{output}"


def matches(pattern: str, name: str) -> bool:
    """Whether `name` has the form of one of the patterns above."""
    return re.match(pattern, name) is not None
