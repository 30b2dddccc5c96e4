"""An org under attack by another that has the same names: nothing is had, and forbidden looks like missing.

Each attack is made on what the other org has and again on what nobody has; the two answers are one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.attack import BOUND, GUESSED, NOBODY, NOWHERE, OWN, Org, hidden, plain, pod_like, vault
from tests.cluster.kube import Object, condition, dag, namespace, shell, sql, until
from tests.cluster.people import account, token
from tests.cluster.test_gateway import WORKERS, Http, http  # noqa: F401 - a fixture
from tests.cluster.test_gateway import reads as reads_of
from tests.cluster.test_gateway import routes as routes_of
from tests.cluster.test_people import give
from tests.cluster.test_webhooks import GATEWAY
from tests.gateway.deliveries import KEY, OTHER_KEY, signed

Asked = tuple[str, str, object]
MEMBER = (
    "SELECT 1 FROM org_role_memberships m JOIN users u ON u.id = m.user_id JOIN org_roles r ON r.id = m.role_id"
    " WHERE r.org_id = %s AND u.external_id = %s"
)
OUTCOME = "SELECT outcome FROM commands WHERE org_id = %s AND request_id = %s AND outcome <> ''"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Org, Org]]:
    """The attacker's org, where its owner is an analyst, and the other one, where nobody of the first is anything."""
    with namespace() as one, namespace() as other:
        mine, theirs = Org(one, KEY), Org(other, OTHER_KEY)
        mine.begin("analysts")
        theirs.begin("analysts")
        vault(other)
        other.apply(hidden())
        for org in (mine, theirs):
            org.work()
        other.run(OWN, OWN)
        for org in (mine, theirs):
            org.ready()
        other.wait(OWN, "UpToDate")
        yield mine, theirs


@pytest.fixture
def mine(both: tuple[Org, Org]) -> Org:
    """The attacker's org."""
    return both[0]


@pytest.fixture
def theirs(both: tuple[Org, Org]) -> Iterator[Org]:
    """The attacked org: whatever is tried, nothing of it changes."""
    before = both[1].rows()
    yield both[1]
    assert both[1].rows() == before


async def alike(
    gateway: Http, bearer: str | None, there: Asked, missing: Asked, *words: tuple[str, str]
) -> tuple[int, Any]:
    """The one answer of both, once the names of what is there and of what is missing are put out of it."""
    found, nothing = [await gateway.ask(method, path, bearer, body) for method, path, body in (there, missing)]
    assert (found[0], plain(found[1], *words)) == (nothing[0], plain(nothing[1], *words)), (there, missing)
    return found


def renamed(asked: list[Asked], *changes: tuple[str, str]) -> list[Asked]:
    """The same requests with other names."""
    text = json.dumps(asked)
    for old, new in changes:
        text = text.replace(old, new)
    return [(method, path, body) for method, path, body in json.loads(text)]


