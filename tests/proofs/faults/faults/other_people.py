"""Faults of other people in the database: their roles, objects, rows, and what they change of ours."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from random import Random
from typing import Final

import psycopg

from reconciler.ledger import schema
from reconciler.ledger.postgres import FIRST_LOCK, WRITE_LOCK, Database
from tests.proofs.faults.faults.fault import EITHER, REFUSED, WRITTEN, Fault, Strike
from tests.proofs.faults.world import Ending, World

RUNNER: Final = "faults_runner"
READER: Final = "faults_reader"
KINDS: Final = {RUNNER: "runner", READER: "reader"}
QUARANTINED: Final = frozenset({0, 4})
UNFIT: Final = frozenset({1, 2})
TABLES: Final = (
    *("tenant_billing_lifecycle", "tenant_skill_events", "tenant_suspension_events"),
    *("reconciler_passes", "reconciler_state", "reconciler_writer", "reconciler_digests"),
)
WRITTEN_BY_HAND: Final = (
    """INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at)
       VALUES ('nobody', 'org', now())""",
    """INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)
       SELECT tenant_name, 'other', 'enabled', now() FROM tenant_billing_lifecycle""",
    """INSERT INTO tenant_suspension_events (tenant_name, event_kind, occurred_at)
       SELECT tenant_name, 'suspended', now() FROM tenant_billing_lifecycle""",
    "UPDATE tenant_billing_lifecycle SET deleted_at = now() WHERE deleted_at IS NULL",
    "UPDATE tenant_billing_lifecycle SET created_at = created_at - interval '1 day'",
    "UPDATE tenant_skill_events SET occurred_at = occurred_at - interval '1 day'",
    "DELETE FROM tenant_skill_events",
    "DELETE FROM tenant_billing_lifecycle",
    "DELETE FROM reconciler_passes",
    "TRUNCATE tenant_suspension_events",
)
"""What a hook, a person at psql or a script may try, as the owner of the tables."""


def _as(world: World, role: str) -> str:
    """The ledger through the proxy, as a role that has its rights."""
    with (
        psycopg.connect(world.direct, autocommit=True) as connection,
        suppress(psycopg.errors.DuplicateObject),
    ):
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
    _applied(world, {KINDS[role]: role})
    return world.url.replace("postgres@", f"{role}@")


def _applied(world: World, grants: dict[str, str] | None = None) -> None:
    with closing(Database(world.direct, connect_timeout=5, lock_timeout=10)) as database:
        schema.apply(database, always=True, grants=grants)


@contextmanager
def _of_his_own(world: World, role: str, *objects: str) -> Iterator[str]:
    """The ledger as a role that has a schema of its own name, with objects in it, in front of ours."""
    url = _as(world, role)
    world.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    try:
        with psycopg.connect(world.direct.replace("postgres@", f"{role}@"), autocommit=True) as his:
            for statement in objects:
                his.execute(statement.encode())
        yield url
    finally:
        world.execute(f"DROP SCHEMA {role} CASCADE")


def _runner(world: World, _: Random) -> Sequence[Ending]:
    return [world.make_pass(url=_as(world, RUNNER))]


def _own_schema(world: World, _: Random) -> Sequence[Ending]:
    with _of_his_own(world, RUNNER) as url:
        return [world.make_pass(url=url)]


def _own_objects(world: World, random: Random) -> Sequence[Ending]:
    """Operators and functions that have the names of those that ours use."""
    rogue = (
        f"CREATE FUNCTION {RUNNER}.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
        f"CREATE OPERATOR {RUNNER}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {RUNNER}.never)",
        f"""CREATE FUNCTION {RUNNER}.clock_timestamp() RETURNS timestamptz LANGUAGE sql
            AS $$ SELECT '2020-01-01Z'::timestamptz $$""",
        f"CREATE FUNCTION {RUNNER}.reconciler_derived_state() RETURNS void LANGUAGE sql AS ''",
        f"CREATE FUNCTION {RUNNER}.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$",
    )
    with _of_his_own(world, RUNNER, *rogue[:2], *random.sample(rogue[2:], 2)) as url:
        path = f"{RUNNER}%2Cpublic%2Cpg_catalog"
        return [world.make_pass(url=f"{url}&options=-c%20search_path%3D{path}")]


def _reader_holds(world: World, _: Random) -> Sequence[Ending]:
    """Who may only read leaves a transaction open, after trying every lock."""
    url = _as(world, READER)
    with psycopg.connect(url.replace(str(world.proxy.folder), _sockets(world))) as reader:
        for statement in (WRITE_LOCK, *(f"LOCK TABLE {table} IN SHARE MODE" for table in TABLES)):
            with suppress(psycopg.errors.InsufficientPrivilege), reader.transaction():
                reader.execute(statement.encode())
        reader.execute(FIRST_LOCK.encode())
        reader.execute("SELECT count(*) FROM reconciler_passes, tenant_billing_lifecycle")
        return [world.make_pass()]


def _sockets(world: World) -> str:
    return world.direct.partition("host=")[2].partition("&")[0]


def _by_hand(world: World, random: Random) -> Sequence[Ending]:
    """Somebody writes into the tables; the database refuses it."""
    for statement in random.sample(WRITTEN_BY_HAND, 4):
        with suppress(psycopg.errors.IntegrityError, psycopg.errors.RestrictViolation):
            world.execute(statement)
    return [world.make_pass()]


def _changed(change: str, back: str, *, role: str | None = None) -> Strike:
    """Somebody changes what is ours for a while, and `schema apply` is run afterwards."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        url = world.url if role is None else _as(world, role)
        names = {"table": random.choice(TABLES[:5]), "role": role}
        world.execute(change.format(**names))
        try:
            return [world.make_pass(url=url)]
        finally:
            if back:
                world.execute(back.format(**names))
            _applied(world)

    return strike


