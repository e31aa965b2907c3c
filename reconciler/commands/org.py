"""`reconciler org`: how organisations are billed, and tenants that changed to another one."""

import logging
from typing import Any

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import decided_by
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger import decisions
from reconciler.output.decisions import (
    decision_json,
    decision_text,
    posture_json,
    posture_text,
    postures_json,
    postures_text,
)

log = logging.getLogger(__name__)


def org_list(parts: Parts, *, output: str) -> int:
    """Prints all organisations."""
    found = decisions.postures(parts.database)
    return print_either(output, postures_json(found), postures_text(found))


def org_show(parts: Parts, *, org: str, output: str, create: bool = False, by: str | None = None) -> int:
    """Prints one organisation; the first to read it creates its row."""
    posture, decision = decisions.posture(parts.database, org, decided_by(by), create=create)
    return print_either(output, posture_json(posture, decision), posture_text(posture, decision))


def org_set(parts: Parts, *, org: str, output: str, by: str | None = None, **given: str) -> int:
    """Changes how an organisation is billed. Raises UsageError."""
    if not given:
        raise UsageError("nothing to set: name a setting; `reconciler org set --help` lists them")
    wanted = {column: _setting(column, text) for column, text in given.items()}
    is_known = decisions.is_org_known(parts.database, org)
    decision = decisions.set_posture(parts.database, org, wanted, decided_by(by))
    if not is_known:
        log.warning("org %s has no tenant and never had one; check the id", quoted(org))
    return print_either(output, decision_json(decision), decision_text(decision))


def org_move(parts: Parts, *, tenant: str, **given: Any) -> int:
    """Makes the pass that records a tenant's change to another organisation. Raises ReconcilerError."""
    from reconciler.commands.run import run

    return run(parts, move=[tenant], **given)


def _setting(column: str, text: str) -> bool | str | None:
    if column in ("stripe_customer_id", "display_name"):
        return text or None
    return text == "true"
