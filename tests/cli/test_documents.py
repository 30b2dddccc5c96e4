"""YAML as kubectl reads it, and what files, directories and lists give."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.cli.documents import Unreadable, documents
from headrace.cli.manifests import by_namespace, manifests

VALUES: list[tuple[str, object]] = [
    ("2013-01-01", "2013-01-01"), ("2013-01-01T00:00:00Z", "2013-01-01T00:00:00Z"), ("1:30", "1:30"), ("1e3", 1000),
    ("1.5", 1.5), ("1.0", 1), ("1_0.5", 10.5), ("08", 8), ("yes", True), ("n", False), ("on", True), ("Off", False),
    ("'yes'", "yes"), ("~", None), ("", None), ("0x10", 16), ("010", 8), ("-7", -7), ("1_000", 1000),
    ("1.2.3", "1.2.3"), ("5m", "5m"), ("nullable", "nullable"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_scalars_are_those_of_kubectl(text: str, value: object) -> None:
    """As `kubectl create --dry-run=client -o json` gives them."""
    assert repr(list(documents(f"a: {text}", "x"))) == repr([{"a": value}])


def test_a_key_that_is_there_twice_is_refused_and_merged_ones_are_not() -> None:
    with pytest.raises(Unreadable, match=r"x: not YAML: 'b' is there twice .* line 3"):
        list(documents("a: 1\nb: 2\nb: 3\n", "x"))
    assert list(documents("base: &b {k: 1}\nother: {<<: *b, k: 2}", "x")) == [{"base": {"k": 1}, "other": {"k": 2}}]


@pytest.mark.parametrize(("text", "words"), [
    ("config: {n: 1, y: 2}", r"key 'n' is read as true or false, and a key is a string: quote it .*line 1, column 10"),
    ("a:\n  ~: 1", r"key '~' is read as nothing, .* line 2, column 3"),
    ("a:\n- {on: 1}", r"key 'on' is read as true or false, .* line 2, column 4"),
    ("a: 1\nname: {{ .Values.name }}", r"a key is a string, and this one has keys or items .* line 2, column 8"),
    ("? [a, b]\n: 1", r"a key is a string, and this one has keys or items .* line 1, column 3"),
])  # fmt: skip
def test_a_key_that_is_no_string_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(Unreadable, match=f"x: not YAML: {words}"):
        list(documents(text, "x"))
    assert list(documents("{'n': 1, \"on\": 2, 'null': 3}", "x")) == [{"n": 1, "on": 2, "null": 3}]


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: !!python/object/apply:os.system [x]",
        "\x00",
        "a: !!timestamp x",
        "a: !!int ''",
        "a: !!bool ''",
        "\udcff",
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str) -> None:
    with pytest.raises(Unreadable, match=r"^x: not YAML"):
        list(documents(text, "x"))


def dag(name: str, **metadata: str) -> dict[str, Any]:
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "metadata": {"name": name, **metadata}, "spec": {}}


def names(given: list[str], *, recursive: bool = False) -> list[str]:
    return [one["metadata"]["name"] for one in manifests(given, recursive)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two files, one of them a List beside another group's object, one file deeper, one that is no manifest."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.yaml").write_text(json.dumps(dag("b")) + "\n---\n---\n" + json.dumps(dag("c")))
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no"}}
    (tmp_path / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [dag("a"), config_map]}))
    (tmp_path / "deep" / "d.yml").write_text(json.dumps(dag("d")))
    (tmp_path / "notes.txt").write_text("a: [")
    return tmp_path


def test_files_directories_and_standard_input(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names([str(tree / "b.yaml")]) == ["b", "c"]
    assert names([str(tree)]) == ["a", "b", "c"]
    assert names([str(tree)], recursive=True) == ["a", "b", "c", "d"]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(dag("in"))))
    assert names(["-", str(tree / "deep")]) == ["in", "d"]


def test_what_gives_nothing_is_told(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    for given, words in (("absent.yaml", "No such file"), (str(tmp_path / "empty"), "-R looks into directories"),
                         (str(tmp_path / "other.yaml"), r"no object of headrace\.dev"),
                         (str(tree / "notes.txt"), "not YAML")):  # fmt: skip
        with pytest.raises(Unreadable, match=words):
            manifests([given], recursive=False)
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(Unreadable, match="no Kubernetes object"):
        manifests([str(tmp_path / "list.yaml")], recursive=False)


def test_only_what_a_person_writes_is_sent(tmp_path: Path) -> None:
    one = dag("a", uid="u", resourceVersion="3")
    one["status"] = {"message": "x"}
    (tmp_path / "a.yaml").write_text(json.dumps(one))
    assert manifests([str(tmp_path / "a.yaml")], recursive=False) == [dag("a")]


def test_objects_go_to_their_own_namespace_else_the_chosen_else_the_context_s() -> None:
    own, none = dag("a", namespace="air"), dag("b")
    assert by_namespace([own, none], None, "default") == {"air": [own], "default": [none]}
    assert by_namespace([own, none], "air", "default") == {"air": [own, none]}
    with pytest.raises(Unreadable, match="DAG a is for namespace air, and -n says sea"):
        by_namespace([own], "sea", "default")
