"""The definitions on a real API server: what it accepts and refuses, and in which words. Nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from kubernetes.aio import client, config

from headrace.api import names
from headrace.api.crd import crds
from tests.api import cases

NAMESPACE = "t-definitions"
pytestmark = [pytest.mark.cluster]


@pytest.fixture
async def api() -> AsyncIterator[client.ApiClient]:
    """A client of the cluster in KUBECONFIG, with the definitions of this checkout in place."""
    await config.load_kube_config()
    async with client.ApiClient() as connection:
        extensions = client.ApiextensionsV1Api(connection)
        for document in crds().values():
            await apply(extensions, document)
        await unchecked(client.CoreV1Api(connection))
        yield connection


async def unchecked(core: client.CoreV1Api) -> None:
    """A namespace where no webhook looks at whole documents: here it is about the definitions alone."""
    metadata = {"name": NAMESPACE, "labels": {"headrace.dev/admission": "off"}}
    try:
        await core.create_namespace({"metadata": metadata})
    except client.ApiException as error:
        if error.status != 409:
            raise


async def apply(extensions: client.ApiextensionsV1Api, document: Any) -> None:
    name = document["metadata"]["name"]
    for _ in range(100):
        found = await extensions.patch_custom_resource_definition(
            name,
            document,
            field_manager="headrace-tests",
            force=True,
            _content_type="application/apply-patch+yaml",
        )
        if any(c.type == "Established" and c.status == "True" for c in found.status.conditions or ()):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(name)


async def create(api: client.ApiClient, obj: cases.Object) -> cases.Object:
    """The object as the server would store it; ApiException when it refuses."""
    for attempt in range(50):
        try:
            created: cases.Object = await client.CustomObjectsApi(api).create_namespaced_custom_object(
                names.GROUP,
                names.VERSION,
                NAMESPACE,
                names.PLURALS[obj["kind"]],
                {**obj, "metadata": {**obj["metadata"], "namespace": NAMESPACE}},
                dry_run="All",
                field_validation="Strict",
            )
        except client.ApiException as error:
            if error.status != 404 or attempt == 49:
                raise
            await asyncio.sleep(0.1)
        else:
            return created
    raise AssertionError


async def refusal(api: client.ApiClient, obj: cases.Object) -> tuple[list[tuple[str, str]], str]:
    """(field, message) of every cause that the server names, and its whole message."""
    with pytest.raises(client.ApiException) as caught:
        await create(api, obj)
    assert caught.value.status in (400, 422)
    answer = msgspec.json.decode(caught.value.body)
    causes = answer.get("details", {}).get("causes", ())
    return [(c.get("field", ""), c["message"]) for c in causes], answer["message"]


async def test_accepts(api: client.ApiClient) -> None:
    flights = yaml.safe_load((Path(__file__).parent / "flights.yaml").read_text())
    for name, obj in (*cases.ACCEPTED.items(), ("flights", flights)):
        created = await create(api, obj)
        assert created["spec"] == obj["spec"], f"{name}: pruned or defaulted"


async def test_refuses_with_place_and_way_out(api: client.ApiClient) -> None:
    for path, message, obj in cases.REFUSED:
        causes, whole = await refusal(api, obj)
        assert any(field == path and message in said for field, said in causes), f"{path}: {message}\n{whole}"


async def test_refuses_misshapen(api: client.ApiClient) -> None:
    for path, obj in cases.MISSHAPEN:
        causes, whole = await refusal(api, obj)
        field = path.removesuffix(".colour")
        if path != field:
            assert f'unknown field "{path}"' in whole
        else:
            assert any(said_of == path for said_of, _ in causes), f"{path}\n{whole}"


async def test_refuses_a_name_given_twice(api: client.ApiClient) -> None:
    job = {"name": "a", "source": {"kind": "manual"}}
    _, whole = await refusal(api, cases.dag(jobs=[job, job]))
    assert "Duplicate value" in whole
