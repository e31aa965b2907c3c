"""`run --list-every`: between two lists, a pass follows the changes alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.apiserver import ApiServer
from tests.command_line.test_catch_up import (
    FLAP,
    Ledger,
    Run,
    flap,
    kubeconfig,
    packages,
    reports,
    run,
    server,
    verify,
)
from tests.conftest import Command

__all__ = ["kubeconfig", "run", "server", "verify"]


def whole_lists(server: ApiServer) -> int:
    """How many lists of all tenants were asked for."""
    lists = [one for one in server.requests if server.is_list(one)]
    return sum(one.query["limit"] != "1" and "continue" not in one.query for one in lists)


def test_between_two_lists_a_run_writes_the_changes_and_notes_how_far_it_is(
    run: Run, verify: Run, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    before = whole_lists(server)
    flap(server)
    done = run("--list-every", "1h", "--output", "json")
    assert (done.status, reports(done)) == (0, [*FLAP, []])
    version = server.tenants.revision
    assert done.reports[-1]["message"] == (f"caught up to resourceVersion {version}, without a list")
    assert whole_lists(server) == before
    quiet = run("--list-every", "1h")
    assert quiet.out == f"{done.reports[-1]['message']}\n"
    query = "SELECT complete, resource_version, gapless FROM reconciler_passes ORDER BY id DESC LIMIT 1"
    assert ledger.execute(query).fetchone() == (False, str(version), True)
    assert run("--list-every", "1ms").status == 0
    assert whole_lists(server) == before + 1
    assert ledger.execute(query).fetchone() == (True, str(version), True)
    assert verify().status == 0


def test_a_dry_run_between_two_lists_shows_the_changes(
    run: Run, server: ApiServer, ledger: Ledger
) -> None:
    assert run().status == 0
    flap(server)
    dry = run("--list-every", "1h", "--dry-run", "--output", "json")
    assert (dry.status, reports(dry)) == (0, [*FLAP, []])
    assert dry.reports[-1]["message"].endswith(", without a list; dry run, nothing was written")
    assert ledger.execute("SELECT count(*) FROM reconciler_passes").fetchone() == (1,)


def history_lost(server: ApiServer) -> tuple[str, ...]:
    server.stop()
    server.start()
    return ()


def quarantined(server: ApiServer) -> tuple[str, ...]:
    server.tenants.patch("bert", metadata={"labels": None})
    return ()


def quarantined_at_first_sight(server: ApiServer) -> tuple[str, ...]:
    server.tenants.create("dora", ["mail"], org=None)
    return ()


def decided(_: ApiServer) -> tuple[str, ...]:
    return ("--allow-deletions", "1")


@pytest.mark.parametrize("happens", [history_lost, quarantined, quarantined_at_first_sight, decided])
def test_all_are_listed_all_the_same_where_something_waits_for_it(
    run: Run, server: ApiServer, happens: Callable[[ApiServer], tuple[str, ...]]
) -> None:
    assert run().status == 0
    before, flags = whole_lists(server), happens(server)
    packages(server, "anna", "mail", "crm")
    status = 4 if happens in (quarantined, quarantined_at_first_sight) else 0
    assert run("--list-every", "1h", *flags).status == status
    assert whole_lists(server) == before + 1


def test_it_needs_the_catch_up(command: Command, kubeconfig: Path) -> None:
    done = command("run", "--kubeconfig", kubeconfig, "--list-every", "1h", "--no-catch-up")
    assert done.status == 2
    assert "--list-every is for passes that catch up" in done.err
