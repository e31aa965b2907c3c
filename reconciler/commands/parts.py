"""What a command is made of: each part is made from the settings, once, when it is first asked for."""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from reconciler import options
from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect
from reconciler.core.text import escaped
from reconciler.ledger.postgres import Database
from reconciler.logs import set_up_logging
from reconciler.output.plan_text import Progress
from reconciler.settings import Origin, Settings, check_database, load, origins, unknown_variables

if TYPE_CHECKING:  # imported by the commands that need them
    from reconciler.ledger.postgres_ledger import DryRunLedger, PostgresLedger
    from reconciler.sources.cluster import ClusterSource
    from reconciler.sources.files import FileSource

log = logging.getLogger(__name__)


class Parts:
    """The parts of one command. Raises UsageError where a setting is wrong."""

    def __init__(self, flags: dict[str, Any]) -> None:
        """`flags` are the settings that were given on the command line."""
        self._flags = flags
        self._opened = ExitStack()
        self.now: Final = datetime.now(UTC)
        self.progress: Final = Progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @cached_property
    def settings(self) -> Settings:
        """The settings in effect. The logs are set up by them."""
        settings = load(self._flags)
        set_up_logging(settings.log_level, settings.log_format)
        if unknown := [_with_hint(name) for name in unknown_variables()]:
            log.warning("there is no such setting: %s", ", ".join(unknown))
        return settings

    def origins(self) -> Mapping[str, Origin]:
        """Of every setting by name, where it comes from."""
        return origins(self._flags)

    @cached_property
    def database(self) -> Database:
        """The ledger's database; an embedded one runs until the end of the command."""
        settings = self.settings
        check_database(settings)
        if settings.embedded:
            from reconciler.embedded import EmbeddedPostgres

            url = self._opened.enter_context(EmbeddedPostgres(settings.embedded_dir).running())
        else:
            assert settings.database_url is not None  # noqa: S101 - it was checked
            url = settings.database_url.get_secret_value()
        database = Database(
            url,
            connect_timeout=settings.database_connect_timeout,
            lock_timeout=settings.lock_timeout,
        )
        return self._opened.enter_context(closing(database))

    @cached_property
    def dialect(self) -> Dialect:
        """What the tenants are called."""
        settings = self.settings
        return Dialect(
            group=settings.api_group,
            kind=settings.kind,
            org_label=settings.org_label,
            managed_fields=settings.managed_fields,
        )

    def cluster(self, progress: Callable[[str], object] | None = None) -> "ClusterSource":
        """The cluster; `progress` is told how far its list is."""
        from reconciler.sources.cluster import ClusterSource
        from reconciler.sources.cluster_settings import ClusterSettings

        settings, tell = self.settings, progress or self.progress
        return ClusterSource(
            ClusterSettings(
                dialect=self.dialect,
                plural=settings.plural,
                version=settings.api_version,
                kubeconfig=settings.kubeconfig,
                context=settings.context,
                page_size=settings.page_size,
                compress=settings.compress,
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
                list_timeout=settings.list_timeout,
                watch_silence=settings.watch_silence,
            ),
            progress=lambda count, total: tell(_listing(count, total)),
        )

    def files(
        self,
        paths: Sequence[str],
        observed_at: datetime | None,
        known: Callable[[], frozenset[bytes]] | None = None,
    ) -> Sequence["FileSource"]:
        """The snapshots in those files, oldest first; `observed_at` dates a single one.

        `known` are the fingerprints of the tenants that need not be read.
        """
        from reconciler.sources.files import file_sources

        cluster_uid = self.settings.cluster_uid
        return file_sources(paths, observed_at, self.dialect, cluster_uid, known)

    def known(self, ledger: "PostgresLedger | DryRunLedger") -> Callable[[], frozenset[bytes]]:
        """The fingerprints of the tenants that need not be read."""
        return frozenset if self.settings.read_all else ledger.fingerprints

    def limits(self, *, allow_deletions: int | None = None, adopt_cluster: bool = False) -> Limits:
        """What a pass may write without being asked again."""
        return Limits(
            brake_floor=self.settings.brake_floor,
            brake_percent=self.settings.brake_percent,
            allow_deletions=allow_deletions,
            adopt_cluster=adopt_cluster,
        )


def _listing(count: int, total: int | None) -> str:
    of = "" if total is None else f" of {total:,}"
    return f"listing tenants: {count:,}{of}" if count else ""


def _with_hint(variable: str) -> str:
    known = [options.variable(option) for option in options.ALL]
    close = difflib.get_close_matches(variable, known, n=1)
    return f"{escaped(variable)} (did you mean {close[0]}?)" if close else escaped(variable)
