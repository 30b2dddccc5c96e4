"""The official asynchronous client as a transport: it knows a pod's own identity. `Client.connect` uses it.

Its thousand typed models are not used, since the operator reads a few fields of a few kinds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from headrace import metrics


class Official:
    """A transport of `cluster.client`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Official:
        """Connect from inside a pod, else as the kubeconfig says (`KUBECONFIG`, `~/.kube/config`)."""
        configuration = Configuration()
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            # The client's own default is what the variable was when it was imported.
            given = os.environ.get("KUBECONFIG") or None
            await config.load_kube_config(given, client_configuration=configuration)  # type: ignore[no-untyped-call]
        # No limit: each tenant's watch holds one for ever, and none may wait for another's. Requests are bounded where
        # they are made.
        configuration.connection_pool_maxsize = 0
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def request(
        self,
        method: str,
        target: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request; see `cluster.client.Transport`."""
        _, url, sent, _, _ = await self._api.param_serialize(
            method, target, header_params={"Accept": headers["Accept"]}, auth_settings=["BearerToken"]
        )
        sent.update(headers)
        verb, code, began = "WATCH" if "watch=true" in target else method, "error", time.perf_counter()
        try:
            answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                method, url, headers=sent, body=body, _request_timeout=timeout
            )
            response: aiohttp.ClientResponse = answer.response
            code = str(response.status)
        finally:
            metrics.API.labels(verb, code).observe(time.perf_counter() - began)
        return response
