"""Prices: what is valid on a day, what each was set to, and setting one."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from reconciler.core.prices import COLUMNS, Decision, PriceChange, Prices, SkillPrice, Validity, exact
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger import schema
from reconciler.ledger.decisions import named, record
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load

PLATFORM: Final = "platform_pricing"
SKILLS: Final = "skill_pricing"
SKILL_PRICE: Final = "daily_price_chf"

_SQL: Final = load("price_list")


def prices(database: Database, at: date | datetime | None = None) -> Prices:
    """The prices of a day, or of the day of an instant; by default of today. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        day = at if at and not isinstance(at, datetime) else transaction.value(_SQL["day_of"], at)
        found = transaction.rows(_SQL["prices"], day)
        platform = {column: value for column, skill, value in found if skill is None}
        return Prices(
            **platform,
            day=day,
            skills=[
                SkillPrice(skill_id=skill, daily_price_chf=value)
                for _, skill, value in sorted(found, key=lambda row: row[1] or "")
                if skill is not None
            ],
            unpriced=[skill for (skill,) in transaction.rows(_SQL["unpriced"], day)],
        )


def history(database: Database, subject: str | None = None) -> Sequence[PriceChange]:
    """All changes, oldest first: of a skill, of a column, or of all. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        return [_change(row) for row in transaction.rows(_SQL["history"], subject, subject, subject)]


def set_prices(
    database: Database, given: Mapping[str, str], by: str, valid_from: date | None = None
) -> Decision | None:
    """Sets some of the platform's prices, by column; None where they are so already.

    Raises UsageError where an amount is not exactly what is kept, and LedgerError.
    """
    wanted = {column: _amount(column, text) for column, text in given.items()}
    return _set(database, None, wanted, by, valid_from)


def set_skill_price(
    database: Database, skill: str, price: str, by: str, valid_from: date | None = None
) -> Decision | None:
    """Sets a skill's price; None where it has it already. Raises as above."""
    wanted = {SKILL_PRICE: _amount(SKILL_PRICE, price)}
    return _set(database, named("skill", skill), wanted, by, valid_from)


def is_skill_known(database: Database, skill: str) -> bool:
    """Whether any tenant ever had the skill. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        return bool(transaction.rows(_SQL["known_skill"], skill))


def remove_skill_price(
    database: Database, skill: str, by: str, valid_from: date | None = None
) -> Decision:
    """Takes a skill's price away. Raises UsageError where it has none, and LedgerError."""
    decision = _set(database, named("skill", skill), {SKILL_PRICE: None}, by, valid_from)
    if decision is None:
        raise UsageError(f"skill {quoted(skill)} has no price to remove")
    return decision


def _amount(column: str, text: str) -> Any:
    try:
        amount = exact(text, *COLUMNS[column])
    except ValueError as error:
        raise UsageError(f"{column} {quoted(text)}: {error}") from None
    if column == "vat_rate_chli" and amount > 100:
        raise UsageError(f"{column} {quoted(text)}: expected percent, from 0 to 100")
    return amount


def _set(
    database: Database, skill: str | None, wanted: Mapping[str, Any], by: str, valid_from: date | None
) -> Decision | None:
    with database.transaction() as transaction:
        schema.check_current(transaction, database)
        changes = [
            PriceChange(
                id=number,
                column=column,
                skill_id=skill,
                previous=previous,
                value=value,
                valid_from=since,
                recorded_at=recorded_at,
                recorded_by=by,
                database_user=user,
            )
            for column, value in wanted.items()
            for number, previous, since, recorded_at, user in transaction.rows(
                _SQL["set"], column, value, valid_from, skill, by
            )
        ]
        if not changes:
            return None
        before = {one.column: one.previous for one in changes}
        after = {one.column: one.value for one in changes}
        return record(
            transaction,
            PLATFORM if skill is None else SKILLS,
            skill,
            by,
            before=None if before == {SKILL_PRICE: None} else before,
            after=None if after == {SKILL_PRICE: None} else after,
            validity={one.column: _validity(transaction, one) for one in changes},
            closed_months=_closed(transaction, changes),
        )


def _validity(transaction: Transaction, change: PriceChange) -> Validity:
    until = transaction.value(_SQL["until"], change.column, change.skill_id, change.valid_from)
    return Validity(start=change.valid_from, end=until)


def _closed(transaction: Transaction, changes: Sequence[PriceChange]) -> Sequence[str]:
    """The closed months that have days at the new prices."""
    starts = [one.valid_from for one in changes]
    first = None if None in starts else min(start for start in starts if start)
    return [month for (month,) in transaction.rows(_SQL["closed"], first)]


def _change(row: Sequence[Any]) -> PriceChange:
    id_, column, skill, previous, value, valid_from, recorded_at, recorded_by, user = row
    return PriceChange(
        id=id_,
        column=column,
        skill_id=skill,
        previous=previous,
        value=value,
        valid_from=valid_from,
        recorded_at=recorded_at,
        recorded_by=recorded_by,
        database_user=user,
    )
