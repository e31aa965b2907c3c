"""What Prometheus is told: the structure of its resources, and that every expression names what exists.

Strict as a cluster is not: a field that is not in these schemas is wrong, though the operator may know
it. The program's metrics are those of the table in README.md, and every alert stands in its runbook.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jsonschema  # type: ignore[import-untyped]
import promql_parser

Document: TypeAlias = dict[str, Any]

README = Path(__file__).resolve().parents[2] / "k8s" / "README.md"

OF_KUBE_STATE_METRICS = {
    "kube_cronjob_created",
    "kube_cronjob_spec_suspend",
    "kube_cronjob_status_last_successful_time",
    "kube_deployment_spec_replicas",
    "kube_job_failed",
    "kube_job_owner",
    "kube_job_status_start_time",
}
SERIES = {
    "gauge": {""},
    "counter": {""},
    "summary": {"_sum", "_count"},
    "histogram": {"_bucket", "_sum", "_count"},
}
"""What a metric's name ends in, by its type."""


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Document:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "required": [*required],
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_DURATION = {"type": "string", "pattern": r"^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?$", "minLength": 2}
_RULE = _object(
    {
        "alert": _TEXT,
        "expr": _TEXT,
        "labels": _object({"severity": {"enum": ["critical", "warning"]}}),
        "annotations": _object({"summary": _TEXT, "description": _TEXT}),
    },
    {"for": _DURATION},
)
_GROUP = _object({"name": _TEXT, "rules": {"type": "array", "minItems": 1, "items": _RULE}})
_ENDPOINT = _object({"port": _TEXT, "path": {"const": "/metrics"}}, {"interval": _DURATION})
_SPECS = {
    "PrometheusRule": _object({"groups": {"type": "array", "minItems": 1, "items": _GROUP}}),
    "ServiceMonitor": _object(
        {
            "selector": _object({"matchLabels": _TEXTS}),
            "endpoints": {"type": "array", "minItems": 1, "items": _ENDPOINT},
        }
    ),
}


def knows(document: Document) -> bool:
    """Whether this is one of the Prometheus operator's."""
    return str(document["apiVersion"]).startswith("monitoring.coreos.com/")


def problems(document: Document) -> Iterator[str]:
    """Yield what is wrong with a PrometheusRule or ServiceMonitor."""
    spec = _SPECS.get(document["kind"])
    if spec is None or document["apiVersion"] != "monitoring.coreos.com/v1":
        yield f"{document['apiVersion']} {document['kind']} is not known here"
        return
    metadata = _object({"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS})
    whole = _object({"apiVersion": _TEXT, "kind": _TEXT, "metadata": metadata, "spec": spec})
    wrong = [*jsonschema.Draft202012Validator(whole).iter_errors(document)]
    yield from (f"{error.json_path}: {error.message}" for error in wrong)
    if document["kind"] == "PrometheusRule" and not wrong:
        rules = [rule for group in document["spec"]["groups"] for rule in group["rules"]]
        yield from _alert_problems([rule["alert"] for rule in rules])
        for rule in rules:
            namespace = document["metadata"]["namespace"]
            yield from (f"{rule['alert']}: {problem}" for problem in _query_problems(rule, namespace))


def _alert_problems(alerts: list[str]) -> Iterator[str]:
    yield from (f"{name} is there twice" for name in sorted({*alerts}) if alerts.count(name) > 1)
    described = {cell.strip("`") for cell, *_ in table("Alerts")}
    yield from (f"{name} is not in the runbook" for name in sorted({*alerts} - described))
    yield from (f"the runbook has {name}, which is no alert" for name in sorted(described - {*alerts}))


def _query_problems(rule: Document, namespace: str) -> Iterator[str]:
    """Yield series that nobody has, values that a label never takes, and other teams' series."""
    try:
        query = promql_parser.parse(rule["expr"])
    except ValueError as error:
        yield str(error)
        return
    ours = series()
    for selector in _selectors(query):
        matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
        if selector.name in OF_KUBE_STATE_METRICS:
            if ("namespace", namespace) not in matchers:
                yield f"{selector.name} is asked of other namespaces than {namespace}"
        elif selector.name not in ours:
            yield f"there is no metric {selector.name}"
        else:
            labels = ours[selector.name]
            yield from (
                f"{selector.name} has no {label}={value!r}"
                for label, value in sorted(matchers)
                if value not in labels.get(label, set())
            )


def _selectors(query: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def collect(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(query, collect)
    return found


def series() -> dict[str, dict[str, set[str]]]:
    """Name every series that the program exposes, each with the values that its labels take."""
    found: dict[str, dict[str, set[str]]] = {}
    for metric, kind, _ in table("Metrics"):
        name, _, labels = metric.strip("`").partition("{")
        values = {
            label: set(either.split("/")) for label, either in re.findall(r'(\w+)="([^"]*)"', labels)
        }
        found |= {name + ending: values for ending in SERIES[kind]}
    return found


def table(title: str) -> list[list[str]]:
    """Read the table below a heading of README.md: the cells of each row, without its head."""
    _, found, below = README.read_text(encoding="utf-8").partition(f"# {title}\n")
    if not found:
        raise LookupError(f"{README.name} has no section {title}")
    section = re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]
