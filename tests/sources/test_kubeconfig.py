"""The files of a kubeconfig are merged as kubectl merges them; where kubectl is here, it is asked."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.sources.kubeconfig import Malformed, account
from tests.apiserver import ApiServer
from tests.sources.source import SEVEN, failure, names, source_of


def config(name: str, current: str | None, **shared: Any) -> str:
    """A cluster, a user and a context of that name, and one each that other files name, too."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": f"c-{name}", "cluster": {"server": f"https://{name}:6443"}},
                {"name": "shared", "cluster": {"server": f"https://shared-{name}", **shared}},
            ],
            "users": [{"name": f"u-{name}", "user": {"token": f"token-{name}"}}],
            "contexts": [
                {"name": name, "context": {"cluster": f"c-{name}", "user": f"u-{name}"}},
                {"name": "shared", "context": {"cluster": "shared", "user": f"u-{name}"}},
            ],
            **({} if current is None else {"current-context": current}),
        }
    )


FILES = {
    "a": config("a", "a"),
    "b": config("b", "b", **{"tls-server-name": "other"}),
    "shares": config("shares", "shared"),
    "names-none": config("n", None),
    "names-an-empty-one": config("m", ""),
    "names-null": "apiVersion: v1\nkind: Config\ncurrent-context: null\ncontexts: null\n",
    "empty": "",
    "blank": "\n# nothing yet\n",
    "null": "null",
    "object": "{}",
    "yaml": "clusters: [{name: yam, cluster: {server: 'https://yam'}}]\n"
    "users: &users [{name: yam, user: {token: abc}}]\n"
    "contexts: [{name: yam, context: {cluster: yam, user: yam}}]\ncurrent-context: yam\n",
    "unknown-fields": 'apiVersion: v1\nfoo: [1]\nclusters: [{name: s, cluster: {server: "s", x: 7}}]',
}

LISTS = [
    *("a:b", "b:a", "a:a", "shares:a", "a:shares", "yaml", "b:yaml"),
    *("names-none:a:b", "names-an-empty-one:b:a", "names-null:b"),
    *("empty:a", "a:empty", "blank:a", "a:null", "object:b", "missing:a", "a:missing", ":a:"),
    *("unknown-fields:a", "a:unknown-fields"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("listed", LISTS)
def test_kubectl_and_we_choose_the_same_cluster_and_user(
    listed: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which is asked what it makes of the files, is not installed")
    asked = subprocess.run(
        ["kubectl", "config", "view", "--raw", "--minify", "-o", "json"],
        env={**os.environ, "KUBECONFIG": listed},
        capture_output=True,
        cwd=folder,
        check=True,
    )
    theirs = json.loads(asked.stdout)
    monkeypatch.setenv("KUBECONFIG", listed)
    ours = account(None, None)
    assert ours.context == theirs["current-context"]
    assert ours.cluster == theirs["clusters"][0]["cluster"]
    assert ours.user == theirs["users"][0]["user"]


REFUSED = {
    "no list": ("[]", "not a kubeconfig"),
    "a word": ("hello", "not a kubeconfig"),
    "another kind": ("kind: Pod", "but a Pod"),
    "two of a name": (
        "clusters: [{name: s, cluster: {server: a}}, {name: s, cluster: {server: b}}]",
        "two clusters called s",
    ),
    "a token that is a number": ("users: [{name: s, user: {token: 7}}]\ncurrent-context: a", None),
    "a tab": ("a:\n\t- b", "neither JSON nor YAML"),
}


@pytest.mark.parametrize("file", REFUSED)
def test_a_file_that_kubectl_refuses_is_refused_though_another_one_would_do(
    file: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, says = REFUSED[file]
    (folder / "bad").write_text(content)
    monkeypatch.setenv("KUBECONFIG", "a:bad")
    if says is not None:
        with pytest.raises(Malformed, match=says):
            account(None, None)
    if shutil.which("kubectl"):
        asked = subprocess.run(
            ["kubectl", "config", "view"], capture_output=True, cwd=folder, check=False
        )
        assert asked.returncode != 0


def test_an_empty_variable_means_the_file_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "home" / ".kube").mkdir(parents=True)
    shutil.copy(folder / "a", folder / "home" / ".kube" / "config")
    monkeypatch.setenv("KUBECONFIG", "")
    assert account(None, None).context == "a"


def test_paths_are_relative_to_the_file_that_has_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "config").write_text(
        "clusters: [{name: c, cluster: {server: 'https://c', certificate-authority: ca.crt}}]\n"
        "users: [{name: u, user: {tokenFile: ../token, exec: {command: ./plugin, apiVersion: v1}}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )
    monkeypatch.setenv("KUBECONFIG", "missing:sub/config")
    found = account(None, None)
    assert Path(found.cluster["certificate-authority"]) == folder / "sub" / "ca.crt"
    assert Path(found.user["tokenFile"]).resolve() == folder / "token"
    assert Path(found.user["exec"]["command"]) == folder / "sub" / "plugin"


def test_a_plugin_that_is_a_plain_name_is_looked_for_in_the_path(folder: Path) -> None:
    (folder / "plain").write_text(
        "clusters: [{name: c, cluster: {server: s}}]\n"
        "users: [{name: u, user: {exec: {command: aws, apiVersion: v1}}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )
    assert account("plain", None).user["exec"]["command"] == "aws"


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_given_is_the_only_one_and_must_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", "a")
    assert account("b", None).context == "b"
    assert account("b", "shared").cluster["server"] == "https://shared-b"
    with pytest.raises(Malformed, match="does not exist"):
        account("missing", None)


def test_where_no_file_is_there_the_message_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.exists()
    monkeypatch.setenv("KUBECONFIG", "missing:gone")
    message = failure(source_of(None), UsageError)
    assert "missing:gone" in message
    assert "current-context" in message


def test_a_run_names_context_server_and_cluster_before_anything_else(
    server: ApiServer, kubeconfig: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reconciler")
    source = source_of(kubeconfig)
    assert names(source.snapshot()) == [*SEVEN]
    assert caplog.messages == [f"context test, server {server.url}, cluster {server.cluster_uid}"]
    source.snapshot()
    assert len(caplog.messages) == 1
    server.cluster_uid = "another-cluster"
    source.snapshot()
    assert caplog.messages[-1].endswith("cluster another-cluster")
