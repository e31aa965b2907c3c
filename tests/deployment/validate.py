"""Check every manifest in this folder: its schema, its pods, its rights, what it selects, its alerts.

One line for each; the exit status is 1 if any is wrong. Kustomizations are built as a cluster would
get them. With --allow-missing-kubectl they are skipped where kubectl is not installed.
Run from the project's folder: python -m tests.deployment.validate
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import yaml

from tests.deployment import alerts

Document: TypeAlias = dict[str, Any]

HERE = Path(__file__).resolve().parents[2] / "k8s"
# Servers take the CronJob since 1.27; the schemas published before 1.29 wrongly require
# `onPodConditions` in every rule of a podFailurePolicy.
VERSIONS = ("1.29", str(kubernetes_validate.latest_version()))
RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
# (group, resource, name or None for all, verb): what the program asks of the API server. A test holds
# it against the requests that it makes.
RIGHTS = {
    ("pieced.ch", "piecedtenants", None, "list"),
    ("pieced.ch", "piecedtenants", None, "watch"),
    ("", "namespaces", "kube-system", "get"),
}


def main() -> int:
    """Check everything, print what is fine and what is not, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--allow-missing-kubectl",
        action="store_true",
        help="where kubectl is not installed, skip the kustomizations instead of failing",
    )
    allow_missing_kubectl = parser.parse_args().allow_missing_kubectl
    kubectl = shutil.which("kubectl")
    if not kubectl and not allow_missing_kubectl:
        print("kubectl is not installed; install it or give --allow-missing-kubectl", file=sys.stderr)
        return 1

    crd = _load(HERE / "crd.yaml")
    built = {"crd": crd, "namespace": _load(HERE / "namespace.yaml")}
    for path in sorted(HERE.rglob("kustomization.yaml")):
        name = str(path.parent.relative_to(HERE))
        if _load(path)[0]["kind"] == "Component":
            continue  # built as a part of the overlays
        if kubectl:
            built[name] = _build(kubectl, path.parent)
        else:
            print(f"skipped {name}: kubectl is not installed")
    together = [document for documents in built.values() for document in documents]
    wrong = sum(_check(name, documents, together) for name, documents in built.items())
    for path in sorted((HERE / "samples").glob("tenants*")):
        tenants = _load(path) if path.suffix == ".yaml" else json.loads(path.read_text())["items"]
        wrong += _say(
            f"samples/{path.name}: {len(tenants)} tenants",
            [problem for tenant in tenants for problem in _tenant_problems(tenant, crd[0]["spec"])],
        )
    return 1 if wrong else 0


def _load(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text()))


