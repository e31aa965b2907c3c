"""A long storm: `python -m tests.proofs.storm [--seed N] [--changes N] [--runs]`.

The loop with `--watch` follows tens of thousands of changes while streams are cut, and the reconciler,
the database and the API server are restarted, by chance and by seed. With `--runs`, it is `run` that is
started again and again, as by a CronJob, and the API server restarts at any moment as well. Then the
ledger is compared with the truth, row by row. Exits with 1 where it is another one, or where the lag of
the loop at 50 changes a second is longer than it may be in the median.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import psycopg

from reconciler.embedded import EmbeddedPostgres
from tests.apiserver import ApiServer
from tests.proofs.storm.comparison import Findings, compare
from tests.proofs.storm.resident import (
    NOT_OF_THE_STORM,
    Ledger,
    Resident,
    Scheduled,
    disturbances,
    verified,
)
from tests.proofs.storm.writer import Storm
from tests.simulation import Truth
from tests.waiting import until

CALM: Final = 1500
"""Changes, at 50 a second and undisturbed, of which the lag is measured."""
AT_ONCE: Final = 2500
"""Changes between two restarts of the API server."""
TENANTS: Final = 200


def settle(resident: Resident, ledger: Ledger) -> None:
    """Waits until all that was written to the store has reached the ledger."""
    last = resident.server.tenants.create(f"{NOT_OF_THE_STORM}{time.monotonic_ns()}", [])["metadata"]
    revision = int(last["resourceVersion"])
    until(lambda: ledger.position() >= revision, 120)


def blow(
    storm: Storm, resident: Resident, ledger: Ledger, postgres: EmbeddedPostgres, seed: int
) -> Counter[str]:
    """One storm to its end, disturbed all the while."""

    def restart() -> None:
        postgres._run("pg_ctl", "restart", "-w", "-m", "immediate", "-D", str(postgres._data))

    seen: Counter[str] = Counter()
    chance = Random(seed)  # noqa: S311
    over = threading.Event()
    with storm:
        for name in disturbances(resident, ledger, restart, seed):
            seen[name] += 1
            over.wait(chance.uniform(0.2, 1.5))
            if not storm.is_blowing:
                break
        storm.join(600)
    return seen


def report(found: Findings, seen: Counter[str], calm: list[float], longest_lag: float) -> int:
    """Prints what came of it; returns the exit status."""
    for name, count in sorted(seen.items()):
        print(f"{name:<34} {count:>8}")
    print(f"{'changes':<34} {found.changes:>8,}")
    print(f"{'lost, doubled, merged or misplaced':<34} {len(found.missing):>8}")
    print(f"{'outside their interval':<34} {len(found.early):>8}")
    print(f"{'not seen, in a recorded gap':<34} {found.in_gaps:>8,}")
    median = statistics.median(calm)
    print(f"{'lag at 50 a second, median':<34} {median * 1000:>5.0f} ms")
    print(
        f"{'  99 of 100 are shorter than':<34} {statistics.quantiles(calm, n=100)[98] * 1000:>5.0f} ms"
    )
    for one in (*found.missing[:20], *found.early[:20]):
        print(one)
    return int(not found.are_none or median > longest_lag)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.storm", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=150)
    parser.add_argument("--runs", action="store_true", help="`run` from a scheduler, not the loop")
    parser.add_argument("--lag", type=float, default=0.25, help="seconds; for an idle machine")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    with tempfile.TemporaryDirectory() as name, ApiServer(token="storm") as server:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        with postgres.running() as url:
            ledger = Ledger(url)
            resident = (Scheduled if given.runs else Resident)(server, url, folder)
            seen: Counter[str] = Counter()
            truth = Truth(server.tenants, lambda key: not key.startswith(NOT_OF_THE_STORM))
            first = Storm(server.tenants, given.seed, TENANTS, 50, changes=CALM, linger=10, most_weak=5)
            first.fill()
            resident.start()
            until(lambda: _began(ledger))
            with first:
                first.join(600)
            settle(resident, ledger)
            calm = compare(first.truth, ledger).lags
            number = 0
            while len(truth) < given.changes:
                number += 1
                storm = Storm(
                    *(server.tenants, given.seed + number, TENANTS, given.rate),
                    changes=AT_ONCE,
                    linger=3,
                    most_weak=5,
                    prefix=f"storm{number}-",
                )
                storm.fill()
                settle(resident, ledger)
                seen += blow(storm, resident, ledger, postgres, given.seed + number)
                settle(resident, ledger)
                server.stop()
                server.start()
                seen["API server restarted"] += 1
                settle(resident, ledger)
            found = compare(truth, ledger)
            if not found.are_none:
                print(resident.logs[-20_000:], file=sys.stderr)
            resident.end()
            status, findings = verified(url)
            print(findings, end="")
    return report(found, seen, calm, given.lag) or status


def _began(ledger: Ledger) -> bool:
    try:
        return ledger.position() > 0
    except psycopg.Error:
        return False


if __name__ == "__main__":
    sys.exit(main())
