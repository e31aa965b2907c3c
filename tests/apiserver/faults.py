"""What can go wrong with an answer, by name: `FAULTS`, and the parts that they are made of."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tests.apiserver.documents import Json, encoded, load, merged
from tests.apiserver.server import ApiServer, Fault, read_token, token_of
from tests.apiserver.watch import line
from tests.apiserver.wire import Answer, Connection, Request, Send


def recorded(name: str, *, status: int | None = None) -> Fault:
    """Answer as in that recording, under another status where one is given."""

    def fault(_server: ApiServer, _request: Request) -> Answer:
        answer = Answer.recorded(name)
        return answer if status is None else replace(answer, status=status)

    return fault


def instead(body: bytes, *, status: int = 200) -> Fault:
    """Answer these bytes, as if they were JSON."""
    return lambda _server, _request: Answer(status=status, body=body)


def error_event(status: Json) -> Fault:
    """Answer a watch with 200, an ERROR that holds this Status, and the end."""
    return lambda _server, _request: Answer(chunked=True, body=line("ERROR", status))


def edited(edit: Callable[[Json], Json]) -> Fault:
    """Answer what `edit` makes of the right body."""

    def fault(server: ApiServer, request: Request) -> Answer:
        answer = server.answer(request)
        return replace(answer, body=encoded(edit(json.loads(answer.body))))

    return fault


def meanwhile(happens: Callable[[], object]) -> Fault:
    """Answer what is right when the request arrives, once this has happened."""

    def fault(server: ApiServer, request: Request) -> Answer:
        answer = server.answer(request)
        happens()
        return answer

    return fault


def sent(send: Send, *, chunked: bool | None = None) -> Fault:
    """Answer what is right, and put it on the wire like that."""
    return lambda server, request: replace(server.answer(request), send=send, chunked=chunked)


def cut(missing: int | None = None, *, silent: bool = False) -> Send:
    """Leave out the payload's last bytes (None: its second half); then hang up, or go silent."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        connection.write(head + payload[: len(payload) - (missing or len(payload) // 2)])
        if silent:
            connection.wait()
        connection.hang_up()

    return send


def drip(seconds: float) -> Send:
    """Send the payload a byte every so many seconds."""

    def send(connection: Connection, head: bytes, payload: bytes) -> None:
        connection.write(head)
        for byte in payload:
            if connection.wait(seconds):
                break
            connection.write(bytes([byte]))
        connection.hang_up()

    return send


def _silence(connection: Connection, _head: bytes, _payload: bytes) -> None:
    connection.wait()
    connection.hang_up()


def _page_1_again(server: ApiServer, request: Request) -> Answer:
    if token := request.query.get("continue"):
        revision, _ = read_token(token)
        request = replace(request, query={**request.query, "continue": token_of(revision, "")})
    return server.answer(request)


def _metadata_only(body: Json) -> Json:
    api_version = "meta.k8s.io/v1"
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": api_version,
        "metadata": {name: value for name, value in body["metadata"].items() if value != ""},
        "items": [
            {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": item["metadata"]}
            for item in body["items"]
        ],
    }


def _table(body: Json) -> Json:
    partial = _metadata_only(body)
    rows = [{"cells": [item["metadata"]["name"], "9s"], "object": item} for item in partial["items"]]
    table: Json = load("list/seven-as-table.json")["response"]["body"]
    return table | {"metadata": partial["metadata"], "rows": rows}


def _another_resource_version(body: Json) -> Json:
    revision = int(body["metadata"]["resourceVersion"])
    return merged(body, {"metadata": {"resourceVersion": str(revision + 1)}})


def _uid_twice(body: Json) -> Json:
    twin = merged(body["items"][-1], {"metadata": {"name": "zz-twin"}})
    return body | {"items": [*body["items"], twin]}


FAULTS: Final[Mapping[str, Fault]] = {
    "401": recorded("errors/bad-token-401.json"),
    "403": recorded("errors/list-forbidden-403.json"),
    "404 as text": recorded("errors/crd-missing-404.json"),
    "406": recorded("errors/accept-html-406.json"),
    "410": recorded("errors/continue-expired-410.json"),
    "429 as text": recorded("errors/overload-429.json"),
    "429 while storage initializes": recorded("errors/storage-initializing-429.json"),
    "500": recorded("watch/resource-version-not-a-number-500.json"),
    "503": recorded("errors/starting-list-admin-503.json"),
    "504 as text": recorded("errors/etcd-stands-still-list-504.json"),
    "reset": sent(lambda connection, _head, _payload: connection.reset()),
    "closed without an answer": sent(lambda connection, _head, _payload: connection.hang_up()),
    "cut": sent(cut(), chunked=False),
    "cut by its last byte": sent(cut(1), chunked=False),
    "cut in a chunk": sent(cut(), chunked=True),
    "cut by its last chunk": sent(cut(len(b"0\r\n\r\n")), chunked=True),
    "silence": sent(_silence),
    "silence in the middle": sent(cut(silent=True)),
    "drip": sent(drip(0.1)),
    "no JSON": instead(b'{"apiVersion":"pieced.ch/v1alpha1","items":[},"kind":"PiecedTenantList"}\n'),
    "no body": instead(b""),
    "a Table": edited(_table),
    "metadata only": edited(_metadata_only),
    "a Status under 200": recorded("errors/starting-list-admin-503.json", status=200),
    "page 1 again": _page_1_again,
    "another resourceVersion": edited(_another_resource_version),
    "a uid twice": edited(_uid_twice),
}
"""What can go wrong with one page of a list, by name: each has one flaw and no other.

Page 1 is as it should be under "page 1 again" and "another resourceVersion": those are for page 2.
"a uid twice" is for a page with a tenant on it.
"""
