"""Prices, and how organisations are billed: read, and changed with a record of who and when."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from reconciler.core.prices import (
    Decision,
    Posture,
    Prices,
    SkillPrice,
    Value,
    exact,
)
from reconciler.core.text import quoted
from reconciler.errors import LedgerError, UsageError
from reconciler.ledger import schema
from reconciler.ledger.postgres import Database, Transaction

LONGEST_NAME: Final = 1_000
"""Bytes; an index holds no more than about twice as many."""

PLATFORM: Final = "platform_pricing"
SKILLS: Final = "skill_pricing"
ORGS: Final = "org_billing_config"

_COLUMNS: Final = {
    PLATFORM: (
        *("tenant_monthly_fee_chf", "tenant_setup_fee_chf"),
        *("threema_message_chf", "vat_rate_chli"),
    ),
    SKILLS: ("daily_price_chf",),
    ORGS: (
        *("pay_by_invoice", "auto_invoice_enabled"),
        *("auto_reminders_enabled", "stripe_customer_id"),
    ),
}
_KEY: Final = {PLATFORM: "id", SKILLS: "skill_id", ORGS: "zitadel_org_id"}

_SKILLS: Final = 'SELECT skill_id, daily_price_chf FROM skill_pricing ORDER BY skill_id COLLATE "C"'

_UNPRICED: Final = """
SELECT DISTINCT skill_id COLLATE "C" FROM reconciler_state, unnest(skills) AS skill_id
WHERE skill_id NOT IN (SELECT skill_id FROM skill_pricing) ORDER BY 1
"""

_POSTURES: Final = """
SELECT org.id, coalesce(c.pay_by_invoice, false), coalesce(c.auto_invoice_enabled, false),
       coalesce(c.auto_reminders_enabled, false), c.stripe_customer_id,
       (SELECT count(*) FROM tenant_billing_lifecycle l
        WHERE l.zitadel_org_id = org.id AND l.deleted_at IS NULL),
       c.zitadel_org_id IS NOT NULL
FROM (
    SELECT zitadel_org_id FROM org_billing_config
    UNION SELECT zitadel_org_id FROM tenant_billing_lifecycle
) AS org (id)
LEFT JOIN org_billing_config c ON c.zitadel_org_id = org.id
WHERE %s::text IS NULL OR org.id = %s
ORDER BY org.id COLLATE "C"
"""

_NUMBER: Final = """
SELECT numeric_precision, numeric_scale FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = %s AND column_name = %s
"""

_RECORD: Final = """
INSERT INTO reconciler_decisions (decided_by, table_name, subject, before, after)
VALUES (%s, %s, %s, %s::text::jsonb, %s::text::jsonb) RETURNING id, decided_at, database_user
"""

Columns: TypeAlias = Mapping[str, Value]


def prices(database: Database) -> Prices:
    """All prices. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        platform = _row(transaction, PLATFORM, None)
        if platform is None:
            raise LedgerError(f"{database}: platform_pricing has no row; run `reconciler schema apply`")
        return Prices(
            **platform,  # type: ignore[arg-type]
            skills=[
                SkillPrice(skill_id=skill, daily_price_chf=price)
                for skill, price in transaction.rows(_SKILLS)
            ],
            unpriced=[skill for (skill,) in transaction.rows(_UNPRICED)],
        )


def set_prices(database: Database, given: Mapping[str, str], by: str) -> Decision | None:
    """Changes some of the platform's prices, by column; None where they are so already.

    Raises UsageError where an amount is not exactly what the column holds, and LedgerError.
    """
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        wanted = {column: _amount(transaction, PLATFORM, column, text) for column, text in given.items()}
        return _change(transaction, PLATFORM, None, wanted, by)


def set_skill_price(database: Database, skill: str, price: str, by: str) -> Decision | None:
    """Gives a skill its price, or another one; None where it has it already. Raises as above."""
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        wanted = {"daily_price_chf": _amount(transaction, SKILLS, "daily_price_chf", price)}
        return _change(transaction, SKILLS, _named("skill", skill), wanted, by)


def remove_skill_price(database: Database, skill: str, by: str) -> Decision:
    """Takes a skill's price away. Raises UsageError where it has none, and LedgerError."""
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        before = _row(transaction, SKILLS, skill, lock=True)
        if before is None:
            raise UsageError(f"skill {quoted(skill)} has no price to remove")
        transaction.execute("DELETE FROM skill_pricing WHERE skill_id = %s", skill)
        return _record(transaction, SKILLS, skill, by, before=before, after=None)


