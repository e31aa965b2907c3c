"""The alerts, evaluated by Prometheus' own promtool; and a real Prometheus that scrapes a real loop."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.apiserver import ApiServer
from tests.conftest import Command

RULES = Path(__file__).parents[2] / "k8s" / "overlays" / "monitoring" / "rules.yaml"
PATIENCE = 60


class Case(NamedTuple):
    """Series by which an alert fires, those that silence it in their place, and when to look."""

    fires: dict[str, str]
    silent: dict[str, str]
    at: str = "45m"


POD = 'namespace="pieced-billing", pod="a"'
JOB = 'namespace="pieced-billing", job_name="reconciler-2"'
CRONJOB = 'namespace="pieced-billing", cronjob="reconciler"'
DEPLOYMENT = 'kube_deployment_spec_replicas{namespace="pieced-billing", deployment="reconciler"}'
LEADS = {f"reconciler_leader{{{POD}}}": "1+0x3000"}
LAG = "reconciler_change_to_commit_seconds_bucket"
FAILED = {
    f"kube_job_status_start_time{{{JOB}}}": "600+0x60",
    f'kube_job_failed{{{JOB}, condition="true"}}': "1+0x60",
    f'kube_job_owner{{{JOB}, owner_kind="CronJob", owner_name="reconciler"}}': "1+0x60",
}
SUCCEEDED = f"kube_cronjob_status_last_successful_time{{{CRONJOB}}}"
SUSPENDED = f"kube_cronjob_spec_suspend{{{CRONJOB}}}"

CASES = {
    "ReconcilerDown": Case(
        {DEPLOYMENT: "2+0x60"}, {f"reconciler_last_attempt_timestamp_seconds{{{POD}}}": "0+60x60"}
    ),
    "ReconcilerNoSuccess": Case(
        {f"reconciler_last_success_timestamp_seconds{{{POD}}}": "0+0x60"},
        {f"reconciler_last_success_timestamp_seconds{{{POD}}}": "0+60x60"},
    ),
    "ReconcilerPassesRefused": Case(
        {f'reconciler_passes_total{{{POD}, outcome="refused"}}': "0+1x60"},
        {f'reconciler_passes_total{{{POD}, outcome="refused"}}': "9+0x60"},
    ),
    "ReconcilerHeldDeletions": Case(
        {f"reconciler_held_deletions{{{POD}}}": "7+0x60", **LEADS},
        {f"reconciler_leader{{{POD}}}": "0+0x60"},
    ),
    "ReconcilerQuarantineOld": Case(
        {f"reconciler_tenants_quarantined{{{POD}}}": "1+0x3000", **LEADS},
        {f"reconciler_tenants_quarantined{{{POD}}}": "1+0x1300 0+0x1700"},
        "30h",
    ),
    "ReconcilerNoLeader": Case({f"reconciler_leader{{{POD}}}": "0+0x60"}, LEADS),
    "ReconcilerWatchDown": Case(
        {f"reconciler_watch_connected{{{POD}}}": "0+0x60"},
        {f"reconciler_watch_connected{{{POD}}}": "1+0x60"},
    ),
    "ReconcilerWatchSlow": Case(
        {
            f'{LAG}{{{POD}, le="10"}}': "0+0x60",
            f'{LAG}{{{POD}, le="60"}}': "0+9x60",
            f'{LAG}{{{POD}, le="+Inf"}}': "0+9x60",
        },
        {f'{LAG}{{{POD}, le="10"}}': "0+9x60"},
    ),
    "ReconcilerPassFailed": Case({**FAILED, SUCCEEDED: "300+0x60"}, {SUCCEEDED: "900+0x60"}),
    "ReconcilerCronJobNoSuccess": Case(
        {SUCCEEDED: "0+0x60", SUSPENDED: "0+0x60"}, {SUSPENDED: "1+0x60"}, "55m"
    ),
}


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool, which comes with Prometheus, is not installed")
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules as Prometheus reads them, without what the operator wants around them."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return file


def ran(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_alert_has_its_case() -> None:
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    assert [*CASES] == [rule["alert"] for group in groups for rule in group["rules"]]


def test_prometheus_reads_the_rules(promtool: str, rules: Path) -> None:
    assert f"{len(CASES)} rules found" in ran(promtool, "check", "rules", rules)


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_not_otherwise(
    alert: str, promtool: str, rules: Path, tmp_path: Path
) -> None:
    case = CASES[alert]

    def group(series: dict[str, str], samples: list[Any]) -> Any:
        firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": case.at, "exp_samples": samples}],
        }

    file = tmp_path / "test.yaml"
    tests = [group(case.fires, [{"labels": "{}", "value": 1}]), group(case.fires | case.silent, [])]
    file.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests})
    )
    ran(promtool, "test", "rules", file)


def test_a_prometheus_scrapes_the_loop(command: Command, rules: Path, tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed")
    loop_port, port = free_port(), free_port()
    target = {"job_name": "reconciler", "static_configs": [{"targets": [f"127.0.0.1:{loop_port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [target],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with ApiServer(token="token") as server:
        server.tenants.create("anna", ["mail"])
        kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
        options = ("--interval", "1s", "--watch", "--health-port", str(loop_port))
        loop = command.start("loop", "--kubeconfig", kubeconfig, *options)
        prometheus = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path / 'prometheus.yaml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert asked(port, 'up{job="reconciler"} == 1')
            assert asked(port, "reconciler_tenants_live == 1")
            assert asked(port, 'reconciler_rows_written_total{kind="enabled"} == 1')
            assert asked(port, "reconciler_leader == 1 and reconciler_watch_connected == 1")
            assert asked(port, 'count(ALERTS{alertstate="firing"}) or vector(0) == 0')
        finally:
            for process in (loop, prometheus):
                process.kill()
                process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def asked(port: int, query: str) -> list[Any]:
    """What the query gives, as soon as it gives anything."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: list[Any] = json.loads(answer.read())["data"]["result"]
        except OSError:
            found = []
        if found:
            return found
        time.sleep(0.1)
    return []
