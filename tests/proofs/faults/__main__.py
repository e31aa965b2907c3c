"""`python -m tests.proofs.faults`: the long form of the fault suite; see `suite`."""

import argparse
import logging
import secrets
import sys
import time

from tests.proofs.faults.suite import Tally, run
from tests.proofs.faults.world import laboratory


def main() -> int:
    """Prints the table; 1 where a row was lost or doubled, or anything else was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--passes", type=int, default=2000, help="how many passes faults strike")
    parser.add_argument("--catch-up", action="store_true", help="the passes catch up on the watch first")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    print(f"seed {given.seed}, {given.passes} passes", flush=True)
    began, tally = time.monotonic(), Tally()
    with laboratory() as lab:
        for tally in run(lab, given.seed, given.passes, catches_up=given.catch_up):
            if sys.stderr.isatty():
                print(f"\r{tally.passes} passes", end="", file=sys.stderr, flush=True)
    print(*tally.table(), sep="\n")
    print(*tally.broken, sep="\n")
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s")
    return 0 if tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