def postures(database: Database) -> Sequence[Posture]:
    """How each organisation is billed that the ledger knows. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        return [_posture(row) for row in transaction.rows(_POSTURES, None, None)]


def posture(database: Database, org: str, by: str) -> tuple[Posture, Decision | None]:
    """How an organisation is billed. The first to read it creates its row: then that is on record."""
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        decision = _change(transaction, ORGS, _named("org", org), {}, by)
        return _posture(transaction.rows(_POSTURES, org, org)[0]), decision


def set_posture(
    database: Database, org: str, given: Mapping[str, bool | str | None], by: str
) -> Decision | None:
    """Changes how an organisation is billed, by column; None where it is so already."""
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        wanted = {
            column: _named(column, value) if isinstance(value, str) else value
            for column, value in given.items()
        }
        return _change(transaction, ORGS, _named("org", org), wanted, by)


def _named(what: str, name: str) -> str:
    if not name.strip() or "\0" in name or len(name.encode()) > LONGEST_NAME:
        raise UsageError(f"{what} {quoted(name)}: expected a name of up to {LONGEST_NAME:,} bytes")
    return name


def _amount(transaction: Transaction, table: str, column: str, text: str) -> Value:
    ((digits, scale),) = transaction.rows(_NUMBER, table, column)
    try:
        amount = exact(text, digits, scale)
    except ValueError as error:
        raise UsageError(f"{column} {quoted(text)}: {error}") from None
    if column == "vat_rate_chli" and amount > 100:
        raise UsageError(f"{column} {quoted(text)}: expected percent, from 0 to 100")
    return amount


def _change(
    transaction: Transaction, table: str, subject: str | None, wanted: Columns, by: str
) -> Decision | None:
    """Brings a row to what is wanted, making it where there is none, and records what that changed."""
    key = _KEY[table]
    begun = False
    if subject is not None:
        columns = "".join(f", {column}" for column in wanted)
        values = ", %s" * len(wanted)
        begun = bool(
            transaction.rows(
                f"INSERT INTO {table} ({key}{columns}) VALUES (%s{values}) "
                f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}",
                subject,
                *wanted.values(),
            )
        )
    before = None if begun else _row(transaction, table, subject, lock=True)
    differing = {name: value for name, value in wanted.items() if before and before[name] != value}
    if not begun and not differing:
        return None
    if differing:
        assignments = ", ".join(f"{column} = %s" for column in differing)
        where = f" WHERE {key} = %s" if subject is not None else ""
        transaction.execute(
            f"UPDATE {table} SET {assignments}{where}",
            *differing.values(),
            *([subject] if subject is not None else []),
        )
    after = _row(transaction, table, subject) or {}
    if before is not None:
        before = {name: before[name] for name in differing}
        after = {name: after[name] for name in differing}
    return _record(transaction, table, subject, by, before=before, after=after)


def _row(
    transaction: Transaction, table: str, subject: str | None, *, lock: bool = False
) -> Columns | None:
    key, columns = _KEY[table], _COLUMNS[table]
    where = f"WHERE {key} = %s" if subject is not None else ""
    rows = transaction.rows(
        f"SELECT {', '.join(columns)} FROM {table} {where} ORDER BY {key} LIMIT 1"
        f"{' FOR UPDATE' if lock else ''}",
        *([subject] if subject is not None else []),
    )
    return dict(zip(columns, rows[0], strict=True)) if rows else None


def _record(
    transaction: Transaction,
    table: str,
    subject: str | None,
    by: str,
    *,
    before: Columns | None,
    after: Columns | None,
) -> Decision:
    values = [None if row is None else msgspec.json.encode(row).decode() for row in (before, after)]
    ((id_, decided_at, database_user),) = transaction.rows(_RECORD, by, table, subject, *values)
    return Decision(
        id=id_,
        decided_at=decided_at,
        decided_by=by,
        database_user=database_user,
        table=table,
        subject=subject,
        before=before,
        after=after,
    )


def _posture(row: Sequence[Any]) -> Posture:
    org, invoice, auto_invoice, auto_reminders, stripe, tenants, is_stored = row
    return Posture(
        zitadel_org_id=org,
        pay_by_invoice=invoice,
        auto_invoice_enabled=auto_invoice,
        auto_reminders_enabled=auto_reminders,
        stripe_customer_id=stripe,
        tenants=tenants,
        is_stored=is_stored,
    )
