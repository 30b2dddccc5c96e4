"""What is told of a value that is not as its schema asks: the rule, and never the value."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from headrace.api.parse import InvalidObject, parse_job
from headrace.api.schema_words import asked
from headrace.compile.runs import wrong_schema, wrong_values

CANARY = "canary-3f9a"


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"type": "integer"}, CANARY, "must be of type integer"),
        ({"type": ["integer", "null"]}, CANARY, "must be of type integer or null"),
        ({"type": "string"}, {"a": CANARY}, "must be of type string"),
        ({"pattern": "^x"}, CANARY, 'is not as its pattern asks: "^x"'),
        ({"maxLength": 3}, CANARY, "is not as its maxLength asks: 3"),
        ({"enum": ["a", "b"]}, CANARY, 'is not as its enum asks: ["a", "b"]'),
        ({"enum": ["a" * 200]}, CANARY, "is not as its enum asks"),
        ({"const": "a"}, CANARY, 'is not as its const asks: "a"'),
        ({"format": "x", "minLength": 99}, CANARY, "is not as its minLength asks: 99"),
        ({"uniqueItems": True}, [CANARY, CANARY], "is not as its uniqueItems asks"),
        ({"contains": {"type": "integer"}}, [CANARY], "is not as its contains asks"),
        ({"not": {"type": "string"}}, CANARY, "is not as its not asks"),
        ({"anyOf": [{"type": "integer"}]}, CANARY, "is not as its anyOf asks"),
        ({"oneOf": [{}, {}]}, CANARY, "is not as its oneOf asks"),
        ({"propertyNames": {"maxLength": 2}}, {CANARY: 1}, "is not as its maxLength asks: 2"),
        ({"additionalProperties": False}, {CANARY: 1}, "has fields that additionalProperties does not allow"),
        ({"unevaluatedProperties": False}, {CANARY: 1}, "has fields that unevaluatedProperties does not allow"),
        ({"required": ["n"]}, {"a": CANARY}, "'n' is a required property"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": CANARY}, "'b' is a dependency of 'a'"),
        ({"minProperties": 2}, {"a": CANARY}, "is not as its minProperties asks: 2"),
        (False, CANARY, "nothing may be here"),
    ],
)
def test_the_rule_is_told_and_not_the_value(schema: dict[str, object] | bool, value: object, words: str) -> None:
    (error,) = Draft202012Validator(schema).iter_errors(value)
    assert asked(error) == words


def test_where_it_is_told_nothing_of_a_value_is_either() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert wrong_values({"a": [1, CANARY]}, schema) == [(".a[1]", "must be of type integer")]


def test_a_schema_that_is_none_is_not_quoted() -> None:
    told = wrong_schema({"properties": {"a": {"type": CANARY}}})
    assert told is not None
    assert "properties.a.type" in told
    assert CANARY not in told


@pytest.mark.parametrize(
    "where", [{"config": CANARY}, {"env": [{"name": "A", "value": {"x": CANARY}}]}, {"env": CANARY}]
)
def test_an_object_of_another_shape_is_not_quoted(where: dict[str, object]) -> None:
    spec = {"dag": "air", "image": "i", "inputs": [{"from": {"job": "key"}}], **where}
    whole = {"apiVersion": "headrace.dev/v1alpha1", "kind": "Job", "metadata": {"name": "x"}, "spec": spec}
    with pytest.raises(InvalidObject) as refused:
        parse_job(whole)
    assert CANARY not in str(refused.value)
    assert "must be of type" in str(refused.value)
