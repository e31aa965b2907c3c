"""The token of OpenID Connect that a kubeconfig holds, renewed at its issuer once it has expired.

The kubeconfig itself is never written: where the issuer gives each refresh token out once only, use a
credential plugin.
"""

import base64
import json
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from reconciler.core.text import one_line
from reconciler.errors import SnapshotError
from reconciler.sources.kubeconfig import Malformed, content, text
from reconciler.sources.tls import tls_context

LASTS: Final = 10
"""Seconds that the issuer may take for an answer; and before its end a token is renewed."""


def token(config: Mapping[str, Any]) -> str:
    """An id token that has not expired. Raises Malformed, and SnapshotError where the issuer fails."""
    held = text(config, "id-token")
    if held and _expires(held) - LASTS > time.time():
        return held
    issuer, refresh = text(config, "idp-issuer-url").rstrip("/"), text(config, "refresh-token")
    if not issuer.startswith("https://") or not refresh:
        raise Malformed(
            "the id-token of the auth provider oidc has expired, and there is no refresh-token with an "
            "https:// idp-issuer-url to renew it; log in again"
        )
    context = tls_context(content(config, "idp-certificate-authority"))
    known = _answer(issuer, f"{issuer}/.well-known/openid-configuration", context)
    client = f"{text(config, 'client-id')}:{text(config, 'client-secret')}".encode()
    renewed = _answer(
        issuer,
        str(known.get("token_endpoint")),
        context,
        data=urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": refresh}).encode(),
        headers={"Authorization": f"Basic {base64.b64encode(client).decode()}"},
    ).get("id_token")
    if not isinstance(renewed, str) or not renewed:
        raise SnapshotError(f"the OpenID Connect issuer {issuer} gave no id_token; log in again")
    return renewed


def _expires(held: str) -> float:
    try:
        payload = held.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (LookupError, TypeError, ValueError):
        return 0.0


def _answer(issuer: str, url: str, context: ssl.SSLContext, **request: Any) -> Mapping[str, Any]:
    try:
        if not url.startswith("https://"):
            raise ValueError("its token_endpoint is not an https:// URL")
        asked = urllib.request.Request(url, **request)  # noqa: S310 - https
        with urllib.request.urlopen(asked, timeout=LASTS, context=context) as response:  # noqa: S310
            answer = json.loads(response.read())
    except (OSError, ValueError) as error:
        problem = one_line(str(getattr(error, "reason", None) or error))
        raise SnapshotError(
            f"the OpenID Connect issuer {issuer} did not renew the id-token: {problem}; "
            "try again, or log in"
        ) from None
    return answer if isinstance(answer, dict) else {}
