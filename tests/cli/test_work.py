"""The command line as a program against a real gateway over real Postgres; who asks, and what they may, is given."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client
from headrace.compiler import Compiler
from headrace.gateway.app import application
from headrace.gateway.identity import Identities, Person
from headrace.gateway.rights import Access as Asked
from headrace.gateway.rights import Rights
from headrace.gateway.run_routes import run_routes
from headrace.gateway.runs import Runs
from headrace.state.database import Database
from headrace.state.orgs import Org
from tests.cli.test_main import CONFIG, headrace
from tests.state.world import World, month_source, step


class Known(Identities):
    """Everybody is alice."""

    async def person(self, header: str | None) -> Person:
        return Person("alice")


class All(Rights):
    """Everybody may everything."""

    async def check(self, person: Person, access: Asked) -> None:
        return


class Air(Runs):
    """Every namespace is that of the world."""

    world: World

    async def _org(self, namespace: str) -> Org:
        return await self.world.org()


class Desk(World):
    """A world with a gateway, and a command line that reaches it."""

    env: dict[str, str]

    async def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`headrace ARGUMENTS`."""
        return await asyncio.to_thread(headrace, *arguments, **self.env)

    async def told(self, code: int, *arguments: str) -> str:
        """What it says, ending with `code`: on standard output where that is 0, else on standard error."""
        done = await self.call(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture
async def desk(db: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(db)
    config = tmp_path / "config"
    config.write_text(CONFIG)
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))

    async def ready() -> str | None:
        return None

    runs = Air(client, db, Compiler())
    runs.world = made
    async with TestServer(application(run_routes(runs.services), Known(client), All(client), ready)) as server:
        made.env = {"HEADRACE_URL": str(server.make_url("/")), "KUBECONFIG": str(config)}
        yield made
    await client.close()


def load(*keys: str, **fields: object) -> dict[str, object]:
    return {"name": "load", "image": "i", "source": month_source(*keys)["source"], **fields}


async def test_what_is_not_there_is_told_and_ends_with_1(desk: Desk) -> None:
    await desk.apply("flights", load("a"), step("clean", "load"))
    no_dag, no_job = "there is no DAG nope in this namespace, or it has no version yet", "of DAG flights "
    for words, *commands in (
        (no_dag, "tasks nope", "run nope/load", "logs nope", "cancel nope", "cancel nope --all"),
        (f"no version {no_job}has a job nope", "tasks flights/nope", "logs flights/nope"),
        (f"'nope' is no job of the version {no_job}that serves", "run flights/nope", "cancel flights/nope"),
        (f"no rollout {no_job}is under way", "cancel flights --rollout"),
        ("its inputs have nothing yet", "run flights/clean"),
    ):
        for command in commands:
            assert await desk.told(1, *command.split()) == f"headrace: {words}\n", command


async def test_what_is_wrong_is_told_with_what_is_made_again(desk: Desk) -> None:
    by: dict[str, object] = {"partitionBy": {"column": "n", "every": 10}}
    await desk.apply("flights", load("0", "10", **by), step("clean", "load"))
    await desk.run("flights", "load", "0", "10")
    await desk.drain()
    assert await desk.told(0, "invalidate", "flights.load.0", "--where", "n>=5", "--where", "n<8") == (
        "flights.load.0: 1 of 2 partitions out of date\n  flights/clean: 1 unit to make again\n")  # fmt: skip
    assert await desk.drain() == [("clean", "0")]
    told = await desk.told(0, "invalidate", "flights.load.0", "--where", "carrier in AA,UA", "-o", "json")
    assert json.loads(told)["widened"] == "the filter says nothing of n, by which the dataset is partitioned"
    words = "headrace: there is no dataset nope in this namespace\n"
    assert await desk.told(1, "invalidate", "nope", "-p", "a") == words


