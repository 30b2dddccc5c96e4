"""Archives, and the places that Debian's packages come from."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from harness import watching
from harness.console import HarnessError
from harness.images import archive, base, wheels


def test_an_archive_of_one_program_tells_its_tag_and_content(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF not really")
    for name in ("one.tar", "two.tar"):
        archive.single_program(tmp_path / name, "docker.io/local/pause:1", program, "pause", ["sleep", "9"])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    [(tag, config)] = archive.contents(tmp_path / "one.tar").items()
    assert tag == "docker.io/local/pause:1"
    with tarfile.open(tmp_path / "one.tar") as tar:
        member = tar.extractfile(config)
        assert member is not None
        settings = json.load(member)["config"]
    assert settings["Entrypoint"] == ["/pause"]
    assert settings["User"] == "65532:65532"


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("no")
    with pytest.raises(HarnessError, match=r"x\.tar is not a docker archive"):
        archive.contents(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("tag", "whole"),
    [
        ("busybox:1", "docker.io/library/busybox:1"),
        ("local/flights:demo", "docker.io/local/flights:demo"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry.example:5000/a:1", "registry.example:5000/a:1"),
        ("docker.io/local/a:1", "docker.io/local/a:1"),
    ],
)
def test_tags_are_written_out_as_containerd_keeps_them(tag: str, whole: str) -> None:
    assert archive.normalised(tag) == whole


STANZAS = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://other.example/node
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://mirror.example/off
Suites: bookworm
Components: main
"""
LINES = """\
# deb http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian-security bookworm-security main contrib
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian trixie main
"""


def test_only_debians_own_archives_of_the_suite_are_used() -> None:
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert base.debian_sources([STANZAS, LINES, ""], "bookworm") == [
        f"deb {signed} http://mirror.example/debian bookworm main",
        f"deb {signed} http://mirror.example/debian bookworm-updates main",
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian-security bookworm-security main contrib",
    ]


def test_wheels_are_asked_for_from_the_newest_platform_to_the_oldest() -> None:
    tags = wheels.platforms()
    assert tags[0].startswith("manylinux_2_36_")
    assert any(tag.startswith("manylinux2014_") for tag in tags)


def test_objects_are_cut_out_of_a_stream_wherever_it_breaks() -> None:
    stream = json.dumps({"a": "}{"}, indent=4) + "\n" + json.dumps({"b": 2}, indent=4) + "\n"
    for cut in range(len(stream)):
        first, rest = watching.objects(stream[:cut])
        second, rest = watching.objects(rest + stream[cut:])
        assert [*first, *second] == [{"a": "}{"}, {"b": 2}]
        assert rest == ""
