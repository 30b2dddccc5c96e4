"""What a Namespace may say of its org's settings, and how it is kept."""

from __future__ import annotations

import pytest

from headrace.api.org import SETTINGS_MAX_BYTES, SettingsRefused, kept, read_settings


@pytest.mark.parametrize(("text", "settings"), [
    (None, {}),
    ("{}", {}),
    ('{"maxRunningTasks": 1}', {"max_running_tasks": 1}),
    ('{"maxRunningTasks": 1000000}', {"max_running_tasks": 1_000_000}),
    ('{"maxRunningTasks": null}', {}),
    ('{"taskRetentionDays": 7}', {"task_retention_days": 7}),
    (' {"notify": {"secretName": "chat.news"}} ', {"notify": {"secret_name": "chat.news"}}),
    ('{"notify": {"secretName": "a"}, "maxRunningTasks": 7}',
     {"max_running_tasks": 7, "notify": {"secret_name": "a"}}),
])  # fmt: skip
def test_settings(text: str | None, settings: dict[str, object]) -> None:
    assert kept(read_settings(text)) == settings


@pytest.mark.parametrize(("text", "words"), [
    ("", "truncated"),
    ("maxRunningTasks: 3", "malformed"),
    ("[]", "Expected `object`"),
    ('{"maxRunningTask": 3}', "unknown field `maxRunningTask`"),
    ('{"max_running_tasks": 3}', "unknown field `max_running_tasks`"),
    ('{"maxRunningTasks": 0}', "maxRunningTasks"),
    ('{"maxRunningTasks": 1000001}', "maxRunningTasks"),
    ('{"maxRunningTasks": -1}', "maxRunningTasks"),
    ('{"maxRunningTasks": 1.5}', "maxRunningTasks"),
    ('{"maxRunningTasks": "3"}', "maxRunningTasks"),
    ('{"maxRunningTasks": true}', "maxRunningTasks"),
    ('{"notify": {}}', "missing required field `secretName`"),
    ('{"notify": {"secretName": "A"}}', "secretName"),
    ('{"notify": {"secretName": "a", "url": "x"}}', "unknown field `url`"),
    ("{} {}", "trailing"),
    ("[" * 3000, "Expected|recursion"),
    ('{"maxRunningTasks": ' + " " * SETTINGS_MAX_BYTES + "1}", "more than 4096 bytes"),
    ("\ud800", "surrogates|malformed|utf-8"),
])  # fmt: skip
def test_what_is_none_is_refused_with_its_cause(text: str, words: str) -> None:
    with pytest.raises(SettingsRefused, match=words):
        read_settings(text)
