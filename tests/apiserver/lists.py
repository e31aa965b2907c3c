"""Lists of the fake API server as the real client asks for them, and as they were recorded."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.apiserver import RECORDINGS, ApiServer, Json
from tests.waiting import PATIENCE

DAY = datetime(2026, 11, 22, 15, 35, tzinfo=UTC)
ORG = "32081547090000000"


def client_of(server: ApiServer, folder: Path, *, token: str | None = None) -> client.ApiClient:
    """The real client; it asks once and says what came of it."""
    configuration = client.Configuration()
    configuration.retries = False
    file = server.kubeconfig(folder / "kubeconfig", "prod", token=token)
    config.load_kube_config(str(file), "prod", configuration)  # type: ignore[no-untyped-call]
    return client.ApiClient(configuration)


def response(
    kubernetes: client.ApiClient,
    query: Mapping[str, object] = MappingProxyType({}),
    seconds: float = PATIENCE,
) -> urllib3.HTTPResponse:
    """The answer to a list, not yet read."""
    answer = client.CustomObjectsApi(kubernetes).list_cluster_custom_object(
        "pieced.ch",
        "v1alpha1",
        "piecedtenants",
        _preload_content=False,
        _request_timeout=(seconds, seconds),
        **cast("dict[str, Any]", query),
    )
    return cast("urllib3.HTTPResponse", answer)


def page(kubernetes: client.ApiClient, **query: object) -> Json:
    """The body of a list."""
    body: Json = json.loads(response(kubernetes, query).data)
    return body


def failure(kubernetes: client.ApiClient, **query: object) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers of an answer to a list that is no success."""
    with pytest.raises(ApiException) as error:
        page(kubernetes, **query)
    status, body, headers = error.value.status, error.value.body, error.value.headers
    assert status is not None
    assert body is not None
    return status, body, headers or {}


def pages(kubernetes: client.ApiClient, limit: int) -> Iterator[Json]:
    token = ""
    while True:
        body = page(kubernetes, limit=limit, **({"_continue": token} if token else {}))
        yield body
        if not (token := body["metadata"]["continue"]):
            return


def names(body: Json) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def get(
    server: ApiServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(
        http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    ) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def recorded_response(name: str) -> Json:
    answer: Json = json.loads((RECORDINGS / name).read_bytes())["response"]
    return answer


def recorded_body(name: str) -> Json:
    body: Json = recorded_response(name)["body"]
    return body


def at(seconds: int) -> datetime:
    return DAY + timedelta(seconds=seconds)


def write_the_seven(server: ApiServer) -> None:
    """The writes that led to `list/seven`, at the same times and resourceVersions."""
    tenants = server.tenants
    tenants.revision = 218
    uids = {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for item in recorded_body("list/seven.json")["items"]
    }
    for name, packages, suspend, org, more in (
        ("aare-fresh", ["threema", "vault"], False, ORG + "1", {}),
        ("brig-two-managers", ["mail", "search"], False, ORG + "1", {}),
        ("chur-suspended", ["mail"], False, ORG + "2", {}),
        ("davos-resumed", ["wiki", "chat"], False, ORG + "3", {}),
        ("emme-empty", None, None, ORG + "4", {}),
        ("flims-deleting", ["crm"], False, ORG + "5", {"finalizers": ["pieced.ch/cleanup"]}),
        ("genf-no-org", ["mail", "calendar", "files", "office"], False, None, {}),
    ):
        tenants.create(
            name, packages, suspend=suspend, org=org, uid=uids[name], created=at(16), metadata=more
        )
    packages = ["mail", "search", "calendar"]
    tenants.patch("brig-two-managers", spec={"packages": packages}, manager="gitops", at=at(18))
    tenants.patch("chur-suspended", spec={"suspend": True}, at=at(18))
    stamp = {"suspendedAt": "2026-11-22T15:35:19Z"}
    tenants.patch("chur-suspended", status=stamp, manager="operator", at=at(19))
    tenants.patch("davos-resumed", spec={"suspend": True}, at=at(20))
    stamp = {"suspendedAt": "2026-11-22T15:35:21Z"}
    tenants.patch("davos-resumed", status=stamp, manager="operator", at=at(21))
    tenants.revision = 231
    tenants.patch("davos-resumed", spec={"suspend": False}, at=at(23))
    tenants.revision = 233
    tenants.delete("flims-deleting", at=at(24))


def by_name(items: list[Json]) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in items}
