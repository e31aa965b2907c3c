"""As whom it asks: tokens, plugins, OpenID Connect, and certificates; and what is wrong with them."""

import base64
import json
import logging
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from reconciler.errors import SnapshotError, UsageError
from tests.apiserver import ApiServer, Json
from tests.sources.source import SEVEN, TOKEN, check_requests, failure, names, source_of

EXEC = "client.authentication.k8s.io/v1"
Change = Callable[..., Path]


@pytest.fixture
def changed(kubeconfig: Path) -> Change:
    """The kubeconfig with another user, and other fields of its cluster."""

    def change(user: Json | None = None, **cluster: object) -> Path:
        config = json.loads(kubeconfig.read_text())
        if user is not None:
            config["users"][0]["user"] = user
        config["clusters"][0]["cluster"].update(
            {name.replace("_", "-"): value for name, value in cluster.items()}
        )
        kubeconfig.write_text(json.dumps(config))
        return kubeconfig

    return change


def sent(server: ApiServer) -> set[str]:
    return {request.headers.get("authorization", "").casefold() for request in server.requests}


# Tokens


@pytest.mark.parametrize("end", ["", "\n", " \r\n"])
def test_a_token_file_may_end_in_a_newline(end: str, changed: Change, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}{end}")
    assert names(source_of(changed({"tokenFile": "token"})).snapshot()) == [*SEVEN]


