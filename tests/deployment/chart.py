"""The Helm chart in k8s/chart: made from what kubectl builds of k8s/base, so that the two stay equal.

`python -m tests.deployment.chart` writes it anew; a test holds what is there against it.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

Document: TypeAlias = dict[str, Any]

K8S: Final = Path(__file__).resolve().parents[2] / "k8s"
CHART: Final = K8S / "chart"
NAMESPACE: Final = "pieced-billing"
SETTINGS: Final = "reconciler-settings"

# What stands in the manifests, and the value of the chart in its place.
_PLACES: Final = {
    ("namespace", NAMESPACE): "{{ .Release.Namespace }}",
    ("image", "reconciler:0.1.0"): "{{ .Values.image.repository }}:{{ .Values.image.tag }}",
    ("schedule", "*/5 * * * *"): "{{ .Values.schedule }}",
    ("name", "reconciler-database"): "{{ .Values.secrets.runner }}",
    ("name", "reconciler-database-owner"): "{{ .Values.secrets.owner }}",
}
_SETTINGS: Final = "{{- toYaml .Values.settings | nindent 2 }}"


def built() -> list[Document]:
    """What kubectl builds of k8s/base; the settings without the hash in their name."""
    kubectl = shutil.which("kubectl") or "kubectl"
    command = [kubectl, "kustomize", str(K8S / "base")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (hashed,) = (
        one["metadata"]["name"] for one in yaml.safe_load_all(text) if one["kind"] == "ConfigMap"
    )
    return [*yaml.safe_load_all(text.replace(hashed, SETTINGS))]


def values(documents: list[Document]) -> Document:
    """The values of the chart, as the manifests have them."""
    (settings,) = (one["data"] for one in documents if one["kind"] == "ConfigMap")
    repository, _, tag = next(there for key, there in _PLACES if key == "image").partition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "schedule": next(there for key, there in _PLACES if key == "schedule"),
        "secrets": {"runner": "reconciler-database", "owner": "reconciler-database-owner"},
        "settings": settings,
    }


def templates(documents: list[Document]) -> Mapping[str, str]:
    """The templates, by the names of their files."""
    made = {}
    for document in documents:
        name = f"{document['kind']}-{document['metadata']['name']}.yaml".lower()
        is_settings = document["kind"] == "ConfigMap"
        placed = _placed({**document, "data": _SETTINGS} if is_settings else document)
        text = yaml.safe_dump(placed, sort_keys=False, width=1000)
        made[name] = text.replace(f"data: '{_SETTINGS}'", f"data:\n  {_SETTINGS}")
    return made


def _placed(node: Any, key: str = "") -> Any:
    match node:
        case dict():
            return {name: _placed(value, name) for name, value in node.items()}
        case list():
            return [_placed(value, key) for value in node]
        case _:
            return _PLACES.get((key, node), node) if isinstance(node, str) else node


def main() -> int:
    """Writes the templates and the values."""
    documents = built()
    folder = CHART / "templates"
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for name, text in templates(documents).items():
        (folder / name).write_text(text, encoding="utf-8")
    text = yaml.safe_dump(values(documents), sort_keys=False)
    (CHART / "values.yaml").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
