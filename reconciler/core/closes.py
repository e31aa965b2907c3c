"""A closed month as a value: where the ledger stood, and what the month came to."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from reconciler.core.usage import Correction, Period


class CloseTotal(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the lines of one organisation in one month come to, at one rate of VAT."""

    zitadel_org_id: str
    month: str
    vat_rate_chli: Decimal
    net_chf: Decimal
    vat_chf: Decimal
    gross_chf: Decimal
    net_before_chf: Decimal | None
    """Of the revision before; None: there was none."""


class Close(Struct, frozen=True, kw_only=True):
    """One revision."""

    id: int
    period: Period
    time_zone: str
    zitadel_org_id: str | None
    """None: all organisations."""
    revision: int
    as_of_pass: int
    """The position: the last pass or price change that counted."""
    observed_until: datetime
    digest: str | None
    """Of the last pass, in hex; None: passes had no digest yet."""
    closed_at: datetime
    closed_by: str | None
    database_user: str
    totals: Sequence[CloseTotal] = ()
    """By organisation, month and rate."""
    corrections: Sequence[Correction] = ()
    """What has changed since the revision before; they explain the difference."""
    names: Mapping[str, str] = {}
    """What people call the organisations, by id."""
