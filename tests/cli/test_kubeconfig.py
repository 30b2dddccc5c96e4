"""Kubeconfigs as kubectl reads them: several files, paths from their own file, what counts first, plugins."""

from __future__ import annotations

import base64
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.cli.credentials import Credentials, run_plugin
from headrace.cli.kubeconfig import Access, KubeconfigError, Plugin, access

Config = dict[str, Any]


def config(name: str, current: str | None = None, user: Config | None = None, **cluster: object) -> Config:
    """A kubeconfig of one context, cluster and user, all of one name."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443", **cluster}}],
        "users": [{"name": name, "user": user or {"token": f"token-of-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        **({"current-context": current} if current else {}),
    }


def write(path: Path, value: Config) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value))
    return path


def test_of_several_files_the_first_that_says_a_thing_counts(tmp_path: Path) -> None:
    one = write(tmp_path / "1", config("a"))
    two = write(tmp_path / "2", {**config("a", current="b"), "users": [{"name": "a", "user": {"token": "other"}}]})
    three = write(tmp_path / "3", config("b", current="a"))
    env = {"KUBECONFIG": os.pathsep.join(map(str, [tmp_path / "absent", one, two, three]))}
    found = access(env)
    assert (found.server, found.namespace, found.token) == ("https://b.example:6443", "ns-b", "token-of-b")
    assert access(env, context="a").token == "token-of-a"


def test_the_home_s_file_is_the_default_and_a_given_one_goes_first(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", config("home", current="home"))
    other = write(tmp_path / "other", config("given", current="given"))
    assert access({"HOME": str(tmp_path)}).namespace == "ns-home"
    assert access({"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / ".kube/config")}, other).namespace == "ns-given"


def test_paths_start_from_the_file_that_names_them_and_data_go_before_files(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "ca.pem").write_text("CA")
    (tmp_path / "d" / "token").write_text(" from-file\n")
    user = {"tokenFile": "token", "client-key": "ca.pem", "client-key-data": base64.b64encode(b"KEY").decode()}
    path = write(tmp_path / "d" / "config", config("a", "a", user, **{"certificate-authority": "ca.pem"}))
    found = access({"KUBECONFIG": str(path)})
    assert (found.authority, found.key, found.token_file) == ("CA", "KEY", tmp_path / "d" / "token")


async def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    credentials = Credentials(Access(server="https://x", namespace="n", token="old", token_file=file))
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        assert await credentials.header() == {"Authorization": f"Bearer {token}"}


WRONG: list[tuple[Config, str]] = [
    (config("a"), "no current context"),
    (config("a", current="b"), "no context 'b'"),
    ({**config("a", current="a"), "clusters": []}, "no cluster 'a'"),
    ({**config("a", current="a"), "users": None}, "no user 'a'"),
    (config("a", "a", server="a.example"), "no https:// address"),
    (config("a", "a", {"auth-provider": {"name": "gcp"}}), "`auth-provider` is not supported"),
    (config("a", "a", {"as": "root", "token": "t"}), "`as` is not supported"),
    (config("a", "a", {"client-key-data": "?"}), "no base64"),
    (config("a", "a", {"client-key": "absent.pem"}), "absent.pem: No such file"),
    ({"clusters": 3}, "Expected `array | null`"),
]


@pytest.mark.parametrize(("given", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_missing_is_named(tmp_path: Path, given: Config, words: str) -> None:
    path = write(tmp_path / "config", given)
    with pytest.raises(Exception, match=words.replace("|", r"\|")) as told:
        access({"KUBECONFIG": str(path)})
    assert "token-of" not in str(told.value)


def test_without_any_file_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"no kubeconfig: /nowhere/config is not there"):
        access({"KUBECONFIG": "/nowhere/config"})
    with pytest.raises(KubeconfigError, match="there is no such file"):
        access({}, tmp_path / "absent")


def test_secrets_are_not_shown() -> None:
    found = Access(server="https://x", namespace="n", token="s3cret", key="s3cret", basic=("u", "s3cret"))
    assert "s3cret" not in repr(found)


def program(tmp_path: Path, answer: object, code: int = 0) -> Path:
    """A credential plugin that gives `answer`, and keeps what it was told."""
    path = tmp_path / "plugin"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as told:\n"
        "    info, extra = os.environ['KUBERNETES_EXEC_INFO'], os.environ.get('EXTRA', '')\n"
        "    told.write(info + extra + ' '.join(sys.argv[1:]) + '\\n')\n"
        f"print({json.dumps(answer)!r})\nsys.exit({code})\n"
    )
    path.chmod(0o700)
    return path


V1 = "client.authentication.k8s.io/v1"


def credential(**status: object) -> Config:
    return {"apiVersion": V1, "kind": "ExecCredential", "status": status}


async def test_a_plugin_is_told_what_it_asks_for_and_run_again_before_its_token_ends(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    program(tmp_path, credential(token="t", expirationTimestamp=soon))
    exec_ = {
        "apiVersion": V1, "command": "./plugin", "args": ["x", "z"], "env": [{"name": "EXTRA", "value": "extra"}],
        "provideClusterInfo": True, "interactiveMode": "Never",
    }  # fmt: skip
    path = write(tmp_path / "config", config("a", "a", {"exec": exec_}))
    credentials = Credentials(access({"KUBECONFIG": str(path)}))
    assert await credentials.token() == "t"
    assert await credentials.token() == "t"
    first, second = (tmp_path / "told").read_text().splitlines()
    assert first == second
    told, _, rest = first.rpartition("extra")
    assert rest == "x z"
    assert json.loads(told)["spec"] == {"interactive": False, "cluster": {"server": "https://a.example:6443"}}


async def test_a_plugin_is_run_once_when_its_token_lasts(tmp_path: Path) -> None:
    command = str(program(tmp_path, credential(token="t")))
    plugin = Plugin(command=command, api_version=V1, args=None)
    credentials = Credentials(Access(server="https://x", namespace="n", plugin=plugin))
    await credentials.tls()
    assert [await credentials.token() for _ in range(3)] == ["t", "t", "t"]
    assert len((tmp_path / "told").read_text().splitlines()) == 1


PLUGINS: list[tuple[Config, object, int, str]] = [
    ({}, credential(token="t"), 3, "ended with 3"),
    ({}, credential(), 0, "neither a token nor a certificate"),
    ({}, {"kind": "x"}, 0, "printed no ExecCredential"),
    ({}, {**credential(token="t"), "apiVersion": V1 + "beta1"}, 0, "answers as"),
    ({"api_version": "client.authentication.k8s.io/v1alpha1"}, credential(token="t"), 0, "is not supported"),
    ({"command": "absent-plugin", "install_hint": "Install it."}, credential(token="t"), 0, "Install it"),
    ({"interactive_mode": "Always"}, credential(token="t"), 0, "needs a terminal"),
]


@pytest.mark.parametrize(("fields", "answer", "code", "words"), PLUGINS, ids=[p[3] for p in PLUGINS])
async def test_a_plugin_that_fails_is_told(
    tmp_path: Path, fields: Config, answer: object, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", (tmp_path / "in").open("w+"))
    plugin = Plugin(**{"command": str(program(tmp_path, answer, code)), "api_version": V1, **fields})
    with pytest.raises(KubeconfigError, match=words):
        await run_plugin(Access(server="https://x", namespace="n"), plugin, os.environ)
    sys.stdin.close()
