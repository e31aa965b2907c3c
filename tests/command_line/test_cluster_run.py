"""`reconciler run` against a cluster: a process, an API server over HTTP, and a real Postgres."""

import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from reconciler.commands.parts import Parts
from reconciler.core.guard import Limits
from reconciler.core.rfc3339 import instant
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.passes import run_pass
from reconciler.sources.cluster import MOST_RESTARTS
from tests.apiserver import FAULTS, ApiServer, Json, Tenants
from tests.command_line.snapshots import COUNTS, content, row_counts
from tests.conftest import Command, Ran
from tests.waiting import PATIENCE, until

TOKEN = "token-of-the-reconciler"
CREATED = datetime(2026, 11, 1, tzinfo=UTC)
LOG_LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING) .+"

LIST_ALONE = {"RECONCILER_CATCH_UP": "false"}
"""For what is about a list, and not about each change that led to it (test_catch_up.py)."""

Connection = psycopg.Connection[Any]
Run = Callable[..., Ran]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Four tenants, who have five skills together."""
    with ApiServer(token=TOKEN) as server:
        create = server.tenants.create
        create("anna", ["mail", "wiki"], created=CREATED)
        create("bert", ["mail"], suspend=False, created=CREATED)
        create("cleo", ["mail", "mail"], created=CREATED)
        create("dora", ["chat"], created=CREATED, metadata={"finalizers": ["pieced.ch/cleanup"]})
        yield server


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return server.kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def run(command: Command, kubeconfig: Path) -> Run:
    """One pass over that cluster. Whatever comes of it, nothing shows the token or a traceback."""

    def run(*arguments: str, **settings: str) -> Ran:
        done = command("run", "--kubeconfig", kubeconfig, "--output", "json", *arguments, **settings)
        assert TOKEN not in done.out + done.err
        assert "Traceback" not in done.err
        return done

    return run


def catch_up(kubeconfig: Path, ledger_url: str) -> dict[str, list[str]]:
    """A pass without a process, for what a test only starts from; and what is in the ledger then."""
    with Parts({"kubeconfig": str(kubeconfig), "database_url": ledger_url}) as parts:
        run_pass(parts.cluster(), PostgresLedger(parts.database), Limits())
    return content(ledger_url)


@pytest.fixture
def known(kubeconfig: Path, ledger_url: str) -> dict[str, list[str]]:
    """A ledger that knows the cluster as it is; and what is in it."""
    return catch_up(kubeconfig, ledger_url)


def counts(done: Ran) -> list[int]:
    return [done.report[name] for name in COUNTS]


def rows(done: Ran) -> list[str]:
    return [
        " ".join(filter(None, (row["kind"], row["tenantName"], row["skillId"], row["timeSource"])))
        for row in done.report["rows"]
    ]


def lists(server: ApiServer) -> int:
    return sum(map(server.is_list, server.requests))


def failed(done: Ran, status: int, *words: str) -> str:
    """The run ended with that status and one line that has these words; all else on stderr are logs."""
    assert (done.status, done.out) == (status, "")
    *logs, message = done.err.splitlines()
    assert all(re.fullmatch(LOG_LINE, line) for line in logs), done.err
    assert message.startswith("reconciler: ")
    for word in words:
        assert word in message
    return message


# A pass, and the next one


def test_the_first_pass_is_the_backfill(run: Run, server: ApiServer, ledger: Connection) -> None:
    done = run("--log-level", "debug")
    assert done.status == 0
    assert counts(done) == [4, 0, 5, 0]
    assert rows(done) == [
        "created anna creation",
        "enabled anna mail creation",
        "enabled anna wiki creation",
        "created bert creation",
        "enabled bert mail creation",
        "created cleo creation",
        "enabled cleo mail creation",
        "created dora creation",
        "enabled dora chat creation",
    ]
    assert {row["occurredAt"] for row in done.report["rows"]} == {"2026-11-01T00:00:00Z"}
    snapshot = done.report["snapshot"]
    assert snapshot["clusterUid"] == server.cluster_uid
    assert snapshot["resourceVersion"] == str(server.tenants.revision)
    assert datetime.now(UTC) - instant(snapshot["observedAt"]) < timedelta(minutes=1)
    written = ledger.execute(
        "SELECT tenant_name, tenant_uid, cluster_uid FROM tenant_billing_lifecycle ORDER BY 1"
    ).fetchall()
    assert written == [
        (name, resource["metadata"]["uid"], server.cluster_uid)
        for name, resource in server.tenants.current.items()
    ]


@pytest.mark.usefixtures("known")
def test_a_second_run_has_every_count_zero(run: Run) -> None:
    done = run()
    assert (done.status, counts(done), rows(done)) == (0, [0, 0, 0, 0], [])
    assert done.report["tenantsExamined"] == 4


def suspend(tenants: Tenants, name: str) -> None:
    tenants.patch(name, spec={"suspend": True})
    stamp = tenants.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    tenants.patch(name, status={"suspendedAt": stamp}, manager="operator")


@pytest.mark.usefixtures("known")
def test_toggles_suspensions_resumptions_and_deletions_land(
    run: Run, server: ApiServer, ledger: Connection
) -> None:
    tenants = server.tenants
    tenants.patch("anna", spec={"packages": ["wiki", "files"]})
    suspend(tenants, "bert")
    tenants.delete("cleo")
    tenants.delete("dora")
    done = run(**LIST_ALONE)
    assert (done.status, counts(done)) == (0, [0, 2, 2, 1])
    assert rows(done) == [
        "enabled anna files managed-fields",
        "disabled anna mail managed-fields",
        "suspended bert status",
        "deleted cleo observed",
        "deleted dora deletion",
    ]

    tenants.delete("anna")
    tenants.create("anna", ["wiki"])
    tenants.patch("bert", spec={"suspend": False})
    tenants.patch("dora", metadata={"finalizers": None})
    done = run(**LIST_ALONE)
    assert (done.status, counts(done)) == (0, [1, 1, 1, 1])
    assert rows(done) == [
        "deleted anna successor",
        "created anna creation",
        "enabled anna wiki creation",
        "resumed bert managed-fields",
    ]
    for row in done.report["rows"]:
        not_before, occurred_at, observed_at = (
            instant(row[time]) for time in ("notBefore", "occurredAt", "observedAt")
        )
        assert not_before <= occurred_at <= observed_at
    live = ledger.execute(
        "SELECT tenant_name FROM tenant_billing_lifecycle WHERE deleted_at IS NULL ORDER BY 1"
    ).fetchall()
    assert live == [("anna",), ("bert",)]


def test_a_dry_run_prints_what_the_run_writes_and_writes_nothing(run: Run, ledger: Connection) -> None:
    dry = run("--dry-run", "--detailed-exitcode")
    assert dry.status == 10
    assert dry.report["dryRun"] is True
    assert set(row_counts(ledger).values()) == {0}
    real = run()
    assert real.report["dryRun"] is False
    assert (counts(real), rows(real)) == (counts(dry), rows(dry))


def test_the_environment_may_name_the_cluster_and_the_resource(command: Command, tmp_path: Path) -> None:
    names = {"group": "example.org", "plural": "customers", "kind": "Customer"}
    with ApiServer(**names, org_label="example.org/payer", versions=["v2", "v1"]) as server:  # type: ignore[arg-type]
        server.tenants.create("anna", ["mail"])
        done = command(
            *("run", "--output", "json"),
            KUBECONFIG=str(server.kubeconfig(tmp_path / "kubeconfig")),
            RECONCILER_API_GROUP="example.org",
            RECONCILER_PLURAL="customers",
            RECONCILER_KIND="Customer",
            RECONCILER_ORG_LABEL="example.org/payer",
        )
        assert (done.status, counts(done)) == (0, [1, 0, 1, 0])
        assert server.requests[-1].path == "/apis/example.org/v2/customers"


def test_a_server_whose_clock_is_far_behind_is_refused(run: Run, server: ApiServer) -> None:
    server.clock_skew = -86_400
    server.tenants.create("emil", ["mail"])
    done = run()
    assert done.status == 3
    assert "set the API server's clock" in done.err


def test_times_are_the_servers_where_its_clock_differs(run: Run, server: ApiServer) -> None:
    server.clock_skew = -3000
    server.tenants.create("emil", ["mail"])
    done = run()
    assert done.status == 0
    observed_at = instant(done.report["snapshot"]["observedAt"])
    assert abs(observed_at - server.now()) < timedelta(minutes=1)
    assert [line for line in done.err.splitlines() if " WARNING " in line and "clock" in line]


# Complete, or nothing


class Failure(NamedTuple):
    """A fault at one page of a list by twos, and what the message says of it."""

    fault: str
    page: int
    says: Sequence[str]
    forever: bool = False


FAILURES = [
    Failure("401", 1, ["401", "token"]),
    Failure("403", 1, ["403", "list on piecedtenants.pieced.ch"]),
    Failure("404 as text", 1, ["404", "CRD"]),
    Failure("429 as text", 1, ["429", "again"]),
    Failure("410", 2, ["410", "--page-size"], forever=True),
    Failure("cut", 2, ["connection ended"]),
]


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.fault for failure in FAILURES])
def test_a_list_that_fails_writes_nothing(
    run: Run, server: ApiServer, known: object, ledger_url: str, failure: Failure
) -> None:
    server.tenants.delete("anna")
    server.tenants.create("emil", ["mail"])
    server.requests.clear()
    server.fail(FAULTS[failure.fault], on=failure.page, forever=failure.forever)
    failed(run("--page-size", "2", "--log-level", "debug"), 1, *failure.says)
    assert content(ledger_url) == known
    if failure.forever:
        assert lists(server) == 1 + 1 + MOST_RESTARTS  # It is the first page that is well.


def test_one_uid_under_two_names_is_no_snapshot(run: Run, server: ApiServer, ledger: Connection) -> None:
    uid = server.tenants.current["anna"]["metadata"]["uid"]
    server.tenants.create("emil", ["mail"], uid=uid)
    failed(run(), 1, uid)
    assert set(row_counts(ledger).values()) == {0}


def test_a_list_that_expires_once_is_followed_from_its_start(run: Run, server: ApiServer) -> None:
    server.fail(FAULTS["410"], on=2)
    done = run("--page-size", "2")
    assert (done.status, counts(done)) == (0, [4, 0, 5, 0])
    assert lists(server) == 4


@pytest.mark.parametrize(("address", "status"), [("http://127.0.0.1:1", 1), ("nonsense", 2)])
def test_a_wrong_address_is_one_line(
    run: Run, server: ApiServer, kubeconfig: Path, ledger: Connection, address: str, status: int
) -> None:
    kubeconfig.write_text(kubeconfig.read_text().replace(server.url, address))
    failed(run(), status, address)
    assert set(row_counts(ledger).values()) == {0}


def test_a_kubeconfig_that_the_environment_names_is_named(command: Command, tmp_path: Path) -> None:
    missing = str(tmp_path / "no-such-kubeconfig")
    failed(command("run", KUBECONFIG=missing), 2, missing)


def test_a_token_that_cannot_be_sent_is_not_printed(run: Run, kubeconfig: Path) -> None:
    config: Json = json.loads(kubeconfig.read_text())
    config["users"][0]["user"]["token"] = f"{TOKEN}\n"
    kubeconfig.write_text(json.dumps(config))
    done = run("--log-level", "debug")
    assert done.status in (1, 2)
    failed(done, done.status, "token")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pass_that_waits_for_a_page_ends_at_once_when_told_to(
    command: Command, server: ApiServer, kubeconfig: Path, ledger: Connection, number: signal.Signals
) -> None:
    server.fail(FAULTS["silence"], on=2)
    process = command.start("run", "--kubeconfig", kubeconfig, "--page-size", "2")
    until(lambda: lists(server) == 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, len(err.splitlines())) == (130, "", 2)
    assert set(row_counts(ledger).values()) == {0}


# When in doubt, nothing


def test_an_empty_list_deletes_nobody(
    run: Run, server: ApiServer, known: object, ledger: Connection
) -> None:
    assert known
    before = row_counts(ledger)
    for name in ("anna", "bert", "cleo"):
        server.tenants.delete(name)
    server.tenants.delete("dora")
    server.tenants.patch("dora", metadata={"finalizers": None})
    done = run(**LIST_ALONE)
    assert done.status == 3
    assert (counts(done), rows(done)) == ([0, 0, 0, 0], [])
    assert [one["tenantName"] for one in done.report["held"]] == ["anna", "bert", "cleo", "dora"]
    after = row_counts(ledger)
    assert after.pop("reconciler_passes") == before.pop("reconciler_passes") + 1
    assert after == before


def test_an_empty_list_does_not_even_delete_the_last_one(
    run: Run, server: ApiServer, kubeconfig: Path, ledger_url: str
) -> None:
    for name in ("bert", "cleo", "dora"):
        server.tenants.patch(name, metadata={"finalizers": ["pieced.ch/cleanup"]})
        server.tenants.delete(name)
    catch_up(kubeconfig, ledger_url)
    for name in ("bert", "cleo", "dora"):
        server.tenants.patch(name, metadata={"finalizers": None})
    server.tenants.delete("anna")
    done = run(**LIST_ALONE)
    assert (done.status, counts(done)) == (3, [0, 0, 0, 0])
    assert [one["tenantName"] for one in done.report["held"]] == ["anna"]


@pytest.mark.usefixtures("known")
def test_what_is_held_back_waits_and_the_rest_is_written(run: Run, server: ApiServer) -> None:
    for name in ("anna", "bert", "cleo"):
        server.tenants.delete(name)
    server.tenants.patch("dora", spec={"packages": ["chat", "mail"]})
    server.tenants.create("emil", ["wiki"], created=CREATED)
    done = run(**LIST_ALONE)
    assert done.status == 3
    assert rows(done) == [
        "enabled dora mail managed-fields",
        "created emil creation",
        "enabled emil wiki creation",
    ]
    assert [one["tenantName"] for one in done.report["held"]] == ["anna", "bert", "cleo"]
    done = run("--allow-deletions", "3", **LIST_ALONE)
    assert (done.status, counts(done)) == (0, [0, 3, 0, 0])


def test_another_cluster_is_refused_until_it_is_adopted(
    run: Run, server: ApiServer, known: object, ledger_url: str
) -> None:
    first, second = server.cluster_uid, "4f6ce6b1-5d5e-4bd9-8cf4-6a4c1a7bd5a7"
    server.cluster_uid = second
    server.tenants.patch("anna", spec={"packages": ["mail"]})
    failed(run(), 3, first, second, "--adopt-cluster")
    assert content(ledger_url) == known
    done = run("--adopt-cluster")
    assert (done.status, counts(done)) == (0, [0, 0, 1, 0])
    assert done.report["snapshot"]["clusterUid"] == second
    server.cluster_uid = first
    failed(run(), 3, first, second)


@pytest.mark.usefixtures("known")
def test_a_cluster_restored_from_a_backup_is_refused_until_it_is_adopted(
    run: Run, server: ApiServer, kubeconfig: Path, ledger_url: str
) -> None:
    backup = server.tenants.revision
    server.tenants.create("emil", ["mail"], created=CREATED)
    before, newest = catch_up(kubeconfig, ledger_url), server.tenants.revision

    server.tenants.restore(backup)
    server.requests.clear()
    failed(run(), 3, str(backup), str(newest), "--adopt-cluster")
    assert lists(server) == 1
    assert content(ledger_url) == before

    # The server comes past where the ledger was, and that is remembered.
    server.tenants.write_elsewhere(120)
    server.tenants.delete("anna")
    failed(run(), 3, "older state than before", str(backup), str(newest), "--adopt-cluster")
    assert content(ledger_url) == before
    done = run("--adopt-cluster")
    assert (done.status, rows(done)) == (0, ["deleted anna observed", "deleted emil observed"])
    assert run().status == 0


def test_verify_compares_with_the_cluster_and_writes_nothing(
    command: Command,
    server: ApiServer,
    kubeconfig: Path,
    ledger_url: str,
    known: dict[str, list[str]],
) -> None:
    held = command("verify", "--kubeconfig", kubeconfig, "--deep")
    assert (held.status, held.out.splitlines()[-1]) == (0, "the ledger is consistent")
    server.tenants.create("emil", ["mail"], created=CREATED)
    pending = command("verify", "--kubeconfig", kubeconfig, "--output", "json")
    assert pending.status == 0
    told = [(row["kind"], row["tenantName"]) for row in pending.report["pending"]["rows"]]
    assert told == [("created", "emil"), ("enabled", "emil")]
    assert content(ledger_url) == known
