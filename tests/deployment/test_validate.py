"""Every check of the manifests says no to a manifest that is wrong, and nothing to ours."""

import copy
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.deployment import validate

Document: TypeAlias = dict[str, Any]
Edit: TypeAlias = Callable[[Document], object]

K8S = Path(__file__).parents[2] / "k8s"
NAME = {"app.kubernetes.io/name": "reconciler"}


def loaded(path: str) -> list[Document]:
    return [*yaml.safe_load_all((K8S / path).read_text(encoding="utf-8"))]


def manifests() -> dict[str, Document]:
    """Ours by kind, as far as they are whole without kubectl: with the labels and the pod it puts in."""
    files = ("cronjob", "serviceaccount", "rbac", "networkpolicy")
    found = [one for file in files for one in loaded(f"base/{file}.yaml")]
    found += loaded("overlays/loop/deployment.yaml") + loaded("overlays/monitoring/servicemonitor.yaml")
    by_kind = {one["kind"]: one for one in reversed(found)}
    for kind in ("Service", "ServiceMonitor"):
        by_kind[kind]["metadata"] |= {"namespace": "pieced-billing", "labels": NAME}
    settings = {"RECONCILER_STOP_TIMEOUT": "20s"}
    metadata = {"name": "reconciler-settings"}
    by_kind["ConfigMap"] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": settings,
    }
    template = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    template["metadata"]["labels"] |= NAME
    resident = copy.deepcopy(template)
    resident["metadata"]["labels"]["app.kubernetes.io/component"] = "loop"
    pod = resident["spec"]
    pod |= {"restartPolicy": "Always", "terminationGracePeriodSeconds": 45}
    pod["containers"][0] |= {"args": ["loop"], "ports": [{"name": "health", "containerPort": 8080}]}
    by_kind["Deployment"]["spec"]["template"] = resident
    return by_kind


def checked(found: dict[str, Document], overlay: str = "base") -> int:
    documents = [*found.values()]
    return validate._check(overlay, documents, documents)


def test_nothing_is_wrong_with_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(manifests()) == 0, capsys.readouterr().err


def pod(**changes: Any) -> Edit:
    """Changes the pod of the CronJob; `...` leaves a field out."""
    return lambda job: put(job["spec"]["jobTemplate"]["spec"]["template"]["spec"], changes)


def container(**changes: Any) -> Edit:
    def edit(job: Document) -> None:
        put(job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0], changes)

    return edit


def put(into: Document, changes: Document) -> None:
    for key, value in changes.items():
        if value is ...:
            del into[key]
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            put(into[key], value)
        else:
            into[key] = value


TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}

WRONG: list[tuple[str, Edit, str]] = [
    ("CronJob", lambda job: job["spec"].update(shedule="@daily"), "not valid in Kubernetes"),
    ("CronJob", lambda job: job.update(kind="CronJobs"), "has no batch/v1 CronJobs"),
    # What the restricted Pod Security Standard refuses
    *(("CronJob", pod(**{key: True}), f"{key} is on") for key in ("hostNetwork", "hostPID", "hostIPC")),
    ("CronJob", pod(securityContext={"sysctls": [{"name": "a", "value": "b"}]}), "sets sysctls"),
    ("CronJob", pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), "a volume is a hostPath"),
    ("CronJob", pod(securityContext={"runAsNonRoot": False}), "runAsNonRoot must be true"),
    ("CronJob", container(securityContext={"runAsNonRoot": False}), "runAsNonRoot must be true"),
    ("CronJob", pod(securityContext={"runAsUser": 0}), "runAsUser must be a number above 0"),
    ("CronJob", pod(securityContext={"runAsUser": ...}), "runAsUser must be a number above 0"),
    ("CronJob", pod(securityContext={"seccompProfile": ...}), "seccomp must be RuntimeDefault"),
    ("CronJob", pod(securityContext={"seLinuxOptions": {"level": "s0"}}), "no SELinux"),
    ("CronJob", container(securityContext={"privileged": True}), "must not be privileged"),
    ("CronJob", container(securityContext={"allowPrivilegeEscalation": ...}), "no privilege escalation"),
    (
        "CronJob",
        container(securityContext={"capabilities": {"add": ["NET_RAW"]}}),
        "all capabilities must be dropped",
    ),
    ("CronJob", container(securityContext={"procMount": "Unmasked"}), "procMount must be the default"),
    ("CronJob", container(ports=[{"containerPort": 8080, "hostPort": 8080}]), "no host ports"),
    (
        "CronJob",
        pod(initContainers=[{"name": "first", "image": "busybox"}]),
        "container first: no privilege escalation",
    ),
    # What we ask of a pod beyond it
    ("CronJob", pod(automountServiceAccountToken=...), "automountServiceAccountToken must be false"),
    ("CronJob", pod(volumes=[]), "a token of an hour"),
    (
        "CronJob",
        pod(volumes=[{"name": "token", "projected": {"sources": [TOKEN, TOKEN]}}]),
        "a token of an hour",
    ),
    (
        "CronJob",
        lambda job: put(
            job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"][
                0
            ]["serviceAccountToken"],
            {"expirationSeconds": 7200},
        ),
        "a token of an hour",
    ),
    ("CronJob", container(args=["schema", "apply"]), "a token of an hour"),
    (
        "CronJob",
        container(securityContext={"readOnlyRootFilesystem": ...}),
        "readOnlyRootFilesystem must be true",
    ),
    ("CronJob", container(resources={"limits": {"memory": ...}}), "needs requests and a memory limit"),
    ("CronJob", container(resources={"requests": ...}), "needs requests and a memory limit"),
    ("CronJob", pod(serviceAccountName="other"), "names ServiceAccount/other"),
    ("CronJob", pod(serviceAccountName=...), "names ServiceAccount/default"),
    ("CronJob", container(envFrom=[{"configMapRef": {"name": "other"}}]), "names ConfigMap/other"),
    # Rights
    ("ClusterRole", lambda role: role["rules"][0]["verbs"].append("delete"), "grants "),
    ("ClusterRole", lambda role: role["rules"][0]["verbs"].remove("watch"), "grants "),
    ("ClusterRole", lambda role: role["rules"][1].pop("resourceNames"), "grants "),
    (
        "ClusterRole",
        lambda role: role.update(
            aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
        ),
        "grants ",
    ),
    (
        "ClusterRoleBinding",
        lambda binding: binding["roleRef"].update(name="cluster-admin"),
        "binds ClusterRole/cluster-admin, which is not defined here",
    ),
    # What is selected
    (
        "NetworkPolicy",
        lambda policy: put(policy["spec"], {"podSelector": {"matchLabels": {"a": "b"}}}),
        "selects nothing",
    ),
    ("NetworkPolicy", lambda policy: policy["spec"].update(podSelector={}), "selects nothing"),
    (
        "NetworkPolicy",
        lambda policy: policy["spec"].update(
            podSelector={"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
        ),
        "selects nothing",
    ),
    (
        "NetworkPolicy",
        lambda policy: policy["spec"].update(ingress=[{"ports": [{"port": "metrics"}]}]),
        "selects what has no port metrics",
    ),
    (
        "PodDisruptionBudget",
        lambda budget: put(budget["spec"]["selector"]["matchLabels"], {"a": "b"}),
        "selects nothing",
    ),
    ("Service", lambda service: put(service["spec"]["selector"], {"a": "b"}), "selects nothing"),
    (
        "Service",
        lambda service: service["spec"]["ports"][0].update(targetPort="metrics"),
        "selects what has no port metrics",
    ),
    (
        "ServiceMonitor",
        lambda monitor: monitor["spec"]["endpoints"][0].update(port="metrics"),
        "selects what has no port metrics",
    ),
    ("Service", lambda service: service["metadata"].update(labels={}), "selects nothing"),
    # The time to say goodbye
    ("ConfigMap", lambda settings: settings.update(data={}), "RECONCILER_STOP_TIMEOUT is not among"),
    (
        "ConfigMap",
        lambda settings: settings["data"].update(RECONCILER_STOP_TIMEOUT="40s"),
        "terminationGracePeriodSeconds 45 is too near RECONCILER_STOP_TIMEOUT 40s",
    ),
]


