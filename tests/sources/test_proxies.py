"""The proxy on the way to the API server: as the kubeconfig or the environment names it."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from reconciler.errors import UsageError
from tests.apiserver import ApiServer
from tests.sources.source import SEVEN, failure, names, source_of

PASSWORD = "pass-of-the-proxy"


def relay(client: socket.socket, server: socket.socket, change: Callable[[bytes], bytes]) -> None:
    """Carries both ways until one of the two has enough; what the client says is changed."""

    def back() -> None:
        with suppress(OSError):
            while answer := server.recv(1 << 16):
                client.sendall(answer)

    Thread(target=back, daemon=True).start()
    with suppress(OSError):
        while request := client.recv(1 << 16):
            server.sendall(change(request))


class Proxy:
    """Lets through what is asked for by a whole URL; or, closed, asks who wants to."""

    def __init__(self, *, closed: bool = False, to: int = 0) -> None:
        self.asked: list[str] = []
        self._closed, self._to = closed, to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            if self._closed:
                self.asked.append(client.recv(1 << 16).decode())
                client.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                relay(client, server, self._change)

    def _change(self, request: bytes) -> bytes:
        """By a path, as the server is asked without a proxy."""
        self.asked.append(request.split(b" ")[1].decode())
        return re.sub(rb"^(\w+) http://[^/]+", rb"\1 ", request)


@pytest.fixture
def proxy(server: ApiServer) -> Iterator[Proxy]:
    proxy = Proxy(to=int(server.url.rpartition(":")[2]))
    yield proxy
    proxy.close()


@pytest.fixture
def closed() -> Iterator[Proxy]:
    proxy = Proxy(closed=True)
    yield proxy
    proxy.close()


def through(kubeconfig: Path, proxy: str | None, server: str | None = None) -> Path:
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    if proxy is not None:
        cluster["proxy-url"] = proxy
    if server is not None:
        cluster["server"] = server
    kubeconfig.write_text(json.dumps(config))
    return kubeconfig


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "http://me:secret@127.0.0.1:{}"])
def test_the_proxy_of_the_kubeconfig_is_asked(url: str, kubeconfig: Path, proxy: Proxy) -> None:
    path = through(kubeconfig, url.format(proxy.port))
    assert names(source_of(path).snapshot()) == [*SEVEN]
    assert proxy.asked


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_a_proxy_of_the_environment_needs_no_scheme(
    form: str, kubeconfig: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", form.format(proxy.port))
    path = through(kubeconfig, None, "http://kubernetes.example")
    assert names(source_of(path).snapshot()) == [*SEVEN]
    assert all("http://kubernetes.example/" in asked for asked in proxy.asked)


def test_a_server_on_this_machine_is_asked_without_the_environment_s_proxy(
    kubeconfig: Path, closed: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed.port}")
    assert names(source_of(kubeconfig).snapshot()) == [*SEVEN]
    assert not closed.asked


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_asks_for_a_password_is_named_without_it(
    scheme: str, kubeconfig: Path, closed: Proxy
) -> None:
    url = f"http://me:{PASSWORD}@127.0.0.1:{closed.port}"
    message = failure(source_of(through(kubeconfig, url, f"{scheme}://kubernetes.example")))
    assert "407" in message
    assert "password" in message
    assert PASSWORD not in message
    assert "try again" not in message


def test_a_proxy_that_is_down_is_named(kubeconfig: Path) -> None:
    message = failure(source_of(through(kubeconfig, "http://127.0.0.1:1", "https://kubernetes.example")))
    assert "proxy http://127.0.0.1:1" in message


def test_a_proxy_that_is_none_is_refused(kubeconfig: Path) -> None:
    message = failure(source_of(through(kubeconfig, "ftp://127.0.0.1")), UsageError)
    assert "http, https or socks5" in message


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_is_asked_to_look_the_name_up(
    scheme: str, server: ApiServer, kubeconfig: Path
) -> None:
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            client.recv(16)  # the greeting
            client.sendall(b"\x05\x00")
            asked.append(client.recv(256))
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            port = int(server.url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as to:
                relay(client, to, lambda request: request)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=(listener,), daemon=True).start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        path = through(kubeconfig, url, "http://kubernetes.example")
        assert names(source_of(path).snapshot()) == [*SEVEN]
    assert all(b"kubernetes.example" in one for one in asked)
