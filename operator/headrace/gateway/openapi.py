"""The OpenAPI document, made from the route table and the types of bodies and answers. Pure; `app` serves it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.gateway.errors import ErrorAnswer
from headrace.gateway.routes import PARAMETERS, Route

_PARAMETER = re.compile(r"\{(\w+)\}")
_ERRORS = {
    "400": "The body is not understood.",
    "401": "No token, or none that the cluster knows.",
    "403": "The person may not.",
    "404": "Not there.",
    "413": "The body is too large.",
    "422": "Refused: the message says why.",
    "503": "Not now: try again.",
}


def document(table: Sequence[Route]) -> dict[str, Any]:
    """The description of `table`, as OpenAPI 3.1."""
    types = [ErrorAnswer, *(t for route in table for t in (route.body, route.answer) if t not in (None, bytes))]
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=_anything, ref_template="#/components/schemas/{name}"
    )
    by_type = {id(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    failure = _content(by_type[id(ErrorAnswer)])
    responses = {code: {"description": words, **failure} for code, words in _ERRORS.items()}
    paths: dict[str, Any] = {}
    for route in table:
        operation: dict[str, Any] = {
            "operationId": route.name,
            "summary": route.summary,
            "parameters": [_parameter(name) for name in _PARAMETER.findall(route.path)] + _query(route.query),
            "responses": {
                str(route.status): {"description": "Done.", **_content(by_type[id(route.answer)])},
                **responses,
            },
        }
        if route.needs:
            operation["description"] = f"Needs {route.needs}: without, it is not found."
        if route.right is not None:
            needed = [
                f"`{r.verb}` on `{r.resource}/{r.subresource}`" if r.subresource else f"`{r.verb}` on `{r.resource}`"
                for r in (route.right, *route.also)
            ]
            where = "all namespaces" if route.right.everywhere else "the namespace"
            operation["description"] = f"Needs {' and '.join(needed)} in {where}."
        if route.body is bytes:
            operation |= _signed(operation["parameters"])
        elif route.body is not None:
            operation["requestBody"] = {"required": True, **_content(by_type[id(route.body)])}
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headrace", "version": "v1"},
        "security": [{"cluster": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "cluster": {"type": "http", "scheme": "bearer", "description": "A token of the cluster."},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "Standard Webhooks: `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64.",
                },
            },
            "schemas": components,
        },
    }


def _signed(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """What is apart of an operation that is signed, and of no more than a JSON object."""
    headers = {
        "webhook-id": ("string", "The sender's id of the event: one that is repeated is one event."),
        "webhook-timestamp": ("integer", "When it was sent, in seconds since 1970; within five minutes."),
    }
    return {
        "security": [{"signature": []}],
        "parameters": parameters + [
            {"name": name, "in": "header", "required": True, "description": words, "schema": {"type": type_}}
            for name, (type_, words) in headers.items()
        ],
        "requestBody": {"required": True, **_content({"type": "object"})},
    }  # fmt: skip


def _anything(type_: type) -> dict[str, Any]:
    """The schema of `object`, which is any JSON."""
    if type_ is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(type_)


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _query(type_: type[msgspec.Struct] | None) -> list[dict[str, Any]]:
    if type_ is None:
        return []
    fields = msgspec.json.schema(type_, ref_template="#/components/schemas/{name}")["$defs"][type_.__name__]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in fields["properties"].items()
    ]


def _parameter(name: str) -> dict[str, Any]:
    pattern, words = PARAMETERS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "string", "pattern": f"^{pattern}$"},
    }
