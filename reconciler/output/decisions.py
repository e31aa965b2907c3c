"""Prices, how organisations are billed, and what changed of either: for a person and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from reconciler.core.prices import Decision, Posture, PriceChange, Prices, Validity, Value
from reconciler.core.text import clean, columns, counted, org_text, stamp
from reconciler.output.plan_json import to_json

UNCHANGED: Final = "It is so already: nothing was changed"

_PLATFORM: Final = (
    *("tenant_monthly_fee_chf", "tenant_setup_fee_chf", "threema_message_chf", "vat_rate_chli"),
)


class _Changed(Struct):
    decision: Decision | None


class _Shown(Struct):
    org: Posture
    decision: Decision | None


class _History(Struct):
    changes: Sequence[PriceChange]


class _Listed(Struct):
    orgs: Sequence[Posture]


def prices_json(prices: Prices) -> bytes:
    """One object; amounts are strings, as they are exact."""
    return to_json(prices)


def decision_json(decision: Decision | None) -> bytes:
    """One object; `decision` is null where nothing changed."""
    return to_json(_Changed(decision))


def posture_json(posture: Posture, decision: Decision | None) -> bytes:
    """One object; `decision` is null unless reading it created the row."""
    return to_json(_Shown(posture, decision))


def postures_json(postures: Sequence[Posture]) -> bytes:
    """One object with a list."""
    return to_json(_Listed(postures))


def prices_text(prices: Prices) -> Iterator[str]:
    """The lines, without their ends."""
    platform = [(column, f"{getattr(prices, column)}{_unit(column)}") for column in _PLATFORM]
    skills = [(clean(one.skill_id), str(one.daily_price_chf)) for one in prices.skills]
    lines = [*columns([*platform, *skills])]
    yield from lines[: len(platform)]
    if skills:
        yield "per day of"
    yield from lines[len(platform) :]
    if prices.unpriced:
        yield f"without a price: {', '.join(map(clean, prices.unpriced))}"


def price_history_json(changes: Sequence[PriceChange]) -> bytes:
    """One object with a list; amounts are strings, as they are exact."""
    return to_json(_History(changes))


def price_history_text(changes: Sequence[PriceChange]) -> Iterator[str]:
    """A line a change, oldest first."""
    rows = []
    for one in changes:
        unit = _unit(one.column)
        before, after = ("none" if x is None else f"{x}{unit}" for x in (one.previous, one.value))
        since = f"from {one.valid_from}" if one.valid_from else "for all days before, too"
        by = f"by {clean(one.recorded_by)} " if one.recorded_by is not None else ""
        name = one.column if one.skill_id is None else clean(one.skill_id)
        user = f"{by}(database user {clean(one.database_user)})"
        rows.append((stamp(one.recorded_at), name, f"{before} → {after}", since, user))
    yield from columns(rows)
    yield counted(len(changes), "change")


def decision_text(decision: Decision | None) -> Iterator[str]:
    """Before and after, and who is on record for it."""
    if decision is None:
        yield UNCHANGED
        return
    subject = f" of {clean(decision.subject)}" if decision.subject is not None else ""
    yield f"{decision.table}{subject}"
    before, after = decision.before or {}, decision.after or {}
    changes = []
    for column in {**before, **after}:
        unit = _unit(column)
        days = _days(decision.validity.get(column))
        changes.append((column, f"{_value(before, column)}{unit} → {_value(after, column)}{unit}{days}"))
    yield from columns(changes, indent="  ")
    if decision.closed_months:
        yield f"closed months with days at the new price: {', '.join(decision.closed_months)}"
        yield "what changes in them: reconciler usage --month MONTH --corrections --since-close"
    yield (
        f"on record: decision {decision.id} of {stamp(decision.decided_at)} "
        f"by {clean(decision.decided_by)} (database user {clean(decision.database_user)})"
    )


def _days(validity: Validity | None) -> str:
    if validity is None:
        return ""
    start = f", from {validity.start}" if validity.start else ", for all days before, too"
    return f"{start} until {validity.end}, when another one follows" if validity.end else start


def _unit(column: str) -> str:
    return " %" if column == "vat_rate_chli" else ""


def _value(row: Mapping[str, Value], column: str) -> str:
    value = row.get(column)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else clean(str(value))


def posture_text(posture: Posture, decision: Decision | None) -> Iterator[str]:
    """The lines, without their ends."""
    if decision is not None:
        yield "The first to read it: its row was created, with the defaults"
    who = org_text(posture.zitadel_org_id, posture.display_name)
    yield f"{who}: {counted(posture.tenants, 'live tenant')}"
    row = {
        "pay_by_invoice": posture.pay_by_invoice,
        "auto_invoice_enabled": posture.auto_invoice_enabled,
        "auto_reminders_enabled": posture.auto_reminders_enabled,
        "stripe_customer_id": posture.stripe_customer_id,
        "display_name": posture.display_name,
    }
    yield from columns([(column, _value(row, column)) for column in row], indent="  ")


def postures_text(postures: Sequence[Posture]) -> Iterator[str]:
    """A table, an organisation a line."""
    rows = []
    for one in postures:
        said = ["by invoice" if one.pay_by_invoice else "by Stripe"]
        said += ["invoices by themselves"] * one.auto_invoice_enabled
        said += ["reminders by themselves"] * one.auto_reminders_enabled
        said += [clean(one.stripe_customer_id)] if one.stripe_customer_id is not None else []
        said += ["no row yet"] * (not one.is_stored)
        tenants = counted(one.tenants, "live tenant")
        name = clean(one.display_name) if one.display_name is not None else ""
        rows.append((clean(one.zitadel_org_id), name, tenants, ", ".join(said)))
    yield from columns(rows)
    yield counted(len(postures), "organisation")
