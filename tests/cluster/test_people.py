"""Who has which role and who is in an org, on a real cluster: by the operator, and by the gateway without it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest

from headrace.cluster.client import Client
from headrace.gateway.people import People
from headrace.gateway.rights import Rights
from headrace.state import roles
from headrace.state.database import Database
from headrace.state.orgs import Org
from tests.cluster.kube import Namespace, dag, no_operator, sql, trigger, until
from tests.cluster.people import account, token
from tests.cluster.test_gateway import Http, http  # noqa: F401 - a fixture

CLOSED = 5.0
HELD = """
SELECT r.slug, r.name, u.external_id FROM org_roles r LEFT JOIN org_role_memberships m ON m.role_id = r.id
LEFT JOIN users u ON u.id = m.user_id WHERE r.org_id = %s ORDER BY 1, 3
"""


def begin(ns: Namespace) -> None:
    """The namespace has an org."""
    ns.apply(dag("air", trigger("a")))
    ns.wait("air", "Serving")


def give(ns: Namespace, binding: str, role: str, *holders: str) -> None:
    """A labelled RoleBinding."""
    ns.kubectl("create", "rolebinding", binding, "--clusterrole=view", *holders)
    ns.kubectl("label", "rolebinding", binding, f"headrace.dev/role={role}")


def test_roles_follow_their_bindings(ns: Namespace) -> None:
    give(ns, "early", "sales", "--user=eve")
    begin(ns)
    org = ns.org()

    def become(*wanted: tuple[str, str, str | None]) -> None:
        until(f"{wanted}", lambda: sql(HELD, org) == list(wanted), within=CLOSED)

    become(("sales", "sales", "eve"))
    bot = f"system:serviceaccount:{ns.name}:bot"
    give(ns, "money", "finance", "--user=ann", f"--serviceaccount={ns.name}:bot", "--group=oidc:money")
    become(("finance", "finance", "ann"), ("finance", "finance", bot), ("sales", "sales", "eve"))
    groups = "SELECT g.group_name FROM org_role_groups g JOIN org_roles r ON r.id = g.role_id WHERE r.org_id = %s"
    assert sql(groups, org) == [("oidc:money",)]
    ns.kubectl("annotate", "rolebinding", "money", "headrace.dev/role-name=The money")
    ns.kubectl("label", "--overwrite", "rolebinding", "early", "headrace.dev/role=Not-One")
    become(("finance", "The money", "ann"), ("finance", "The money", bot))
    ns.kubectl("patch", "rolebinding", "money", "--type=merge", "-p",
               '{"subjects": [{"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}]}')  # fmt: skip
    become(("finance", "The money", "ann"))
    assert sql(groups, org) == []
    ns.kubectl("label", "rolebinding", "money", "headrace.dev/role-")
    become()
    assert sql("SELECT 1 FROM users WHERE external_id = %s", bot) == []


async def test_who_comes_is_known_with_what_rbac_allows_and_members_are_listed(http: Http, ns: Namespace) -> None:  # noqa: F811
    begin(ns)
    give(ns, "money", "finance", "--user=ann@example.org", "--group=oidc:money")
    bearers = {}
    for name, role in (("viewer", "view"), ("editor", "edit"), ("owner", "admin")):
        account(ns, name, role)
        bearers[name] = token(ns, name)
        assert (await http.ask("GET", f"/v1/namespaces/{ns.name}/dags/air/history", bearers[name]))[0] == 200
    prefix = f"system:serviceaccount:{ns.name}:"
    came = "SELECT external_id, role FROM users WHERE org_id = %s AND seen_at IS NOT NULL ORDER BY 1"
    wanted = [(prefix + "editor", "writer"), (prefix + "owner", "admin"), (prefix + "viewer", "reader")]
    until("they are known", lambda: sql(came, ns.org()) == wanted, within=CLOSED)
    path = f"/v1/namespaces/{ns.name}/members"
    assert (await http.reason("GET", path, bearers["editor"])) == (403, "Forbidden")
    status, found = await http.ask("GET", path, bearers["owner"])
    assert status == 200
    assert [(m["user"], m["role"], [r["slug"] for r in m["roles"]]) for m in found["members"]] == [
        ("ann@example.org", "reader", ["finance"]), *((user, role, []) for user, role in wanted),
    ]  # fmt: skip
    assert [(r["slug"], r["groups"]) for r in found["roles"]] == [("finance", ["oidc:money"])]


@pytest.fixture
async def here() -> AsyncIterator[tuple[People, Database]]:
    """What the gateway looks with."""
    client = await Client.connect()
    async with Database(os.environ["HEADRACE_DATABASE_URL"]) as db:
        yield People(client, db, Rights(client)), db
    await client.close()


@pytest.mark.alone
async def test_access_is_closed_without_the_operator(ns: Namespace, here: tuple[People, Database]) -> None:
    begin(ns)
    people, db = here
    org = Org(id=ns.org(), slug=ns.name)

    async def have(user: str, *groups: str) -> frozenset[str]:
        await people.fresh(ns.name, org)
        async with db.transaction() as tx:
            return await roles.roles_of(tx, org.id, user, groups)

    async def become(user: str, wanted: set[str], *groups: str) -> None:
        began = time.monotonic()
        while await have(user, *groups) != wanted:
            assert time.monotonic() - began < CLOSED

    with no_operator():
        assert await have("ann") == set()
        give(ns, "money", "finance", "--user=ann", "--group=g")
        await become("ann", {"finance"})
        await become("bob", {"finance"}, "g")
        ns.kubectl("delete", "rolebinding", "money")
        await become("ann", set())
        assert await have("bob", "g") == set()
