"""A ledger of two organisations in March 2026, written by passes."""

from pathlib import Path

from tests.billing.database import Connection
from tests.command_line.snapshots import Json, apply, snapshot, tenant

CREATED = "2026-03-01T12:00:00Z"
PRICES = """
UPDATE platform_pricing SET tenant_monthly_fee_chf = 49, tenant_setup_fee_chf = 199;
INSERT INTO skill_pricing VALUES ('mail', 0.33333), ('wiki', 0.5)
"""
ADA = tenant("ada", "mail", created=CREATED)
BEA = tenant("bea", "mail", "wiki", created=CREATED, org="org-2")


def look(url: str, folder: Path, day: str, *tenants: Json) -> None:
    """A pass at noon of a day of 2026, like 0301."""
    apply(url, snapshot(folder, f"2026{day}T120000Z", *tenants))


def march(ledger: Connection, url: str, folder: Path) -> None:
    """Ada and Bea, from the 1st; observed to the end; with prices."""
    look(url, folder, "0302", ADA, BEA)
    look(url, folder, "0401", ADA, BEA)
    ledger.execute(PRICES)
