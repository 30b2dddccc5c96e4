"""The route of people: who is in an org. `serve` adds it to the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headrace.api.people import Members
from headrace.gateway.routes import Call, Right, Route


def people_routes(members: Callable[[str], Awaitable[Members]]) -> tuple[Route, ...]:
    """`members`: namespace to who is in its org."""

    async def listed(call: Call) -> object:
        return await members(call.parameters["ns"])

    return (
        Route(
            name="members",
            method="GET",
            path="/v1/namespaces/{ns}/members",
            summary="Who is in the namespace's org: people, service accounts and groups, with their roles.",
            right=Right("get", "members"),
            answer=Members,
            act=listed,
            at_once=8,
        ),
    )
