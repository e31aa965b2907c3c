"""A loop left alone: `python -m tests.proofs.storm.growth [--passes N] [--tenants N]`.

How much more memory it has after so many passes than after the first hundred, on tenants of which some
change now and then. Exits with 1 where it is 2 % or more.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from reconciler.embedded import EmbeddedPostgres
from tests.apiserver import ApiServer
from tests.proofs.storm.resident import Ledger
from tests.simulation.writes import SKILLS
from tests.waiting import until

SETTLED: Final = 100
MOST: Final = 0.02


def memory(process: "subprocess.Popen[bytes]") -> int:
    """Its resident memory, in bytes."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.storm.growth", description=__doc__)
    parser.add_argument("--passes", type=int, default=1000)
    parser.add_argument("--tenants", type=int, default=1000)
    given = parser.parse_args()
    chance = Random(1)  # noqa: S311
    with tempfile.TemporaryDirectory() as name, ApiServer(token="growth") as server:
        folder = Path(name)
        folder.chmod(0o755)
        for number in range(given.tenants):
            server.tenants.create(f"tenant-{number}", chance.sample(SKILLS, 5))
        with EmbeddedPostgres(folder / "postgres", durable=False).running() as url:
            ledger = Ledger(url)
            command = [sys.executable, "-m", "reconciler", "loop", "--interval", "10ms"]
            process = subprocess.Popen(
                [*command, "--health-port", "0", "--database-url", url, "--log-level", "warning"],
                stdout=subprocess.DEVNULL,
                env={**os.environ, "KUBECONFIG": str(server.kubeconfig(folder / "kubeconfig"))},
            )

            def reached(count: int) -> bool:
                name = f"tenant-{chance.randrange(given.tenants)}"
                server.tenants.patch(name, spec={"packages": chance.sample(SKILLS, 5)})
                time.sleep(0.1)
                return bool(ledger.ask("SELECT count(*) FROM reconciler_passes")[0][0] >= count)

            until(lambda: bool(ledger.ask("SELECT to_regclass('reconciler_digests')")[0][0]))
            until(lambda: reached(SETTLED), 300)
            before = memory(process)
            until(lambda: reached(SETTLED + given.passes), 1800)
            after = memory(process)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    growth = after / before - 1
    print(f"after {SETTLED} passes on {given.tenants} tenants {before / 2**20:.1f} MiB")
    print(f"after {given.passes} more  {after / 2**20:.1f} MiB: {growth:+.1%} (less than {MOST:.0%})")
    return int(growth >= MOST)


if __name__ == "__main__":
    sys.exit(main())
