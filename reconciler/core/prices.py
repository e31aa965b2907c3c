"""Prices, how organisations are billed, and what was decided about them, as values."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Final, TypeAlias

from msgspec import Struct

Value: TypeAlias = Decimal | bool | str | None
"""Of one column."""

COLUMNS: Final = {
    "tenant_monthly_fee_chf": (10, 2),
    "tenant_setup_fee_chf": (10, 2),
    "threema_message_chf": (10, 5),
    "vat_rate_chli": (5, 2),
    "daily_price_chf": (10, 5),
}
"""Digits of each price, and how many of them are decimals."""


class SkillPrice(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a skill costs a billable day and tenant, without VAT."""

    skill_id: str
    daily_price_chf: Decimal


class Prices(Struct, frozen=True, kw_only=True, rename="camel"):
    """All prices, in CHF without VAT, and the rate of VAT."""

    tenant_monthly_fee_chf: Decimal
    tenant_setup_fee_chf: Decimal
    threema_message_chf: Decimal
    vat_rate_chli: Decimal
    """In percent."""
    day: date
    """On which they are valid."""
    skills: Sequence[SkillPrice]
    """By skill."""
    unpriced: Sequence[str]
    """Skills that some tenant has, and that have no price."""


class Posture(Struct, frozen=True, kw_only=True, rename="camel"):
    """How an organisation is billed."""

    zitadel_org_id: str
    pay_by_invoice: bool
    auto_invoice_enabled: bool
    auto_reminders_enabled: bool
    stripe_customer_id: str | None
    display_name: str | None
    """What people call it."""
    tenants: int
    """That live."""
    is_stored: bool
    """False: there is no row yet, and these are the defaults."""


class PriceChange(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a price was set to, as the database recorded it."""

    id: int
    """Its position among the passes."""
    column: str
    skill_id: str | None
    """Of daily_price_chf; None: the platform's."""
    previous: Decimal | None
    """What was on record for the first of its days; None: no price."""
    value: Decimal | None
    """None: no price from then on."""
    valid_from: date | None
    """None: for all days before, too."""
    recorded_at: datetime
    recorded_by: str | None
    """None: that was not said."""
    database_user: str


class Validity(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """The days that a price is valid on, half-open; None: without a beginning or an end."""

    start: date | None
    end: date | None


class Decision(Struct, frozen=True, kw_only=True, rename="camel"):
    """What somebody changed, as it is on record."""

    id: int
    decided_at: datetime
    decided_by: str
    database_user: str
    table: str
    subject: str | None
    """The skill or the organisation; None where the table has one row."""
    before: Mapping[str, Value] | None
    """By column, those that changed; None: there was no row."""
    after: Mapping[str, Value] | None
    """None: there is no row any more."""
    validity: Mapping[str, Validity] = {}
    """Of prices, by column."""
    closed_months: Sequence[str] = ()
    """That have days at a new price, like 2026-10; their figures change by it."""


def exact(text: str, digits: int, scale: int) -> Decimal:
    """A number as it is written, if a NUMERIC(digits, scale) holds it as it is.

    Raises ValueError, with the reason.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is None:
        raise ValueError("expected a number like 49 or 0.005, with a decimal point, and not negative")
    number = Decimal(text)
    _, _, fraction = text.partition(".")
    if len(fraction.rstrip("0")) > scale:
        raise ValueError(f"it has more than the {scale} decimals that are kept, and is not rounded")
    if number >= 10 ** (digits - scale):
        raise ValueError(
            f"it has more than the {digits - scale} digits before the decimal point that are kept"
        )
    # Any number of trailing zeros says the same; this is how the column writes it.
    return Decimal(f"{text.partition('.')[0]}.{fraction[:scale]:0<{scale}}")
