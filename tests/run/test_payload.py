"""The task document: exactly what docs/contract.md promises to the users' containers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from headrace.run.payload import ROOM, payload
from tests.run.claimed import TASK, Tree, claimed

CONTRACT = Path(__file__).parents[2] / "docs" / "contract.md"


def documented() -> Tree:
    """The example of the contract."""
    found = re.search(r"```json\n(.*?)```", CONTRACT.read_text(), re.DOTALL)
    assert found is not None
    example: Tree = json.loads(found[1])
    return example


def test_the_payload_is_the_example_of_the_contract() -> None:
    """From a row with more in it: what is the operator's own stays out."""
    example = documented()
    own = {"dataset_uuid": "u", "config_hash": "v1-x"}
    inputs = {
        name: {**given, **own, "partitions": [{**p, "materialized_at": "2026-01-01"} for p in given["partitions"]]}
        for name, given in example["inputs"].items()
    }
    same = ("org", "dag", "job", "operator", "partitions", "config", "attempt")
    outputs = [{**made, **own} for made in example["outputs"]]
    task = claimed(inputs=inputs, outputs=outputs, **{key: example[key] for key in same})
    assert json.loads(payload(task).text) == {**example, "id": str(TASK)}


def test_the_fields_come_in_the_order_of_the_contract() -> None:
    assert list(json.loads(payload(claimed()).text)) == list(documented())


def test_a_webhooks_task_has_events_as_they_were_sent_and_no_other_has() -> None:
    """Also when there are none: a run by hand is given nothing."""
    text = '{"b": 1.10,  "a": "$(HOME)"}'
    event = {"id": "msg_1", "timestamp": "2026-03-01T12:00:00Z", "body": text}
    whole = payload(claimed(told=True, events=[event])).text
    assert f'"events":[{{"id":"msg_1","timestamp":"2026-03-01T12:00:00Z","body":{text}}}]' in whole
    assert json.loads(payload(claimed(told=True)).text)["events"] == []
    assert "events" not in json.loads(payload(claimed()).text)


def test_an_input_of_the_operators_own_has_keys_and_no_location() -> None:
    given = {"dataset": "flights.month.0", "version": "5f", "partitions": [{"key": "2013-01", "location": None}]}
    found = json.loads(payload(claimed(inputs={"month": {**given, "dataset_uuid": "u"}})).text)
    assert found["inputs"] == {"month": given}


def test_config_is_handed_on_as_it_was_written() -> None:
    config = {"ö": ["$(HOME)", '"', "\n", 1, 2.5, None, True], "big": 2**60}
    assert json.loads(payload(claimed(config=config)).text)["config"] == config


def wide(count: int, location: str = "file:///x") -> Tree:
    """An input of so many partitions."""
    partitions = [{"key": f"k{number}", "location": location, "materialized_at": "t"} for number in range(count)]
    return {"dataset": "d", "version": "5f", "dataset_uuid": "u", "partitions": partitions}


def test_an_input_of_more_than_a_thousand_partitions_is_at_the_gateway() -> None:
    made = payload(claimed(inputs={"few": wide(1000, "f:/"), "many": wide(1001, "f:/")}))
    found = json.loads(made.text)["inputs"]
    assert made.manifests == ("many",)
    assert len(found["few"]["partitions"]) == 1000
    path = f"/v1/worker/tasks/{TASK}/2/inputs/many/0"
    assert found["many"] == {"dataset": "d", "version": "5f", "count": 1001, "manifest": path}


def test_what_makes_a_document_too_large_is_at_the_gateway_the_largest_first() -> None:
    inputs = {"small": wide(10), "large": wide(600, "file:///" + "x" * 500), "middle": wide(300, "ü" * 250)}
    whole = len(payload(claimed(inputs=inputs), 10**9).text.encode())
    assert payload(claimed(inputs=inputs), whole).manifests == ()
    assert payload(claimed(inputs=inputs), whole - 1).manifests == ("large",)
    for room, manifests in ((200_000, ("large",)), (100_000, ("large", "middle")), (100, ("large", "middle", "small"))):
        made = payload(claimed(inputs=inputs), room)
        assert made.manifests == manifests
        assert len(made.text.encode()) <= room or room == 100
    assert len(payload(claimed(inputs=inputs)).text.encode()) <= ROOM < whole
