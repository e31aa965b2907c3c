"""The lines of usage, added up by organisation, tenant, skill, day or month."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from reconciler.core.usage import Item, Line


class By(StrEnum):
    """What the lines are added up by."""

    ORG = "org"
    TENANT = "tenant"
    SKILL = "skill"
    DAY = "day"
    MONTH = "month"


class Sort(StrEnum):
    """What the groups are sorted by, the highest first."""

    AMOUNT = "amount"
    DAYS = "days"


class Group(Struct, frozen=True, kw_only=True, rename="camel"):
    """What some lines come to."""

    key: str
    """The org's id, the tenant's name, the skill, the day or the month."""
    zitadel_org_id: str | None = None
    """Of a tenant."""
    name: str | None = None
    """What people call the org, where it was given a name."""
    tenants: int
    """Lifecycles with a billable day."""
    tenant_days: int
    """Billable days of tenants."""
    skill_days: int
    """Billable days of skills."""
    amount_chf: Decimal | None = None
    """Without VAT; None: not asked for, or by day, where amounts are not rounded."""


class Grouped(Struct, frozen=True, kw_only=True):
    """All groups, and what they come to together."""

    by: By
    groups: Sequence[Group]
    """Those that are shown, in their order."""
    hidden: int
    """How many more there are."""
    total: Group
    """Of all, also of those that are not shown."""


def grouped(
    lines: Sequence[Line],
    by: By,
    *,
    names: Callable[[str], str | None],
    sort: Sort | None,
    top: int | None,
) -> Grouped:
    """The lines added up, by key or sorted; `top` is how many groups are shown."""
    of: dict[tuple[str, str | None], list[Line]] = {}
    for line in lines:
        key = _key(line, by)
        if key is not None:
            of.setdefault(key, []).append(line)
    groups = [
        _group(key, some, org, names(key) if by is By.ORG else None) for (key, org), some in of.items()
    ]
    return ordered(groups, total(lines), by, sort=sort, top=top)


def total(lines: Sequence[Line]) -> Group:
    """What all lines come to."""
    return _group("total", lines, None, None)


def ordered(
    groups: Iterable[Group], of_all: Group, by: By, *, sort: Sort | None, top: int | None
) -> Grouped:
    """The groups by their keys or sorted, of which so many are shown."""
    found = sorted(groups, key=lambda one: (one.key, one.zitadel_org_id or ""))
    if sort is Sort.AMOUNT:
        found.sort(key=lambda one: one.amount_chf or Decimal(0), reverse=True)
    elif sort is Sort.DAYS:
        found.sort(key=lambda one: (one.skill_days, one.tenant_days), reverse=True)
    shown = found if top is None else found[:top]
    return Grouped(by=by, groups=shown, hidden=len(found) - len(shown), total=of_all)


def _key(line: Line, by: By) -> tuple[str, str | None] | None:
    match by:
        case By.ORG:
            return line.zitadel_org_id, None
        case By.TENANT:
            return line.tenant_name, line.zitadel_org_id
        case By.SKILL:
            return None if line.skill_id is None else (line.skill_id, None)
        case By.MONTH:
            return line.month, None
        case By.DAY:
            raise ValueError("a line has many days")


def _group(key: str, lines: Sequence[Line], org: str | None, name: str | None) -> Group:
    amounts = [line.amount_chf for line in lines if line.amount_chf is not None]
    return Group(
        key=key,
        zitadel_org_id=org,
        name=name,
        tenants=len({line.lifecycle_id for line in lines if line.days}),
        tenant_days=sum(line.days for line in lines if line.item is Item.MONTHLY_FEE),
        skill_days=sum(line.days for line in lines if line.item is Item.SKILL),
        amount_chf=sum(amounts, Decimal("0.00")) if amounts else None,
    )
