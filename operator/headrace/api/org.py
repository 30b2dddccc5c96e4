"""What a Namespace says of its org: the annotation `headrace.dev/settings`, JSON, and how it is kept."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.api.base import Strict
from headrace.api.names import GROUP
from headrace.api.source import SecretName
from headrace.errors import PermanentError

ANNOTATION_SETTINGS: Final = f"{GROUP}/settings"
SETTINGS_MAX_BYTES: Final = 4096


class Notify(Strict, frozen=True, kw_only=True):
    """Where news of the org goes: the Secret of the namespace that says how."""

    secret_name: SecretName


class OrgSettings(Strict, frozen=True, kw_only=True):
    """The settings of an org. `max_running_tasks`: of all its DAGs at once; what runs on and on is beside it.
    `task_retention_days`: how long a finished task stays.
    """

    max_running_tasks: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    task_retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    notify: Notify | None = None


class SettingsRefused(PermanentError):
    """An annotation that says no settings: the message is the cause."""


def read_settings(text: str | None) -> OrgSettings:
    """The settings that the annotation says; those of none where it is not there. SettingsRefused."""
    if text is None:
        return OrgSettings()
    if len(text.encode("utf-8", "surrogatepass")) > SETTINGS_MAX_BYTES:
        raise SettingsRefused(f"it has more than {SETTINGS_MAX_BYTES} bytes")
    try:
        return msgspec.json.decode(text, type=OrgSettings)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise SettingsRefused(str(error)) from None


def kept(settings: OrgSettings) -> dict[str, object]:
    """The settings as Postgres keeps them."""
    found: dict[str, object] = {}
    if settings.max_running_tasks is not None:
        found["max_running_tasks"] = settings.max_running_tasks
    if settings.task_retention_days is not None:
        found["task_retention_days"] = settings.task_retention_days
    if settings.notify is not None:
        found["notify"] = {"secret_name": settings.notify.secret_name}
    return found
