"""Readers at the gateway on a real cluster: what they are told, and that access ends within seconds of its end."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from tests.cluster.kube import Namespace, Object, dag, shell, sql, trigger
from tests.cluster.people import account, token
from tests.cluster.test_gateway import Http, http  # noqa: F401 - a fixture
from tests.cluster.test_people import CLOSED, give

logger = logging.getLogger(__name__)
REPORT = """echo '{"columns": [{"name": "n", "type": "bigint"}]}' > "$HEADRACE_REPORT_FILE\""""


def library(*more: Object, roles: tuple[str, ...] = ()) -> Object:
    """A DAG that publishes x and y, of three partitions each; x perhaps for some only."""
    made = shell("made", REPORT, "key", outputs=2, scaling={"maxConcurrency": 3})
    x: Object = {"name": "x", "from": {"job": "made"}, **({"readRoles": list(roles)} if roles else {})}
    return dag("air", trigger("a", "b", "c"), made, *more,
               publish=[x, {"name": "y", "from": {"job": "made", "output": 1}}])  # fmt: skip


class Reader:
    """Somebody who may look at a namespace, and reads its datasets."""

    def __init__(self, gateway: Http, ns: Namespace) -> None:
        self._gateway = gateway
        self._bearer = token(ns, "viewer")
        self.root = f"/v1/namespaces/{ns.name}/datasets"

    async def __call__(self, path: str) -> tuple[int, Any]:
        """Status and answer."""
        return await self._gateway.ask("GET", path if path.startswith("/") else f"{self.root}/{path}", self._bearer)

    async def becomes(self, wanted: int, *paths: str) -> None:
        """All of these are answered so within the time."""
        began = time.monotonic()
        while True:
            found = [await self(path) for path in paths]
            took = time.monotonic() - began
            if all(status == wanted for status, _ in found):
                break
            assert took < CLOSED, found
            await asyncio.sleep(0.1)
        logger.info("%d after %.2f s", wanted, took)
        assert took < CLOSED

    async def shut(self, *paths: str) -> None:
        """They are not there any more, within the time, in the words for what never was."""
        await self.becomes(404, *paths)
        for path in paths:
            name = path.partition("?")[0]
            there, never = await self(path), await self("nobodys")
            if not name.startswith("/"):
                told = there[1]["error"]["message"].replace(f"dataset {name} ", "dataset nobodys ")
                assert (there[0], told) == (never[0], never[1]["error"]["message"])


@pytest.fixture
async def reader(http: Http, ns: Namespace) -> Reader:  # noqa: F811
    """With datasets that are made."""
    ns.apply(library())
    account(ns, "viewer", "view")
    ns.wait("air", "Serving")
    ns.run("air", "key")
    ns.wait("air", "UpToDate")
    return Reader(http, ns)


def versions(ns: Namespace) -> list[tuple[Any, ...]]:
    """How many versions there are."""
    return sql("SELECT count(*) FROM dag_versions WHERE org_id = %s", ns.org())


async def test_a_reader_is_told_where_it_is_and_what_it_is(reader: Reader, ns: Namespace) -> None:
    status, answer = await reader("x")
    assert status == 200
    (found,) = answer["datasets"]
    assert (found["name"], found["dag"], found["count"]) == ("x", "air", 3)
    assert [one["key"] for one in found["partitions"]] == ["a", "b", "c"]
    assert all(one["location"].startswith(found["location"]) for one in found["partitions"])
    assert [(one["name"], one["type"]) for one in found["columns"]] == [("n", "bigint")]
    version = found["dag_version"]
    status, both = await reader(f"{reader.root}?names=y,x")
    assert (status, sorted(one["name"] for one in both["datasets"])) == (200, ["x", "y"])
    assert {one["dag_version"] for one in both["datasets"]} == {version}
    start = version.partition("-")[2][:12] or version[:12]
    assert (await reader(f"x?at={start}"))[1]["datasets"] == answer["datasets"]
    assert (await reader("x?at=ffffffffff"))[0] == 404
    first = (await reader("x?most=2"))[1]["datasets"][0]
    status, rest = await reader(first["next"])
    assert (status, [one["key"] for one in [*first["partitions"], *rest["partitions"]]]) == (200, ["a", "b", "c"])
    assert rest["version"] == found["version"]


NOTHING = {**shell("other", "true"), "inputs": [{"from": {"dataset": "nobodys"}}]}
WRONG = shell("other", "true", "nothing")
REFUSED = shell("other", "true", "key", template={"spec": {"hostNetwork": True}})


@pytest.mark.parametrize(
    "more",
    [(), (NOTHING,), (WRONG,), (REFUSED,)],
    ids=["alone", "with what must wait", "with what is wrong", "with a pod that is refused"],
)
async def test_read_roles_close_at_once_without_a_version(
    reader: Reader, ns: Namespace, more: tuple[Object, ...]
) -> None:
    before = versions(ns)
    following = (await reader("x?most=1"))[1]["datasets"][0]["next"]
    assert (await reader(following))[0] == 200
    ns.unchecked()
    ns.apply(library(*more, roles=("analysts",)))
    await reader.shut("x", "x?most=1", following)
    assert (await reader("y"))[0] == 200
    assert (await reader(f"{reader.root}?names=x,y"))[0] == 404
    assert versions(ns) == before


async def test_bindings_open_and_close(reader: Reader, ns: Namespace) -> None:
    """A role by its RoleBinding, and the right to read at all."""
    ns.apply(library(roles=("analysts",)))
    await reader.shut("x")
    give(ns, "money", "analysts", f"--serviceaccount={ns.name}:viewer")
    await reader.becomes(200, "x")
    following = (await reader("x?most=1"))[1]["datasets"][0]["next"]
    steps: list[tuple[str, tuple[str, ...]]] = [("money", ("x", following)), ("viewer-view", ("y",))]
    for binding, paths in steps:
        await reader.becomes(200, *paths)
        ns.kubectl("delete", "rolebinding", binding)
        await reader.shut(*paths)


async def test_a_role_that_is_renamed_opens_nothing(reader: Reader, ns: Namespace) -> None:
    """The label decides, whatever else is bound."""
    give(ns, "money", "analysts", f"--serviceaccount={ns.name}:viewer")
    ns.apply(library(roles=("analysts",)))
    await reader.becomes(200, "x")
    ns.kubectl("label", "--overwrite", "rolebinding", "money", "headrace.dev/role=auditors")
    await reader.shut("x")
    ns.apply(library(roles=("auditors", "others")))
    await reader.becomes(200, "x")
