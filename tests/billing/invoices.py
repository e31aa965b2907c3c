"""Invoices as the portal writes them, from a draft to each of their statuses."""

# ruff: noqa: S608 - the names in these statements are our own

import itertools
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.billing.database import Connection, insert, one

STATUSES = ("draft", "issued", "paid", "void", "written_off")

months = itertools.count()


def draft(connection: Connection, net: str = "100.00", **values: Any) -> dict[str, Any]:
    """A draft of `net` with one line of that amount, each for a period of its own."""
    start = date(2026, 1, 1) + timedelta(days=next(months))
    amounts = {"net_amount": net, "vat_rate": "8.10"}
    vat = (Decimal(net) * Decimal("0.081")).quantize(Decimal("0.01"), "ROUND_HALF_UP")
    invoice = insert(
        connection,
        "invoices",
        **{
            "zitadel_org_id": "org-a",
            "period_start": start,
            "period_end": start + timedelta(days=1),
            "billing_name": "Alpenglow AG",
            **amounts,
            "vat_amount": vat,
            "gross_amount": Decimal(net) + vat,
            **values,
        },
    )
    line(connection, invoice["id"], net)
    return invoice


def line(connection: Connection, invoice: int, price: str, **values: Any) -> dict[str, Any]:
    return insert(
        connection,
        "invoice_lines",
        **{
            "invoice_id": invoice,
            "position": one(
                connection, "SELECT count(*) + 1 FROM invoice_lines WHERE invoice_id = %s", invoice
            ),
            "kind": "adjustment",
            "description": "Agreed by telephone",
            "unit_price": price,
            "amount": price,
            **values,
        },
    )


def issue(connection: Connection, **values: Any) -> dict[str, Any]:
    return go(connection, draft(connection, **values)["id"], "issued")


def go(connection: Connection, invoice: int, status: str) -> dict[str, Any]:
    """Takes the invoice to a status, with the times that belong to it."""
    times = {
        "issued": "",
        "draft": "",
        "paid": "paid_at",
        "void": "voided_at",
        "written_off": "written_off_at",
    }
    own = times[status]
    kept = {"written_off_at"} if status == "paid" else set()
    sets = ["status = %s"]
    sets += [
        f"{column} = {'now()' if column == own else 'NULL'}"
        for column in ("paid_at", "voided_at", "written_off_at")
        if column not in kept
    ]
    row = connection.execute(
        f"UPDATE invoices SET {', '.join(sets)} WHERE id = %s RETURNING *", (status, invoice)
    ).fetchone()
    assert row is not None
    return row


def invoice_in(connection: Connection, status: str) -> int:
    invoice = draft(connection)["id"]
    if status != "draft":
        go(connection, invoice, "issued")
    if status not in ("draft", "issued"):
        go(connection, invoice, status)
    return int(invoice)
