"""How true the ledger's times are: `python -m tests.proofs.truth [--seed N] [--changes 200000]`.

Exits 1 where a row's interval does not hold the truth, naming seed, cluster and change.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tests.proofs.truth.measure import Measured
from tests.proofs.truth.reconcile import INTERVALS
from tests.proofs.truth.report import report
from tests.proofs.truth.shards import Key, Shard, all_measured

SHOWN = 20
"""Violations."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.truth", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes", type=int, default=200_000, help="that count, over all clusters")
    parser.add_argument("--cluster", type=int, help="only the one of that number")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    chosen = parser.parse_args(arguments)
    shards: Iterable[Mapping[Key, Measured]] = (
        all_measured(chosen.seed, chosen.changes, chosen.jobs)
        if chosen.cluster is None
        else [Shard(chosen.seed, chosen.cluster).measured()]
    )
    totals: defaultdict[Key, Measured] = defaultdict(Measured)
    for shard in shards:
        for key, measured in shard.items():
            totals[key] += measured
        if sys.stderr.isatty():
            print(f"\r{totals[INTERVALS[0], True].changes} changes", end="\r", file=sys.stderr)
    print(report(totals, chosen.seed))
    violations = [violation for measured in totals.values() for violation in measured.violations]
    for violation in violations[:SHOWN]:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
