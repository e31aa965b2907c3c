"""What the ledger needs of the tables that the portal may have made.

The program writes and reads five kinds of facts: lifecycles, skill events, suspension events, prices and
the settings of organisations. Whatever else is in their tables stays. Where a table differs, that is an
`Adaptation` (the program does it), a `Problem` (a person has to), or a `Question` (the rows decide).
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct


class Adaptation(Struct, frozen=True):
    """A change of a table that loses nothing."""

    table: str
    says: str
    statement: str
    is_last: bool = False
    """It comes after the statements of the schema, of which it needs something."""

    def __str__(self) -> str:
        return f"{self.table}: {self.says}"


class Problem(Struct, frozen=True):
    """What only a person can change, and how."""

    where: str
    """A table, or a column as `table.column`."""
    wrong: str
    run: str

    def __str__(self) -> str:
        return f"{self.where}: {self.wrong}; run: {self.run}"


class Question(Struct, frozen=True):
    """A query for the rows that stand in the way: how many there are, and one of them."""

    select: str
    """What comes after SELECT: the count, and the one as text."""
    where: str
    wrong: str
    """With {count} and {example}."""
    run: str

    def answered(self, count: int, example: str | None) -> Problem | None:
        """None where there are no such rows."""
        if not count:
            return None
        told = self.wrong.replace("{count}", str(count)).replace("{example}", example or "")
        return Problem(self.where, told, self.run)


class Kind(StrEnum):
    """What a column has to hold, by the type that it gets where the schema makes it."""

    TEXT = "text"
    TIME = "timestamptz"
    ID = "bigint"
    NUMBER = "numeric"
    FLAG = "boolean"


class Wanted(Struct, frozen=True):
    """A column that statements of ours name."""

    kind: Kind
    is_added: bool = False
    """The schema adds it where it is missing."""
    may_be_null: bool = False
    words: Sequence[str] = ()
    """All that it may say."""


_NAME: Final = Wanted(Kind.TEXT)
_WHEN: Final = Wanted(Kind.TIME)
_ID: Final = Wanted(Kind.ID, is_added=True)
_ADDED_TIME: Final = Wanted(Kind.TIME, is_added=True, may_be_null=True)

LIFECYCLES: Final = "tenant_billing_lifecycle"
SKILL_EVENTS: Final = "tenant_skill_events"
SUSPENSION_EVENTS: Final = "tenant_suspension_events"

FACTS: Final[Mapping[str, Mapping[str, Wanted]]] = {
    LIFECYCLES: {
        "id": _ID,
        "tenant_name": _NAME,
        "zitadel_org_id": _NAME,
        "created_at": _WHEN,
        "deleted_at": _ADDED_TIME,
    },
    SKILL_EVENTS: {
        "id": _ID,
        "tenant_name": _NAME,
        "skill_id": _NAME,
        "event_kind": Wanted(Kind.TEXT, words=("enabled", "disabled")),
        "occurred_at": _WHEN,
    },
    SUSPENSION_EVENTS: {
        "id": _ID,
        "tenant_name": _NAME,
        "event_kind": Wanted(Kind.TEXT, words=("suspended", "resumed")),
        "occurred_at": _WHEN,
    },
}
"""Passes write and read these."""

PRICES: Final[Mapping[str, Mapping[str, Wanted]]] = {
    "platform_pricing": {
        "id": Wanted(Kind.NUMBER),
        "tenant_monthly_fee_chf": Wanted(Kind.NUMBER),
        "tenant_setup_fee_chf": Wanted(Kind.NUMBER),
        "threema_message_chf": Wanted(Kind.NUMBER),
        "vat_rate_chli": Wanted(Kind.NUMBER),
        "updated_at": _ADDED_TIME,
    },
    "skill_pricing": {
        "skill_id": _NAME,
        "daily_price_chf": Wanted(Kind.NUMBER),
        "updated_at": _ADDED_TIME,
    },
    "org_billing_config": {
        "zitadel_org_id": _NAME,
        "pay_by_invoice": Wanted(Kind.FLAG),
        "auto_invoice_enabled": Wanted(Kind.FLAG),
        "auto_reminders_enabled": Wanted(Kind.FLAG),
        "stripe_customer_id": Wanted(Kind.TEXT, is_added=True, may_be_null=True),
        "display_name": Wanted(Kind.TEXT, is_added=True, may_be_null=True),
        "created_at": _ADDED_TIME,
        "updated_at": _ADDED_TIME,
    },
}
"""Commands write these; `20-pricing.sql` brings them to their types where no value changes by that."""

KEYS: Final = {
    "platform_pricing": ("id",),
    "skill_pricing": ("skill_id",),
    "org_billing_config": ("zitadel_org_id", "stripe_customer_id"),
}


def quoted(name: str) -> str:
    """An identifier, to the letter."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string."""
    return "'" + text.replace("'", "''") + "'"
