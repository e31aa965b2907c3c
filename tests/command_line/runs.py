"""Runs over two samples, and what they print in short."""

from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import SAMPLES, Command, Ran

Ledger = psycopg.Connection[Any]

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
SECOND = SAMPLES / "tenants-20261104T060000Z.json"
OBSERVED = "2026-11-22T16:00:00Z"


def ran(
    command: Command, *arguments: str | Path, status: int = 0, stdin: bytes = b"", **settings: str
) -> Ran:
    done = command("run", *arguments, stdin=stdin, **settings)
    assert done.status == status, (done.status, done.out, done.err)
    return done


def kinds(rows: list[dict[str, Any]]) -> list[tuple[str | None, ...]]:
    return [(row["tenantName"], row["kind"], row["skillId"]) for row in rows]
