"""Closes months: writes where the ledger stands and what it comes to, and tells what changed since."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec.structs import replace

from reconciler.core.closes import Close, CloseTotal
from reconciler.core.usage import Correction, Corrections, Period, Usage, differences, not_ready
from reconciler.errors import Refused, UsageError
from reconciler.ledger import schema
from reconciler.ledger.decisions import org_names
from reconciler.ledger.postgres import Database, Transaction
from reconciler.ledger.queries import load
from reconciler.ledger.usage_reader import Question, corrections_in, usage_in, voided

_SQL: Final = load("closes")


def close(
    database: Database,
    period: Period,
    *,
    org: str | None,
    time_zone: str,
    by: str,
    in_doubt: bool,
    longest_gap: timedelta,
) -> Close:
    """Closes a period, or closes it again. Raises Refused where it is not ready, and as `usage` does.

    With `in_doubt` what is quarantined or held does not matter; that a period is not over does.
    """
    question = Question(
        period=period, time_zone=time_zone, org=org, prices=True, longest_gap=longest_gap
    )
    with database.transaction() as transaction:
        _check(usage_in(transaction, database, question), in_doubt=in_doubt)
        close_id = transaction.value(
            _SQL["write"], period.start, period.end, org, time_zone, by, in_doubt, longest_gap
        )
        ((*row, before),) = transaction.rows(_SQL["close"], close_id)
        made = _close(row)
        changed = _changed(transaction, database, question, before, made.as_of_pass)
        return replace(
            made,
            corrections=changed,
            names=org_names(transaction),
            totals=[
                CloseTotal(
                    zitadel_org_id=org_id,
                    month=month,
                    vat_rate_chli=rate,
                    net_chf=net,
                    vat_chf=vat,
                    gross_chf=gross,
                    net_before_chf=net_before,
                )
                for org_id, month, rate, net, vat, gross, net_before in transaction.rows(
                    _SQL["totals"], close_id
                )
            ],
        )


def corrections_since_close(database: Database, question: Question) -> Corrections:
    """What was written after the last close of the period: of its org or, without one, of all orgs.

    Raises UsageError where it was not closed, and as `usage` does.
    """
    period = question.period
    with database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, database)
        found = since_close(transaction, database, question)
    if found is None:
        raise UsageError(
            f"from {period.start} to {period.end}: it was not closed; `reconciler close` does that"
        )
    return found


def since_close(transaction: Transaction, database: Database, question: Question) -> Corrections | None:
    """`corrections_since_close` in a transaction; None where the period was not closed."""
    period = question.period
    rows = transaction.rows(_SQL["last"], period.start, period.end, question.time_zone, question.org)
    if not rows:
        return None
    closed = _close(rows[0])
    question = replace(question, as_of=None, as_of_pass=closed.as_of_pass, prices=True)
    found = corrections_in(transaction, database, question)
    return replace(found, since_revision=closed.revision)


def _check(found: Usage, *, in_doubt: bool) -> None:
    reasons = [
        not_ready(doubt)
        for doubt in found.doubts
        if not doubt.is_ready and (doubt.kind == "not-over" or not in_doubt)
    ]
    if reasons:
        raise Refused(
            f"from {found.period.start} to {found.period.end}: not ready to be closed: "
            f"{'; '.join(reasons)}"
        )


def _changed(
    transaction: Transaction, database: Database, question: Question, before: int | None, now: int
) -> Sequence[Correction]:
    if before is None or voided(transaction, None, before):
        return ()
    old, new = (
        usage_in(transaction, database, replace(question, as_of_pass=position))
        for position in (before, now)
    )
    return list(differences(old.lines, new.lines))


def _close(row: Sequence[Any]) -> Close:
    id_, start, end, time_zone, org, revision, as_of_pass, until, digest, at, by, user = row
    return Close(
        id=id_,
        period=Period(start, end),
        time_zone=time_zone,
        zitadel_org_id=org,
        revision=revision,
        as_of_pass=as_of_pass,
        observed_until=until,
        digest=digest,
        closed_at=at,
        closed_by=by,
        database_user=user,
    )
