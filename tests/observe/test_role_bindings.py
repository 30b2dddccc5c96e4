"""RoleBindings as the API server shows them, and what roles they give."""

from __future__ import annotations

import logging

import msgspec
import pytest

from headrace.api.people import Binding
from headrace.cluster.role_bindings import RoleBinding, bindings_of


def binding(name: str, label: str, *subjects: dict[str, str], **annotations: str) -> RoleBinding:
    """As it comes out of JSON, with more than is read."""
    given = {
        "metadata": {"name": name, "namespace": "air", "uid": "u", "labels": {"headrace.dev/role": label},
                     "annotations": {f"headrace.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}},
        "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": list(subjects),
    }  # fmt: skip
    return msgspec.json.decode(msgspec.json.encode(given), type=RoleBinding)


def subject(kind: str, name: str, **more: str) -> dict[str, str]:
    return {"kind": kind, "name": name, **more}


def test_users_accounts_and_groups() -> None:
    one = binding("a", "finance", subject("User", "ann"), subject("ServiceAccount", "bot"), subject("Group", "g"),
                  subject("ServiceAccount", "bot", namespace="sea"), role_name=" The money ")  # fmt: skip
    accounts = ("system:serviceaccount:air:bot", "system:serviceaccount:sea:bot")
    assert bindings_of([one]) == (Binding(slug="finance", name="The money", users=("ann", *accounts), groups=("g",)),)


def test_they_come_in_the_order_of_their_names() -> None:
    assert [one.slug for one in bindings_of([binding("b", "y"), binding("a", "z"), binding("c", "x")])] == [
        "z", "y", "x",
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["", "Finance", "9", "a.b", "a-", "a" * 64])
def test_a_label_that_can_be_no_role_gives_nothing_and_is_logged(label: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert bindings_of([binding("a", label, subject("User", "ann")), binding("b", "ok")]) == (Binding(slug="ok"),)
    assert f"RoleBinding air/a: {label!r} can be no role" in caplog.text


def test_what_postgres_cannot_keep_is_left_out() -> None:
    one = binding("a", "x", subject("User", "a\0b"), subject("Group", "g\0"), subject("User", "c"), role_name="n\0m")
    assert bindings_of([one]) == (Binding(slug="x", name="nm", users=("c",)),)
    assert bindings_of([binding("a", "x", role_name="n" * 1000)])[0].name == "n" * 256


def test_a_binding_without_subjects_is_a_role_that_nobody_has() -> None:
    given = {"metadata": {"name": "a", "namespace": "air", "labels": {"headrace.dev/role": "x"}}}
    for subjects in ({}, {"subjects": None}):
        assert bindings_of([msgspec.convert(given | subjects, RoleBinding)]) == (Binding(slug="x"),)
