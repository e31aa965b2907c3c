"""Snapshots from files: what `kubectl get piecedtenants -A -o json` (or `-o yaml`) printed."""

import errno
import gzip
import hashlib
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from reconciler.core.fingerprint import is_ahead
from reconciler.core.reading import Dialect, NotTheList, read_page, read_tenants
from reconciler.core.rfc3339 import instant
from reconciler.core.tenant import Snapshot
from reconciler.core.text import quoted
from reconciler.errors import SnapshotError, UsageError
from reconciler.sources.documents import as_json

STDIN: Final = "-"
LONGEST_PATH: Final = 300

_SUFFIXES: Final = (".json", ".yaml", ".yml", ".json.gz", ".yaml.gz", ".yml.gz")
_TIME_IN_NAME: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)|\d{8}T\d{6}Z", re.ASCII
)


class FileSource:
    """One file, or stdin, as of one instant."""

    is_live = False

    def __init__(
        self,
        path: str,
        observed_at: datetime,
        dialect: Dialect,
        cluster_uid: str | None = None,
        known: Callable[[], frozenset[bytes]] | None = None,
    ) -> None:
        """`known` are the fingerprints of the tenants that need not be read."""
        self.name = "stdin" if path == STDIN else path
        self.observed_at = observed_at
        self._path = path
        self._dialect = dialect
        self._cluster_uid = cluster_uid
        self._known = known
        self._from_stdin: bytes | None = None

    def digest(self) -> str:
        """The SHA-256 of its content, compressed or not. Raises SnapshotError."""
        with self._reading():
            return _digest(self._content())

    def snapshot(self) -> Snapshot:
        """Raises SnapshotError where the file cannot be read or is no list of tenants."""
        with self._reading():
            content = self._content()
            body, known = as_json(content), self._known() if self._known else None
            page = read_page(body, self._dialect, kubectl=True, known=known)
            unchanged = frozenset(page.unchanged)
            if len(unchanged) < len(page.unchanged) or is_ahead(page.newest, self.observed_at):
                # Only reading them tells what is wrong with them.
                page, unchanged = read_page(body, self._dialect, kubectl=True), frozenset()
            if page.continue_token:
                raise NotTheList("only one page of a longer list")
            tenants, unreadable = read_tenants(
                page.items, self.observed_at, self._dialect, page.fingerprints
            )
        return Snapshot(
            tenants=tenants,
            unreadable=unreadable,
            asked_at=self.observed_at,
            observed_at=self.observed_at,
            cluster_uid=self._cluster_uid,
            resource_version=page.resource_version or None,
            source=Path(self.name).name.encode(errors="surrogateescape").decode(errors="replace"),
            digest=_digest(content),
            unchanged=unchanged,
        )

    def _content(self) -> bytes:
        if self._path != STDIN:
            return _content(self._path)
        # It can be read only once, and a pass may have to be made again.
        if self._from_stdin is None:
            self._from_stdin = _content(STDIN)
        return self._from_stdin

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SnapshotError(f"cannot read {_named(self.name)}: {error.strerror or error}") from None
        except NotTheList as problem:
            raise SnapshotError(
                f"{_named(self.name)} is not a snapshot: {problem}. Make one with `kubectl get "
                "piecedtenants -A -o json --show-managed-fields`; keep it only if kubectl exits with 0"
            ) from None


def file_sources(
    paths: Sequence[str],
    observed_at: datetime | None,
    dialect: Dialect,
    cluster_uid: str | None = None,
    known: Callable[[], frozenset[bytes]] | None = None,
) -> Sequence[FileSource]:
    """The snapshots in files and folders, oldest first.

    When each was taken is told by its name (`tenants-20261122T050000Z.json`) or, for a single one,
    by `observed_at`. Raises UsageError where nothing tells, or where a name tells several times.
    """
    files = [file for path in paths for file in _expanded(path)]
    if not files:
        raise UsageError(f"no snapshot in {_named(paths[0])}: expected *.json or *.yaml, also .gz")
    if observed_at is not None and len(files) > 1:
        raise UsageError(
            "--observed-at is for a single snapshot; several need their times in their file names"
        )
    dated = [(observed_at or _instant(file), file) for file in files]
    dated.sort()
    return [FileSource(file, instant, dialect, cluster_uid, known) for instant, file in dated]


def _named(path: str) -> str:
    """A path for a message: of a long one, its end, which tells the file."""
    return quoted(path if len(path) <= LONGEST_PATH else f"…{path[-LONGEST_PATH:]}", LONGEST_PATH + 1)


def _expanded(path: str) -> Sequence[str]:
    if path == STDIN or not Path(path).is_dir():
        return [path]
    try:
        return [
            str(file)
            for file in Path(path).iterdir()
            # macOS leaves `._tenants.json` beside a file, and editors leave files like that.
            if file.name.lower().endswith(_SUFFIXES) and not file.name.startswith(".")
        ]
    except OSError as error:
        raise SnapshotError(f"cannot read {_named(path)}: {error.strerror}") from None


def _instant(path: str) -> datetime:
    """The one instant in a file's name."""
    told = set[datetime]()
    for text in _TIME_IN_NAME.findall(Path(path).name if path != STDIN else ""):
        with suppress(ValueError):
            told.add(
                instant(text) if "-" in text else datetime.strptime(text + "+0000", "%Y%m%dT%H%M%SZ%z")
            )
    if len(told) == 1:
        return told.pop()
    what = "stdin" if path == STDIN else _named(path)
    problem = "tells several times" if told else "does not tell when it was taken"
    advice = "" if path == STDIN else "name it like tenants-20261122T050000Z.json, or "
    raise UsageError(
        f"{what} {problem}: {advice}give --observed-at TIME (a single file only; `now` is a time)"
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _content(path: str) -> bytes:
    if path == STDIN and sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise NotTheList(f"cut or damaged gzip ({error})") from None
    return content.removeprefix(b"\xef\xbb\xbf").strip()