def _one_refused(world: World, random: Random) -> Sequence[Ending]:
    """A constraint of somebody's own refuses the rows of one tenant: the others are written."""
    names = sorted(world.server.tenants.current) or ["nobody"]
    name = random.choice(names)
    for table in TABLES[:3]:
        world.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT not_him CHECK (tenant_name <> '{name}') NOT VALID"
        )
    try:
        return [world.make_pass()]
    finally:
        for table in TABLES[:3]:
            world.execute(f"ALTER TABLE {table} DROP CONSTRAINT not_him")


def _server_years_ahead(world: World, random: Random) -> Sequence[Ending]:
    world.server.clock_skew = timedelta(days=random.randint(3000, 9000)).total_seconds()
    try:
        return [world.make_pass()]
    finally:
        world.server.clock_skew = 0


def _prices_change(world: World, _: Random) -> Sequence[Ending]:
    """Prices take their numbers from the same sequence as passes, before this one and after it."""
    _set_prices(world)
    ending = world.make_pass()
    _set_prices(world)
    return [ending]


def _set_prices(world: World) -> None:
    world.execute(
        "UPDATE platform_pricing SET tenant_monthly_fee_chf = tenant_monthly_fee_chf + 1",
        "INSERT INTO skill_pricing VALUES ('mail', 1) ON CONFLICT (skill_id) DO UPDATE"
        " SET daily_price_chf = skill_pricing.daily_price_chf + 1",
    )


def faults() -> Iterator[Fault]:
    yield from (
        Fault("other people: a runner", _runner, WRITTEN, 2),
        Fault("other people: a runner with a schema of its own", _own_schema, WRITTEN, 2),
        Fault("other people: a runner with rogue objects", _own_objects, frozenset({0, 2}), 2),
        Fault("other people: a reader holds what it may", _reader_holds, WRITTEN, 2),
        Fault("other people: rows by hand", _by_hand, WRITTEN, 3),
        Fault("other people: prices change", _prices_change, WRITTEN),
        Fault("other people: a constraint refuses a tenant", _one_refused, QUARANTINED, 2),
        Fault("other people: a server years ahead", _server_years_ahead, REFUSED),
        Fault(
            "other people: a right withdrawn",
            _changed("REVOKE INSERT ON {table} FROM {role}", "", role=RUNNER),
            EITHER,
        ),
        Fault(
            "other people: row-level security",
            _changed(
                "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                role=RUNNER,
            ),
            UNFIT,
        ),
        Fault(
            "other people: a table renamed",
            _changed("ALTER TABLE {table} RENAME TO away", "ALTER TABLE away RENAME TO {table}"),
            UNFIT,
        ),
        Fault(
            "other people: a column whose default is refused",
            _changed(
                "ALTER TABLE tenant_skill_events ADD theirs text, ADD CHECK (theirs <> '') NOT VALID,"
                " ALTER theirs SET DEFAULT ''",
                "ALTER TABLE tenant_skill_events DROP theirs",
            ),
            QUARANTINED,
        ),
        Fault(
            "other people: the triggers switched off",
            _changed(
                "ALTER TABLE {table} DISABLE TRIGGER USER", "ALTER TABLE {table} ENABLE TRIGGER USER"
            ),
            WRITTEN,
        ),
        Fault(
            "other people: an index dropped",
            _changed("DROP INDEX IF EXISTS tenant_billing_lifecycle_live_name", ""),
            WRITTEN,
        ),
        Fault(
            "other people: a sequence set back",
            _changed("SELECT setval(pg_get_serial_sequence('tenant_skill_events', 'id'), 1, false)", ""),
            frozenset({0, 1, 4}),
        ),
    )
