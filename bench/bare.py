"""A bare kopf operator with an empty handler for DAGs: what `bench/starts.py` has as its peer.

`python -m bench.bare NAMESPACE COUNT` prints a line once that many objects of the namespace were handed to the handler,
and runs on until it is told to stop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import kopf

from headrace.api import names


def main(namespace: str, count: int) -> None:
    """Run until SIGTERM."""
    registry, seen = kopf.OperatorRegistry(), set[str]()

    async def nothing(uid: str, **_: Any) -> None:
        seen.add(uid)
        if len(seen) == count:
            print("seen", flush=True)

    for on in (kopf.on.create, kopf.on.resume):
        on(names.GROUP, names.VERSION, names.PLURALS[names.DAG], registry=registry)(nothing)
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    asyncio.run(kopf.operator(registry=registry, settings=settings, namespaces=[namespace], standalone=True))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
