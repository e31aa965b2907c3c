"""`reconciler pricing` and `reconciler org`: prices, and how each organisation is billed."""

import getpass
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from reconciler.commands.parts import open_database
from reconciler.commands.printing import print_bytes, print_lines
from reconciler.commands.values import given_day, given_day_or_time
from reconciler.core.text import quoted
from reconciler.errors import UsageError
from reconciler.ledger import decisions, price_list
from reconciler.logs import set_up_logging
from reconciler.output.decisions import (
    decision_json,
    decision_text,
    posture_json,
    posture_text,
    postures_json,
    postures_text,
    price_history_json,
    price_history_text,
    prices_json,
    prices_text,
)
from reconciler.settings import load

log = logging.getLogger(__name__)


def pricing(flags: dict[str, Any], *, action: str, output: str, **given: Any) -> int:
    """Shows prices, or changes some. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    by = given.pop("by", "").strip() or os_user()
    with open_database(settings) as database:
        if action == "show":
            at = given.get("at")
            now = datetime.now(UTC)
            found = price_list.prices(
                database, None if at is None else given_day_or_time("--at", at, now)
            )
            _print(output, prices_json(found), prices_text(found))
            return 0
        if action == "history":
            changes = price_list.history(database, given.get("subject"))
            _print(output, price_history_json(changes), price_history_text(changes))
            return 0
        start = given.pop("valid_from", None)
        valid_from = None if start is None else given_day("--from", start)
        if action == "set":
            if not given:
                raise UsageError(
                    "nothing to set: name a price; `reconciler pricing set --help` has them"
                )
            decision = price_list.set_prices(database, given, by, valid_from)
        elif given["skill_action"] == "set":
            decision = price_list.set_skill_price(
                database, given["skill"], given["price"], by, valid_from
            )
            if not price_list.is_skill_known(database, given["skill"]):
                log.warning("no tenant ever had the skill %s; check its name", quoted(given["skill"]))
        else:
            decision = price_list.remove_skill_price(database, given["skill"], by, valid_from)
    _print(output, decision_json(decision), decision_text(decision))
    return 0


def org(flags: dict[str, Any], *, action: str, output: str, **given: Any) -> int:
    """Shows how organisations are billed, or changes it. Raises ReconcilerError."""
    settings = load(flags)
    set_up_logging(settings.log_level, settings.log_format)
    by = given.pop("by", "").strip() or os_user()
    with open_database(settings) as database:
        if action == "list":
            found = decisions.postures(database)
            _print(output, postures_json(found), postures_text(found))
            return 0
        name = given.pop("org")
        if action == "show":
            create = bool(given.get("create"))
            posture, decision = decisions.posture(database, name, by, create=create)
            _print(output, posture_json(posture, decision), posture_text(posture, decision))
            return 0
        if not given:
            raise UsageError("nothing to set: name what; `reconciler org set --help` has it")
        wanted = {column: _setting(column, text) for column, text in given.items()}
        is_known = decisions.is_org_known(database, name)
        decision = decisions.set_posture(database, name, wanted, by)
        if not is_known:
            log.warning("org %s has no tenant and never had one; check the id", quoted(name))
    _print(output, decision_json(decision), decision_text(decision))
    return 0


def _setting(column: str, text: str) -> bool | str | None:
    if column == "stripe_customer_id":
        return text or None
    return text == "true"


def os_user() -> str:
    """Who goes on record where nobody is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _print(output: str, as_json: bytes, as_text: Iterator[str]) -> None:
    if output == "json":
        print_bytes([as_json, b"\n"])
    else:
        print_lines(as_text)
