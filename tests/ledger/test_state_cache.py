"""What a ledger keeps between two passes is good only while nobody else has written."""

from datetime import UTC, datetime

from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass
from reconciler.sources.files import FileSource
from tests.conftest import SAMPLES, open_database


def source(name: str, hour: int) -> FileSource:
    path = next(SAMPLES.glob(f"tenants-{name}*.json"))
    return FileSource(str(path), datetime(2026, 11, 4, hour, tzinfo=UTC), Dialect())


def test_what_was_kept_is_forgotten_once_somebody_else_has_written(ledger_url: str) -> None:
    ours, theirs = open_database(ledger_url), open_database(ledger_url)
    first, second = PostgresLedger(ours), PostgresLedger(theirs)
    limits = Limits(allow_deletions=100)
    assert run_pass(source("20261101", 6), first, limits).plan.changes
    assert run_pass(source("20261104", 7), second, limits).plan.changes
    assert not run_pass(source("20261104", 8), first, limits).plan.changes
    ours.close()
    theirs.close()
