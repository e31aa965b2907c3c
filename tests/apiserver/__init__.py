"""A Kubernetes API server with one custom resource, for tests that talk to it over real HTTP.

It answers as the recorded servers did (`recordings/`), keeps its tenants as etcd does, allows what the
reconciler's role allows and nothing else, and misbehaves on demand: `FAULTS` for a request, `Watches`
for streams that are open, `stop` and `start` for the whole of it. It knows nothing of the reconciler.
What it does not know, a label selector among it, it answers with 501.
"""

from tests.apiserver.documents import RECORDINGS, Json, merged
from tests.apiserver.faults import (
    FAULTS,
    cut,
    drip,
    edited,
    error_event,
    instead,
    meanwhile,
    recorded,
    sent,
)
from tests.apiserver.ownership import Conflict
from tests.apiserver.server import LATEST, ApiServer, Fault, read_token, token_of
from tests.apiserver.store import Event, Tenants
from tests.apiserver.watch import Watches
from tests.apiserver.wire import Answer, Connection, Request, Send

__all__ = [
    "FAULTS",
    "LATEST",
    "RECORDINGS",
    "Answer",
    "ApiServer",
    "Conflict",
    "Connection",
    "Event",
    "Fault",
    "Json",
    "Request",
    "Send",
    "Tenants",
    "Watches",
    "cut",
    "drip",
    "edited",
    "error_event",
    "instead",
    "meanwhile",
    "merged",
    "read_token",
    "recorded",
    "sent",
    "token_of",
]
