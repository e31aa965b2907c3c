"""What an account proves itself with: a token, a password or a certificate, wherever it comes from.

As client-go does it: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from reconciler.errors import SnapshotError
from reconciler.sources import oidc, plugin
from reconciler.sources.kubeconfig import Account, Malformed, content, text

_REMOVED: Final = {"gcp": "gke-gcloud-auth-plugin", "azure": "kubelogin"}
"""Auth providers that Kubernetes has removed, and the plugins in their place."""


class Credentials(Struct, frozen=True):
    """What is sent, and what is shown in the TLS handshake; empty where there is none."""

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""
    authority: bytes = b""
    """The certificates that the server's is checked against."""
    impersonate: Mapping[str, str] = {}


def credentials(account: Account) -> Credentials:
    """What the account has. Raises Malformed, and SnapshotError where a plugin fails."""
    user = account.user
    token = _token(user)
    certificate, key = content(user, "client-certificate"), content(user, "client-key")
    if not token and isinstance(asked := user.get("exec"), dict):
        status = plugin.ask(asked, _cluster_info(account.cluster))
        token = text(status, "token").strip()
        certificate = text(status, "clientCertificateData").encode() or certificate
        key = text(status, "clientKeyData").encode() or key
        if not token and not (certificate and key):
            raise SnapshotError(f"{plugin.named(asked)} gave no token, and no certificate with its key")
    if not token and isinstance(provider := user.get("auth-provider"), dict):
        token = _provided(provider, account.user_name)
    if bool(certificate) != bool(key):
        raise Malformed(f"user {account.user_name} has a client-certificate or a client-key, not both")
    return Credentials(
        authorization=f"Bearer {token}" if token else _password(user),
        certificate=certificate,
        key=key,
        authority=content(account.cluster, "certificate-authority"),
        impersonate=_impersonated(user),
    )


def _token(user: Mapping[str, Any]) -> str:
    """The one in tokenFile before the one in the kubeconfig itself, as long as the file can be read."""
    token, file = text(user, "token"), text(user, "tokenFile")
    if not file:
        return token
    try:
        read = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        if token:
            return token
        raise Malformed(f"tokenFile {file} cannot be read: {_reason(error)}") from None
    if not read and not token:
        raise Malformed(f"tokenFile {file} is empty")
    return read or token


def _password(user: Mapping[str, Any]) -> str:
    name, password = text(user, "username"), text(user, "password")
    if not name and not password:
        return ""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def _impersonated(user: Mapping[str, Any]) -> Mapping[str, str]:
    headers = {"Impersonate-User": text(user, "as"), "Impersonate-Uid": text(user, "as-uid")}
    if user.get("as-groups") or user.get("as-user-extra"):
        raise Malformed("as-groups and as-user-extra are not supported: use an account of its own")
    return {name: value for name, value in headers.items() if value}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is not UTF-8"


def _provided(provider: Mapping[str, Any], user: str) -> str:
    name, config = text(provider, "name"), provider.get("config")
    if name == "oidc" and isinstance(config, dict):
        return oidc.token(config)
    instead = _REMOVED.get(name)
    raise Malformed(
        f"user {user} has the auth provider {name}, which Kubernetes has removed; "
        f"use {f'the plugin {instead}' if instead else 'a credential plugin'}"
    )


def _cluster_info(cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a plugin that asks for it is told of the cluster."""
    names = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    info = {name: cluster[name] for name in names if name in cluster}
    if authority := content(cluster, "certificate-authority"):
        info["certificate-authority-data"] = base64.b64encode(authority).decode()
    for one in cluster.get("extensions") or []:
        if one.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = one.get("extension")
    return info
