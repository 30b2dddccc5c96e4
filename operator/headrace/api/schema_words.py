"""What a JSON Schema asks, in words, of a value that is not so. `parse` and `compile.runs` tell it to people.

The value itself is never said: it may be a secret, and what is told here is shown in an object's status.
"""

from __future__ import annotations

import json
from typing import Final

from jsonschema import SchemaError, ValidationError

# Their messages name properties, which are no values.
_OF_NAMES: Final = frozenset({"required", "dependentRequired"})
_OF_TREES: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "contains", "propertyNames", "$ref", "$dynamicRef"}
)
_LONGEST: Final = 120


def asked(error: ValidationError | SchemaError) -> str:
    """The rule that a value breaks: its keyword, and what that asks for where it is short."""
    rule = str(error.validator)
    if rule == "None":  # of the schema `false`
        return "nothing may be here"
    if rule in _OF_NAMES:
        return error.message
    if rule in ("additionalProperties", "unevaluatedProperties"):
        return f"has fields that {rule} does not allow"
    if rule == "type":
        return f"must be of type {_listed(error.validator_value)}"
    if rule in _OF_TREES or isinstance(error.validator_value, bool | dict):
        return f"is not as its {rule} asks"
    text = json.dumps(error.validator_value, ensure_ascii=False)
    return f"is not as its {rule} asks" + (f": {text}" if len(text) <= _LONGEST else "")


def _listed(types: object) -> str:
    return " or ".join(map(str, types)) if isinstance(types, list) else str(types)
