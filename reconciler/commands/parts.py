"""Makes the parts that several commands need out of the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect
from reconciler.embedded import EmbeddedPostgres
from reconciler.ledger.postgres import Database
from reconciler.settings import Settings
from reconciler.sources.cluster import ClusterSource
from reconciler.sources.cluster_settings import ClusterSettings


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of the settings; an embedded one runs until the end of the block."""
    if settings.embedded:
        with EmbeddedPostgres(settings.embedded_dir).running() as url:
            yield from _database(settings, url)
    elif settings.database_url is not None:
        yield from _database(settings, settings.database_url.get_secret_value())


def _database(settings: Settings, url: str) -> Iterator[Database]:
    database = Database(
        url,
        connect_timeout=settings.database_connect_timeout,
        lock_timeout=settings.lock_timeout,
    )
    try:
        yield database
    finally:
        database.close()


def dialect(settings: Settings) -> Dialect:
    """How the tenants are called."""
    return Dialect(
        group=settings.api_group,
        kind=settings.kind,
        org_label=settings.org_label,
        managed_fields=settings.managed_fields,
    )


def cluster_source(settings: Settings, progress: Callable[[str], object]) -> ClusterSource:
    """The cluster of the settings."""
    return ClusterSource(
        ClusterSettings(
            dialect=dialect(settings),
            plural=settings.plural,
            version=settings.api_version,
            kubeconfig=settings.kubeconfig,
            context=settings.context,
            page_size=settings.page_size,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            list_timeout=settings.list_timeout,
            watch_silence=settings.watch_silence,
        ),
        progress=lambda count: progress(f"listing tenants: {count}" if count else ""),
    )


def limits(
    settings: Settings, *, allow_deletions: int | None = None, adopt_cluster: bool = False
) -> Limits:
    """What a pass may do without being asked again."""
    return Limits(
        brake_floor=settings.brake_floor,
        brake_percent=settings.brake_percent,
        allow_deletions=allow_deletions,
        adopt_cluster=adopt_cluster,
    )
