"""Which cluster is asked, and as whom: by a kubeconfig, or inside a cluster."""

import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from reconciler.errors import ReconcilerError, UsageError
from tests.apiserver import FAULTS, ApiServer, Json
from tests.sources.source import SEVEN, TOKEN, check_requests, failure, names, source_of

# By a kubeconfig


class Odd(NamedTuple):
    """What is changed in a right kubeconfig, and what the message must contain."""

    change: Callable[[Json], object]
    names: str


def user(**fields: object) -> Callable[[Json], object]:
    return lambda config: config["users"][0].update(user=fields)


def cluster(**fields: object) -> Callable[[Json], object]:
    return lambda config: config["clusters"][0]["cluster"].update(
        {name.replace("_", "-"): value for name, value in fields.items()}
    )


ODD_KUBECONFIGS = {
    "it has no contexts": Odd(lambda config: config.pop("contexts"), "contexts"),
    "its contexts are null": Odd(lambda config: config.update(contexts=None), "contexts"),
    "it has no current context": Odd(lambda config: config.pop("current-context"), "current-context"),
    "its current context does not exist": Odd(
        lambda config: config.update({"current-context": "prod"}), "prod"
    ),
    "its cluster does not exist": Odd(
        lambda config: config["contexts"][0]["context"].update(cluster="prod"), "prod"
    ),
    "its server is a number": Odd(cluster(server=7), "kubeconfig"),
    "its CA is nowhere": Odd(cluster(certificate_authority="/no-such/ca.crt"), "/no-such/ca.crt"),
    "its CA is none": Odd(cluster(certificate_authority_data="aGVsbG8="), "certificate"),
    "its proxy is none": Odd(cluster(proxy_url="nonsense"), ""),
}


@pytest.mark.parametrize("odd", ODD_KUBECONFIGS.values(), ids=ODD_KUBECONFIGS)
def test_a_kubeconfig_that_names_no_cluster_is_told(kubeconfig: Path, odd: Odd) -> None:
    config = json.loads(kubeconfig.read_text().replace("http:", "https:"))
    odd.change(config)
    kubeconfig.write_text(json.dumps(config))
    assert odd.names in failure(source_of(kubeconfig), ReconcilerError)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"hello", b"{", b"a: [", b"\0", b"a: \xff"],
    ids=["empty", "a list", "a word", "cut JSON", "cut YAML", "a NUL", "no UTF-8"],
)
def test_a_kubeconfig_that_is_none_is_named(kubeconfig: Path, content: bytes) -> None:
    kubeconfig.write_bytes(content)
    message = failure(source_of(kubeconfig), UsageError)
    assert str(kubeconfig) in message
    assert "--kubeconfig" in message


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        message = failure(source_of(path), UsageError)
        assert str(path) in message
        assert "--kubeconfig" in message


def test_a_context_is_taken_from_those_of_the_kubeconfig(kubeconfig: Path) -> None:
    assert names(source_of(kubeconfig, context="test").snapshot()) == [*SEVEN]
    message = failure(source_of(kubeconfig, context="staging"), UsageError)
    assert "staging" in message
    assert str(kubeconfig) in message
    assert "--context" in message


def test_a_wrong_token_and_none_are_told_apart(server: ApiServer, tmp_path: Path) -> None:
    wrong = server.kubeconfig(tmp_path / "wrong", token="wrong")
    assert "renew the token" in failure(source_of(wrong))
    none = server.kubeconfig(tmp_path / "none")
    none.write_text(none.read_text().replace(f'"token": "{TOKEN}"', ""))
    assert "allow this account" in failure(source_of(none))


