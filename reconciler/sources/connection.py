"""The connection to an API server: where it is, as whom it is asked, and what can go wrong on the way.

The one file that knows the `kubernetes` library, and urllib3 below it.
"""

import http.client
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from reconciler.core.text import one_line
from reconciler.errors import SnapshotError, UsageError
from reconciler.sources.answers import check

CHUNK: Final = 1 << 20


class Connection:
    """An API server, and the account that asks it."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """Raises UsageError where there is no usable configuration."""
        import kubernetes.client
        import kubernetes.config
        import urllib3

        self._api_error = kubernetes.client.ApiException
        exceptions = urllib3.exceptions
        self._read_timeout = exceptions.ReadTimeoutError
        self._network_errors = (exceptions.HTTPError, http.client.HTTPException, OSError, zlib.error)
        configuration = type.__call__(kubernetes.client.Configuration)
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ
        try:
            if in_cluster and not (kubeconfig or context):
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            else:
                kubernetes.config.load_kube_config(
                    config_file=kubeconfig,
                    context=context,
                    client_configuration=configuration,
                    persist_config=False,
                )
            # A failed page fails the pass: what is tried again is all of it, by whoever runs it.
            configuration.retries = urllib3.Retry(0, redirect=0, respect_retry_after_header=False)
            # It may carry a password, which is nobody's business.
            self.host = re.sub(r"//[^/]*@", "//", configuration.host)
            if not re.match(r"\w[\w+.-]*://", self.host):
                raise kubernetes.config.ConfigException(f"the server {self.host} is no URL")
            api = kubernetes.client.ApiClient(configuration)
        except Exception as error:  # noqa: BLE001
            # The library raises whatever it stumbles over; only its own messages quote no secret.
            known = isinstance(error, kubernetes.config.ConfigException)
            problem = error.strerror if isinstance(error, OSError) else str(error) if known else None
            outside = os.environ.get("KUBECONFIG") or "~/.kube/config"
            where = kubeconfig or ("in-cluster" if in_cluster else outside)
            wanted = f", context {context}" if context else ""
            raise UsageError(
                f"no usable cluster configuration ({where}{wanted}): "
                f"{one_line(problem or f'it is no kubeconfig ({type(error).__name__})')}. "
                "Give --kubeconfig and --context, or run inside the cluster"
            ) from None
        api.set_default_header("Accept-Encoding", "gzip")
        # Not its CoreV1Api: that makes a model of every kind there is, which takes longer than a pass.
        self._api = api

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
                raise SnapshotError(f"{asked} failed: {problem}; check the CA and the server") from None
            check(error.status, body, asked, rule, expires=expires)
        except self._network_errors as error:
            problem = _network_problem(error)
            raise SnapshotError(f"{asked} failed: {problem}; try again") from None
        except ValueError as error:
            # Not its message: that would quote what cannot be sent, which may be the token.
            raise SnapshotError(
                f"{asked} failed: the request cannot be sent ({type(error).__name__}); "
                "check that the server is a URL, and the token one line of ASCII"
            ) from None


def _network_problem(error: BaseException) -> str:
    """What went wrong on the way, without the objects that urllib3 prints."""
    import urllib3.exceptions as problem

    match error:
        case problem.MaxRetryError() if error.reason is not None:
            return _network_problem(error.reason)
        case problem.NameResolutionError():
            return "its name cannot be resolved"
        case problem.NewConnectionError():
            return one_line(str(error).rpartition(": ")[2] or str(error))
        case problem.ConnectTimeoutError():
            return "no connection in time; see --connect-timeout"
        case problem.ReadTimeoutError():
            return "no answer in time; see --read-timeout"
        case problem.ProtocolError() | http.client.HTTPException() | ConnectionError():
            return "the connection ended before the answer did"
        case _:
            return one_line(str(error)) or type(error).__name__
