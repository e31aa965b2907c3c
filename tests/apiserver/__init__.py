"""A Kubernetes API server with one custom resource, for tests that talk to it over real HTTP.

It answers as the recorded servers did (`recordings/`), keeps its tenants as etcd does, allows what the
reconciler's role allows and nothing else, and misbehaves on demand: `FAULTS`. It knows nothing of the
reconciler. It has no watch yet, and answers one with 501; all that it would tell is in `Tenants.log`.
"""

from tests.apiserver.documents import RECORDINGS, Json, merged
from tests.apiserver.faults import FAULTS, cut, drip, edited, instead, recorded, sent
from tests.apiserver.server import LATEST, ApiServer, Fault, read_token, token_of
from tests.apiserver.store import Event, Tenants
from tests.apiserver.wire import Answer, Connection, Request, Send

__all__ = [
    "FAULTS",
    "LATEST",
    "RECORDINGS",
    "Answer",
    "ApiServer",
    "Connection",
    "Event",
    "Fault",
    "Json",
    "Request",
    "Send",
    "Tenants",
    "cut",
    "drip",
    "edited",
    "instead",
    "merged",
    "read_token",
    "recorded",
    "sent",
    "token_of",
]
