"""Looks at objects without a kubectl for each: many a second would take the processors from what is tested."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from kubernetes import client, config

PATHS = {
    "dag": "/apis/headrace.dev/v1alpha1/namespaces/{}/dags",
    "hjob": "/apis/headrace.dev/v1alpha1/namespaces/{}/jobs",
    "dset": "/apis/headrace.dev/v1alpha1/namespaces/{}/datasets",
    "event": "/apis/events.k8s.io/v1/namespaces/{}/events",
    "pod": "/api/v1/namespaces/{}/pods",
    "pvc": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "resourcequota": "/api/v1/namespaces/{}/resourcequotas",
}
"""Kinds, by the names that kubectl knows them by."""


def read(path: str) -> dict[str, Any]:
    """What the API server has at a path; empty when nothing is there. AssertionError when it does not answer well."""
    api = _client()
    answer = api.call_api(*api.param_serialize("GET", path, auth_settings=["BearerToken"]), _request_timeout=60)
    text = answer.read()
    if answer.status == 404:
        return {}
    assert answer.status == 200, text
    return json.loads(text)  # type: ignore[no-any-return]


@cache
def _client() -> client.ApiClient:
    config.load_kube_config()
    return client.ApiClient()
