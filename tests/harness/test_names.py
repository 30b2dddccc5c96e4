"""What the harness names things after: keys of builds, of environments, of images; names of clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import environment, files, gobuild, places
from harness.console import HarnessError, elapsed
from harness.images import build, wheels


def test_a_builds_key_is_that_of_go_mod_followed_by_go_sum(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module one\n")
    (tmp_path / "go.sum").write_text("two\n")
    # printf 'module one\ntwo\n' | sha256sum | cut -c1-16
    assert gobuild.key(tmp_path) == "aaffc39f833597e9"


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.9 linux/amd64", (1, 9)),
        ("go version devel +abc", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_of_go_is_read(told: str, version: tuple[int, int]) -> None:
    assert gobuild.version(told) == version


def test_an_environment_belongs_to_one_lock_and_one_python() -> None:
    keys = {environment.key(lock, python) for lock in (b"a", b"b") for python in ("3.11.7", "3.12.1")}
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a" * 21, "a/b", "..", "a b"])
def test_cluster_names_that_paths_could_not_bear_are_refused(name: str) -> None:
    with pytest.raises(HarnessError, match="cluster name"):
        places.cluster(name)


def test_an_images_key_follows_the_projects_files(tmp_path: Path) -> None:
    wheel = '[tool.hatch.build.targets.wheel]\npackages = ["x"]\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n{wheel}')
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "code.py").write_text("1")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "requirements.lock").write_text("")
    image = build.Image(tmp_path, "docker.io/local/x:1", tmp_path / "requirements.lock", (tmp_path,))
    before = build.key(image)
    (tmp_path / "unrelated.md").write_text("nothing of the wheel")
    assert build.key(image) == before
    (tmp_path / "x" / "code.py").write_text("2")
    assert build.key(image) != before


def test_the_operators_wheel_is_made_of_the_package_and_the_migrations() -> None:
    found = {str(one.relative_to(places.ROOT)) for one in wheels.sources(places.ROOT)}
    assert "operator/headrace/__init__.py" in found
    assert any(one.startswith("harness/migrations/state/") for one in found)
    assert not any("__pycache__" in one or one.startswith("tests/") for one in found)


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4s"), (12.6, "13s"), (185.2, "3m05s")])
def test_durations_are_read_by_people(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "a" / "record.json"
    assert files.read_json(target) is None
    files.write_json(target, {"x": 1}, 0o600)
    assert files.read_json(target) == {"x": 1}
    assert target.stat().st_mode & 0o777 == 0o600
    target.write_text('{"x": ')
    assert files.read_json(target) is None
    assert [one.name for one in target.parent.iterdir()] == ["record.json"]
