"""How a purge is written on the command line and at the gateway, and what of it cannot be."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from headrace.api.purge import Purge, add_purge_options, checked_purge, purge_of
from headrace.api.runs import NotUnderstood


def read(*options: str) -> Purge:
    parser = argparse.ArgumentParser()
    add_purge_options(parser)
    return purge_of(parser.parse_args(options))


def test_without_a_word_nothing_is_done_and_a_day_is_kept() -> None:
    assert read() == Purge() == msgspec.json.decode(b"{}", type=Purge)
    assert not Purge().confirm
    assert checked_purge(Purge()) == timedelta(days=1)


def test_what_is_wanted_is_read() -> None:
    assert read("--confirm", "--older-than", "7d") == Purge(confirm=True, older_than="7d")
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert read("--forget", at.isoformat()) == Purge(forget=at)
    assert msgspec.json.decode(msgspec.json.encode(Purge(forget=at)), type=Purge) == Purge(forget=at)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--confirm", "--forget", "2026-01-02T03:04:05Z"), "either"),
        (("--older-than", "9m"), "10m at least"),
        (("--older-than", "soon"), "soon"),
        (("--forget", "yesterday"), "yesterday"),
        (("--forget", "2026-01-02T03:04:05"), "zone"),
    ],
)
def test_what_cannot_be_is_told(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        read(*options)


@pytest.mark.parametrize("body", [b'{"older_than": "0"}', b'{"confirm": 1}', b'{"all": true}'])
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Purge)
