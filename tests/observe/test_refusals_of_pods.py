"""What is told of a pod that the cluster refuses: all but the values of its environment."""

from __future__ import annotations

from headrace.cluster.refusals import unquoted

SECRET = 'canary "quoted" and long'


def pod(**container: object) -> dict[str, object]:
    env = [{"name": "A", "value": "short"}, {"name": "B", "value": SECRET}, {"name": "C", "valueFrom": {}}, "odd"]
    return {"spec": {"initContainers": [{"env": env}], "containers": [container, "odd"]}}


def test_values_of_the_environment_are_left_out_however_they_are_written() -> None:
    for written in (SECRET, 'canary \\"quoted\\" and long'):
        told = unquoted(f"a short policy says no to B={written}", pod())
        assert told == "a short policy says no to B=…"


def test_a_short_value_is_left_out_where_it_stands_as_one() -> None:
    env = [{"name": name, "value": value} for name, value in (("PW", "hunter2"), ("N", "1"), ("C", "main"))]
    told = unquoted(
        'container "main": PW="hunter2" or PW=hunter2, \'hunter2\' and {"PW": "hunter2", N: 1}: hunter2 (hunter22, 1)',
        pod(name="main", env=env),
    )
    assert told == 'container "main": PW="…" or PW=…, \'…\' and {"PW": "…", N: …}: … (hunter22, 1)'


def test_a_value_within_another_hides_nothing_of_it() -> None:
    env = [{"name": "A", "value": "password"}, {"name": "B", "value": "password-of-all"}]
    assert unquoted("no password-of-all here", pod(env=env)) == "no … here"


def test_what_is_no_pod_hides_nothing() -> None:
    for odd in ({}, {"spec": {}}, {"spec": {"containers": "x"}}, {"spec": {"containers": [{"env": "x"}]}}):
        assert unquoted("as it is", odd) == "as it is"
