"""The way of the original design: list, then one idempotent INSERT for each event, each on its own.

`python -m tests.proofs.bench.per_row SERVER DATABASE`
"""

import json
import sys
from typing import Any

import psycopg
import urllib3

from tests.proofs.bench.pages import PAGE_SIZE
from tests.proofs.bench.tenants import API_VERSION

BEGINS = """
INSERT INTO tenant_billing_lifecycle (tenant_name, zitadel_org_id, created_at) VALUES (%s, %s, %s)
ON CONFLICT DO NOTHING
"""
ENABLED = """
INSERT INTO tenant_skill_events (tenant_name, skill_id, event_kind, occurred_at)
VALUES (%s, %s, 'enabled', %s) ON CONFLICT DO NOTHING
"""


def listed(server: str) -> list[dict[str, Any]]:
    http, tenants, token = urllib3.PoolManager(), list[dict[str, Any]](), None
    while token != "":
        page = json.loads(
            http.request(
                "GET",
                f"{server}/apis/{API_VERSION}/piecedtenants",
                fields={"limit": str(PAGE_SIZE), **({"continue": token} if token else {})},
                headers={"Accept-Encoding": "gzip"},
            ).data
        )
        tenants += page["items"]
        token = page["metadata"].get("continue", "")
    return tenants


def main(server: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        for tenant in listed(server):
            metadata = tenant["metadata"]
            name, created = metadata["name"], metadata["creationTimestamp"]
            connection.execute(BEGINS, (name, metadata["labels"]["pieced.ch/zitadel-org-id"], created))
            for skill in tenant["spec"]["packages"]:
                connection.execute(ENABLED, (name, skill, created))


if __name__ == "__main__":
    main(*sys.argv[1:])
