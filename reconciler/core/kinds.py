"""What a row of the ledger can be: a table with one line for each kind.

Every module that makes, writes, prints, counts or adds up rows uses this table. README.md in this
folder shows how to add a kind.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final

from msgspec import Struct


class Kind(StrEnum):
    """What a row says; in the order in which the rows of one tenant are listed."""

    CREATED = "created"
    ENABLED = "enabled"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DELETED = "deleted"

    __hash__ = str.__hash__


class Subject(Struct, frozen=True):
    """What of a tenant a row is about, and the table that holds it."""

    table: str
    value: str | None = None
    """The column of the row's value: which skill. None: the kind says it all."""
    key: str | None = None
    """The column by which a lifecycle has several of these subjects. None: it has one."""


LIFECYCLE: Final = Subject("tenant_billing_lifecycle")
SKILL: Final = Subject("tenant_skill_events", value="skill_id", key="skill_key")
SUSPENSION: Final = Subject("tenant_suspension_events")


class Effect(Enum):
    """What a row does to the bill."""

    MORE = "more"
    LESS = "less"
    END = "end"


class Meaning(Struct, frozen=True):
    """One line of the table."""

    subject: Subject
    switches: bool | None
    """Whether it switches its subject on or off; None: neither."""
    counter: str
    """What it counts as, in the record of a pass and in its report."""
    effect: Effect


MEANING: Final[Mapping[Kind, Meaning]] = {
    Kind.CREATED: Meaning(LIFECYCLE, None, "lifecycle_inserted", Effect.MORE),
    Kind.DELETED: Meaning(LIFECYCLE, None, "lifecycle_deleted", Effect.END),
    Kind.ENABLED: Meaning(SKILL, True, "events_inserted", Effect.MORE),
    Kind.DISABLED: Meaning(SKILL, False, "events_inserted", Effect.LESS),
    Kind.SUSPENDED: Meaning(SUSPENSION, True, "suspension_events_inserted", Effect.LESS),
    Kind.RESUMED: Meaning(SUSPENSION, False, "suspension_events_inserted", Effect.MORE),
}

EVENTS: Final = tuple(dict.fromkeys(one.subject for one in MEANING.values() if one.subject != LIFECYCLE))
"""The subjects whose rows are events of a lifecycle, each in a table of its own."""


def kinds_of(subject: Subject) -> tuple[Kind, ...]:
    """The kinds of rows about a subject."""
    return tuple(kind for kind, meaning in MEANING.items() if meaning.subject == subject)
