"""The alerts name what the program exposes, and the runbook knows each of them."""

import copy
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from reconciler.errors import ExitStatus
from tests.apiserver import ApiServer
from tests.conftest import Command
from tests.deployment import alerts
from tests.waiting import PATIENCE

RULES = Path(__file__).parents[2] / "k8s" / "overlays" / "monitoring" / "rules.yaml"
"""Seconds for what takes one when the machine has nothing else to do."""


def rules() -> dict[str, Any]:
    """As they are built: in their namespace, and labelled."""
    document: dict[str, Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    document["metadata"] |= {"namespace": "pieced-billing", "labels": {}}
    return document


def test_the_alerts_are_in_order() -> None:
    assert not [*alerts.problems(rules())]


def asking(expression: str) -> Callable[[dict[str, Any]], None]:
    def edit(rule: dict[str, Any]) -> None:
        rule["expr"] = expression

    return edit


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (asking("reconciler_leaders == 0"), "there is no metric reconciler_leaders"),
        (asking("reconciler_passes_total{outcome='lost'} > 0"), "has no outcome='lost'"),
        (asking("reconciler_change_to_commit_seconds > 1"), "there is no metric"),
        (asking("reconciler_leader{pod='a'} > 0"), "has no pod='a'"),
        (asking("kube_job_failed{namespace='default'} == 1"), "other namespaces than pieced-billing"),
        (asking("kube_job_failed == 1"), "other namespaces than pieced-billing"),
        (asking("reconciler_leader =="), "ReconcilerDown: "),
        (lambda rule: rule.update(alert="NobodyKnows"), "NobodyKnows is not in the runbook"),
        (lambda rule: rule.update(alert="NobodyKnows"), "the runbook has ReconcilerDown"),
        (lambda rule: rule.update(alert="ReconcilerNoSuccess"), "ReconcilerNoSuccess is there twice"),
        (lambda rule: rule.update(annotation={}), "'annotation' was unexpected"),
        (lambda rule: rule.update({"for": "5 minutes"}), "does not match"),
        (lambda rule: rule.pop("labels"), "'labels' is a required property"),
    ],
)
def test_an_alert_that_could_not_fire_is_found(
    edit: Callable[[dict[str, Any]], Any], problem: str
) -> None:
    broken = copy.deepcopy(rules())
    edit(broken["spec"]["groups"][0]["rules"][0])
    assert any(problem in found for found in alerts.problems(broken)), [*alerts.problems(broken)]


def test_the_runbook_has_every_exit_status() -> None:
    statuses = {int(row[0]) for row in alerts.table("Exit statuses")}
    # Only where somebody asks for it, or is there to interrupt it.
    assert {*ExitStatus} - {ExitStatus.CHANGES_PLANNED, ExitStatus.INTERRUPTED} <= statuses


def test_the_runbooks_questions_can_be_asked(ledger: "psycopg.Connection[Any]") -> None:
    text = alerts.README.read_text(encoding="utf-8")
    questions = re.findall(r"^```sql\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(questions) > 1
    for question in questions:
        ledger.execute(question.encode())


def test_the_metrics_are_those_of_the_program(command: Command, tmp_path: Path) -> None:
    if "--health-port" not in command("loop", "--help").out:
        pytest.skip("`reconciler loop` has no --health-port")
    with ApiServer(token="token") as server, socket.socket() as free:
        server.tenants.create("anna", ["mail"])
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        options = ("--interval", "1s", "--watch", "--health-port", str(port))
        loop = command.start("loop", "--kubeconfig", kubeconfig, *options)
        try:
            said = scraped(f"http://127.0.0.1:{port}/metrics")
            loop.send_signal(signal.SIGTERM)
            loop.communicate(timeout=PATIENCE)
        finally:
            loop.kill()
    documented = {
        metric.strip("`").partition("{")[0]: kind for metric, kind, _ in alerts.table("Metrics")
    }
    types = dict(re.findall(r"^# TYPE (reconciler_\w+) (\w+)$", said, re.MULTILINE))
    # Beside each counter and the like the library tells when it was made.
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == documented
    # A label that has a value only once something happened hides the first time from increase().
    labels: dict[str, dict[str, set[str]]] = {}
    for name, given in re.findall(r"^(reconciler_\w+)(?:\{(.*)\})? ", said, re.MULTILINE):
        series = labels.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="([^"]*)"', given):
            if label not in {"le", "quantile"}:
                series.setdefault(label, set()).add(value)
    assert {name: labels[name] for name in alerts.series()} == alerts.series()


def scraped(url: str) -> str:
    """What the metrics are after the first pass."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - our own port
                said: str = answer.read().decode()
        except OSError:
            said = ""
        if re.search(r'^reconciler_passes_total\{outcome="written"\} [1-9]', said, re.MULTILINE):
            return said
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
