"""Which cluster is asked, and how long is waited for it."""

from msgspec import Struct

from reconciler.core.reading import Dialect


class ClusterSettings(Struct, frozen=True, kw_only=True):
    """Which cluster, and how long to wait for it. All times in seconds."""

    dialect: Dialect
    plural: str
    version: str | None
    kubeconfig: str | None
    context: str | None
    page_size: int
    compress: bool = True
    """Whether the API server is asked to compress its answers."""
    connect_timeout: float
    read_timeout: float
    list_timeout: float
    watch_silence: float = 120
    """How long a watch may say nothing at all, not even a bookmark."""
