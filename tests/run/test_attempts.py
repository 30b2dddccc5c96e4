"""Pods and attempts: which pod is which attempt, and which pods nobody waits for any more."""

from __future__ import annotations

import msgspec
import pytest

from headrace.cluster.pods import Pod
from headrace.run.attempts import attempt_of, failure, reported, to_delete
from headrace.run.reports import ReportedPartition
from headrace.run.verdict import Broken, Succeeded
from headrace.state.attempts import Attempt, Expired, Failure, Reported
from tests.run.claimed import TASK, TOKEN, claimed


@pytest.mark.parametrize(
    ("name", "labels", "is_one"),
    [
        pytest.param(f"flights-join-{TOKEN.hex}", {}, True, id="an attempt"),
        pytest.param(f"x-{TOKEN.hex}", {}, True, id="whatever comes before the token"),
        pytest.param("flights-join", {}, False, id="no token"),
        pytest.param(TOKEN.hex[:-1], {}, False, id="half a token"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/task": "x"}, False, id="no task"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/task": None}, False, id="no label"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/attempt": None}, False, id="no number"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/attempt": "two"}, False, id="a word for a number"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/attempt": "0"}, False, id="before the first"),
        pytest.param(f"a-{TOKEN.hex}", {"headrace.dev/attempt": "99999999999"}, False, id="beyond what is kept"),
    ],
)
def test_a_pod_is_an_attempt_or_a_strangers(name: str, labels: dict[str, str | None], is_one: bool) -> None:
    """Anyone who may make pods may label them: what cannot be an attempt is left alone."""
    whole = {"headrace.dev/task": str(TASK), "headrace.dev/attempt": "2"} | labels
    given = {key: value for key, value in whole.items() if value is not None}
    found = attempt_of(msgspec.convert({"metadata": {"name": name, "namespace": "air", "labels": given}}, Pod))
    attempt = Attempt(id=TASK, attempt=2, token=TOKEN, namespace="air", pod=name)
    assert found == (attempt if is_one else None)


def stray(
    phase: str,
    job: str = "join",
    version: int = 1,
    namespace: str = "air",
    *,
    deleted: bool = False,
    codes: tuple[int | None, ...] = (),
) -> Pod:
    """A pod that no Running task is; `codes`: with which its containers ended, None for one that runs."""
    labels = {"headrace.dev/dag": "flights", "headrace.dev/job": job}
    metadata = {"name": f"{job}-{version}", "namespace": namespace, "labels": labels, "resourceVersion": str(version)}
    stop = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}
    states: list[dict[str, object]] = [{} if code is None else {"terminated": {"exitCode": code}} for code in codes]
    containers = [{"name": f"c{number}", "state": state} for number, state in enumerate(states)]
    return msgspec.convert(
        {"metadata": metadata | stop, "status": {"phase": phase, "containerStatuses": containers}}, Pod
    )


@pytest.mark.parametrize(
    ("pods", "deleted"),
    [
        pytest.param([stray("Succeeded")], ["join-1"], id="what succeeded"),
        pytest.param([stray("Running")], ["join-1"], id="what runs on"),
        pytest.param([stray("Pending")], ["join-1"], id="what waits for its image"),
        pytest.param([stray("Failed")], [], id="what failed stays, for its logs"),
        pytest.param([stray("Running", codes=(3,))], [], id="also while its phase lags behind its end"),
        pytest.param([stray("Running", codes=(0, 0))], ["join-1"], id="what succeeded, while its phase lags"),
        pytest.param([stray("Running", codes=(3, None))], ["join-1"], id="what failed, but a sidecar runs on"),
        pytest.param([stray("Failed", version=9), stray("Failed", version=10)], ["join-9"], id="but the youngest only"),
        pytest.param([stray("Failed"), stray("Failed", "rank")], [], id="of each job"),
        pytest.param([stray("Failed"), stray("Failed", namespace="trains")], [], id="of each namespace"),
        pytest.param([stray("Failed"), stray("Succeeded", version=2)], ["join-2"], id="whatever came after"),
        pytest.param([stray("Running", deleted=True), stray("Failed", version=2, deleted=True)], [], id="once"),
    ],
)
def test_what_nobody_waits_for_is_deleted(pods: list[Pod], deleted: list[str]) -> None:
    there = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
    assert [name for _, name in to_delete(there)] == deleted


def test_a_verdict_goes_on_under_the_name_of_its_attempt() -> None:
    attempt = claimed().as_attempt
    fence = {"id": TASK, "attempt": 2, "token": TOKEN, "namespace": "air", "pod": f"flights-join-{TOKEN.hex}"}
    assert attempt == Attempt(**fence)
    assert failure(attempt, Broken("why", lost=True)) == Failure(**fence, reason="why", lost=True)
    said = Succeeded((ReportedPartition("k", 1, 2, 3), ReportedPartition("l")))
    assert reported(attempt, said) == [
        Reported(task=TASK, output=3, key="k", rows=1, bytes=2),
        Reported(task=TASK, output=0, key="l"),
    ]


def test_the_failure_of_an_attempt_whose_lease_ran_out() -> None:
    """What is known of it beside its fence is no part of the failure."""
    expired = Expired(id=TASK, attempt=2, token=TOKEN, namespace="air", pod="p", late=True)
    assert failure(expired, Broken("late", lost=False)) == Failure(
        id=TASK, attempt=2, token=TOKEN, namespace="air", pod="p", reason="late", lost=False
    )
