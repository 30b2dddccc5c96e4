"""Answers for programs: `-o json` and `-o yaml`, in the shape that the gateway gives them."""

from __future__ import annotations

import msgspec


def machine_text(answer: object, form: str) -> str:
    """`answer` (msgspec structs are fine) as JSON or YAML, with the newline at its end."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n"
    import yaml  # noqa: PLC0415 - most callers need none

    dumped: str = yaml.safe_dump(msgspec.to_builtins(answer), sort_keys=False, allow_unicode=True)
    return dumped
