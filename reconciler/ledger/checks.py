"""Asks the ledger whether it holds to its rules: in SQL, over all rows at once, in bounded memory.

Each statement in `rules/` gives rows of: rule, tenant_name, tenant_uid, tables, ids, told; `tables` and
`ids` together name the rows. What the rules mean is in `core.verify`.
"""

from collections.abc import Iterator
from importlib import resources
from typing import Final

from msgspec.structs import replace

from reconciler.core.tenant import Lifecycle
from reconciler.core.verify import Checked, Digests, Finding, Rebuilt, RowName
from reconciler.ledger.postgres import Transaction

_FOLDER: Final = resources.files("reconciler") / "ledger" / "rules"

_EVENTS: Final = (
    {
        "table": "tenant_skill_events",
        "skill": "skill_id",
        "key": "skill_key",
        "on": "enabled",
        "off": "disabled",
    },
    {
        "table": "tenant_suspension_events",
        "skill": "NULL::text",
        "key": "NULL::text",
        "on": "suspended",
        "off": "resumed",
    },
)
"""What is filled in for each of the two tables."""

_REBUILT: Final = """
SELECT l.id, l.tenant_uid, l.tenant_name, l.zitadel_org_id, l.created_at,
       d.skills, d.suspended, d.changed_at,
       s.lifecycle_id, s.skills, s.suspended, s.changed_at, s.read_at, s.held,
       CASE WHEN l.created_time_source = 'creation'
                 AND NOT EXISTS (SELECT FROM reconciler_rebindings r WHERE r.lifecycle_id = l.id)
            THEN l.created_observed_at END,
       l.created_pass_id IS NULL
FROM reconciler_derived_state() d
JOIN tenant_billing_lifecycle l ON l.id = d.lifecycle_id
LEFT JOIN reconciler_state s ON s.lifecycle_id = d.lifecycle_id
"""

_CHECKED: Final = """
SELECT (SELECT count(*) FROM tenant_billing_lifecycle), (SELECT count(*) FROM tenant_skill_events),
       (SELECT count(*) FROM tenant_suspension_events), (SELECT count(*) FROM reconciler_passes)
"""

_SEALED: Final = """
SELECT count(d.pass_id), count(*) - count(d.pass_id), max(d.pass_id),
       (SELECT encode(digest, 'hex') FROM reconciler_digests ORDER BY pass_id DESC LIMIT 1)
FROM reconciler_passes p LEFT JOIN reconciler_digests d ON d.pass_id = p.id
"""


def prepare(transaction: Transaction) -> None:
    """Room for sorting, and plans for all rows instead of the first few; until the transaction ends."""
    transaction.execute(
        "SET LOCAL work_mem = '64MB'; SET LOCAL cursor_tuple_fraction = 1; SET LOCAL jit = off"
    )


def checked(transaction: Transaction) -> Checked:
    """How much there is."""
    return Checked(*transaction.rows(_CHECKED)[0])


def rebuilt(transaction: Transaction) -> Iterator[Rebuilt]:
    """The live lifecycles as their events tell them."""
    for row in transaction.portions(_REBUILT):
        id_, uid, name, org, created_at, skills, suspended, changed_at, *rest = row
        state_of, its_skills, its_suspension, its_change, read_at, held, seen_at, is_adopted = rest
        told = Lifecycle(
            id=id_,
            uid=uid,
            name=name,
            org=org,
            created_at=created_at,
            skills=tuple(skills),
            suspended=suspended,
            changed_at=changed_at,
            read_at=read_at,
            held=bool(held),
        )
        known = None
        if state_of is not None:
            known = replace(
                told, skills=tuple(its_skills), suspended=its_suspension, changed_at=its_change
            )
        yield Rebuilt(lifecycle=told, known=known, seen_at=seen_at, is_adopted=is_adopted)


def contradictions(transaction: Transaction) -> Iterator[Finding]:
    """What contradicts itself in the ledger, and what the portal wrote so."""
    for name in ("passes", "lifecycles", "live", "states", "overrides"):
        yield from _findings(transaction, _statement(name))
    for table in _EVENTS:
        yield from _findings(transaction, _statement("events").format(**table))
    yield from _findings(transaction, _statement("portal"))


def altered(transaction: Transaction) -> Iterator[Finding]:
    """The passes whose rows are not what they were when they were written."""
    return _findings(transaction, _statement("digests"))


def digests(transaction: Transaction) -> Digests:
    """How far the chain of digests goes."""
    return Digests(*transaction.rows(_SEALED)[0])


def _statement(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text()


def _findings(transaction: Transaction, statement: str) -> Iterator[Finding]:
    for rule, name, uid, tables, ids, told in transaction.portions(statement):
        rows = [RowName(table, id_) for table, id_ in zip(tables, ids, strict=True)]
        yield Finding(rule=rule, tenant_name=name, tenant_uid=uid, rows=rows, told=told)
