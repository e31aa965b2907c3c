"""The Helm chart is the manifests: rendered with its own values, it is what kubectl builds."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.deployment.chart import CHART, NAMESPACE, built, templates, values

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")

_TO_YAML = re.compile(r"^( *)\{\{- toYaml (\.Values\.[\w.]+) \| nindent (\d+) \}\}$", re.MULTILINE)
_VALUE = re.compile(r"\{\{ (\.[\w.]+) \}\}")


def rendered(text: str, scope: dict[str, Any]) -> dict[str, Any]:
    """As Helm renders what the templates use: values, and `toYaml … | nindent`."""

    def found(path: str) -> Any:
        value: Any = scope
        for part in path.removeprefix(".").split("."):
            value = value[part]
        return value

    def listed(match: re.Match[str]) -> str:
        # nindent begins with a new line; `{{-` has removed the one before.
        lines = yaml.safe_dump(found(match[2])).rstrip("\n").splitlines()
        return "\n".join(" " * int(match[3]) + line for line in lines)

    text = _VALUE.sub(lambda match: str(found(match[1])), _TO_YAML.sub(listed, text))
    assert "{{" not in text, text
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_it_renders_to_what_kubectl_builds() -> None:
    scope = {
        "Values": yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")),
        "Release": {"Namespace": NAMESPACE},
    }
    files = sorted((CHART / "templates").iterdir())
    ours = [rendered(file.read_text(encoding="utf-8"), scope) for file in files]

    def key(document: dict[str, Any]) -> tuple[str, str]:
        return document["kind"], document["metadata"]["name"]

    assert sorted(ours, key=key) == sorted(built(), key=key)


def test_it_is_what_the_manifests_make_of_it() -> None:
    documents = built()
    told = {file.name: file.read_text(encoding="utf-8") for file in (CHART / "templates").iterdir()}
    assert told == templates(documents), "write it anew: python -m tests.deployment.chart"
    assert yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")) == values(documents)


def test_other_values_go_where_they_belong() -> None:
    scope = {
        "Values": {
            "image": {"repository": "registry/reconciler", "tag": "2"},
            "schedule": "@hourly",
            "secrets": {"runner": "ours", "owner": "theirs"},
            "settings": {"RECONCILER_PAGE_SIZE": "100"},
        },
        "Release": {"Namespace": "elsewhere"},
    }
    texts = {file.name: file.read_text(encoding="utf-8") for file in (CHART / "templates").iterdir()}
    made = {name: rendered(text, scope) for name, text in texts.items()}
    told = yaml.safe_dump_all(made.values())
    assert "pieced-billing" not in re.sub(r"part-of: pieced-billing", "", told)
    assert {*re.findall(r"image: (\S+)", told)} == {"registry/reconciler:2"}
    assert made["cronjob-reconciler.yaml"]["spec"]["schedule"] == "@hourly"
    assert made["configmap-reconciler-settings.yaml"]["data"] == {"RECONCILER_PAGE_SIZE": "100"}
    assert {*re.findall(r"name: (ours|theirs|reconciler-database\S*)$", told, re.MULTILINE)} == {
        "ours",
        "theirs",
    }


@pytest.mark.skipif(not shutil.which("helm"), reason="helm is not installed")
def test_helm_itself_renders_the_same() -> None:
    command = ["helm", "template", "reconciler", str(CHART), "--namespace", NAMESPACE]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = sorted(yaml.safe_load_all(text), key=str)
    assert ours == sorted(built(), key=str)
