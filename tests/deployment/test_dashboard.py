"""The dashboard: every query is run or parsed, and every metric is one that the program serves."""

import json
import re
from typing import Any

import promql_parser
import psycopg
import pytest

from tests.conftest import CHECKOUT, Command
from tests.deployment.alerts import series, table
from tests.reports.ledgers import fill

DASHBOARD: dict[str, Any] = json.loads(
    (CHECKOUT / "k8s" / "overlays" / "monitoring" / "dashboard.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
SQL = [(panel["title"], one["rawSql"]) for panel, one in TARGETS if "rawSql" in one]
PROMQL = [(panel["title"], one["expr"]) for panel, one in TARGETS if "expr" in one]
TYPES = {"stat", "timeseries", "table"}


def test_it_is_what_grafana_reads() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert {"title", "uid", "panels", "time", "templating", "annotations"} <= DASHBOARD.keys()
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = set[tuple[int, int]]()
    for panel in PANELS:
        assert panel["type"] in TYPES
        assert {"h", "w", "x", "y"} == panel["gridPos"].keys()
        assert re.fullmatch(r"\$\{(\w+)\}", panel["datasource"]["uid"])[1] in variables  # type: ignore[index]
        at = panel["gridPos"]
        taken = {
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in taken) < 24
        assert not cells & taken, f"{panel['title']} lies on another"
        cells |= taken
        assert len({one["refId"] for one in panel["targets"]}) == len(panel["targets"])
        assert all(one["datasource"] == panel["datasource"] for one in panel["targets"])
    assert len(SQL) >= 7
    assert len(PROMQL) >= 6


@pytest.mark.parametrize(("title", "query"), PROMQL)
def test_promql_is_valid_and_its_metrics_are_ours(title: str, query: str) -> None:
    del title
    promql_parser.parse(query.replace("$__rate_interval", "5m"))
    named = set(re.findall(r"\breconciler_\w+", query))
    assert named
    assert named <= series().keys()


def test_sql_answers_over_a_ledger_with_data_as_its_reader(
    ledger_url: str, ledger: psycopg.Connection[Any]
) -> None:
    fill(ledger_url, tenants=30)
    times = ("'2025-09-01Z'", "'2025-12-01Z'")
    for title, query in SQL:
        filled = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {times[0]} AND {times[1]}", query)
        filled = filled.replace("$__timeFrom()", times[0]).replace("$__timeTo()", times[1])
        # What was written was written now.
        filled = filled.replace("written_at BETWEEN '2025-09-01Z' AND '2025-12-01Z'", "true")
        cursor = ledger.execute(filled.encode())
        rows = cursor.fetchall()
        assert rows, title
        names = [column.name for column in cursor.description or ()]
        assert "time" in names or "date_trunc" not in query, title


def test_the_metrics_of_the_ledger_are_those_on_the_page(command: Command, ledger_url: str) -> None:
    empty = command("metrics")
    assert empty.status == 0, empty.err
    assert "reconciler_ledger_last_pass_timestamp_seconds 0.0" in empty.out
    fill(ledger_url, tenants=30)
    out = command("metrics").out
    told = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in out.splitlines()
        if line and not line.startswith("#") and "_created" not in line
    }
    assert told["reconciler_ledger_tenants_live"] == 28
    assert told["reconciler_ledger_passes_total"] == 3
    assert told['reconciler_ledger_rows_total{kind="created"}'] == 30
    assert told['reconciler_ledger_rows_total{kind="deleted"}'] == 2
    assert told["reconciler_ledger_unseen_seconds"] == 86_400
    assert told["reconciler_ledger_last_list_timestamp_seconds"] > 1_700_000_000
    ours = {metric.strip("`").partition("{")[0] for metric, _, _ in table("Metrics of the ledger")}
    assert {name.partition("{")[0] for name in told} == ours