@pytest.mark.parametrize(
    "token",
    [f"{TOKEN}\n", f"{TOKEN}\r\n", f"a\n{TOKEN}", f"{TOKEN}\0", f"{TOKEN}…", f"\ud83d\ude00{TOKEN}"],
    ids=["newline", "CR LF", "two lines", "NUL", "ellipsis", "emoji"],
)
def test_a_token_that_cannot_be_sent_is_told_without_it(kubeconfig: Path, token: str) -> None:
    config = json.loads(kubeconfig.read_text())
    user(token=token)(config)
    kubeconfig.write_text(json.dumps(config))
    assert failure(source_of(kubeconfig), ReconcilerError)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:1", "refused"),
        ("http://no-such-host.invalid", "cannot be resolved"),
        ("http://127.0.0.1:99999", "99999"),
        ("ftp://127.0.0.1", "ftp"),
    ],
)
def test_a_server_that_is_not_there_is_named(
    server: ApiServer, kubeconfig: Path, address: str, says: str
) -> None:
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
    message = failure(source_of(kubeconfig))
    assert address in message
    assert says in message
    assert "[" not in message, "a library's own words"


def test_a_server_that_hangs_up_instead_of_a_handshake_is_told_as_any_that_hangs_up(
    server: ApiServer, kubeconfig: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    listener.accept()[0].close()

        Thread(target=hang_up, daemon=True).start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
        message = failure(source_of(kubeconfig))
        # Wakes the thread, which ends.
        listener.shutdown(socket.SHUT_RDWR)
    assert "the connection ended before the answer did; try again" in message


def test_a_password_in_the_servers_address_is_not_told(server: ApiServer, kubeconfig: Path) -> None:
    address = server.url.replace("//", f"//me:{TOKEN}@")
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
    server.fail(FAULTS["503"])
    assert server.url in failure(source_of(kubeconfig))


# Inside a cluster


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself; its key is beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    files = ["-out", str(folder / "ca.crt"), "-keyout", str(folder / "tls.key")]
    alias = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *request.split(), *alias, *files], check=True, capture_output=True)
    return folder / "ca.crt"


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[ApiServer]:
    """The server as the pods of its cluster reach it."""
    server = ApiServer(token=TOKEN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("tls.key"))
    server._listener.socket = context.wrap_socket(server._listener.socket, server_side=True)
    with server:
        server.tenants.create("anna", ["mail"])
        yield server
        check_requests(server)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the kubelet puts the account of a pod; nothing is there yet."""
    for file in ("TOKEN", "CERT"):
        name = {"TOKEN": "token", "CERT": "ca.crt"}[file]
        constant = f"kubernetes.config.incluster_config.SERVICE_{file}_FILENAME"
        monkeypatch.setattr(constant, str(tmp_path / name))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    return tmp_path


def test_inside_a_cluster_it_is_the_pods_account_that_asks(
    tls_server: ApiServer, account: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", tls_server.url.rpartition(":")[2])
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(certificate.read_bytes())
    tls_server.token = None
    assert names(source_of(None).snapshot()) == ["anna"]
    sent_by = {request.headers["authorization"].casefold() for request in tls_server.requests}
    assert sent_by == {f"bearer {TOKEN}"}


def test_a_server_that_the_cluster_did_not_certify_learns_nothing(
    tls_server: ApiServer, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", tls_server.url.rpartition(":")[2])
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes(Path(certifi.where()).read_bytes())
    assert "certificate verify failed" in failure(source_of(None))
    assert not tls_server.requests


def test_an_account_that_is_not_mounted_is_told(account: Path) -> None:
    message = failure(source_of(None), UsageError)
    assert "in-cluster" in message
    assert "token" in message
    (account / "token").write_text(TOKEN)
    assert "certification file" in failure(source_of(None), UsageError)


@pytest.mark.usefixtures("account")
def test_inside_a_cluster_a_kubeconfig_that_is_given_wins(kubeconfig: Path) -> None:
    assert names(source_of(kubeconfig).snapshot()) == [*SEVEN]


def test_the_library_is_imported_in_part_and_stays_whole_for_others(tmp_path: Path) -> None:
    """`kubernetes` imports all of itself; a pass needs little of it."""
    with ApiServer(token=TOKEN) as server:
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    script = f"""
import sys
from reconciler.sources.connection import Connection
Connection({str(kubeconfig)!r}, None)
print([name for name in ("kubernetes", "requests") if name in sys.modules])
import kubernetes
from kubernetes.client.api_client import ApiClient
print(kubernetes.client.ApiClient is ApiClient, kubernetes.watch.Watch.__name__)
"""
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert told == ["[]", "True Watch"]
