"""A month that was closed, for a person and as JSON."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from msgspec import Struct

from reconciler.core.closes import Close, CloseTotal
from reconciler.core.text import clean, columns, org_text, stamp
from reconciler.core.usage import Correction
from reconciler.output.plan_json import to_json
from reconciler.output.usage_report import corrections_table


class _Close(Struct, kw_only=True, rename="camel"):
    id: int
    period_start: date
    period_end: date
    time_zone: str
    zitadel_org_id: str | None
    revision: int
    as_of_pass: int
    observed_until: datetime
    digest: str | None
    closed_at: datetime
    closed_by: str | None
    database_user: str
    totals: Sequence[CloseTotal]
    corrections: Sequence[Correction]


def close_json(close: Close) -> bytes:
    """One object; amounts are strings, as they are exact."""
    return to_json(
        _Close(
            id=close.id,
            period_start=close.period.start,
            period_end=close.period.end,
            time_zone=close.time_zone,
            zitadel_org_id=close.zitadel_org_id,
            revision=close.revision,
            as_of_pass=close.as_of_pass,
            observed_until=close.observed_until,
            digest=close.digest,
            closed_at=close.closed_at,
            closed_by=close.closed_by,
            database_user=close.database_user,
            totals=close.totals,
            corrections=close.corrections,
        )
    )


def close_text(close: Close) -> Iterator[str]:
    """The lines, without their ends."""
    whose = close.zitadel_org_id
    of = "" if whose is None else f" of {org_text(whose, close.names.get(whose))}"
    yield (
        f"{close.period.start} to {close.period.end}{of}, days of {clean(close.time_zone)}: "
        f"closed as revision {close.revision} at position {close.as_of_pass}, "
        f"observed until {stamp(close.observed_until)}"
    )
    rows = []
    for total in close.totals:
        before, org = total.net_before_chf, total.zitadel_org_id
        rows.append(
            (
                f"{total.month}  {org_text(org, close.names.get(org))}",
                f"net {total.net_chf}",
                f"VAT of {total.vat_rate_chli} % {total.vat_chf}",
                f"gross {total.gross_chf} CHF",
                "" if before is None else f"net before {before}",
            )
        )
    yield from columns(rows, indent="  ")
    if close.revision > 1:
        yield f"What changed since revision {close.revision - 1}"
        yield from corrections_table(close.corrections)
    yield f"digest {close.digest}" if close.digest else "no digest: passes had none yet"
    yield (
        f"on record: close {close.id} of {stamp(close.closed_at)} "
        f"by {clean(close.closed_by or '')} (database user {clean(close.database_user)})"
    )
