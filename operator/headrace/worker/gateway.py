"""The gateway as a worker reaches it: JSON over HTTP, one connection for each thread, tried again until it answers.

Every call can be repeated: what was accepted before is accepted again, so that a lost answer costs a second call.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_FIRST = 0.1
_LONGEST = 5.0
_NOT_YET = 10.0
_ROOT = "/v1/worker/"


class Gone(Exception):
    """The gateway does not know this worker, or could not be reached before it was time to give up."""


class Refused(Gone):
    """The gateway does not take this call, now or ever: what it says makes no sense there."""


class Gateway:
    """`url` of the gateway; `token`: the file with the pod's token, which the kubelet renews."""

    def __init__(self, url: str, token: Path, stopped: Callable[[], bool] = lambda: False) -> None:
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError(f"HEADRACE_URL is no http address: {url!r}")
        self._kind = http.client.HTTPSConnection if split.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = split.hostname, split.port, split.path.rstrip("/")
        self._token = token
        self._stopped = stopped
        self._mine = threading.local()
        self._all: list[http.client.HTTPConnection] = []
        self._waiting: http.client.HTTPConnection | None = None
        self.unsure = False
        """Whether an answer that may have had tasks in it was lost."""

    def claim(self, most: int, wait: float) -> Mapping[str, Any]:
        """At most so many tasks, waiting so many seconds for the first. Interrupted by `interrupt`: none."""
        connection = self._waiting = self._connection()
        try:
            return self._ask("claim", {"most": most, "wait": wait}, patience=0.0, seconds=wait + 30.0)
        finally:
            if self._waiting is connection:
                self._waiting = None

    def recall(self, held: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """What was claimed beside `held`: the answer did not come."""
        self.unsure = False
        try:
            return self._ask("recall", {"tasks": list(held)}, patience=0.0)
        except Gone:
            self.unsure = True
            raise

    def close(self) -> None:
        """Close every connection; nobody asks any more."""
        for connection in self._all:
            connection.close()

    def interrupt(self) -> None:
        """End a claim that waits, from a signal handler or another thread."""
        waiting = self._waiting
        if waiting is not None and waiting.sock is not None:
            with contextlib.suppress(OSError):
                waiting.sock.shutdown(socket.SHUT_RDWR)

    def renew(self, held: Sequence[Mapping[str, Any]], seconds: float = 30.0) -> list[str]:
        """Renew leases, with so many seconds to answer; the ids of what is lost."""
        lost: list[str] = self._ask("renew", {"tasks": list(held)}, patience=0.0, seconds=seconds)["lost"]
        return lost

    def complete(self, done: Sequence[Mapping[str, Any]], patience: float, claim: int = 0) -> Mapping[str, Any]:
        """Tell what went well; it is tried again for `patience` seconds. What is stale by now is nobody's loss.

        At most `claim` other tasks come back with the answer.
        """
        return self._ask("complete", {"tasks": list(done), "claim": claim}, patience=patience)

    def fail(self, failed: Sequence[Mapping[str, Any]], patience: float) -> None:
        """Tell what failed."""
        self._ask("fail", {"tasks": list(failed)}, patience=patience)

    def report(self, report: Any, patience: float) -> str | None:
        """Tell what the attempt of this pod has made; in words, what counts for nothing. None: the attempt is over."""
        answer = self._ask("report", report, patience=patience, not_yet=patience)
        return str(answer.get("note", "")) if answer.get("accepted") else None

    def events(
        self, told: Sequence[Mapping[str, Any]], patience: float, after: str | None = None
    ) -> Mapping[str, Any] | None:
        """Tell what a source that runs on and on has made; how many of it were new, and the last that is known by now.

        None: the attempt is over, or `after` is not the last event that is known.
        """
        body = {"events": list(told), **({} if after is None else {"after": after})}
        answer = self._ask("events", body, patience=patience, not_yet=min(patience, 60.0))
        return answer if "last" in answer else None

    def page(self, path: str, patience: float) -> Mapping[str, Any] | None:
        """A page of a manifest, by the path in a task's document or in the page before; None: the attempt is over."""
        answer = self._ask(path.removeprefix(_ROOT), None, patience=patience, not_yet=patience)
        return answer if "partitions" in answer else None

    def leave(self) -> bool:
        """Ask to end; False when there is work, or this is the worker that the job keeps."""
        return bool(self._ask("leave", None, patience=0.0)["leave"])

    def _ask(
        self, what: str, body: Any, patience: float, seconds: float = 30.0, not_yet: float = _NOT_YET
    ) -> Mapping[str, Any]:
        began, pause = time.monotonic(), _FIRST
        while True:
            try:
                status, answer = self._once(what, body, seconds)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, {"error": {"message": f"{type(error).__name__}: {error}"}}
                self._drop()
            if what in ("claim", "complete") and (status == 0 or status >= 500):
                self.unsure = True
            if status == 200 and isinstance(answer, dict):
                return answer
            if status == 409:
                return {"accepted": [], "stale": [], "tasks": [], "retire": False}
            message = answer.get("error", {}).get("message", "") if isinstance(answer, dict) else ""
            # A pod is known a moment after it is there.
            again = status in (0, 429) or status >= 500 or (status == 403 and time.monotonic() - began < not_yet)
            patient = max(patience, not_yet) if status == 403 else patience
            if not again or time.monotonic() - began >= patient:
                kind = Refused if status in (400, 413, 422) else Gone
                raise kind(f"{what}: {status or 'no answer'}: {message}")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST)

    def _once(self, what: str, body: Any, seconds: float) -> tuple[int, Any]:
        connection = self._connection()
        connection.timeout = seconds
        if connection.sock is not None:
            connection.sock.settimeout(seconds)
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        content = None
        if body is not None:
            content = json.dumps(body, default=_plain).encode()
            headers["Content-Type"] = "application/json"
        method = "GET" if what.startswith("tasks/") else "POST"
        connection.request(method, f"{self._base}{_ROOT}{what}", content, headers)
        response = connection.getresponse()
        read = response.read()
        try:
            return response.status, json.loads(read)
        except ValueError:
            return response.status, {}

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = self._mine.connection = self._kind(self._host, self._port, timeout=30.0)
            self._all.append(found)
        return found

    def _drop(self) -> None:
        self._connection().close()


def _plain(value: object) -> object:
    """A number of another library, such as numpy's, as Python's own; anything else as its text, which is refused."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)
