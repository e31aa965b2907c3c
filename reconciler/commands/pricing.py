"""`reconciler pricing`: the prices of the platform and of the skills."""

import logging

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_either
from reconciler.commands.values import decided_by, given_day_of
from reconciler.core.prices import Decision
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger import price_list
from reconciler.output.decisions import (
    decision_json,
    decision_text,
    price_history_json,
    price_history_text,
    prices_json,
    prices_text,
)

log = logging.getLogger(__name__)


def pricing_show(parts: Parts, *, output: str, at: str | None = None) -> int:
    """Prints all prices of a day. Raises UsageError."""
    found = price_list.prices(parts.database, given_day_of(parts, "--at", at))
    return print_either(output, prices_json(found), prices_text(found))


def pricing_history(parts: Parts, *, output: str, subject: str | None = None) -> int:
    """Prints every value that the prices were set to."""
    changes = price_list.history(parts.database, subject)
    return print_either(output, price_history_json(changes), price_history_text(changes))


def pricing_set(
    parts: Parts,
    *,
    output: str,
    by: str | None = None,
    valid_from: str | None = None,
    **prices: str,
) -> int:
    """Changes prices of the platform. Raises UsageError."""
    if not prices:
        raise UsageError("nothing to set: name a price; `reconciler pricing set --help` lists them")
    start = given_day_of(parts, "--from", valid_from)
    return _print(price_list.set_prices(parts.database, prices, decided_by(by), start), output)


def pricing_skill_set(
    parts: Parts,
    *,
    skill: str,
    price: str,
    output: str,
    by: str | None = None,
    valid_from: str | None = None,
) -> int:
    """Sets the price of a skill. Raises UsageError."""
    start = given_day_of(parts, "--from", valid_from)
    decision = price_list.set_skill_price(parts.database, skill, price, decided_by(by), start)
    if not price_list.is_skill_known(parts.database, skill):
        log.warning("no tenant ever had the skill %s; check its name", quoted(skill))
    return _print(decision, output)


def pricing_skill_remove(
    parts: Parts, *, skill: str, output: str, by: str | None = None, valid_from: str | None = None
) -> int:
    """Removes the price of a skill. Raises UsageError."""
    start = given_day_of(parts, "--from", valid_from)
    return _print(price_list.remove_skill_price(parts.database, skill, decided_by(by), start), output)


def _print(decision: Decision | None, output: str) -> int:
    return print_either(output, decision_json(decision), decision_text(decision))
