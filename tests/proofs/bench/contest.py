"""Who is measured, and at what: each a real process, or several, on a ledger made ready for it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Final, NamedTuple, Self, TypeAlias

from tests.proofs.bench import measure, pages
from tests.proofs.bench.ledgers import FINGERPRINTS, PORTAL, SCHEMA, STATE, Server
from tests.proofs.bench.tenants import API_VERSION, CHANGED_EVERY, SKILLS_EACH, State, name
from tests.proofs.bench.wire import Traffic, Wire

REPOSITORY: Final = Path(__file__).parents[3]
RECONCILER: Final = str(Path(sys.executable).with_name("reconciler"))

KUBECTL_PIPE: Final = "kubectl get -o json | jq | psql \\copy"
CURL_PIPE: Final = "curl | jq | psql \\copy (kubectl is not installed)"

Size: TypeAlias = int


@dataclass(frozen=True)
class Taken:
    """What a process took, and those that it started; times in seconds, memory in bytes."""

    wall: float
    cpu: float
    peak: int
    """Of the largest process."""

    def __add__(self, other: "Taken") -> "Taken":
        """One after the other."""
        return Taken(self.wall + other.wall, self.cpu + other.cpu, max(self.peak, other.peak))


class Phase(NamedTuple):
    """What one phase of a pass took; times in seconds."""

    name: str
    wall: float
    cpu: float


class Profile(NamedTuple):
    """A pass, and its phases."""

    taken: Taken
    phases: Sequence[Phase]


@dataclass
class Results:
    """All that was measured: of each contestant, by size, the runs of each round."""

    taken: dict[tuple[str, Size], dict[int, list[Taken]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    counted: dict[tuple[str, Size], Traffic] = field(default_factory=dict)
    """What went over the wire to Postgres, in a run that was not timed."""
    touched: dict[int, int] = field(default_factory=dict)
    """Blocks that a pass without a change looked at, by the length of the history."""
    skipped: list[str] = field(default_factory=list)

    def runs(self, what: str, size: Size) -> list[Taken]:
        return [taken for rounds in self.taken.get((what, size), {}).values() for taken in rounds]

    def per_round(self, what: str, size: Size, of: Callable[[Taken], float]) -> Mapping[int, float]:
        rounds = self.taken.get((what, size), {})
        return {number: mean(map(of, runs)) for number, runs in rounds.items()}


class Failed(Exception):
    """A contestant did not do what it is measured at."""


class Contest:
    """The tenants, the servers, and the folder in which the contestants work."""

    def __init__(self, folder: Path, server: Server, sizes: Sequence[Size], *, large: Size = 0) -> None:
        self.folder = folder
        self.server = server
        self.results = Results()
        self.round = 0
        self._sets = {
            **{f"{size}": (size, False, State.AS_BEFORE) for size in sizes},
            **{
                f"{size}-{state}": (size, False, state)
                for size in sizes
                for state in (State.CHANGED, State.HEARTBEAT, State.LABELLED)
                if size >= CHANGED_EVERY
            },
            **({f"{large}-large": (large, True, State.AS_BEFORE)} if large else {}),
        }
        self._shown = {size: str(size) for size in sizes}
        self._kubeconfig = folder / "kubeconfig"
        self._address = ""

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Makes the pages, and serves them until the end of the block."""
        made = self.folder / "pages"
        makers = [
            # Processes of their own: what this one needs, its children seem to need too.
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.proofs.bench.pages",
                    str(made / name),
                    *map(str, of),
                ],
                cwd=REPOSITORY,
            )
            for name, of in self._sets.items()
        ]
        if any(maker.wait() for maker in makers):
            raise Failed("the pages could not be made")
        with subprocess.Popen(
            [sys.executable, "-m", "tests.proofs.bench.server", str(made)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as serving:
            assert serving.stdout is not None
            self._address = f"http://127.0.0.1:{serving.stdout.readline().strip()}"
            try:
                yield self
            finally:
                serving.terminate()

    # What the others do.

    def download(self, size: Size) -> Taken:
        """The pages, by curl, over one connection, with gzip; nobody looks into them."""
        return self._timed(["curl", *_CURL, "--config", str(self._curl_config(size))])

    def floor(self, size: Size, rows: Path) -> Taken:
        """The pages downloaded, and the rows of a finished ledger copied into an empty one."""
        self._fresh("floor", SCHEMA)
        downloaded = self.download(size)
        copied = self._timed(self.server.psql("floor", "--single-transaction", "-f", str(rows)))
        self.record("floor: backfill", size, downloaded + copied)
        self.record("floor: download", size, downloaded)
        self.record("floor: copy", size, copied)
        self.server.drop("floor")
        return downloaded

    def read(self, size: Size, downloaded: Taken) -> None:
        """The pages downloaded, and the known state or the fingerprints read, by psql."""
        for what, query, read in (
            ("floor: no change", STATE, "floor: state"),
            ("floor: no change, by fingerprints", FINGERPRINTS, "floor: fingerprints"),
        ):
            statement = " ".join(f"\\copy ({query}) to '/dev/null' (format binary)".split())
            taken = self._timed(self.server.psql(ledger(size), "-c", statement))
            self.record(what, size, downloaded + taken)
            self.record(read, size, taken)

    def pipe(self, size: Size) -> None:
        """A staging table filled from the list, and one INSERT … SELECT … ON CONFLICT; twice."""
        if not shutil.which("jq"):
            self.skip("pipe: jq is not installed")
            return
        if shutil.which("kubectl"):
            kind = KUBECTL_PIPE
            listed = f"kubectl get piecedtenants.{API_VERSION.partition('/')[0]} -o json"
        else:
            kind = CURL_PIPE
            listed = f"curl {shlex.join(_CURL)} --config {self._curl_config(size, output='-')}"
        self._fresh("pipe", PORTAL)
        script = self.folder / "pipe.sql"
        script.write_text(_STAGING)
        copying = shlex.join(self.server.psql("pipe", "--single-transaction", "-f", str(script)))
        line = f"set -o pipefail; {listed} | jq -r {shlex.quote(_ROWS)} | {copying}"
        for what in ("backfill", "no change"):
            self._aim(str(size))
            self.record(f"pipe: {what}", size, self._timed(["bash", "-c", line]))
        if kind != KUBECTL_PIPE:
            self.skip(f"pipe is {kind}")
        self._check_rows("pipe", size)
        self.server.drop("pipe")

    def per_row(self, size: Size) -> None:
        """One INSERT for each event, committed on its own."""
        self._fresh("per_row", PORTAL)
        database = self.server.url("per_row")
        command = [
            sys.executable,
            "-m",
            "tests.proofs.bench.per_row",
            f"{self._address}/{size}",
            database,
        ]
        self.record("per row: backfill", size, self._timed(command))
        self._check_rows("per_row", size)
        self.server.drop("per_row")

    # What we do.

    def backfill(self, size: Size, *, wire: Wire | None = None) -> None:
        """A pass over an empty ledger; it is kept where it is the first of its size."""
        database = ledger(size) if wire else "backfill"
        self._fresh(database, SCHEMA)
        expected = f"{size} created, {SKILLS_EACH * size} enabled"
        self._run("backfill", size, database, expected, wire=wire)
        if wire:
            # What autovacuum would do, soon after.
            self.server.run(database, "VACUUM ANALYZE")
        else:
            self.server.drop(database)

    def no_change(self, size: Size, *, wire: Wire | None = None, large: bool = False) -> None:
        """A pass over a ledger that knows it all."""
        listed = f"{size}-large" if large else self._shown[size]
        what = "no change, 12 KB each" if large else "no change"
        self._run(what, size, ledger(size), "no change", wire=wire, listed=listed)

    def unbilled(self, size: Size) -> None:
        """Two passes in which every tenant has changed, but nothing of it counts."""
        for state, what in ((State.HEARTBEAT, "heartbeat on all"), (State.LABELLED, "label on all")):
            self._run(what, size, ledger(size), "no change", wire=None, listed=f"{size}-{state}")

    def profile(self, size: Size) -> Profile:
        """The same, taken apart; it is not recorded."""
        self._aim(self._shown[size])
        self.server.settle()
        command = [sys.executable, "-m", "tests.proofs.bench.phases"]
        taken = self._timed(command, RECONCILER_DATABASE_URL=self.server.url(ledger(size)))
        *_, phases = (self.folder / "stdout").read_text().splitlines()
        return Profile(taken, [Phase(*phase) for phase in json.loads(phases)])

    def one_percent(self, size: Size, *, wire: Wire | None = None) -> None:
        """A pass in which every hundredth tenant has one skill more or, the next time, less."""
        expected = self._show_other(size)
        self._run("1 % changed", size, ledger(size), expected, wire=wire)

    def dry_run(self, size: Size, *, wire: Wire | None = None) -> None:
        """The same 1 %, planned and printed."""
        expected = f"{self._show_other(size)}; dry run"
        self._run("dry run", size, ledger(size), expected, "--dry-run", wire=wire)
        self._show_other(size)

    def lengthened(self, size: Size, rows: int, database: str, *, wire: Wire | None = None) -> None:
        """A pass without a change over a ledger with a history of that many event rows."""
        before = self.server.touched(database)
        self._run("no change, by history", rows, database, "no change", wire=wire, listed=str(size))
        self.results.touched.setdefault(rows, self.server.touched(database) - before)

    def start_up(self) -> None:
        """What it takes to start, and what that is compared with."""
        python = sys.executable
        self.record("python -c pass", 0, self._timed([python, "-c", "pass"]))
        self.record("reconciler --help", 0, self._timed([RECONCILER, "--help"]))

    def imports(self) -> None:
        imported = "import kubernetes.client, kubernetes.config, psycopg"
        self.record("python imports", 0, self._timed([sys.executable, "-c", imported]))

    def record(self, what: str, size: Size, taken: Taken) -> None:
        self.results.taken[what, size][self.round].append(taken)

    def skip(self, why: str) -> None:
        if why not in self.results.skipped:
            self.results.skipped.append(why)

    def _run(
        self,
        what: str,
        size: Size,
        database: str,
        expected: str,
        *flags: str,
        wire: Wire | None,
        listed: str | None = None,
    ) -> None:
        """One `reconciler run`; through the wire it is counted, without it is timed."""
        self._aim(listed or self._shown[size])
        url = wire.url(database) if wire else self.server.url(database)
        self.server.settle()
        taken = self._timed([RECONCILER, "run", *flags], RECONCILER_DATABASE_URL=url)
        if wire:
            self.results.counted[f"ours: {what}", size] = wire.taken()
            self.results.taken[f"ours, counted: {what}", size][self.round].append(taken)
        else:
            self.record(f"ours: {what}", size, taken)
        said = (self.folder / "stdout").read_text().splitlines()[-1]
        if expected not in said:
            raise Failed(f"{what}, {size}: expected “{expected}”, and it said: {said}")

    def _timed(self, command: Sequence[str], **environment: str) -> Taken:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RECONCILER_", "PG", "KUBE"))
        }
        kept |= {"HOME": str(self.folder), "RECONCILER_KUBECONFIG": str(self._kubeconfig)}
        # The floor is a list and no watch.
        kept["RECONCILER_CATCH_UP"] = "false"
        kept |= {"KUBECONFIG": str(self._kubeconfig), "PYTHONPATH": str(REPOSITORY)}
        outputs = [str(self.folder / "stdout"), str(self.folder / "stderr")]
        done = subprocess.run(
            [sys.executable, "-I", "-S", measure.__file__, *outputs, *command],
            cwd=self.folder,
            env=kept | environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        taken = json.loads(done.stdout)
        if taken.pop("status"):
            said = (self.folder / "stderr").read_text(errors="replace")
            raise Failed(f"{shlex.join(command)} failed: {said[-2000:]}")
        return Taken(**taken)

    def _fresh(self, database: str, template: str) -> None:
        self.server.create(database, template)
        self.server.settle()

    def _show_other(self, size: Size) -> str:
        """Turns every hundredth tenant into what it was not; returns what a pass says of that."""
        other = f"{size}-{State.CHANGED}"
        changing = self._shown[size] != other
        self._shown[size] = other if changing else f"{size}"
        return f": {size // CHANGED_EVERY} {'enabled' if changing else 'disabled'}"

    def _aim(self, listed: str) -> None:
        """Lets kubeconfig mean that cluster."""
        self._kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "bench",
                    "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
                    "clusters": [{"name": "bench", "cluster": {"server": f"{self._address}/{listed}"}}],
                    "users": [{"name": "bench", "user": {}}],
                }
            )
        )

    def _curl_config(self, size: Size, *, output: str = "/dev/null") -> Path:
        """All pages of a list, as if their tokens were known."""
        from tests.proofs.bench.server import continue_token

        base = f"{self._address}/{size}/apis/{API_VERSION}/piecedtenants?limit={pages.PAGE_SIZE}"
        lines = []
        for first in range(0, size, pages.PAGE_SIZE):
            token = f"&continue={continue_token(name(first - 1), 1_000_000)}" if first else ""
            lines += [f'url = "{base}{token}"', f'output = "{output}"']
        config = self.folder / f"curl-{size}"
        config.write_text("\n".join(lines))
        return config

    def _check_rows(self, database: str, size: Size) -> None:
        found = self.server.rows(database, "SELECT count(*) FROM tenant_skill_events")[0][0]
        if found != SKILLS_EACH * size:
            raise Failed(f"{database} wrote {found} events of {size} tenants")


def ledger(size: Size) -> str:
    """The name of the ledger of that many tenants."""
    return f"ledger_{size}"


_CURL: Final = ("--silent", "--show-error", "--fail", "--compressed")

_ROWS: Final = """\
.items[] | .metadata as $of | .spec.packages[] | [$of.name, ., "enabled", $of.creationTimestamp] | @tsv
"""
_STAGING: Final = """\
CREATE TEMP TABLE staging (tenant_name text, skill_id text, event_kind text, occurred_at timestamptz);
\\copy staging from pstdin
INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)
SELECT * FROM staging ON CONFLICT DO NOTHING;
"""
