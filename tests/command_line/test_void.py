"""A pass that should never have been is withdrawn with all after it, on record."""

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from reconciler.errors import Refused
from reconciler.ledger import voids
from tests.command_line.snapshots import Json, content, row_counts, snapshot, tenant
from tests.conftest import Command, Ran, open_database

Ledger = psycopg.Connection[Any]
Run = Callable[..., Ran]

FIRST = (tenant("ada", "mail"), tenant("bea", "mail", "wiki"), tenant("cleo"))
SECOND = (tenant("ada", "mail", "chat"), tenant("bea", "mail", "wiki", suspend=True))
THIRD = (tenant("ada", "chat"), tenant("bea", "mail", "wiki"), tenant("dora", "mail"))
WRONG_DATE = ("--because", "wrong date", "--by", "eve")

NOW = """SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Run:
    """A pass over tenants at midnight of a day of 2026, like 0301, or another command."""

    def run(day: str, *tenants: Json, words: str = "run") -> Ran:
        file = snapshot(tmp_path, f"2026{day}T000000Z", *tenants)
        return command(*words.split(), "--snapshot", file)

    return run


@pytest.fixture
def stranger(ledger: Ledger) -> Iterator[str]:
    """A role that may do everything with the tables, and does not own them."""
    name = f"stranger_{uuid4().hex}"
    ledger.execute(f"CREATE ROLE {name} LOGIN".encode())
    ledger.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}".encode())
    ledger.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}".encode())
    yield name
    ledger.execute(f"DROP OWNED BY {name}".encode())
    ledger.execute(f"DROP ROLE {name}".encode())


def test_a_file_with_a_wrong_date_is_voided_and_goes_in_again(
    command: Command, ledger: Ledger, run: Run
) -> None:
    """It was the file of 2 February, and was named 2 October."""
    run("0201", *FIRST)
    before = row_counts(ledger)
    run("1002", *SECOND)
    refused = run("0203", *THIRD)
    assert refused.status == 3
    assert "`reconciler void` withdraws it" in refused.err

    done = command("void", "2", *WRONG_DATE, "--yes")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Pass 2: voided, on record as void 3",
        "  withdrawn: 0 created, 1 deleted, 1 skill event, 1 suspension event",
        "  the last pass is 1 again, of 2026-02-01T00:00:00Z",
    ]
    assert row_counts(ledger) == before
    assert run("0201", *FIRST, words="verify --deep").status == 0
    assert [run("0202", *SECOND).status, run("0203", *THIRD).status] == [0, 0]
    assert run("0203", *THIRD, words="verify --deep").status == 0
    ids = ledger.execute("SELECT id FROM reconciler_passes ORDER BY id").fetchall()
    assert ids == [(1,), (4,), (5,)]


def test_a_ledger_whose_first_pass_is_voided_is_empty_again(
    command: Command, ledger: Ledger, ledger_url: str, run: Run
) -> None:
    nothing = content(ledger_url)
    run("1001", *FIRST)
    run("1002", *SECOND)
    done = command("void", "1", *WRONG_DATE, "--yes", "--output", "json")
    told = json.loads(done.out)
    assert told["dryRun"] is False
    void = told["void"]
    assert (void["firstPass"], void["lastPass"], void["passes"], void["begun"]) == (1, 2, 2, 3)
    assert (void["because"], void["decidedBy"], void["atPass"]) == ("wrong date", "eve", None)
    assert content(ledger_url) == nothing
    assert "no pass" in command("usage", "--month", "2026-02").err
    assert run("0202", *FIRST).status == 0
    assert run("0202", *FIRST, words="verify --deep").status == 0
    kept = ledger.execute(
        "SELECT table_name, count(*) FROM reconciler_voided_rows GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert kept == [
        ("reconciler_digests", 2),
        ("reconciler_passes", 2),
        ("tenant_billing_lifecycle", 3),
        ("tenant_skill_events", 4),
        ("tenant_suspension_events", 1),
    ]


def test_a_dry_run_prints_the_same_and_changes_nothing(
    command: Command, ledger: Ledger, ledger_url: str, run: Run
) -> None:
    run("0201", *FIRST)
    run("0202", *SECOND)
    before = content(ledger_url)
    tried = command("void", "2", "--dry-run")
    assert tried.status == 0
    assert tried.out.splitlines()[0] == "Pass 2: would be voided"
    assert content(ledger_url) == before
    assert ledger.execute("SELECT FROM reconciler_voids").fetchall() == []
    assert tried.out.splitlines()[1:] == command("void", "2", *WRONG_DATE, "--yes").out.splitlines()[1:]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("7", *WRONG_DATE, "--yes"),
            "there is no pass 7; `reconciler history` shows",
        ),
        (("1", "--yes"), "say why, for the record: --because TEXT"),
        (("1", *WRONG_DATE), "where nobody can be asked, give --yes"),
    ],
    ids=["unknown", "no reason", "nobody to ask"],
)
def test_a_mistake_is_told_and_voids_nothing(
    words: tuple[str, ...], message: str, command: Command, ledger_url: str, run: Run
) -> None:
    run("0201", *FIRST)
    before = content(ledger_url)
    ran = command("void", *words)
    assert ran.status == 2
    assert message in ran.err
    assert content(ledger_url) == before


def test_only_the_owner_of_the_tables_may(
    command: Command, ledger: Ledger, ledger_url: str, run: Run, stranger: str
) -> None:
    run("0201", *FIRST)
    before = content(ledger_url)
    url = ledger_url.replace("postgres@", f"{stranger}@")
    ran = command("void", "1", *WRONG_DATE, "--yes", RECONCILER_DATABASE_URL=url)
    assert ran.status == 1
    assert "only the owner of the tables, postgres, may void passes" in ran.err
    assert content(ledger_url) == before
    # Nor may anybody, the owner included, write such a record in another way.
    with pytest.raises(psycopg.errors.RestrictViolation):
        ledger.execute("TRUNCATE reconciler_voided_rows, reconciler_voids")


@pytest.mark.parametrize(("answer", "status"), [("void", 0), ("yes", 2)])
def test_a_person_is_asked(answer: str, status: int, command: Command, ledger: Ledger, run: Run) -> None:
    run("0201", *FIRST)
    terminal, theirs = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    ran = subprocess.run(
        [*command.program, "void", "1", *WRONG_DATE],
        stdin=theirs,
        capture_output=True,
        text=True,
        cwd=command.folder,
        env=command.environment(),
        check=False,
    )
    os.close(terminal)
    os.close(theirs)
    assert ran.returncode == status, ran.stderr
    assert "Pass 1: would be voided" in ran.stderr
    assert len(ledger.execute("SELECT FROM reconciler_voids").fetchall()) == (status == 0)


def test_what_the_ledger_said_while_they_counted_is_refused(
    command: Command, ledger: Ledger, run: Run
) -> None:
    run("0201", *FIRST)
    ((before,),) = ledger.execute(NOW).fetchall()
    run("0202", *SECOND)
    run("0203", *THIRD)
    ((between,),) = ledger.execute(NOW).fetchall()
    command("void", "2", *WRONG_DATE, "--yes")
    run("0202", *SECOND)

    month = ("usage", "--month", "2026-02")
    for as_of in (("--as-of-pass", "2"), ("--as-of-pass", "3"), ("--as-of", between)):
        ran = command(*month, *as_of)
        assert ran.status == 2
        assert "was voided at" in ran.err
        assert "by eve: wrong date" in ran.err
    for as_of in (("--as-of-pass", "1"), ("--as-of-pass", "4"), ("--as-of", before)):
        ran = command(*month, *as_of, "--output", "json")
        assert ran.status == 0, ran.err
    assert ledger.execute("SELECT billing_position()").fetchall() == [(5,)]
    assert ledger.execute("SELECT billing_position(%s)", [before]).fetchall() == [(1,)]
    for call in ("as_of_pass => 2", f"as_of => '{between}'"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="by eve: wrong date"):
            ledger.execute(f"SELECT * FROM billing_usage('2026-02-01', '2026-03-01', {call})".encode())  # noqa: S608


def test_a_month_that_was_closed_at_a_voided_pass_is_closed_again(command: Command, run: Run) -> None:
    run("0201", *FIRST)
    run("0302", *SECOND)
    assert command("close", "2026-02").status == 0
    done = command("void", "2", *WRONG_DATE, "--yes")
    assert "closed at a voided pass, close it again: 2026-02-01 to 2026-03-01, revision 1" in done.out
    run("0301", *THIRD)
    again = command("close", "2026-02")
    assert (again.status, again.err) == (0, "")
    assert "revision 2" in again.out


def test_of_two_lives_of_a_name_the_one_that_was_live_is_live_again(
    command: Command, ledger: Ledger, tmp_path: Path
) -> None:
    """The voided passes ended the second life and withdrew the end of the first."""
    old, new = tenant("x", "mail", uid="a"), tenant("x", "mail", uid="b", created="2026-02-03T00:00:00Z")
    for day, shown, words in (
        *((1, [old], "run"), (2, [], "run --allow-deletions 9"), (3, [new], "run")),
        *((4, [old], "run --allow-deletions 9"), (5, [old], "run --reopen x")),
    ):
        file = snapshot(tmp_path, f"2026020{day}T000000Z", tenant("ada"), *shown)
        assert command(*words.split(), "--snapshot", file).status in (0, 4)
    done = command("void", "4", *WRONG_DATE, "--yes")
    assert done.status == 0, done.err
    live = (
        "SELECT tenant_uid FROM tenant_billing_lifecycle WHERE tenant_name = 'x' AND deleted_at IS NULL"
    )
    assert ledger.execute(live).fetchall() == [("b",)]
    file = snapshot(tmp_path, "20260203T000000Z", tenant("ada"), new)
    assert command("verify", "--deep", "--snapshot", file).status == 0


def test_what_still_names_the_rows_of_the_passes_has_to_go_first(
    command: Command, ledger: Ledger, run: Run
) -> None:
    run("0201", *FIRST)
    ledger.execute("CREATE TABLE notes (lifecycle bigint REFERENCES tenant_billing_lifecycle (id))")
    ledger.execute("INSERT INTO notes SELECT min(id) FROM tenant_billing_lifecycle")
    for flags in ((), ("--dry-run",)):
        done = command("void", "1", *WRONG_DATE, "--yes", *flags)
        assert done.status == 1
        assert 'on table "notes"' in done.err
        assert "Remove what still names the rows of these passes first" in done.err
    ledger.execute("DELETE FROM notes")
    assert command("void", "1", *WRONG_DATE, "--yes").status == 0


def test_a_pass_that_was_written_after_the_question_is_not_voided(ledger_url: str, run: Run) -> None:
    for day in ("0201", "0202", "0203"):
        run(day, *FIRST)
    before = content(ledger_url)
    with (
        closing(open_database(ledger_url)) as database,
        pytest.raises(Refused, match="pass 3 was written"),
    ):
        voids.void(database, 1, because="tried", by="eve", dry_run=False, last_pass=2)
    assert content(ledger_url) == before


@pytest.mark.parametrize("is_issued", [True, False])
def test_what_was_drawn_at_a_voided_position_is_not_issued_and_what_was_issued_is_told(
    command: Command, ledger: Ledger, run: Run, *, is_issued: bool
) -> None:
    ledger.execute("UPDATE platform_pricing SET tenant_monthly_fee_chf = 49")
    run("0201", *FIRST)
    run("0302", *SECOND)
    assert command("close", "2026-02", "--org", "org-1").status == 0
    ledger.execute("SELECT draft_invoice('org-1', daterange('2026-02-01', '2026-03-01'))")
    ledger.execute("UPDATE invoices SET billing_name = 'Alpenglow AG'")
    issue = "UPDATE invoices SET status = 'issued'"
    if is_issued:
        ledger.execute(issue)
    done = command("void", "3", *WRONG_DATE, "--yes")
    assert "drawn at a voided pass, check it: invoice " in done.out
    run("0301", *FIRST)
    if is_issued:
        told = run("0301", *FIRST, words="verify --invoices")
        assert told.status == 5
        assert "invoice-voided" in told.out
        assert "invoice-line" not in told.out
    else:
        with pytest.raises(psycopg.errors.RestrictViolation, match=r"cannot be issued.*eve: wrong date"):
            ledger.execute(issue)


def test_that_a_server_went_back_is_still_known(command: Command, ledger: Ledger, run: Run) -> None:
    run("0201", *FIRST)
    run("0202", *SECOND)
    ledger.execute(
        "INSERT INTO reconciler_setbacks (cluster_uid, found_at, resource_version, ledger_version,"
        " after_pass_id) VALUES ('cluster', '2026-02-02', '1', '2', 2)"
    )
    command("void", "2", *WRONG_DATE, "--yes")
    setbacks = "SELECT resource_version, after_pass_id FROM reconciler_setbacks"
    assert ledger.execute(setbacks).fetchall() == [("1", 1)]
    command("void", "1", *WRONG_DATE, "--yes")
    assert ledger.execute(setbacks).fetchall() == []


@pytest.mark.parametrize(
    "tampered",
    [
        """UPDATE reconciler_voided_rows SET row = row || '{"kind": "other"}' WHERE id = 1""",
        "DELETE FROM reconciler_voided_rows WHERE id = 1",
        "UPDATE reconciler_voids SET because = 'nothing'",
    ],
)
def test_verify_finds_what_was_changed_in_the_record(
    tampered: str, command: Command, ledger: Ledger, run: Run
) -> None:
    run("0201", *FIRST)
    run("0202", *SECOND)
    command("void", "2", *WRONG_DATE, "--yes")
    run("0203", *THIRD)
    assert run("0203", *THIRD, words="verify --deep").status == 0
    ledger.execute("SET session_replication_role = replica")
    ledger.execute(tampered.encode())
    ran = run("0203", *THIRD, words="verify --deep")
    assert ran.status == 5
    assert "digest" in ran.out
