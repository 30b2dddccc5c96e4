"""What is told of a pod that the cluster refuses: all but the values of its environment."""

from __future__ import annotations

import pytest

from headrace.cluster.refusals import unquoted

SECRET = 'canary "quoted" and long'


def pod(**container: object) -> dict[str, object]:
    env = [{"name": "A", "value": "short"}, {"name": "B", "value": SECRET}, {"name": "C", "valueFrom": {}}, "odd"]
    return {"spec": {"initContainers": [{"env": env}], "containers": [container, "odd"]}}


def test_values_of_the_environment_are_left_out_however_they_are_written() -> None:
    for written in (SECRET, 'canary \\"quoted\\" and long'):
        told = unquoted(f"a short policy says no to B={written}", pod())
        assert told == "a short policy says no to B=…"


@pytest.mark.parametrize(
    "written",
    [
        'PW="{}"', "PW={}", "'{}'", '{{"name": "PW", "value": "{}"}}', r'{{\"name\":\"PW\",\"value\":\"{}\"}}',
        "PW={}: no", "PW={}!", "PW=>{}", "PW:  {}", "({})", "[{}]", "<{}>", "{{PW {} nil}}", "PW {}",
    ],
)  # fmt: skip
def test_a_short_value_is_left_out_where_it_stands_as_one(written: str) -> None:
    env = [{"name": "PW", "value": "hunter2"}]
    assert unquoted(f"no {written.format('hunter2')}", pod(env=env)) == f"no {written.format('…')}"


def test_what_is_plain_and_what_is_a_name_is_told() -> None:
    env = [{"name": f"V{n}", "value": v} for n, v in enumerate(("1", "80808", "false", "eu", "worker", "hunter2"))]
    told = 'container "worker": quota: pods=1, ports: 80808, a=false, region=eu: hunter2s'
    assert unquoted(told, pod(name="worker", env=env)) == told


def test_a_value_within_another_hides_nothing_of_it() -> None:
    env = [{"name": "A", "value": "password"}, {"name": "B", "value": "password-of-all"}]
    assert unquoted("no password-of-all here", pod(env=env)) == "no … here"


def test_what_is_no_pod_hides_nothing() -> None:
    for odd in ({}, {"spec": {}}, {"spec": {"containers": "x"}}, {"spec": {"containers": [{"env": "x"}]}}):
        assert unquoted("as it is", odd) == "as it is"
