"""Reads a report out of the ledger: the figures of `usage`, and what proves them, at one position."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from msgspec.structs import replace

from reconciler.core.history import Gap, Span, answer
from reconciler.core.report import (
    Bits,
    Fleet,
    FleetDay,
    Standing,
    Statement,
    Subject,
    TenantStatement,
    covered,
    strip,
    touched,
)
from reconciler.core.usage import Item, Line, Usage
from reconciler.ledger.closes import since_close
from reconciler.ledger.history_reader import history
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load
from reconciler.ledger.usage_reader import Question, usage_in

_SQL: Final = load("report_reader")

_Key: TypeAlias = tuple[int, Item, str | None]
"""A lifecycle, an item and, of a skill, which."""


def statement(database: Database, question: Question) -> Statement:
    """One organisation in one period. Raises LedgerError; UsageError for an unknown org."""
    question = replace(question, prices=True, bounds=True)
    assert question.org is not None  # noqa: S101 - a statement is of one
    with database.transaction(read_only=True) as transaction:
        found = usage_in(transaction, database, question)
        standing = _standing(transaction, found)
        return Statement(
            standing=standing,
            org=question.org,
            org_name=found.names.get(question.org),
            tenants=_tenants(transaction, standing, question.org),
            corrections=since_close(transaction, database, question),
        )


def fleet(database: Database, question: Question) -> Fleet:
    """All organisations in one period. Raises LedgerError."""
    with database.transaction(read_only=True) as transaction:
        found = usage_in(transaction, database, replace(question, prices=True))
        midnights = _midnights(transaction, found)
        period, position = found.period, found.as_of_pass
        within = midnights[0], midnights[-1], position
        lived = transaction.rows(_SQL["fleet"], position, position, *within, midnights, midnights)
        of_period = (period.start, period.end, found.time_zone, position)
        active = transaction.rows(_SQL["active"], len(midnights) - 1, *of_period)
        return Fleet(
            standing=_standing(transaction, found),
            days=[
                FleetDay(
                    day=period.start + timedelta(days=number),
                    alive=alive,
                    active=billable,
                    suspended=suspended,
                    created=created,
                    deleted=deleted,
                )
                for number, ((alive, suspended, created, deleted), (billable,)) in enumerate(
                    zip(lived, active, strict=False)
                )
            ],
            names=found.names,
        )


def _standing(transaction: Transaction, found: Usage) -> Standing:
    rows = transaction.rows(_SQL["digest"], found.as_of_pass)
    gaps = [
        Gap(Span(one.since, one.until), is_lost=True)
        for one in found.doubts
        if one.kind == "gap" and one.since is not None and one.until is not None
    ]
    digest = rows[0][0] if rows else None
    return Standing(usage=found, digest=digest, gaps=gaps, made_at=datetime.now(UTC))


def _midnights(transaction: Transaction, found: Usage) -> Sequence[datetime]:
    period = found.period
    rows = transaction.rows(_SQL["midnights"], found.time_zone, period.start, period.end)
    return [midnight for (midnight,) in rows]


def _tenants(transaction: Transaction, standing: Standing, org: str) -> Sequence[TenantStatement]:
    found = standing.usage
    midnights = _midnights(transaction, found)
    lines: dict[int, dict[_Key, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in found.lines:
        key = line.lifecycle_id, line.item, line.skill_id
        lines[line.lifecycle_id][key].append(line)
    bits = _bits(transaction, found, org, "0" * (len(midnights) - 1))
    asked = Span(midnights[0], midnights[-1])
    gaps = [(gap.span.start, gap.span.end) for gap in standing.gaps]
    unseen = covered([*gaps, (found.until, asked.end)], midnights)
    tenants = []
    for lifecycle in history(transaction, org=org):
        if lifecycle.id not in lines:
            continue
        alive = touched(lifecycle.created_at, lifecycle.deleted_at, midnights)
        active = bits[lifecycle.id, Item.MONTHLY_FEE, None].most
        tenants.append(
            TenantStatement(
                lifecycle_id=lifecycle.id,
                tenant_name=lifecycle.tenant_name,
                tenant_uid=lifecycle.tenant_uid,
                subjects=[
                    Subject(
                        item=key[1],
                        skill_id=key[2],
                        lines=of_key,
                        strip=""
                        if key[1] is Item.SET_UP_FEE
                        else strip(bits[key], alive=alive, active=active, unseen=unseen),
                    )
                    for key, of_key in lines[lifecycle.id].items()
                ],
                answer=answer(lifecycle, asked, found.until),
            )
        )
    return tenants


def _bits(transaction: Transaction, found: Usage, org: str, none: str) -> Mapping[_Key, Bits]:
    """The days of every line; `none` is a period in which no day counts."""
    bits: dict[_Key, Bits] = defaultdict(lambda: Bits(none, none, none))
    of_period = (found.period.start, found.period.end, found.time_zone, found.as_of_pass)
    for bound in ("best", "least", "most"):
        for id_, item, skill, days in transaction.rows(_SQL["days"], *of_period, bound, org):
            key = id_, Item(item), skill
            bits[key] = replace(bits[key], **{bound: days})
    return bits
