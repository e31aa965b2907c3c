"""`reconciler history`: every recorded change of a tenant or an org, or whether it was billable."""

import shutil
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import given_span, given_time
from reconciler.core.history import Answer, Span, WrittenLifecycle, answer_of_day, within
from reconciler.core.text import quoted, stamp
from reconciler.errors import UsageError
from reconciler.ledger import history_reader, schema
from reconciler.ledger.state_reader import last_pass
from reconciler.output.history_report import answered, timeline
from reconciler.output.plan_json import to_json


class _History(Struct, rename={"start": "from", "end": "to"}):
    tenant: str | None
    org: str | None
    start: datetime | None
    end: datetime | None
    lifecycles: Sequence[WrittenLifecycle]


class _At(Struct, rename={"start": "from", "end": "to", "known_until": "knownUntil"}):
    tenant: str | None
    org: str | None
    at: str
    start: datetime
    end: datetime
    known_until: datetime
    lifecycles: Sequence[Answer]


def history(
    parts: Parts,
    *,
    output: str,
    tenant: str | None = None,
    org: str | None = None,
    start: str | None = None,
    end: str | None = None,
    at: str | None = None,
) -> int:
    """Prints the rows of one tenant or org, or whether it was billable. Raises ReconcilerError."""
    if (tenant is None) == (org is None):
        raise UsageError("give one TENANT, by name or uid, or --org ORG for all tenants of an org")
    if at is not None and (start is not None or end is not None):
        raise UsageError("--at asks about one time or day, --from and --to about a span; give one")
    since, until = given_time(parts, "--from", start), given_time(parts, "--to", end)
    if since is not None and since >= (until or parts.now):
        raise UsageError(f"--from {stamp(since)} is not before --to {stamp(until or parts.now)}")
    asked = None if at is None else given_span(parts, "--at", at)
    with parts.database.transaction(read_only=True) as transaction:
        schema.check_current(transaction, parts.database)
        found = history_reader.history(transaction, tenant, org=org)
        moved_to = history_reader.moved_to(transaction, found) if asked else {}
        last = last_pass(transaction).last_pass
    if not found:
        if tenant is not None:
            raise UsageError(f"the ledger knows no tenant {quoted(tenant)}, by name or by uid")
        raise UsageError(f"the ledger knows no org {quoted(org or '')}")
    known_until = last.observed_at if last else parts.now
    if at is not None and asked is not None:
        if asked.start >= known_until:
            raise UsageError(f"--at {at}: not known yet; the last pass was at {stamp(known_until)}")
        answers = [answer_of_day(one, asked, known_until, moved_to.get(one.id, ())) for one in found]
        told = _At(tenant, org, at, asked.start, asked.end, known_until, answers)
        return print_either(output, to_json(told), answered(answers, at, asked, known_until))
    span = (
        None
        if since is None and until is None
        else Span(since or min(one.created_at for one in found), until or parts.now)
    )
    rows = within(found, span) if span else found
    lines = timeline(found, known_until, shutil.get_terminal_size((100, 0)).columns, span)
    return print_either(output, to_json(_History(tenant, org, since, until, rows)), lines)
