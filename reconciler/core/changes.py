"""The rows of each transition: what a pass does to one lifecycle, and when each row happened.

`cases` says which transition a tenant is in, and `plan` puts the changes of all tenants together.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.cases import Case, Found, Overrides
from reconciler.core.kinds import Kind
from reconciler.core.tenant import KnownState, Lifecycle, Snapshot, Tenant
from reconciler.core.text import quoted, stamp
from reconciler.core.times import Moment, TimeSource, when
from reconciler.errors import Refused


class Row(Struct, frozen=True, gc=False):
    """One row for the ledger, of the tenant of its change."""

    kind: Kind
    at: Moment
    value: str | None = None
    """The skill; None if the kind needs none."""


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """What a pass does to one lifecycle."""

    case: Case
    lifecycle: Lifecycle
    """As it will be known afterwards; if it ends, as it was at its end."""
    previous: Lifecycle | None = None
    """As it was known; if it begins, the lifecycle that it was moved from."""
    rows: tuple[Row, ...] = ()
    """Empty if only the known state changes: it was frozen, is readable again, was recognised, or has
    the same facts under another fingerprint."""

    @property
    def known(self) -> Lifecycle | None:
        """The lifecycle as it was known; None if it begins."""
        return None if self.case.begins else self.previous


def change_of(
    found: Found, snapshot: Snapshot, known: KnownState, overrides: Overrides
) -> Change | None:
    """What a pass does in this case; None if it does nothing."""
    match found:
        case Found(Case.BEGINS | Case.BEGINS_DELETED, Tenant() as tenant):
            return _begins(found.case, tenant, snapshot)
        case Found(
            Case.CONTINUES | Case.RECOGNISED | Case.REBOUND | Case.REOPENED,
            Tenant() as tenant,
            Lifecycle() as lifecycle,
        ):
            return _continues(found.case, lifecycle, tenant, snapshot, known)
        case Found(Case.UNCHANGED, Tenant() as tenant, Lifecycle() as lifecycle):
            renewed = replace(lifecycle, fingerprint=tenant.fingerprint)
            return Change(case=found.case, lifecycle=renewed, previous=lifecycle)
        case Found(Case.ENDS, Tenant() as tenant, Lifecycle() as lifecycle):
            seen = {TimeSource.DELETION: tenant.deleted_at}
            return _ends(found, lifecycle, seen, snapshot, known)
        case Found(Case.SUCCEEDED, Tenant() as successor, Lifecycle() as lifecycle):
            seen = {TimeSource.SUCCESSOR: successor.created_at}
            return _ends(found, lifecycle, seen, snapshot, known)
        case Found(Case.VANISHED, _, Lifecycle() as lifecycle):
            return _ends(found, lifecycle, {}, snapshot, known)
        case Found(Case.MOVED_OUT, Tenant() as tenant, Lifecycle() as lifecycle):
            return _moves(lifecycle, tenant, snapshot, known, overrides.effective)[0]
        case Found(Case.MOVED_IN, Tenant() as tenant, Lifecycle() as lifecycle):
            return _moves(lifecycle, tenant, snapshot, known, overrides.effective)[1]
        case Found(
            Case.REBOUND_ELSEWHERE | Case.REOPENED_ELSEWHERE,
            Tenant() as tenant,
            Lifecycle() as lifecycle,
        ):
            return _goes_on_frozen(found.case, lifecycle, tenant, known)
        case Found(Case.ORG_CHANGED | Case.NAME_CHANGED | Case.UNREADABLE, _, Lifecycle() as lifecycle):
            return unread(found.case, lifecycle, known)
        case _:
            return None


def unread(case: Case, lifecycle: Lifecycle, known: KnownState, *, held: bool = False) -> Change | None:
    """Freezes a lifecycle: notes when it was last read and whether it is held. None if that is known."""
    if lifecycle.read_at is not None and lifecycle.held == held:
        return None
    frozen = replace(lifecycle, read_at=_since(lifecycle, known), held=held, fingerprint=None)
    return Change(case=case, lifecycle=frozen, previous=lifecycle)


def _goes_on_frozen(case: Case, lifecycle: Lifecycle, tenant: Tenant, known: KnownState) -> Change:
    """Continues it as an operator decided, but frozen until `org move` accepts its org as well."""
    since = _since(lifecycle, known)
    return Change(
        case=case,
        lifecycle=replace(lifecycle, uid=tenant.uid, read_at=since, held=False, fingerprint=None),
        previous=lifecycle,
    )


def _begins(case: Case, tenant: Tenant, snapshot: Snapshot) -> Change:
    until = snapshot.observed_at
    stated = {TimeSource.CREATION: tenant.created_at}
    created = when(Kind.CREATED, stated, tenant.created_at, until)
    rows = [Row(Kind.CREATED, created)]
    # By rule, a skill that is enabled at first sight was enabled when the tenant was created.
    rows += [Row(Kind.ENABLED, created, skill) for skill in tenant.skills]
    if tenant.suspended:
        rows.append(Row(Kind.SUSPENDED, _suspended_at(tenant, created.occurred_at, until)))
    if tenant.deleted_at is not None:
        seen = {TimeSource.DELETION: tenant.deleted_at}
        deleted = when(Kind.DELETED, seen, created.occurred_at, until)
        # Nothing counts after the deletion, so no row is later than it.
        rows = [Row(row.kind, row.at.not_after(deleted.occurred_at), row.value) for row in rows]
        rows.append(Row(Kind.DELETED, deleted))
    return Change(
        case=case,
        lifecycle=Lifecycle(
            id=None,
            uid=tenant.uid,
            name=tenant.name,
            org=tenant.org,
            created_at=created.occurred_at,
            skills=tenant.skills,
            suspended=tenant.suspended,
            changed_at=max(row.at.occurred_at for row in rows),
            settled_at=None if snapshot.scope is None else created.occurred_at,
            fingerprint=tenant.fingerprint,
        ),
        rows=tuple(rows),
    )


def _continues(
    case: Case, lifecycle: Lifecycle, tenant: Tenant, snapshot: Snapshot, known: KnownState
) -> Change:
    found = list(_differences(lifecycle, tenant, _since(lifecycle, known), snapshot.observed_at))
    settled_at = lifecycle.settled_at
    if snapshot.scope is not None:
        evident = [row.at.occurred_at for row in found if row.at.source is not TimeSource.OBSERVED]
        settled_at = max(evident, default=settled_at)
    rows = tuple(Row(row.kind, row.at.not_earlier(lifecycle.changed_at), row.value) for row in found)
    return Change(
        case=case,
        lifecycle=replace(
            lifecycle,
            uid=tenant.uid,
            skills=tenant.skills,
            suspended=tenant.suspended,
            changed_at=max((row.at.occurred_at for row in rows), default=lifecycle.changed_at),
            settled_at=settled_at,
            read_at=None,
            held=False,
            fingerprint=tenant.fingerprint,
        ),
        previous=lifecycle,
        rows=rows,
    )


def _differences(
    lifecycle: Lifecycle, tenant: Tenant, since: datetime, until: datetime
) -> Iterator[Row]:
    """A row for each skill that differs, and one if the suspension differs."""
    before, after = set(lifecycle.skills), set(tenant.skills)

    def row(kind: Kind, changed: datetime | None, skill: str | None = None) -> Row:
        return Row(kind, when(kind, {TimeSource.MANAGED_FIELDS: changed}, since, until), skill)

    for skill in sorted(after - before):
        yield row(Kind.ENABLED, tenant.evidence.enabled(skill), skill)
    for skill in sorted(before - after):
        yield row(Kind.DISABLED, tenant.evidence.disabled(), skill)
    if tenant.suspended and not lifecycle.suspended:
        yield Row(Kind.SUSPENDED, _suspended_at(tenant, since, until))
    elif lifecycle.suspended and not tenant.suspended:
        yield row(Kind.RESUMED, tenant.evidence.suspend)


def _ends(
    found: Found,
    lifecycle: Lifecycle,
    evidence: Mapping[TimeSource, datetime | None],
    snapshot: Snapshot,
    known: KnownState,
) -> Change:
    at = when(Kind.DELETED, evidence, _since(lifecycle, known), snapshot.observed_at)
    uid = lifecycle.uid or (found.tenant.uid if found.tenant else None)
    return Change(
        case=found.case,
        lifecycle=replace(lifecycle, uid=uid),
        previous=lifecycle,
        rows=(Row(Kind.DELETED, at.not_earlier(lifecycle.changed_at)),),
    )


def _moves(
    lifecycle: Lifecycle,
    tenant: Tenant,
    snapshot: Snapshot,
    known: KnownState,
    effective: datetime | None,
) -> tuple[Change, Change]:
    """The end under the old org, and the beginning under the new one at the same instant.

    What else changed belongs to the org that the tenant had then. Raises Refused if an operator's time
    lies before the last row or after the snapshot.
    """
    since, until = _since(lifecycle, known), snapshot.observed_at
    if effective is not None and not lifecycle.changed_at <= effective <= until:
        raise Refused(
            f"--effective {stamp(effective)}: expected a time from {stamp(lifecycle.changed_at)}, the "
            f"last recorded change of {quoted(tenant.name)}, to {stamp(until)}, the instant of the "
            "snapshot; nothing was written"
        )
    said = {TimeSource.OPERATOR: effective, TimeSource.MANAGED_FIELDS: tenant.org_changed_at}
    at = when(Kind.DELETED, said, since, until).not_earlier(lifecycle.changed_at)
    changed = [
        Row(row.kind, row.at.not_earlier(lifecycle.changed_at), row.value)
        for row in _differences(lifecycle, tenant, since, until)
    ]
    before = [row for row in changed if row.at.occurred_at < at.occurred_at]
    after = [row for row in changed if row.at.occurred_at > at.occurred_at]
    old = _switched(lifecycle, before)
    # What changed at that instant needs no row: the new lifecycle begins with it.
    carried = _switched(lifecycle, [row for row in changed if row not in after])
    begins = [Row(Kind.CREATED, at), *(Row(Kind.ENABLED, at, skill) for skill in carried.skills)]
    if carried.suspended:
        begins.append(Row(Kind.SUSPENDED, at))
    new = Lifecycle(
        id=None,
        uid=tenant.uid,
        name=tenant.name,
        org=tenant.org,
        created_at=at.occurred_at,
        skills=tenant.skills,
        suspended=tenant.suspended,
        changed_at=max(row.at.occurred_at for row in (*begins, *after)),
        fingerprint=tenant.fingerprint,
    )
    end = Row(Kind.DELETED, at)
    return (
        Change(
            case=Case.MOVED_OUT,
            lifecycle=replace(old, uid=tenant.uid),
            previous=lifecycle,
            rows=(*before, end),
        ),
        Change(case=Case.MOVED_IN, lifecycle=new, previous=lifecycle, rows=(*begins, *after)),
    )


def _switched(lifecycle: Lifecycle, rows: Sequence[Row]) -> Lifecycle:
    """The lifecycle once these rows are written."""
    skills, suspended = set(lifecycle.skills), lifecycle.suspended
    for row in rows:
        match row.kind, row.value:
            case Kind.ENABLED, str() as skill:
                skills.add(skill)
            case Kind.DISABLED, str() as skill:
                skills.remove(skill)
            case _:
                suspended = row.kind is Kind.SUSPENDED
    return replace(lifecycle, skills=tuple(sorted(skills)), suspended=suspended)


def _suspended_at(tenant: Tenant, since: datetime, until: datetime) -> Moment:
    said = {
        TimeSource.STATUS: tenant.suspended_at,
        TimeSource.MANAGED_FIELDS: tenant.evidence.suspend,
    }
    return when(Kind.SUSPENDED, said, since, until)


def _since(lifecycle: Lifecycle, known: KnownState) -> datetime:
    """P: when the last pass asked that shows all that happened before it, and could read this tenant.

    A watched change of the tenant advances P only if evidence dates its row, because nobody knows how
    long the stream took to deliver it.
    """
    if lifecycle.read_at is not None:
        return lifecycle.read_at
    if known.looked_at is None:
        return lifecycle.changed_at
    return max(known.looked_at, lifecycle.settled_at or known.looked_at)