async def test_what_is_there_and_has_nothing_is_no_error(desk: Desk) -> None:
    await desk.apply("flights", load("a"))
    for target in ("flights", "flights/load"):
        assert await desk.told(0, "tasks", target) == "no tasks\n"


async def test_what_was_called_wrongly_ends_with_64_whoever_finds_out(desk: Desk) -> None:
    await desk.apply("flights", load("a"))
    for command, words in (
        ("cancel flights", "say what to cancel"),
        ("invalidate flights.load.0", "say what is wrong: a partition, or rows"),
        ("invalidate flights.load.0 --where n", "'n' is no filter: write COLUMN>=VALUE"),
        ("cancel flights/load --all", "give it alone"),
        ("run flights/load --param limit", "write it as NAME=VALUE"),
        ("run flights/load --param limit=1", "the job takes no parameters"),
        ("run flights/load --from a", "give both --from and --to"),
        ("run flights/load -p a --from a --to b", "either partitions or a range"),
        ("run flights/load -p z", "partition z is none of those that the source lists"),
    ):
        assert words in await desk.told(64, *command.split()), command


async def test_the_end_of_a_wait_tells_failed_tasks_from_those_that_go_on(desk: Desk) -> None:
    await desk.apply("flights", load("a", maxAttempts=1))
    told = await desk.told(3, "run", "flights/load", "--wait", "--timeout", "0.1")
    assert told.endswith("headrace: 1 of 1 task are not over after 0.1 s; they go on\n")
    waiting = asyncio.create_task(desk.told(1, "run", "flights/load", "-p", "a", "--downstream", "--wait"))
    asked = "SELECT 1 FROM requests WHERE kind = 'run' AND answer IS NOT NULL"
    async with asyncio.timeout(30):
        while len(await desk.rows(asked)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (pod,) = await desk.claim()
    assert await desk.fail(pod)
    await waiting


async def test_a_run_of_a_suspended_dag_says_that_nothing_begins(desk: Desk) -> None:
    await desk.apply("flights", load("a"), suspend=True)
    words = "the DAG is suspended, and nothing of it begins: set spec.suspend to false\n"
    assert f"  {words}" in await desk.told(0, "run", "flights/load")
    done = await desk.call("run", "flights/load", "-p", "a", "--wait", "--timeout", "0.1", "-o", "json")
    assert (done.returncode, done.stderr.startswith(words)) == (3, True)
    assert json.loads(done.stdout)["tasks"]["states"] == {"Queued": 1}
    assert words[:-1] in str(await desk.command("flights", "run", "load -p a"))


async def test_what_a_newer_task_decides_is_no_more_among_the_failed(desk: Desk) -> None:
    await desk.apply("flights", load("a", maxAttempts=1))
    await desk.run("flights", "load", "a")
    (pod,) = await desk.claim()
    assert await desk.fail(pod)
    failed = ("tasks", "flights/load", "--state", "failed")
    assert str(pod.id) in await desk.told(0, *failed)
    await desk.told(0, "run", "flights/load", "-p", "a")
    assert await desk.told(0, *failed) == "no tasks\n"
    assert "superseded" in await desk.told(0, "tasks", "flights")
    assert "superseded" in await desk.told(0, "tasks", str(pod.id))


async def test_the_parameters_of_a_run_are_kept_with_its_tasks_alone(desk: Desk) -> None:
    schema = {"properties": {"word": {"type": "string"}, "n": {"type": "integer"}}}
    await desk.apply("flights", load("a", paramsSchema=schema))
    assert "canary-77" not in await desk.told(64, "run", "flights/load", "--param", "n=canary-77")
    await desk.told(0, "run", "flights/load", "--param", "word=canary-77")
    assert await desk.rows("SELECT count(*), count(answer) FROM requests") == [(1, 1)]
    assert await desk.rows("SELECT 1 FROM requests WHERE requests::text LIKE '%%canary-77%%'") == []
    assert await desk.rows("SELECT params FROM tasks") == [({"word": "canary-77"},)]
