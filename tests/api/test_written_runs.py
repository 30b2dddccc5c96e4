"""How runs and cancellations are written: in annotations, and on the command line, which shares the options."""

from __future__ import annotations

from uuid import UUID

import pytest

from headrace.api.runs import Cancel, NotUnderstood, Run, read_cancel, read_run

TASK = "3f0e1c9a-0000-4000-8000-000000000001"

RUNS: list[tuple[str, str, Run]] = [
    ("load", "load", Run()),
    ("load --partition a -p b --partition a", "load", Run(partitions=("a", "b"))),
    ("load --from 2013-01 --to 2013-02 --missing", "load", Run(first="2013-01", last="2013-02", missing=True)),
    ("load --downstream", "load", Run(downstream=True)),
    (
        """load --param n=3 --param s=text --param 'j={"a": [1]}' --param 't="3"' --param e=""",
        "load",
        Run(params={"n": 3, "s": "text", "j": {"a": [1]}, "t": "3", "e": ""}),
    ),
]


@pytest.mark.parametrize(("text", "job", "run"), RUNS, ids=[text for text, _, _ in RUNS])
def test_a_run_is_read(text: str, job: str, run: Run) -> None:
    assert read_run(text) == (job, run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "required: job"),
        ("load --frob", "unrecognized arguments: --frob"),
        ("load --part a", "unrecognized"),
        ("load 'a", "close the quotation"),
        ("load -p ../x", "'../x' can be no partition's key: it has 128 letters"),
        ("load --from a", "give both --from and --to"),
        ("load --from a --to b -p c", "either partitions or a range"),
        ("load --param x", "write it as NAME=VALUE"),
        (f"load --param x={'a' * 40_000}", "32 KiB at most"),
        ("load --param 'x=\"\\u0000\"'", "no NUL"),
    ],
)
def test_what_is_no_run_is_told(text: str, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        read_run(text)


CANCELS: list[tuple[str, Cancel]] = [
    ("--all", Cancel(everything=True)),
    ("load", Cancel(job="load")),
    ("load -p a --partition b", Cancel(job="load", partitions=("a", "b"))),
    (TASK, Cancel(task=UUID(TASK))),
    ("--rollout", Cancel(rollout=True)),
]


@pytest.mark.parametrize(("text", "cancel"), CANCELS, ids=[text for text, _ in CANCELS])
def test_a_cancellation_is_read(text: str, cancel: Cancel) -> None:
    assert read_cancel(text) == cancel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "say what to cancel"),
        ("--all load", "give it alone"),
        ("-p a", "give DAG/JOB"),
        ("load --rollout", "--rollout alone"),
        (f"{TASK} -p a", "give DAG/JOB"),
        ("Load", "'Load' is no name of a job"),
    ],
)
def test_what_is_no_cancellation_is_told(text: str, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        read_cancel(text)