def _build(kubectl: str, folder: Path) -> list[Document]:
    command = [kubectl, "kustomize", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        sys.exit(f"{folder.relative_to(HERE)}: kubectl kustomize failed: {built.stderr.strip()}")
    return list(yaml.safe_load_all(built.stdout))


def _check(overlay: str, documents: list[Document], together: list[Document]) -> int:
    defined = {(document["kind"], document["metadata"]["name"]) for document in documents}
    wrong = 0
    for document in documents:
        schema = alerts.problems if alerts.knows(document) else _schema_problems
        problems = [*schema(document), *_right_problems(document, defined)]
        problems += _selection_problems(document, together)
        if document["kind"] == "Deployment":
            problems += _farewell_problems(document, documents)
        for pod in _pods(document):
            problems += [*_restricted_problems(pod), *_own_problems(pod, overlay, defined)]
        wrong += _say(f"{overlay} {document['kind']}/{document['metadata']['name']}", problems)
    return wrong


def _say(what: str, problems: list[str]) -> int:
    for problem in problems:
        print(f"{what}: {problem}", file=sys.stderr)
    if not problems:
        print(f"ok {what}")
    return len(problems)


def _schema_problems(document: Document) -> Iterator[str]:
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            yield f"not valid in Kubernetes {version}: {where}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {version} has no {document['apiVersion']} {document['kind']}"


def _right_problems(document: Document, defined: set[tuple[str, str]]) -> Iterator[str]:
    """Yield roles that grant other than RIGHTS, and bindings to roles from elsewhere."""
    if document["kind"] in {"Role", "ClusterRole"}:
        given = granted(document)
        if "aggregationRule" in document or given != RIGHTS:
            yield f"grants {sorted(given, key=str)}; needed is {sorted(RIGHTS, key=str)}"
    role = document.get("roleRef")
    if role and (role["kind"], role["name"]) not in defined:
        yield f"binds {role['kind']}/{role['name']}, which is not defined here"


def granted(role: Document) -> set[tuple[str, str, str | None, str]]:
    """Spell out the rules of a role, as in RIGHTS."""
    return {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule.get("apiGroups", [""])
        for resource in rule.get("resources", rule.get("nonResourceURLs"))
        for name in rule.get("resourceNames") or [None]
        for verb in rule["verbs"]
    }


def _selection_problems(document: Document, together: list[Document]) -> Iterator[str]:
    """Yield selectors that select nothing, and ports by name that what they select does not have."""
    spec = document.get("spec", {})
    match document["kind"]:
        case "Service":
            selector, ports = (
                {"matchLabels": spec["selector"]},
                [one["targetPort"] for one in spec["ports"]],
            )
        case "NetworkPolicy":
            selector = spec["podSelector"]
            ports = [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        case "Deployment" | "PodDisruptionBudget":
            selector, ports = spec["selector"], []
        case "ServiceMonitor":
            selector, ports = spec["selector"], [one["port"] for one in spec["endpoints"]]
        case _:
            return
    if document["kind"] == "ServiceMonitor":
        services = [one for one in together if one["kind"] == "Service"]
        candidates = [(one["metadata"]["labels"], one["spec"]["ports"]) for one in services]
    else:
        candidates = [
            (template["metadata"]["labels"], _ports(template["spec"]))
            for one in together
            for template in _templates(one)
        ]
    selected = [having for labels, having in candidates if _selects(selector, labels)]
    if not selected:
        yield "selects nothing"
    for port in ports:
        if isinstance(port, str) and any(port not in (one["name"] for one in had) for had in selected):
            yield f"selects what has no port {port}"


def _selects(selector: Document, labels: Document) -> bool:
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In" or labels.get(rule["key"]) not in rule["values"]:
            return False
    return bool(selector) and selector.get("matchLabels", {}).items() <= labels.items()


def _templates(document: Document) -> Iterator[Document]:
    """Yield the pod template of a Job, CronJob or Deployment."""
    spec = document.get("spec", {})
    for holder in (spec, spec.get("jobTemplate", {}).get("spec", {})):
        if "template" in holder:
            yield holder["template"]


def _ports(pod: Document) -> list[Document]:
    return [port for container in pod["containers"] for port in container.get("ports", [])]


def _farewell_problems(deployment: Document, documents: list[Document]) -> Iterator[str]:
    """Yield if a pod is killed before the program has had the time that it is told to have."""
    (settings,) = (one["data"] for one in documents if one["kind"] == "ConfigMap")
    patience = re.fullmatch(r"(\d+)s", settings.get("RECONCILER_STOP_TIMEOUT", ""))
    grace = deployment["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
    if patience is None:
        yield "RECONCILER_STOP_TIMEOUT is not among the settings, in seconds"
    elif grace <= int(patience[1]) + 5:
        yield f"terminationGracePeriodSeconds {grace} is too near RECONCILER_STOP_TIMEOUT {patience[0]}"


def _pods(node: object) -> Iterator[Document]:
    """Yield every pod spec, whatever kind it is in: a mapping with containers."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for value in node.values():
            yield from _pods(value)
    elif isinstance(node, list):
        for value in node:
            yield from _pods(value)


def _containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def _restricted_problems(pod: Document) -> Iterator[str]:
    """Yield what the restricted Pod Security Standard would refuse, taken at its strictest."""
    shared = pod.get("securityContext", {})
    yield from (f"{key} is on" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    if shared.get("sysctls"):
        yield "sets sysctls"
    for volume in pod.get("volumes", []):
        yield from (f"a volume is a {kind}" for kind in set(volume) - {"name"} - RESTRICTED_VOLUMES)
    for container in _containers(pod):
        own = container.get("securityContext", {})
        both = {**shared, **own}
        rules = {
            "runAsNonRoot must be true": both.get("runAsNonRoot") is True,
            "runAsUser must be a number above 0": both.get("runAsUser", 0) > 0,
            "seccomp must be RuntimeDefault": both.get("seccompProfile") == {"type": "RuntimeDefault"},
            "no SELinux, AppArmor or Windows options": both.keys().isdisjoint(
                {"seLinuxOptions", "appArmorProfile", "windowsOptions"}
            ),
            "must not be privileged": not own.get("privileged"),
            "no privilege escalation": own.get("allowPrivilegeEscalation") is False,
            "all capabilities must be dropped": own.get("capabilities") == {"drop": ["ALL"]},
            "procMount must be the default": "procMount" not in own,
            "no host ports": not any("hostPort" in port for port in container.get("ports", [])),
        }
        yield from (f"container {container['name']}: {rule}" for rule, ok in rules.items() if not ok)


def _own_problems(pod: Document, overlay: str, defined: set[tuple[str, str]]) -> Iterator[str]:
    """Yield what we ask of a pod beyond the standard, and names in it that nothing stands for."""
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false; a pod that needs a token mounts its own"
    tokens = [
        source["serviceAccountToken"]
        for volume in pod.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]
    asks = any(container.get("args", [""])[0] != "schema" for container in _containers(pod))
    if len(tokens) != asks or any(token.get("expirationSeconds", 0) > 3600 for token in tokens):
        yield "a token of an hour, where the API server is asked, and nowhere else"
    named = {("ServiceAccount", pod.get("serviceAccountName", "default"))}
    for container in _containers(pod):
        for source in container.get("envFrom", []):
            named |= {("ConfigMap", ref["name"]) for key, ref in source.items() if key == "configMapRef"}
        resources = container.get("resources", {})
        rules = {
            "readOnlyRootFilesystem must be true": container.get("securityContext", {}).get(
                "readOnlyRootFilesystem"
            ),
            "needs requests and a memory limit": "requests" in resources
            and "memory" in resources.get("limits", {}),
            "must be a dry run": overlay != "overlays/dry-run" or "--dry-run" in container["args"],
        }
        yield from (f"container {container['name']}: {rule}" for rule, ok in rules.items() if not ok)
    yield from (f"names {kind}/{name}, not defined here" for kind, name in sorted(named - defined))


def _tenant_problems(tenant: Document, crd: Document) -> Iterator[str]:
    version = crd["versions"][0]
    name = tenant["metadata"]["name"]
    expected = (f"{crd['group']}/{version['name']}", crd["names"]["kind"])
    if (tenant["apiVersion"], tenant["kind"]) != expected:
        yield f"{name} is no {expected[0]} {expected[1]}"
    validator = jsonschema.Draft202012Validator(version["schema"]["openAPIV3Schema"])
    yield from (f"{name}: {error.message}" for error in validator.iter_errors(tenant))


if __name__ == "__main__":
    sys.exit(main())