def test_the_token_file_comes_before_the_token_beside_it(
    server: ApiServer, changed: Change, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    source_of(changed({"token": "old", "tokenFile": "token"})).snapshot()
    assert sent(server) == {f"bearer {TOKEN}"}


def test_a_token_file_that_is_gone_leaves_the_token_beside_it(changed: Change) -> None:
    assert source_of(changed({"token": TOKEN, "tokenFile": "gone"})).snapshot()
    assert "gone" in failure(source_of(changed({"tokenFile": "gone"})), UsageError)


def test_an_empty_token_file_is_named(changed: Change, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    assert "is empty" in failure(source_of(changed({"tokenFile": "token"})), UsageError)


def test_a_password_is_sent_as_one(server: ApiServer, changed: Change) -> None:
    server.token = None
    source_of(changed({"username": "me", "password": "p:w"})).snapshot()
    assert sent(server) == {f"basic {base64.b64encode(b'me:p:w').decode()}".casefold()}


def test_a_user_may_act_as_another_one(server: ApiServer, changed: Change) -> None:
    source_of(changed({"token": TOKEN, "as": "reader", "as-uid": "7"})).snapshot()
    assert {request.headers["impersonate-user"] for request in server.requests} == {"reader"}
    groups = changed({"token": TOKEN, "as": "reader", "as-groups": ["all"]})
    assert "as-groups" in failure(source_of(groups), UsageError)


# Plugins


def plugin(body: str, **fields: object) -> Json:
    """A user whose plugin runs some Python."""
    return {"exec": {"apiVersion": EXEC, "command": sys.executable, "args": ["-c", body], **fields}}


def printing(**status: object) -> str:
    credential = {"apiVersion": EXEC, "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(credential))})"


def test_a_plugin_gives_the_token(changed: Change) -> None:
    assert names(source_of(changed(plugin(printing(token=TOKEN)))).snapshot()) == [*SEVEN]


def test_a_plugin_is_told_what_it_asks_for(changed: Change) -> None:
    body = (
        "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert info['spec']['cluster']['server'].startswith('http://'), info\n"
        "assert os.environ['PROFILE'] == 'billing'\n" + printing(token=TOKEN)
    )
    env = [{"name": "PROFILE", "value": "billing"}]
    assert source_of(changed(plugin(body, env=env, provideClusterInfo=True))).snapshot()


PLUGINS_THAT_FAIL = {
    "it fails": ("import sys; sys.exit('the SSO session has expired')", "the SSO session has expired"),
    "it fails in silence": ("raise SystemExit(3)", "status 3"),
    "it prints nothing": ("", "ExecCredential"),
    "it prints no JSON": ("print('token')", "ExecCredential"),
    "it prints a list": ("print([])", "ExecCredential"),
    "it prints no credential": (printing(), "no token"),
    "it prints a certificate alone": (printing(clientCertificateData="x"), "no token"),
    "it prints another version": (printing(token=TOKEN).replace("io/v1", "io/v1beta1"), "io/v1"),
}


@pytest.mark.parametrize("case", PLUGINS_THAT_FAIL)
def test_a_plugin_that_fails_stops_the_pass_with_its_own_message(
    case: str, server: ApiServer, changed: Change
) -> None:
    body, says = PLUGINS_THAT_FAIL[case]
    message = failure(source_of(changed(plugin(body))))
    assert "credential plugin" in message
    assert says in message
    assert not server.requests, "it went on without credentials"


def test_a_plugin_that_is_missing_is_named_with_its_hint(server: ApiServer, changed: Change) -> None:
    fields: Json = {"apiVersion": EXEC, "command": "no-such-plugin", "installHint": "get it\nthere"}
    message = failure(source_of(changed({"exec": fields})), UsageError)
    assert "no-such-plugin" in message
    assert "get it there" in message
    assert not server.requests


@pytest.mark.parametrize("name", ["gcp", "azure", "openstack"])
def test_an_auth_provider_that_kubernetes_removed_is_named(name: str, changed: Change) -> None:
    message = failure(source_of(changed({"auth-provider": {"name": name, "config": {}}})), UsageError)
    assert f"auth provider {name}" in message
    assert "plugin" in message


# Certificates


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a certificate of it for 127.0.0.1 without a word of who signed it, and one for a client."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    ca = ["-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt"]
    openssl(folder, "req", *key, *ca)
    for name in ("server", "client"):
        (folder / "extensions").write_text("authorityKeyIdentifier=none\nsubjectAltName=IP:127.0.0.1\n")
        request = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        openssl(folder, "req", *key, *request)
        sign = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions"]
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *sign, "-days", "2", "-out", f"{name}.crt")
    return folder


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[ApiServer]:
    """A server that lets in whoever has the client's certificate."""
    server = ApiServer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server._listener.socket = context.wrap_socket(server._listener.socket, server_side=True)
    with server:
        server.tenants.create("anna", ["mail"])
        yield server
        check_requests(server)


def asking(tls_server: ApiServer, path: Path, user: Json, **cluster: Any) -> Path:
    tls_server.kubeconfig(path)
    config = json.loads(path.read_text().replace("http:", "https:"))
    config["users"][0]["user"] = user
    config["clusters"][0]["cluster"].update(cluster)
    path.write_text(json.dumps(config))
    return path


def test_a_certificate_that_does_not_say_who_signed_it_is_checked_all_the_same(
    tls_server: ApiServer, certificates: Path, tmp_path: Path
) -> None:
    ca = str(certificates / "ca.crt")
    path = asking(tls_server, tmp_path / "config", {}, **{"certificate-authority": ca})
    assert names(source_of(path).snapshot()) == ["anna"]


def test_certificates_of_a_plugin_leave_no_file_behind(
    tls_server: ApiServer, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    status = {
        "clientCertificateData": (certificates / "client.crt").read_text(),
        "clientKeyData": (certificates / "client.key").read_text(),
    }
    ca = base64.b64encode((certificates / "ca.crt").read_bytes()).decode()
    user = plugin(printing(**status))
    path = asking(tls_server, tmp_path / "config", user, **{"certificate-authority-data": ca})
    source = source_of(path)
    for _ in range(3):
        assert names(source.snapshot()) == ["anna"]
        assert not list(temporary.iterdir())


CERTIFICATES_THAT_FAIL: dict[str, Callable[[Path], Json]] = {
    "another CA": lambda folder: {"certificate-authority": str(folder / "client.crt")},
    "another name": lambda folder: {
        "certificate-authority": str(folder / "ca.crt"),
        "tls-server-name": "kubernetes.example",
    },
    "the system's CAs": lambda _: {},
}


@pytest.mark.parametrize("case", CERTIFICATES_THAT_FAIL)
def test_a_certificate_that_does_not_hold_is_not_tried_again(
    case: str, tls_server: ApiServer, certificates: Path, tmp_path: Path
) -> None:
    cluster = CERTIFICATES_THAT_FAIL[case](certificates)
    message = failure(source_of(asking(tls_server, tmp_path / "config", {}, **cluster)))
    assert "certificate verify failed" in message
    assert "certificate-authority" in message
    assert "try again" not in message
    assert not tls_server.requests


def test_a_certificate_that_is_not_checked_is_told_once_and_by_us(
    tls_server: ApiServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = asking(tls_server, tmp_path / "config", {}, **{"insecure-skip-tls-verify": True})
    source = source_of(path)
    with warnings.catch_warnings(record=True) as raw:
        warnings.simplefilter("default")
        source.snapshot()
        source.snapshot()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["insecure-skip-tls-verify" in record.message for record in told] == [True]
    assert not [one for one in raw if "Unverified" in str(one.message)]


def test_a_key_that_is_not_the_certificate_s_is_told(
    tls_server: ApiServer, certificates: Path, tmp_path: Path
) -> None:
    user = {
        "client-certificate": str(certificates / "client.crt"),
        "client-key": str(certificates / "server.key"),
    }
    assert "certificate or key" in failure(
        source_of(asking(tls_server, tmp_path / "config", user)), UsageError
    )
    del user["client-key"]
    assert "client-key" in failure(source_of(asking(tls_server, tmp_path / "config", user)), UsageError)


# OpenID Connect


def id_token(expires: float) -> str:
    parts = [{"alg": "none"}, {"exp": expires}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, "signature"])


@pytest.fixture
def issuer(certificates: Path) -> Iterator[HTTPServer]:
    """An issuer of tokens that renews one with the refresh token `again`."""
    renewed = id_token(time.time() + 3600)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"token_endpoint": f"https://127.0.0.1:{self.server.server_port}/token"})  # type: ignore[attr-defined]

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            good = "refresh_token=again" in body and self.headers["Authorization"].startswith("Basic ")
            self.answer({"id_token": renewed} if good else {"error": "invalid_grant"})

        def answer(self, content: Json) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.renewed = renewed  # type: ignore[attr-defined]
    yield server
    server.shutdown()
    server.server_close()


def connected(issuer: str, certificates: Path, **config: str) -> Json:
    usual = {
        "idp-issuer-url": issuer,
        "idp-certificate-authority": str(certificates / "server.crt"),
        "client-id": "reconciler",
        "refresh-token": "again",
        "id-token": id_token(time.time() - 1),
    }
    return {"auth-provider": {"name": "oidc", "config": {**usual, **config}}}


def test_an_expired_id_token_is_renewed_at_its_issuer(
    server: ApiServer, issuer: HTTPServer, certificates: Path, changed: Change
) -> None:
    server.token = issuer.renewed  # type: ignore[attr-defined]
    url = f"https://127.0.0.1:{issuer.server_port}"
    assert source_of(changed(connected(url, certificates))).snapshot()
    message = failure(source_of(changed(connected(url, certificates, **{"refresh-token": "old"}))))
    assert url in message
    assert "log in again" in message


def test_an_id_token_that_holds_asks_nobody(
    server: ApiServer, certificates: Path, changed: Change
) -> None:
    server.token = id_token(time.time() + 3600)
    user = connected("https://127.0.0.1:1", certificates, **{"id-token": server.token})
    assert source_of(changed(user)).snapshot()


def test_an_issuer_that_is_down_is_named(certificates: Path, changed: Change) -> None:
    message = failure(source_of(changed(connected("https://127.0.0.1:1", certificates))), SnapshotError)
    assert "https://127.0.0.1:1" in message
    assert "refused" in message
