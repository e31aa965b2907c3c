"""The statements of schema/BILLING.md, through Node's `pg`: they run as they stand."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.billing.database import connect
from tests.billing.ledger_of_march import march
from tests.conftest import CHECKOUT
from tests.portal.node import run_script

PAGE = (CHECKOUT / "schema" / "BILLING.md").read_text(encoding="utf-8")
TOLD = (
    *(
        "position",
        "ready",
        "doubts",
        "lines",
        "totals",
        "chart",
        "enabled",
        "whatIf",
        "prices",
        "planned",
    ),
    *("config", "close", "invoice", "issued", "status", "changed", "credit", "replacement"),
)


@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def told(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> dict[str, Any]:
    """What the page's constants are in the end, 14 hours ahead of UTC and 11 behind."""
    with connect(ledger_url) as ledger:
        march(ledger, ledger_url, tmp_path)
    blocks = re.findall(r"^```ts\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    script = "\n".join([*blocks, f"console.log(JSON.stringify({{ {', '.join(TOLD)} }}));"])
    found: dict[str, Any] = json.loads(run_script(script, ledger_url, tmp_path, time_zone=request.param))
    return found


def test_the_page_runs_from_the_first_statement_to_the_last(
    told: dict[str, Any], ledger_url: str
) -> None:
    assert told["ready"]["is_ready"] is True
    assert {one["kind"] for one in told["doubts"]} == {"gap", "days"}
    bea = {
        "tenant_name": "bea",
        "period_start": "2026-03-01",
        "period_end": "2026-04-01",
        "priced": True,
    }
    assert told["lines"] == [
        {
            **bea,
            "item": "monthly_fee",
            "skill_id": None,
            "days": 31,
            "price_chf": "49.00",
            "amount_chf": "49.00",
        },
        {
            **bea,
            "item": "setup_fee",
            "skill_id": None,
            "days": 1,
            "price_chf": "199.00",
            "amount_chf": "199.00",
        },
        {
            **bea,
            "item": "skill",
            "skill_id": "mail",
            "days": 31,
            "price_chf": "0.33333",
            "amount_chf": "10.33",
        },
        {
            **bea,
            "item": "skill",
            "skill_id": "wiki",
            "days": 31,
            "price_chf": "0.50000",
            "amount_chf": "15.50",
        },
    ]
    assert told["totals"] == [
        {"net_chf": "273.83", "vat_rate_chli": "8.10", "vat_chf": "22.18", "gross_chf": "296.01"}
    ]
    assert told["chart"] == [
        {"day": date(2026, 3, day).isoformat(), "skills": 2} for day in range(1, 32)
    ]
    assert told["enabled"] == [{"tenant_name": "bea", "suspended": False, "skills": ["mail", "wiki"]}]
    assert told["whatIf"] == [{"net_chf": "273.83"}]
    assert {one["value"] for one in told["prices"]} >= {"49.00", "199.00", "8.10", "0.33333"}
    assert told["planned"][0]["previous"] == "49.00"
    assert told["config"]["pay_by_invoice"] is False
    assert told["changed"] == []
    issued = told["issued"]
    assert (issued["issue_date"], issued["due_date"]) == ("2026-04-02", "2026-05-02")
    assert (issued["net_amount"], issued["gross_amount"]) == ("275.68", "298.01")
    assert (issued["number"], told["status"]) == ("2026-000001", "paid")
    with connect(ledger_url) as ledger:
        rows = ledger.execute(
            "SELECT id, status, net_amount, close_id FROM invoices ORDER BY id"
        ).fetchall()
        assert [(row["status"], row["net_amount"]) for row in rows] == [
            ("paid", Decimal("275.68")),
            ("issued", Decimal("-275.68")),
            ("draft", Decimal("273.83")),
        ]
        assert {str(row["close_id"]) for row in rows} == {told["close"], "None"}
        events = ledger.execute("SELECT kind, due_date_before, due_date FROM invoice_events ORDER BY id")
        assert [tuple(row.values()) for row in events] == [
            ("sent", None, None),
            ("sent", None, None),
            ("due_date", date(2026, 5, 2), date(2026, 5, 31)),
        ]
        who = ledger.execute(
            "SELECT recorded_by FROM reconciler_price_history WHERE column_name = 'threema_message_chf'"
        )
        assert who.fetchall() == [{"recorded_by": "anna@example.org"}]


def test_the_page_has_the_statements_that_a_portal_needs() -> None:
    numbered = re.findall(r"^\*\*(\d+)\. ", PAGE, re.MULTILINE)
    assert [int(number) for number in numbered] == list(range(1, 25))
