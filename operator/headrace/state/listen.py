"""What Postgres tells without being asked: NOTIFY, over a connection of its own. It only wakes.


The gateway waits with it for work of a job, the operator for what workers did; whoever misses it looks a second later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg

from headrace.state.queries import sql

logger = logging.getLogger(__name__)

WORK: Final = "headrace_work"
"""A job, by its identity, has work that it had not."""
TOUCHED: Final = "headrace_touched"
"""A DAG, as `NAMESPACE/NAME`: workers have claimed or ended tasks of it; `NAMESPACE/`: it has another org."""
_AGAIN: Final = 1.0


async def listen(url: str, told: Callable[[str, str], None]) -> None:
    """Call `told` with each channel and payload, for ever; a connection that breaks is made again."""
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                url, autocommit=True, application_name="headrace listen", connect_timeout=10, keepalives_idle=10
            )
            async with connection:
                await connection.execute(sql("listen_for_work"))
                await connection.execute(sql("listen_for_touched"))
                async for notify in connection.notifies():
                    told(notify.channel, notify.payload)
        except psycopg.Error as error:
            logger.warning("listening: %s", error)
        await asyncio.sleep(_AGAIN)
