"""A source of kind always_on as its code sees it: where it stopped, where to write, and the events that it reports.

    source = Source()
    for block in blocks(after=source.cursor()):
        event = f"block-{block.number}"
        write(block, source.location(event))
        source.event(event, rows=len(block), cursor={"column": "block", "type": "bigint", "to": block.number})

It runs for ever; when it ends it is started again, and finds where it stopped.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.worker.gateway import Gateway
from headrace.worker.task import Lost, lineage_of


class Source:
    """The task of this pod; `document` is as docs/contract.md describes, by default the one that the pod was given.

    `config` as the job has it. `last`: the id of the last event that was told, by whatever attempt; None: there is
    none. ValueError outside of the pod of an always_on source.
    """

    def __init__(self, document: Mapping[str, Any] | None = None, gateway: Gateway | None = None) -> None:
        given = os.environ
        if document is None:
            if "HEADRACE_TASK_FILE" not in given:
                raise ValueError("HEADRACE_TASK_FILE is not set: this runs in the pod of a source")
            document = json.loads(Path(given["HEADRACE_TASK_FILE"]).read_text(encoding="utf-8"))
        if "last" not in document:
            raise ValueError("the task is none of an always_on source")
        if gateway is None:
            if "HEADRACE_URL" not in given or "HEADRACE_TOKEN_FILE" not in given:
                raise ValueError("HEADRACE_URL and HEADRACE_TOKEN_FILE are not set: this runs in the pod of a source")
            gateway = Gateway(given["HEADRACE_URL"], Path(given["HEADRACE_TOKEN_FILE"]))
        self._one = threading.Lock()
        self.document = document
        self.config: Mapping[str, Any] = document["config"]
        self._gateway = gateway
        last = document["last"] or {}
        self.last: str | None = last.get("event")
        self._cursors: dict[int, Any] = {one["output"]: one["to"] for one in last.get("cursor", ())}

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; nothing is told any more."""
        self._gateway.close()

    def cursor(self, output: int = 0) -> Any:
        """How far an output goes: the end of the last cursor that was told of it, a number or text; None: of none."""
        return self._cursors.get(output)

    def location(self, event: str, output: int = 0) -> str:
        """Where what an event makes of an output is to be written, before it is told."""
        (base,) = [one["location"] for one in self.document["outputs"] if one["index"] == output]
        return f"{base}/{event}"

    def event(
        self,
        event: str,
        *,
        partition: str = "*",
        rows: int | None = None,
        bytes: int | None = None,
        output: int = 0,
        columns: Mapping[str, str] | Sequence[Mapping[str, Any]] | None = None,
        cursor: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        replaces: Sequence[Mapping[str, Any]] = (),
    ) -> bool:
        """Tell that this much of a partition of an output is at `location(event)`; whether it was news.

        `event` is a new word for each, of letters, digits and . _ : = -; what is told again counts once. `columns`,
        `lineage` and `cursor` as in `Task.made`, its `from` by default where the last one ended; `replaces`: filters of
        rows that are no more, where outputs have parts. It is tried until it is taken; Lost when another attempt runs
        by now, Gone when the gateway will never take it.
        """
        made = {"output": output, "rows": rows, "bytes": bytes}
        told: dict[str, Any] = {
            "id": event,
            "partition": partition,
            "outputs": [{name: value for name, value in made.items() if value is not None}],
        }
        if columns is not None:
            listed = [{"name": n, "type": t} for n, t in columns.items()] if isinstance(columns, Mapping) else columns
            told["columns"] = [{**one, "output": output} for one in listed]
        if cursor is not None:
            told["cursor"] = {"from": self._cursors.get(output), **cursor, "output": output}
        if lineage is not None:
            told["lineage"] = lineage_of(lineage, output)
        if replaces:
            told["replaces"] = list(replaces)
        new = self.tell([told])
        if cursor is not None and not replaces:
            self._cursors[output] = cursor["to"]
        return bool(new)

    def tell(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Tell several events at once, at most 100, as docs/contract.md describes them; how many were news."""
        with self._one:
            answer = self._gateway.events(events, float("inf"), self.last)
            if answer is None:
                raise Lost("another attempt runs by now, the job was changed or canceled, or Postgres was restored")
            self.last = answer["last"]
        return int(answer["accepted"])
