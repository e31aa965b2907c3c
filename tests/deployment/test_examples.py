"""The Secrets that the manifests name, and the worked examples, fit each other."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

K8S = Path(__file__).parents[2] / "k8s"
OWNER, RUNNER, READER = (
    "reconciler-database-owner",
    "reconciler-database",
    "reconciler-database-reader",
)


def built(folder: str) -> dict[str, Any]:
    """The pods of a folder, by kind and name."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which builds the manifests, is not installed")
    done = subprocess.run(
        [kubectl, "kustomize", str(K8S / folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = {}
    for one in yaml.safe_load_all(done.stdout):
        spec = one.get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template:
            found[f"{one['kind']}/{one['metadata']['name']}"] = template["spec"]["containers"][0]
    return found


def secrets(container: Any) -> set[str]:
    return {one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"] if "valueFrom" in one}


@pytest.mark.parametrize("folder", ["base", "overlays/backfill", "overlays/loop"])
def test_only_the_schema_job_connects_as_the_owner(folder: str) -> None:
    pods = built(folder)
    assert secrets(pods.pop("Job/reconciler-schema")) == {OWNER}
    assert {name for pod in pods.values() for name in secrets(pod)} == {RUNNER}


def test_a_dry_run_needs_no_owner() -> None:
    assert {name for pod in built("overlays/dry-run").values() for name in secrets(pod)} == {RUNNER}


def test_reports_connect_as_the_reader_and_bring_no_pass_with_them() -> None:
    pods = built("overlays/reports")
    assert {*pods} == {"CronJob/reconciler-verify", "CronJob/reconciler-month"}
    assert {name for pod in pods.values() for name in secrets(pod)} == {READER}
    assert pods["CronJob/reconciler-verify"]["args"] == ["verify", "--deep"]


def test_the_month_s_report_is_of_the_month_before() -> None:
    shell, flag, script = built("overlays/reports")["CronJob/reconciler-month"]["command"]
    told = subprocess.run(
        [shell, flag, script.replace("exec reconciler", "echo")],
        capture_output=True,
        text=True,
        check=True,
    )
    now = datetime.now(UTC)
    last = now.replace(day=1) - timedelta(days=1)
    assert told.stdout == f"usage --month {last:%Y-%m} --output csv\n"


def examples(kind: str) -> Iterator[Any]:
    for file in sorted((K8S / "examples").rglob("*.yaml")):
        for one in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if one["kind"] == kind and not one["apiVersion"].startswith("kustomize.config"):
                yield one


def test_external_secrets_makes_every_secret_that_the_manifests_name() -> None:
    made = {one["metadata"]["name"]: one["spec"] for one in examples("ExternalSecret")}
    assert {*made} == {OWNER, RUNNER, READER}
    assert all([*one["target"]["template"]["data"]] == ["uri"] for one in made.values())


def test_cloudnative_pg_has_the_roles_that_the_schema_job_grants() -> None:
    (cluster,) = examples("Cluster")
    roles = {one["name"]: one["passwordSecret"]["name"] for one in cluster["spec"]["managed"]["roles"]}
    pods = built("examples/cloudnative-pg")
    args = pods["Job/reconciler-schema"]["args"]
    assert {args[args.index("--grant-runner") + 1], args[args.index("--grant-reader") + 1]} == {*roles}
    assert secrets(pods["Job/reconciler-schema"]) == {f"{cluster['metadata']['name']}-app"}
    assert secrets(pods["CronJob/reconciler"]) == {roles["reconciler_runner"]}


def test_flux_and_argo_cd_point_at_folders_that_are_there() -> None:
    paths = [one["spec"]["path"] for one in examples("Kustomization")]
    paths += [one["spec"]["source"]["path"] for one in examples("Application")]
    assert len(paths) == 2
    assert all((K8S.parent / path / "kustomization.yaml").exists() for path in paths)