async def test_every_route_for_people_is_closed_to_who_is_of_another_org(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """Their paths, with their names and with names that nobody has; and a namespace that is not there."""
    there = [*routes_of(theirs.ns), *reads_of(theirs.ns)]
    nowhere = renamed(there, (theirs.name, NOWHERE))
    inner = (
        ("/air/", f"/{NOBODY}/"),
        ("/hook/", f"/{NOBODY}/"),
        ("/x", f"/{NOBODY}"),
        ("names=x,y", f"names={NOBODY},y"),
    )
    unnamed = renamed(there, *inner)
    words = ((theirs.name, "NS"), (NOWHERE, "NS"), (f"'{NOBODY}'", "'air'"), (f" {NOBODY} ", " x "), ("'x'", "'air'"))
    for name in ("owner", "viewer"):
        bearer = mine.bearers[name]
        for one, *others in zip(there, nowhere, unnamed, strict=True):
            for other in others:
                status, answer = await alike(http, bearer, one, other, *words)
                assert status == (404 if one in reads_of(theirs.ns) else 403), answer


async def test_what_another_org_has_is_missing_under_ones_own_paths(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """Names that only they have, ids of their tasks: all as if nobody had them."""
    root, held = f"/v1/namespaces/{mine.name}", theirs.held["warm"]["id"]
    asked: list[tuple[Asked, int]] = [
        (("GET", f"{root}/tasks/{held}", None), 404),
        (("POST", f"{root}/tasks/follow", {"tasks": [held]}), 200),
        (("GET", f"{root}/dags/air/tasks?before={held}", None), 200),
        (("POST", f"{root}/dags/air/cancel", {"task": held}), 422),
        (("GET", f"{root}/dags/{OWN}/history", None), 404),
        (("GET", f"{root}/dags/{OWN}/tasks", None), 404),
        (("GET", f"{root}/dags/air/tasks?job={OWN}", None), 404),
        (("GET", f"{root}/dags/{OWN}/jobs/work/why", None), 404),
        (("GET", f"{root}/dags/air/jobs/{OWN}/why", None), 404),
        (("POST", f"{root}/dags/{OWN}/jobs/work/run", {}), 404),
        (("POST", f"{root}/dags/air/jobs/{OWN}/run", {}), 404),
        (("POST", f"{root}/dags/{OWN}/cancel", {"job": "work"}), 404),
        (("GET", f"{root}/datasets/{OWN}", None), 404),
        (("GET", f"{root}/datasets?names=x,{OWN}", None), 404),
        (("GET", f"{root}/datasets/{OWN}/lineage", None), 404),
        (("POST", f"{root}/datasets/{OWN}/invalidations", {"partition": "a"}), 404),
        (("POST", f"{root}/datasets/{OWN}/transfer", {"to": "air"}), 422),
        (("POST", f"{root}/adopt", {"org": theirs.name}), 403),
        (("POST", f"{root}/adopt", {"org": str(theirs.ns.org())}), 403),
    ]
    changes = ((OWN, NOBODY), (held, GUESSED), (theirs.name, NOWHERE), (str(theirs.ns.org()), GUESSED))
    words = ((OWN, "OWN"), (NOBODY, "OWN"), (held, "ID"), (GUESSED, "ID"))
    for one, wanted in asked:
        (missing,) = renamed([one], *changes) if one[1] != f"{root}/adopt" else renamed([one], *changes[2:])
        status, answer = await alike(http, mine.bearers["owner"], one, missing, *words)
        assert status == wanted, (one, answer)
    status, answer = await http.ask("POST", f"{root}/tasks/follow", mine.bearers["owner"], {"tasks": [held]})
    assert answer == {"states": {}, "failed": []} or not any(answer.values())


async def test_a_request_s_id_is_an_org_s_own(http: Http, both: tuple[Org, Org]) -> None:  # noqa: F811
    """An id that they have used is as new in another org as any: nobody learns which they use."""
    mine, theirs = both
    path, asked = "/v1/namespaces/{}/dags/{}/jobs/{}/run", {"id": "the-same", "partitions": ["a"]}
    assert (await http.ask("POST", path.format(theirs.name, OWN, OWN), theirs.bearers["owner"], asked))[0] == 200
    answers = [
        await http.ask("POST", path.format(mine.name, "air", "key"), mine.bearers["owner"], {**asked, "id": id_})
        for id_ in (asked["id"], "another")
    ]
    assert [status for status, _ in answers] == [200, 200]
    ended = {"Completed"}
    until("their run is over", lambda: {state for *_, state, _ in theirs.ns.tasks(OWN)} == ended)


async def test_their_pins_are_nobody_s_else(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    status, answer = await http.ask("GET", f"/v1/namespaces/{theirs.name}/datasets/y?most=1", theirs.bearers["owner"])
    assert status == 200, answer
    following = answer["datasets"][0]["next"]
    pin = following.split("/pins/")[1].split("/")[0]
    assert (await http.ask("GET", following, theirs.bearers["owner"]))[0] == 200
    own = following.replace(theirs.name, mine.name)
    for path in (own, following):
        there, missing = ("GET", path, None), ("GET", path.replace(pin, GUESSED), None)
        assert (await alike(http, mine.bearers["owner"], there, missing))[0] == 404
    # Nor is it another reader's of the same org.
    there, missing = ("GET", following, None), ("GET", following.replace(pin, GUESSED), None)
    assert (await alike(http, theirs.bearers["viewer"], there, missing))[0] == 404


async def test_a_worker_reaches_no_task_of_another_org(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """With their ids, attempts and lease tokens, as if somebody had read them out."""
    warm, cold = mine.of_pod("warm"), mine.of_pod("cold")
    words = [(one, "ID") for one in (*(held["id"] for held in theirs.held.values()), GUESSED)]
    guess = {"id": GUESSED, "attempt": 1, "token": GUESSED}
    for held in theirs.held.values():
        calls = {
            "recall": lambda one: {"tasks": [one]},
            "renew": lambda one: {"tasks": [one]},
            "complete": lambda one: {"tasks": [one], "claim": 5},
            "fail": lambda one: {"tasks": [{**one, "reason": "no"}]},
            "leave": None,
        }
        for name, body in calls.items():
            if body is None:
                continue
            there, missing = (("POST", f"/v1/worker/{name}", body(one)) for one in (held, guess))
            status, answer = await alike(http, warm, there, missing, *words)
            assert (status, name in ("recall", "renew")) in ((200, True), (409, False)), (name, answer)
            if name == "recall":
                assert [task["id"] for task in answer["tasks"]] == [mine.held["warm"]["id"]]
        for bearer in (warm, cold):
            paths = (f"/v1/worker/tasks/{id_}/{held['attempt']}/inputs/key/0" for id_ in (held["id"], GUESSED))
            there, missing = (("GET", path, None) for path in paths)
            assert (await alike(http, bearer, there, missing, *words))[0] in (403, 409)
    status, answer = await http.ask("POST", "/v1/worker/claim", warm, {"most": 100, "wait": 0})
    assert status == 200
    assert {task["task"]["org"] for task in answer["tasks"]} <= {mine.name}
    assert (await http.reason("POST", "/v1/worker/events", cold, {"events": [{"id": "e"}]}))[0] in (403, 409)


async def test_a_pod_with_the_name_of_their_worker_is_no_worker(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """Nor one with the name of their attempt's pod: the operator made neither."""
    for job in ("warm", "cold"):
        name = theirs.pods[job]["metadata"]["name"]
        for each in (name, f"{job}-{NOBODY}"):
            mine.ns.apply(pod_like(each, theirs.pods[job], labels={}))
        bearers = [
            token(mine.ns, "default", *BOUND, f"--bound-object-name={each}") for each in (name, f"{job}-{NOBODY}")
        ]
        for method, path, body in WORKERS:
            told = [await http.ask(method, path, bearer, body) for bearer in bearers]
            found, nothing = (plain(one, (name, "POD"), (f"{job}-{NOBODY}", "POD")) for one in told)
            assert found == nothing
            assert told[0][0] == 403, (path, told[0])
        mine.ns.kubectl("delete", "pod", name, f"{job}-{NOBODY}", "--ignore-not-found", "--grace-period=0", "--force")


def over(pod: Object) -> bool:
    """Whether it has ended well, or is gone."""
    return not pod or pod["status"]["phase"] == "Succeeded"


def test_a_pod_that_looks_like_another_s_attempt_ends_nothing(mine: Org, theirs: Org) -> None:
    """By its labels, annotations and name it is their running attempt, or one of the org's own; and it ends well."""
    real, own = theirs.pods["cold"], mine.pods["cold"]
    fakes = {real["metadata"]["name"]: real, "stands-in": own}
    for name, like in fakes.items():
        mine.ns.apply(pod_like(name, like))
    # The operator deletes what looks like an attempt of its own and is none, at once or after its end.
    until("they are over", lambda: all(over(mine.ns.get("pod", name)) for name in fakes))
    # What ends after them is seen after them.
    mine.ns.apply(dag("after", {**shell("end", "true"), "source": {"kind": "manual"}}))
    mine.ns.wait("after", "Serving")
    mine.ns.run("after", "end")
    until("what came after has ended", lambda: [state for *_, state, _ in mine.ns.tasks("after")] == ["Completed"])
    for org in (mine, theirs):
        for held in org.held.values():
            found = sql("SELECT status, attempts, lease_token::text FROM tasks WHERE id = %s", held["id"])
            assert found == [("Running", held["attempt"], held["token"])]
    mine.ns.kubectl("delete", "pod", *fakes, "--ignore-not-found", "--grace-period=0", "--force")


SPIES: dict[str, dict[str, Any]] = {
    "reads": {"inputs": [{"from": {"dataset": OWN}}]},
    "place": {"template": {"metadata": {"namespace": OWN}}},
    "account": {"template": {"spec": {"serviceAccountName": OWN}}},
    "disk": {"template": {"spec": {"volumes": [{"name": "v", "hostPath": {"path": f"/var/lib/{OWN}"}}]}}},
}


def spy(name: str, fields: dict[str, Any]) -> Object:
    """A DAG whose only job is after something."""
    job = {**shell("work", "true"), "source": {"kind": "manual"}, "maxAttempts": 1, **fields}
    if "inputs" in fields:
        del job["source"]
    return dag(name, job)


def test_templates_and_inputs_reach_nothing_of_another_org(mine: Org, theirs: Org) -> None:
    """Their dataset, namespace, service account, disk: told in the words for what nobody has."""
    mine.ns.unchecked()
    both = {"": {OWN: OWN, "place": theirs.name}, "-not": {OWN: NOBODY, "place": NOWHERE}}
    for end, names in both.items():
        for what, fields in SPIES.items():
            theirs_ = names["place"] if what == "place" else names[OWN]
            mine.ns.apply(spy(f"{what}{end}", json.loads(json.dumps(fields).replace(OWN, theirs_))))

    def told(name: str) -> str:
        found = mine.ns.get("dag", name)
        said = condition(found, "Stalled") or condition(found, "Reconciling")
        waits = said.get("reason") in (None, "Progressing", "Settling")
        return "" if waits else json.dumps([said["reason"], said["message"]])

    for what in SPIES:
        said = [until(f"{what}{end} is told", lambda end=end, what=what: told(f"{what}{end}")) for end in both]  # type: ignore[misc]
        one, other = (
            plain(
                re.sub("[0-9a-f]{32}", "LEASE", text),
                (f"{what}-not", what),
                (theirs.name, "NS"),
                (NOWHERE, "NS"),
                (OWN, "IT"),
                (NOBODY, "IT"),
            )
            for text in said
        )
        assert one == other, what
        assert ("InputsMissing" in one) == (what == "reads"), one
        assert not sql("SELECT 1 FROM dag_versions WHERE org_id = %s AND dag_name = %s", mine.ns.org(), what)


def test_a_secret_of_another_org_is_in_no_environment(mine: Org, theirs: Org) -> None:
    ends = {"their-env": OWN, "no-env": NOBODY}
    for name, of in ends.items():
        env = [{"name": "V", "valueFrom": {"secretKeyRef": {"name": of, "key": "key"}}}]
        mine.ns.apply(spy(name, {"env": env}))
    said = []
    for name, of in ends.items():
        mine.ns.wait(name, "Serving")
        mine.ns.run(name, "work")
        until(f"{name} has failed", lambda name=name: [state for *_, state, _ in mine.ns.tasks(name)] == ["Failed"])  # type: ignore[misc]
        rows = sql("SELECT t.error_message FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
                   " AND j.dag_name = %s", mine.ns.org(), name)  # fmt: skip
        # What follows is the kubelet's: that it is not there, or not there yet.
        said.append(str(rows).partition("(secret ")[0].partition("(failed to sync ")[0])
        assert of not in said[-1]
    assert said[0] == said[1]
    assert "CreateContainerConfigError" in said[0]


async def test_deliveries_to_another_org_are_nobody_s(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    body = b'{"n": 1}'

    async def deliver(path: str, key: str, **how: Any) -> tuple[int, Any]:
        return await http.ask("POST", f"/v1/webhooks/{path}", None, body, **signed(body, key, **how))

    refused = [
        await deliver(path, KEY)
        for path in (f"{theirs.name}/air/hook", f"{theirs.name}/air/{NOBODY}", f"{theirs.name}/air/key",
                     f"{theirs.name}/{NOBODY}/hook", f"{NOWHERE}/air/hook", f"{mine.name}/{NOBODY}/hook")
    ]  # fmt: skip
    assert refused[0][0] == 401
    assert all(one == refused[0] for one in refused)
    # The Secret that only they have, by its name, opens nothing here.
    ways = {"theirs": OWN, "nobodys": NOBODY}
    for name, of in ways.items():
        role = f"reads-{name}"
        mine.ns.kubectl("create", "role", role, "--verb=get", "--resource=secrets", f"--resource-name={of}")
        mine.ns.kubectl("create", "rolebinding", role, f"--role={role}", f"--serviceaccount={GATEWAY}")
        hook = {**shell("hook", "true"), "source": {"kind": "webhook", "secretName": of}}
        mine.ns.apply(dag(f"hook-{name}", hook))
    for name in ways:
        mine.ns.wait(f"hook-{name}", "Serving")
        assert await deliver(f"{mine.name}/hook-{name}/hook", OTHER_KEY) == refused[0]

    def why(name: str) -> str:
        return str(mine.ns.get("hjob", f"hook-{name}.hook").get("status", {}).get("waitingFor", ""))

    said = [until(f"{name} says why", lambda name=name: "Secret" in why(name) and why(name)) for name in ways]  # type: ignore[misc]
    assert str(said[0]).replace(OWN, "IT") == str(said[1]).replace(NOBODY, "IT")


async def test_a_role_is_one_of_its_own_org(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """Of the same name, given to the same people: it opens what is published there, and nothing elsewhere."""
    path = "/v1/namespaces/{}/datasets/{}"
    assert (await http.ask("GET", path.format(mine.name, "x"), mine.bearers["owner"]))[0] == 200
    viewer, user = theirs.bearers["viewer"], f"system:serviceaccount:{theirs.name}:viewer"
    # One is of the org where one first came.
    assert (await http.ask("GET", f"/v1/namespaces/{theirs.name}/dags/air/history", viewer))[0] == 200
    # Their viewer gets the role here; there it stays shut.
    give(mine.ns, "more-analysts", "analysts", f"--serviceaccount={theirs.name}:viewer")
    until("the role is there", lambda: sql(MEMBER, mine.ns.org(), user))
    assert (await http.ask("GET", path.format(mine.name, "x"), viewer))[0] == 200  # `give` binds `view` as well
    assert (await http.ask("GET", path.format(theirs.name, "y"), viewer))[0] == 200
    there, missing = (("GET", path.format(theirs.name, name), None) for name in ("x", NOBODY))
    words = (("dataset x", "dataset IT"), (f"dataset {NOBODY}", "dataset IT"))
    assert (await alike(http, viewer, there, missing, *words))[0] == 404
    mine.ns.kubectl("delete", "rolebinding", "more-analysts")


async def test_members_are_those_of_an_org(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    for org in (mine, theirs):
        assert (await http.ask("GET", f"/v1/namespaces/{org.name}/dags/air/history", org.bearers["owner"]))[0] == 200
    status, found = await http.ask("GET", f"/v1/namespaces/{mine.name}/members", mine.bearers["owner"])
    assert status == 200
    assert theirs.name not in json.dumps(found)


def test_commands_reach_no_task_of_another_org(mine: Org, theirs: Org) -> None:
    """A cancellation by annotation, of their task and of one that nobody has."""
    ids = {"their": theirs.held["cold"]["id"], "no": GUESSED}
    said = {}
    for request, task in ids.items():
        mine.ns.kubectl("annotate", "--overwrite", "dag/air", f"headrace.dev/cancel={request} {task}")
        rows = until(
            f"{request} is handled",
            lambda request=request: sql(OUTCOME, mine.ns.org(), request),  # type: ignore[misc]
        )
        said[request] = plain(rows, (task, "ID"))
    assert said["their"] == said["no"]


async def test_one_s_own_still_works(http: Http, mine: Org, theirs: Org) -> None:  # noqa: F811
    """What was refused above was refused for whose it is: with one's own, each of it is done."""
    del theirs
    root, owner = f"/v1/namespaces/{mine.name}", mine.bearers["owner"]
    account(mine.ns, "another", "view")
    for path in (f"{root}/tasks/{mine.held['warm']['id']}", f"{root}/datasets/x", f"{root}/dags/air/history"):
        assert (await http.ask("GET", path, owner))[0] == 200, path
    held = {"tasks": [mine.held["warm"]]}
    assert (await http.ask("POST", "/v1/worker/renew", mine.of_pod("warm"), held))[1] == {"lost": []}
    body = b'{"n": 1}'
    given = signed(body, KEY, id_="mine")
    assert (await http.ask("POST", f"/v1/webhooks/{mine.name}/air/hook", None, body, **given))[0] == 202
