"""The task document: exactly what docs/contract.md promises to the users' containers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from headrace.run.payload import payload
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
    assert json.loads(payload(task)) == {**example, "id": str(TASK)}


def test_the_fields_come_in_the_order_of_the_contract() -> None:
    assert list(json.loads(payload(claimed()))) == list(documented())


def test_an_input_of_the_operators_own_has_keys_and_no_location() -> None:
    given = {"dataset": "flights.month.0", "version": "5f", "partitions": [{"key": "2013-01", "location": None}]}
    found = json.loads(payload(claimed(inputs={"month": {**given, "dataset_uuid": "u"}})))
    assert found["inputs"] == {"month": given}


def test_config_is_handed_on_as_it_was_written() -> None:
    config = {"ö": ["$(HOME)", '"', "\n", 1, 2.5, None, True], "big": 2**60}
    assert json.loads(payload(claimed(config=config)))["config"] == config
