"""What the portal may rely on stands in schema/README.md, to the last argument."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from reconciler.core.usage import Item
from tests.billing.database import Connection, one
from tests.conftest import CHECKOUT

PAGE = (CHECKOUT / "schema" / "README.md").read_text(encoding="utf-8")

SIGNATURES = """
SELECT format('%s(%s) RETURNS %s', p.proname, pg_get_function_arguments(p.oid),
              pg_get_function_result(p.oid)) AS signature
FROM pg_proc p
WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype <> 'trigger'::regtype
  AND p.proname NOT LIKE 'reconciler\\_%'
"""


def plain(signature: str) -> str:
    """Without casts, line breaks and quotes around names."""
    short = re.sub(r"::[a-z ]+?(?=[,)])", "", signature.replace('"', ""))
    short = short.replace("timestamp with time zone", "timestamptz").replace("TABLE(", "TABLE (")
    return re.sub(r"\s+", " ", re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", short))).strip()


def on_the_page() -> Iterator[str]:
    (block,) = (
        part
        for part in re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        if "RETURNS" in part
    )
    for signature in re.split(r"\n(?=\w)", block):
        yield plain(signature)


def test_every_function_of_the_contract_has_its_signature_on_the_page(ledger: Connection) -> None:
    rows = ledger.execute(SIGNATURES.encode())
    assert sorted(on_the_page()) == sorted(plain(row["signature"]) for row in rows)


def test_every_function_of_the_contract_is_described_on_the_page(ledger: Connection) -> None:
    _, _, section = PAGE.partition("## The contract\n")
    described = set(re.findall(r"^\| (`.*?) \|", section.partition("```sql")[0], re.MULTILINE))
    names = {name for cell in described for name in re.findall(r"`(\w+)`", cell)}
    assert names == {row["signature"].partition("(")[0] for row in ledger.execute(SIGNATURES.encode())}


def test_items_are_kinds_of_invoice_lines(ledger: Connection) -> None:
    kinds = one(
        ledger,
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'invoice_lines_kind_known'",
    )
    assert {item.value for item in Item} <= set(re.findall(r"'(\w+)'", kinds))


def test_lines_are_ready_to_insert(ledger: Connection) -> None:
    """Every column of billing_invoice_lines() is one of invoice_lines, of a type that fits."""
    result = one(ledger, "SELECT pg_get_function_result('billing_invoice_lines'::regproc)")
    columns = re.findall(r'"?(\w+)"? (\w+)', result.removeprefix("TABLE("))
    for name, kind in columns:
        there = one(
            ledger,
            "SELECT data_type FROM information_schema.columns"
            " WHERE table_name = 'invoice_lines' AND column_name = %s",
            name,
        )
        assert there == kind, name


@pytest.mark.parametrize("table", ["reconciler_passes", "reconciler_price_history", "reconciler_closes"])
def test_what_is_there_to_be_read_says_what_it_is(ledger: Connection, table: str) -> None:
    assert f"`{table}`" in PAGE
    with pytest.raises(psycopg.errors.RestrictViolation):
        ledger.execute(f"TRUNCATE {table} CASCADE".encode())