@pytest.mark.parametrize(
    ("kind", "edit", "problem"),
    WRONG,
    ids=[f"{number} {problem}" for number, (_, _, problem) in enumerate(WRONG)],
)
def test_a_manifest_that_is_wrong_is_found(
    kind: str, edit: Edit, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = manifests()
    edit(found[kind])
    assert checked(found) > 0
    assert problem in capsys.readouterr().err


def test_a_dry_run_that_would_write_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    found = {kind: one for kind, one in manifests().items() if kind != "Deployment"}
    found = {
        kind: one for kind, one in found.items() if kind in {"CronJob", "ServiceAccount", "ConfigMap"}
    }
    assert checked(found, "overlays/dry-run") == 1
    assert "must be a dry run" in capsys.readouterr().err
    container(args=["run", "--dry-run"])(found["CronJob"])
    assert checked(found, "overlays/dry-run") == 0


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda tenant: tenant.update(apiVersion="pieced.ch/v9"), "is no pieced.ch/"),
        (lambda tenant: tenant.update(kind="Tenant"), "is no pieced.ch/"),
        (lambda tenant: tenant["spec"].update(packages="mail"), "is not of type 'array'"),
    ],
)
def test_a_sample_that_no_cluster_would_take_is_found(edit: Edit, problem: str) -> None:
    crd = loaded("crd.yaml")[0]["spec"]
    sample = min((K8S / "samples").glob("tenants*.json"))
    tenant = json.loads(sample.read_text(encoding="utf-8"))["items"][0]
    assert not [*validate._tenant_problems(tenant, crd)]
    edit(tenant)
    assert any(problem in found for found in validate._tenant_problems(tenant, crd))


def test_what_kubectl_builds_of_ours_is_right_and_a_wrong_one_fails_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which builds the kustomizations, is not installed")
    folder = tmp_path / "k8s"
    shutil.copytree(K8S, folder)
    monkeypatch.setattr(validate, "HERE", folder)
    monkeypatch.setattr(sys, "argv", ["validate"])
    assert validate.main() == 0, capsys.readouterr().err
    cronjob = folder / "base" / "cronjob.yaml"
    cronjob.write_text(cronjob.read_text().replace("readOnlyRootFilesystem: true", ""))
    assert validate.main() == 1
    said = capsys.readouterr().err
    for what in (
        *(
            "base CronJob/reconciler",
            "base Job/reconciler-schema",
            "overlays/loop Deployment/reconciler",
        ),
        *("overlays/backfill Job/reconciler-backfill", "overlays/dry-run Job/reconciler-dry-run"),
    ):
        assert f"{what}: container reconciler: readOnlyRootFilesystem must be true" in said
    cronjob.write_text("")
    with pytest.raises(SystemExit, match="kubectl kustomize failed"):
        validate.main()


def test_without_kubectl_nothing_is_called_checked_unless_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["validate"])
    assert validate.main() == 1
    assert "kubectl is not installed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["validate", "--allow-missing-kubectl"])
    assert validate.main() == 0
    assert "skipped base: kubectl is not installed" in capsys.readouterr().out
