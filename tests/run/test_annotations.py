"""Annotations that are no request: each is told, and does nothing."""

from __future__ import annotations

from headrace.run.commands import not_understood


def test_what_is_unknown_or_empty_is_told() -> None:
    given = {
        "headrace.dev/frob": "1",
        "headrace.dev/retry": " ",
        "headrace.dev/pin": "7 v1-ab",
        "headrace.dev/revision": "abc",
        "example.com/pin": "",
    }
    frob, retry = sorted(not_understood(given))
    assert frob.startswith("annotation headrace.dev/frob is not known")
    assert retry.startswith("annotation headrace.dev/retry is empty and does nothing: write '<request-id> <argument>'")
