"""The connection to an API server: where it is, as whom it is asked, and what can go wrong on the way.

The one file that knows the `kubernetes` library, and urllib3 below it.
"""

import http.client
import importlib.util
import os
import re
import ssl
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.core.text import one_line
from reconciler.errors import SnapshotError, UsageError
from reconciler.sources.answers import check
from reconciler.sources.credentials import credentials
from reconciler.sources.kubeconfig import Account, Malformed, account, place, text
from reconciler.sources.tls import tls_context

CHUNK: Final = 1 << 20


class Connection:
    """An API server, and the account that asks it."""

    def __init__(self, kubeconfig: str | None, context: str | None, *, compress: bool = True) -> None:
        """`compress`: the server is asked to compress its answers.

        Raises UsageError where there is no usable configuration, and SnapshotError for a plugin.
        """
        import urllib3

        with _bare("kubernetes"):
            from kubernetes.client.api_client import ApiClient
            from kubernetes.client.configuration import Configuration
            from kubernetes.client.exceptions import ApiException

        self._api_error = ApiException
        exceptions = urllib3.exceptions
        self._read_timeout = exceptions.ReadTimeoutError
        self._network_errors = (exceptions.HTTPError, http.client.HTTPException, OSError, zlib.error)
        configuration = type.__call__(Configuration)
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and not (kubeconfig or context)
        self._insecure = False
        try:
            if in_cluster:
                self.context = "in-cluster"
                _load_in_cluster(configuration)
                tls = tls_context(Path(configuration.ssl_ca_cert).read_bytes())
                headers: Mapping[str, str] = {}
            else:
                chosen = account(kubeconfig, context)
                self.context = chosen.context
                held = credentials(chosen)
                self._insecure = _configure(configuration, chosen)
                if held.authorization:
                    configuration.api_key["BearerToken"] = held.authorization
                tls = tls_context(held.authority, held.certificate, held.key, insecure=self._insecure)
                headers = held.impersonate
            # Here and not in files: what is in the context need not lie in the temporary folder.
            configuration.ssl_ca_cert = configuration.cert_file = configuration.key_file = None
            configuration.proxy = self._proxy = _proxy(configuration)
            # A failed page fails the pass: what is tried again is all of it, by whoever runs it.
            configuration.retries = urllib3.Retry(0, redirect=0, respect_retry_after_header=False)
            # It may carry a password, which is nobody's business.
            self.host = _without_password(configuration.host)
            if not re.match(r"\w[\w+.-]*://", self.host):
                raise Malformed(f"the server {self.host} is not a URL")
            api = ApiClient(configuration)
        except (Malformed, OSError, ValueError) as error:
            where = "in-cluster" if in_cluster else place(kubeconfig)
            wanted = f", context {context}" if context else ""
            problem = str(error) if isinstance(error, Malformed) else _certificate_problem(error)
            raise UsageError(
                f"no usable cluster configuration ({where}{wanted}): {one_line(problem)}. "
                "Give --kubeconfig and --context, or run inside the cluster"
            ) from None
        if self._insecure:
            # We say it ourselves, once.
            urllib3.disable_warnings(exceptions.InsecureRequestWarning)
        api.rest_client.pool_manager.connection_pool_kw["ssl_context"] = tls
        api.set_default_header("Accept-Encoding", "gzip" if compress else "identity")
        for name, value in headers.items():
            api.set_default_header(name, value)
        # Not its CoreV1Api: that makes a model of every kind there is, which takes longer than a pass.
        self._api = api

    @property
    def is_insecure(self) -> bool:
        """Whether the server's certificate is not checked, because the kubeconfig says so."""
        return self._insecure

    def get(self, path: str, query: Sequence[tuple[str, object]], timeout: tuple[float, float]) -> Any:
        """The answer to a GET by path, whatever it is, and not yet read."""
        request = self._api.param_serialize(
            "GET",
            path,
            query_params=[*query],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        return self._api.call_api(*request, _request_timeout=timeout).response

    def stream(self, response: Any) -> Iterator[bytes]:
        """An answer without an end, as it arrives. Raises TimeoutError where nothing does."""
        try:
            yield from response.stream(CHUNK, decode_content=True)
        except self._read_timeout:
            raise TimeoutError from None

    @contextmanager
    def asking(self, asked: str, rule: str, *, expires: bool) -> Iterator[None]:
        """What goes wrong in the block is said as a SnapshotError."""
        try:
            yield
        except self._api_error as error:
            said = error.body or b""
            body = said.encode() if isinstance(said, str) else said
            if not error.status:
                problem = one_line(error.reason)
                raise SnapshotError(f"{asked} failed: {problem}; {_CHECK_TLS}") from None
            check(error.status, body, asked, rule, expires=expires)
        except self._network_errors as error:
            problem = _network_problem(error, self._proxy)
            raise SnapshotError(f"{asked} failed: {problem}") from None
        except ValueError as error:
            # Not its message: that would quote what cannot be sent, which may be the token.
            raise SnapshotError(
                f"{asked} failed: the request cannot be sent ({type(error).__name__}); "
                "check that the server is a URL, and the token one line of ASCII"
            ) from None


_CHECK_TLS: Final = "check the kubeconfig's certificate-authority, and the name in its server"
_ENDED: Final = "the connection ended before the answer did; try again"


def _load_in_cluster(configuration: Any) -> None:
    """The account of the pod. Raises Malformed."""
    with _bare("kubernetes", "kubernetes.config"):
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.incluster_config import load_incluster_config

    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise Malformed(str(error)) from None


@contextmanager
def _bare(*packages: str) -> Iterator[None]:
    """Modules of these packages are imported without the rest of them.

    `kubernetes` imports all of itself, which takes longer than a small pass. So it stands in bare
    meanwhile; whoever imports it afterwards gets it whole.
    """
    bare = [package for package in packages if package not in sys.modules]
    try:
        for package in bare:
            spec = importlib.util.find_spec(package)
            if spec is None:
                raise ModuleNotFoundError(f"{package} is not installed", name=package)
            sys.modules[package] = importlib.util.module_from_spec(spec)
        yield
    finally:
        for package in bare:
            sys.modules.pop(package, None)


def _configure(configuration: Any, chosen: Account) -> bool:
    """The cluster of the account; returns whether its certificate is not to be checked."""
    cluster = chosen.cluster
    insecure = cluster.get("insecure-skip-tls-verify") or False
    if not isinstance(insecure, bool):
        raise Malformed("insecure-skip-tls-verify must be true or false")
    configuration.host = text(cluster, "server").rstrip("/")
    configuration.verify_ssl = not insecure
    configuration.tls_server_name = text(cluster, "tls-server-name") or None
    if proxy := text(cluster, "proxy-url"):
        configuration.proxy = proxy
        configuration.no_proxy = None
    elif (urlsplit(configuration.host).hostname or "") in _LOCAL:
        configuration.proxy = None
    return insecure


_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts for which client-go asks no proxy of the environment."""


def _proxy(configuration: Any) -> str | None:
    proxy: str | None = configuration.proxy
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    scheme, _, rest = proxy.partition("://")
    if scheme == "socks5":
        # As client-go: the proxy looks the name up.
        return f"socks5h://{rest}"
    if scheme not in ("http", "https", "socks5h"):
        raise Malformed(f"the proxy {_without_password(proxy)} must be http, https or socks5")
    return proxy


def _without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)


def _certificate_problem(error: Exception) -> str:
    """Of a message of others only what quotes no secret."""
    if isinstance(error, ssl.SSLError):
        return f"a certificate or key in it cannot be read ({error.reason or 'no PEM'})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"it cannot be used ({type(error).__name__})"


def _network_problem(error: BaseException, proxy: str | None) -> str:
    """What went wrong on the way, and what to do, without the objects that urllib3 prints."""
    import urllib3.exceptions as problem

    through = f"the proxy {_without_password(proxy)}" if proxy else ""
    match error:
        case problem.MaxRetryError() if error.reason is not None:
            return _network_problem(error.reason, proxy)
        case problem.SSLError() | ssl.SSLError() if "EOF occurred" in str(error):
            return _ENDED
        case problem.SSLError() | ssl.SSLError():
            return f"{_of_certificate(error)}; {_CHECK_TLS}"
        case problem.ProxyError() if "407" in str(error.original_error):
            return f"{through} asks for a user and a password (407): give them in its URL"
        case problem.ProxyError() if isinstance(error.original_error, problem.SSLError | ssl.SSLError):
            return _network_problem(error.original_error, None)
        case problem.ProxyError():
            return f"{through} does not let it through ({_plain(error.original_error)}); try again"
        case problem.NameResolutionError():
            return "its name cannot be resolved; try again, or check the server's name"
        case problem.NewConnectionError():
            why = str(error).rpartition(": ")[2] or str(error)
            return f"no connection ({_plain(why)}); try again, or check the server's address"
        case problem.ConnectTimeoutError():
            return "no connection in time; try again, or see --connect-timeout"
        case problem.ReadTimeoutError():
            return "no answer in time; try again, or see --read-timeout"
        case problem.ProtocolError() | http.client.HTTPException() | ConnectionError():
            return _ENDED
        case _:
            return f"{_plain(error) or type(error).__name__}; try again"


def _plain(error: object) -> str:
    """The words of an error without the numbers and file names of libraries: `Connection refused`."""
    return re.sub(r"^\[[^]]*\] ?| \(_ssl\.c:\d+\)$", "", one_line(str(error)))


def _of_certificate(error: BaseException) -> str:
    """OpenSSL's own words, without what Python adds to them."""
    found = re.search(r"certificate verify failed: ([^(]+)", str(error))
    return f"certificate verify failed: {found[1].strip()}" if found else _plain(error)
