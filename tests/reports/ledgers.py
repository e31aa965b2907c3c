"""Ledgers of which reports are made: small, large, and with names that mean harm."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

from reconciler.core.guard import Limits
from reconciler.core.tenant import Snapshot, Tenant
from reconciler.ledger.postgres_ledger import PostgresLedger
from reconciler.ledger.price_list import set_prices, set_skill_price
from reconciler.passes import run_pass
from tests.conftest import open_database
from tests.outcome import Given

MONTH = "2025-10"
BEGINS = datetime(2025, 9, 30, 22, tzinfo=UTC)
SKILLS = ("calendar", "chat", "crm", "mail", "shop", "sync", "threema", "vault", "wiki", "x-ray")
HARM = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "\u202egnp.exe",
    "שלום עולם",
    "مرحبا بالعالم",
    "tab\tand\x1b[31mred",
    "a" * 253,
    "🏔️ Käserei & Söhne",
    "</style><style>*{display:none}",
)


def fill(
    url: str,
    *,
    tenants: int,
    orgs: int = 1,
    names: tuple[str, ...] = (),
    skills: tuple[str, ...] = SKILLS,
) -> None:
    """Three passes: a backfill, a change of every third tenant, and one after the end of the month."""

    def shown(hours: float, *, changed: bool) -> Snapshot:
        at = BEGINS + timedelta(hours=hours)
        return Snapshot(
            tenants=[
                Tenant(
                    uid=f"uid-{number}",
                    name=names[number] if number < len(names) else f"tenant-{number:05}",
                    org=f"org-{number % orgs}",
                    created_at=BEGINS - timedelta(days=number % 50),
                    skills=tuple(sorted(skills[:-2] if changed and number % 3 == 0 else skills)),
                    suspended=changed and number % 7 == 0,
                )
                for number in range(tenants)
                if not (changed and number % 11 == 10)
            ],
            asked_at=at,
            observed_at=at,
            source="a file",
            cluster_uid="cluster",
        )

    limits = Limits(allow_deletions=tenants)
    with closing(open_database(url)) as database:
        for one in (shown(1, changed=False), shown(240, changed=True), shown(800, changed=True)):
            run_pass(Given(one), PostgresLedger(database), limits)
        fees = {"tenant_monthly_fee_chf": "49", "tenant_setup_fee_chf": "99", "vat_rate_chli": "8.10"}
        set_prices(database, fees, "test", BEGINS.date())
        for skill in skills[1:]:
            set_skill_price(database, skill, "0.35", "test", BEGINS.date())
