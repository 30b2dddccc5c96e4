"""The DAG that the tests of rollouts edit: what serves of it, and how its rollouts went."""

from __future__ import annotations

from tests.state.world import World, month_source, step

KEYS = ("a", "b", "c")


def flights(n: object = 0, *, rank: object = 0, **join: object) -> list[dict[str, object]]:
    """month -> clean -> join -> rank, and clean -> other; the config of join, and of rank."""
    return [
        month_source(*KEYS, "d"),
        step("clean", "month"),
        step("join", "clean", config={"n": n}, **join),
        step("rank", "join", config={"n": rank}),
        step("other", "clean"),
    ]


async def serve(world: World, *keys: str) -> None:
    """A first version with these partitions done."""
    await world.apply("flights", *flights())
    await world.run("flights", "month", *(keys or KEYS))
    await world.drain()


async def rollouts(world: World) -> list[tuple[object, ...]]:
    """State and cause of every rollout but the first, oldest first."""
    return (await world.rows("SELECT state, cause FROM rollouts ORDER BY seq"))[1:]


async def current(world: World, job: str = "join") -> list[tuple[object, ...]]:
    """The partitions of a job's output that serve, with where they are."""
    return await world.rows(
        "SELECT pv.partition_key, pv.location FROM dag_current_versions c JOIN dag_version_datasets v USING"
        " (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid JOIN partition_versions pv ON pv.dataset_version ="
        " v.dataset_version WHERE d.producer_job_name = %(job)s ORDER BY 1",
        job=job,
    )


async def keys(world: World, job: str = "join") -> str:
    """The partitions of a job's output that serve."""
    return "".join(str(key) for key, _ in await current(world, job))


async def all_claims(world: World) -> list:  # type: ignore[type-arg]
    """Everything that runs until nothing is left."""
    found = []
    while pods := await world.claim():
        for pod in pods:
            assert await world.complete(pod)
        found += pods
    return found
