"""A claimed task as the dispatcher gets it from Postgres; the tests of payload and pod share it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from headrace.state.attempts import RunningPod

Tree = dict[str, Any]

TASK = UUID("8d0c5f0e-0000-4000-8000-000000000001")
TOKEN = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")


def claimed(template: Tree | None = None, container: str = "main", **fields: object) -> RunningPod:
    """The second attempt of a task of the job `join`, with a compiled template."""
    compiled = template or {"spec": {"containers": [{"name": container, "image": "example/join:1"}]}}
    whole: Tree = {
        "id": TASK,
        "attempt": 2,
        "token": TOKEN,
        "pod_name": f"flights-join-{TOKEN.hex}",
        "partitions": ["2013-01"],
        "inputs": {},
        "outputs": [],
        "org_id": UUID(int=7),
        "org": "air",
        "dag": "flights",
        "job": "join",
        "operator": "container",
        "config": {},
        "pod": {"template": compiled, "container": container},
        "timeout_seconds": 900,
        "dag_uid": "uid-of-flights",
        "epoch": 3,
    }
    return msgspec.convert(whole | fields, RunningPod)
