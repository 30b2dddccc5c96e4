"""What kstatus makes of an object: by it Flux, and whoever applies with its library, tells whether to go on waiting.

Its rules for kinds that it knows nothing of (sigs.k8s.io/cli-utils, pkg/kstatus), in their order, in words of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Seen = Literal["Current", "InProgress", "Failed", "Terminating"]


def kstatus(obj: Mapping[str, Any]) -> Seen:
    """How the object looks to a watcher."""
    metadata, status = obj.get("metadata", {}), obj.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if generation is not None and observed is not None and generation != observed:
        return "InProgress"
    # Whichever comes first in the list: nobody is to depend on that.
    for condition in status.get("conditions", ()):
        if (condition["type"], condition["status"]) == ("Reconciling", "True"):
            return "InProgress"
        if (condition["type"], condition["status"]) == ("Stalled", "True"):
            return "Failed"
    if any(c["type"] == "Ready" and c["status"] != "True" for c in status.get("conditions", ())):
        return "InProgress"
    # Nothing is said, nothing is wrong: also of an object that nobody has looked at.
    return "Current"


def check(obj: Mapping[str, Any]) -> Seen:
    """The same, of one of ours: what it says is said so that no order and no leftover of another generation counts."""
    status = obj.get("status", {})
    assert "observedGeneration" in status, "from its first moment: an object that says nothing looks Current"
    given = {c["type"]: c for c in status.get("conditions", ())}
    assert len(given) == len(status.get("conditions", ())), "each type once"
    abnormal = given.keys() & {"Reconciling", "Stalled"}
    assert len(abnormal) <= 1, "never both"
    assert all(given[type_]["status"] == "True" for type_ in abnormal), "absent when not true"
    seen = kstatus(obj)
    if status["observedGeneration"] == -1:
        assert seen in ("InProgress", "Terminating")
    if seen == "Current":
        generation = obj["metadata"]["generation"]
        assert status["observedGeneration"] == generation
        assert {c["observedGeneration"] for c in given.values()} == {generation}, "all of it is of this generation"
        assert given["Ready"]["reason"]
    return seen
