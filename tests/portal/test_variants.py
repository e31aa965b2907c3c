"""Any reasonable Phase 1: the ledger is installed and right, or refused before anything has changed."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from reconciler.errors import UnfitTables
from reconciler.ledger import schema
from tests.conftest import open_database
from tests.ledger.test_schema import catalog
from tests.portal.portal import BEGAN, Connection, Life, Portal, facts, passed
from tests.portal.variants import BASE, FITS, REFUSED, ROWS_REFUSED

STATEMENTS = {**REFUSED, **ROWS_REFUSED}


@pytest.fixture
def look(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(BASE.encode())
        yield connection


NOT_FOR_HOOKS = {"without suspensions", "no deleted_at until now"}
"""Tables in which the hooks of these tests cannot write."""


@pytest.mark.parametrize("variant", FITS)
def test_it_is_installed_and_right(variant: str, database: str, look: Connection) -> None:
    look.execute(FITS[variant].encode())
    portal = Portal(look)
    ended = BEGAN if variant in NOT_FOR_HOOKS else portal.six_weeks(seed=len(variant))
    snapshot = portal.snapshot(ended + timedelta(hours=1))
    dry = passed(database, snapshot, dry=True)
    ran = passed(database, snapshot)
    assert facts(dry) == facts(ran)
    assert [one.lifecycle.skills for one in dry.changes] == [one.lifecycle.skills for one in ran.changes]
    # Nothing is left to adapt, and two true rows may be equal in all that the portal knew.
    after = catalog(database)
    for hours, uid in ((2, "first"), (3, "second")):
        portal.cluster = {"again": Life(uid, "org-9", ended + timedelta(hours=1), {"mail", "new"})}
        plan = passed(database, portal.snapshot(ended + timedelta(hours=hours)))
        assert {("created", "again", None), ("enabled", "again", "new")} <= {*facts(plan)}
    assert catalog(database) == after
    with closing(open_database(database)) as opened, opened.transaction(read_only=True) as transaction:
        assert not schema.preparation(transaction)


@pytest.mark.parametrize("variant", STATEMENTS)
def test_it_is_refused_in_one_line_before_anything_changes(
    variant: str, database: str, look: Connection
) -> None:
    statements, told = STATEMENTS[variant]
    look.execute(statements.encode())
    before = catalog(database)
    snapshot = Portal(look).snapshot(BEGAN)
    said = []
    for dry in (True, False):
        with pytest.raises(UnfitTables) as refusal:
            passed(database, snapshot, dry=dry)
        said.append(refusal.value.problems)
    with pytest.raises(UnfitTables) as refusal, closing(open_database(database)) as opened:
        schema.apply(opened, always=True)
    assert said == [refusal.value.problems] * 2
    assert [line for line in said[0] if line.startswith(told)], said
    assert all("; run: " in line and "\n" not in line for line in said[0])
    assert catalog(database) == before


def test_tables_of_another_role_are_refused_by_the_dry_run_as_by_the_run(
    database: str, look: Connection
) -> None:
    role = f"stranger_{uuid4().hex}"
    look.execute(f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}".encode())
    as_role = database.replace("postgres@", f"{role}@")
    said = []
    for dry in (True, False):
        with pytest.raises(UnfitTables) as refusal:
            passed(as_role, Portal(look).snapshot(BEGAN), dry=dry)
        said.append(refusal.value.problems)
    assert said[0] == said[1]
    assert len(said[0]) == 6
    assert all(
        f"belongs to the role postgres, and {role} is no member of it" in line for line in said[0]
    )
    look.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
