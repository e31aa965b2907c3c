"""What replaying an archive costs: `python -m tests.proofs.replay [--dumps N] [--tenants N]`.

The command, over a folder of nightly dumps into an empty ledger on a Postgres that waits for its disk,
against the sum of what nobody can do without: decoding the files, as many empty transactions, and as
many readings of the known state. Exits with 1 where it is more than 1.5 times that.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from reconciler.core.reading import Dialect
from reconciler.embedded import EmbeddedPostgres
from reconciler.ledger.postgres import Database
from reconciler.ledger.state_reader import known_state
from reconciler.sources.files import FileSource, file_sources

MOST: Final = 1.5
CHANGES_A_NIGHT: Final = 5
SKILLS: Final = [f"skill-{number:02}" for number in range(20)]
FIRST: Final = datetime(2024, 1, 1, 5, tzinfo=UTC)


def dumps(folder: Path, nights: int, tenants: int) -> None:
    """Nightly dumps of tenants of about 3 KB with ten skills, of which a few toggle one each night."""
    chance = random.Random(1)  # noqa: S311
    items = [tenant(number, chance) for number in range(tenants)]
    for night in range(nights):
        for item in chance.sample(items, CHANGES_A_NIGHT):
            packages, skill = item["spec"]["packages"], chance.choice(SKILLS)
            if skill in packages:
                packages.remove(skill)
            else:
                packages.append(skill)
        body = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}
        instant = FIRST + timedelta(days=night)
        (folder / f"tenants-{instant:%Y%m%dT%H%M%SZ}.json").write_text(json.dumps(body))


def tenant(number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "apiVersion": "pieced.ch/v1alpha1",
        "kind": "PiecedTenant",
        "metadata": {
            "name": f"tenant-{number:05}",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "creationTimestamp": "2023-06-01T00:00:00Z",
            "labels": {"pieced.ch/zitadel-org-id": str(320815470900000000 + number // 3)},
            "annotations": {"pieced.ch/note": "x" * 1800},
        },
        "spec": {"packages": chance.sample(SKILLS, 10), "suspend": False},
        "status": {"conditions": [{"type": "Ready", "status": "True", "message": "y" * 600}]},
    }


@contextmanager
def timed(what: str, taken: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    taken[what] = time.perf_counter() - started


def times(count: int, action: Callable[[], object]) -> None:
    for _ in range(count):
        action()


def measure(folder: Path, nights: int) -> dict[str, float]:
    """Seconds for the command, and for each of the parts."""
    taken: dict[str, float] = {}
    # Not as FileSource: decoded and read, and forgotten.
    sources = file_sources([str(folder / "dumps")], None, Dialect())
    with EmbeddedPostgres(folder / "postgres").running() as url:
        database = Database(url, connect_timeout=10, lock_timeout=10)

        def empty() -> None:
            with database.transaction() as transaction:
                transaction.execute("SELECT")

        def read() -> None:
            with database.transaction(read_only=True) as transaction:
                known_state(transaction)

        command = [sys.executable, "-m", "reconciler", "run", "--snapshot", str(folder / "dumps")]
        with timed("replay", taken):
            subprocess.run([*command, "--database-url", url], check=True, stdout=subprocess.DEVNULL)
        with timed("decoding the files", taken):
            for source in sources:
                FileSource.snapshot(source)
        with timed("empty transactions", taken):
            times(nights, empty)
        with timed("readings of the state", taken):
            times(nights, read)
        database.close()
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.replay", description=__doc__)
    parser.add_argument("--dumps", type=int, default=1000)
    parser.add_argument("--tenants", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Where the server runs as another user, it gets through to its own folder.
        folder.chmod(0o755)
        (folder / "dumps").mkdir()
        dumps(folder / "dumps", given.dumps, given.tenants)
        taken = measure(folder, given.dumps)
    replay = taken.pop("replay")
    for what, seconds in taken.items():
        print(f"{what:<22} {seconds:6.2f} s")
    ratio = replay / sum(taken.values())
    print(f"{'replay':<22} {replay:6.2f} s, {ratio:.2f} times their sum (at most {MOST})")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
