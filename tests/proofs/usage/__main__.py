"""The usage functions, proven and measured: `python -m tests.proofs.usage [--seed N] [--months 10000]`.

Compares the SQL with a slow, obvious Python version over random tenant-months; with `--measure`, tells
instead how long a month takes next to one lead() over its rows. Exits 1 where something differs.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg

from reconciler.embedded import EmbeddedPostgres
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database
from tests.proofs.usage.comparison import Compared, compared
from tests.proofs.usage.measure import Scale, measured, measured_of_one

SHOWN = 20
"""Differences."""
OF_ONE = Scale(5_000, 1_000_000)
"""The ledger of which one organisation is asked for."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.usage", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--months", type=int, default=10_000, help="tenant-months to compare, or more")
    parser.add_argument("--measure", action="store_true", help="measure instead")
    parser.add_argument("--tenants", type=int, default=10_000, help="to measure with")
    parser.add_argument("--events", type=int, default=10_000_000, help="skill events to measure with")
    chosen = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="usage-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "server", durable=False).running() as url:
            if chosen.measure:
                with empty_ledger(url) as connection:
                    print(*measured(connection, Scale(chosen.tenants, chosen.events)), sep="\n")
                with empty_ledger(url) as connection:
                    print(*measured_of_one(connection, OF_ONE), sep="\n")
                return 0
            return _compare(url, chosen.seed, chosen.months)


def _compare(url: str, seed: int, wanted: int) -> int:
    found: list[Compared] = []
    months = 0
    while months < wanted:
        with empty_ledger(url) as connection:
            found += compared(connection, seed)
        months = sum(one.tenant_months for one in found)
        seed += 1
        if sys.stderr.isatty():
            print(f"\r{months} tenant-months", end="\r", file=sys.stderr)
    different = [one for one in found if one.differences]
    skill_days = sum(one.skill_days for one in found)
    changes = sum(one.price_changes for one in found)
    print(
        f"{months} tenant-months with {skill_days} skill-days, "
        f"{changes} lines that begin with a change of price; {len(different)} months differ"
    )
    for one in different[:SHOWN]:
        print(f"seed {one.seed}, {one.asked}:")
        print(*one.differences[:SHOWN], sep="\n")
    return 1 if different else 0


@contextmanager
def empty_ledger(url: str) -> Iterator[psycopg.Connection[object]]:
    """A database of its own, with the schema and nothing in it."""
    name = f"ledger_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        ours = url.replace("@/postgres?", f"@/{name}?")
        database = Database(ours, connect_timeout=5, lock_timeout=5)
        schema.apply(database)
        database.close()
        with psycopg.connect(ours, autocommit=True) as connection:
            yield connection
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


if __name__ == "__main__":
    sys.exit(main())
