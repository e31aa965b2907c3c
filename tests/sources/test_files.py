"""Snapshots from files: when each was taken, in which order they go, and what their YAML says."""

import gzip
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.core.reading import Dialect
from reconciler.core.tenant import Snapshot
from reconciler.errors import SnapshotError, UsageError
from reconciler.sources.files import FileSource, file_sources

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RESOURCE = """
apiVersion: v1
kind: List
metadata:
  resourceVersion: ""
items:
- apiVersion: pieced.ch/v1alpha1
  kind: PiecedTenant
  metadata:
    name: {name}
    uid: {uid}
    creationTimestamp: "2026-11-01T00:00:00Z"
    labels:
      pieced.ch/zitadel-org-id: "1"
  spec:
    packages: {packages}
    suspend: {suspend}
"""


def sources(*paths: str | Path, at: datetime | None = None) -> list[FileSource]:
    return list(file_sources([str(path) for path in paths], at, Dialect()))


def read(file: Path, at: datetime = NOW) -> Snapshot:
    return FileSource(str(file), at, Dialect()).snapshot()


def yaml_file(folder: Path, name: str = "ada", packages: str = "[mail]", suspend: str = "false") -> Path:
    file = folder / "tenants.yaml"
    file.write_text(
        RESOURCE.format(name=name, uid="1-2-3", packages=packages, suspend=suspend), encoding="utf-8"
    )
    return file


# When it was taken ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("tenants-20261122T050000Z.json", "2026-11-22T05:00:00+00:00"),
        ("20261122T050000Z", "2026-11-22T05:00:00+00:00"),
        ("2026-11-22T05:00:00Z.yaml", "2026-11-22T05:00:00+00:00"),
        ("2026-11-22T05:00:00.123456789Z.json", "2026-11-22T05:00:00.123456+00:00"),
        ("prod_2026-11-22T05:00:00+01:00_v2.json.gz", "2026-11-22T04:00:00+00:00"),
        ("before-00000000T000000Z-20261122T050000Z.json", "2026-11-22T05:00:00+00:00"),
    ],
)
def test_the_name_of_a_file_tells_when_it_was_taken(name: str, taken: str) -> None:
    (source,) = sources(name)
    assert source.observed_at.isoformat() == taken


@pytest.mark.parametrize(
    "name",
    [
        *("tenants.json", "2026-11-22.json", "20261122.json", "20261122T050000.json"),
        *("2026-11-22T05:00:00.json", "20261322T050000Z.json", "2026-11-22T25:00:00Z.json"),
    ],
)
def test_a_name_without_an_instant_tells_nothing(name: str) -> None:
    with pytest.raises(UsageError, match="--observed-at"):
        sources(name)
    (source,) = sources(name, at=NOW)
    assert source.observed_at == NOW


def test_only_the_name_tells_and_not_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        sources(tmp_path / "20261122T050000Z" / "tenants.json")


def test_observed_at_dates_one_file_also_against_its_name() -> None:
    (source,) = sources("tenants-20261122T050000Z.json", at=NOW)
    assert source.observed_at == NOW
    with pytest.raises(UsageError, match="several"):
        sources("20261122T050000Z.json", "20261122T060000Z.json", at=NOW)


def test_stdin_does_not_tell_when_it_was_taken() -> None:
    with pytest.raises(UsageError, match="--observed-at"):
        sources("-")
    (source,) = sources("-", at=NOW)
    assert (source.name, source.observed_at) == ("stdin", NOW)


def test_files_go_by_instant_and_not_by_name(tmp_path: Path) -> None:
    names = ["2026-11-22T05:00:00+02:00.json", "20261122T040000Z.json", "z-20261122T020000Z.yaml"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    ordered = [Path(source.name).name for source in sources(tmp_path)]
    assert ordered == [names[2], names[0], names[1]]


# What is in it -------------------------------------------------------------------------------------


def test_json_may_be_compressed_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
    for form in (content, b"\xef\xbb\xbf" + content, gzip.compress(content), b"\n " + content + b"\n"):
        file = tmp_path / "form"
        file.write_bytes(form)
        assert read(file).size == 0


def test_a_file_is_looked_at_only_when_its_turn_comes(tmp_path: Path) -> None:
    (source,) = sources(tmp_path / "20261122T050000Z.json")
    with pytest.raises(SnapshotError, match="No such file"):
        source.snapshot()


WORDS = [
    *("yes", "no", "on", "off", "y", "n", "Null", "NULL", "True", "TRUE", "False", "=", "<<"),
    *(
        "0x10",
        "0o10",
        "010",
        "1_000",
        "+1",
        ".5",
        "1.",
        "12:30:45",
        "2026-01-01",
        "2026-02-30T00:00:00Z",
    ),
    *("2026-01-01T00:00:00Z", "2026-01-01 00:00:00", ".inf", ".nan", "nan", "inf"),
]


@pytest.mark.parametrize("word", WORDS)
def test_a_plain_word_of_yaml_is_a_string(tmp_path: Path, word: str) -> None:
    snapshot = read(yaml_file(tmp_path, name=word, packages=f"\n    - {word}"))
    assert [(one.name, one.skills) for one in snapshot.tenants] == [(word, (word,))]


@pytest.mark.parametrize("word", ["1", "-7", "1.5", "1e3", "true", "false", "null", "~", "{}", "[]"])
def test_what_json_has_a_word_for_is_no_string(tmp_path: Path, word: str) -> None:
    snapshot = read(yaml_file(tmp_path, packages=f"\n    - {word}"))
    assert [one.reason.split(":")[0] for one in snapshot.unreadable] == ["spec.packages[0]"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("'1e3'", "1e3"),
        ('"null"', "null"),
        ("''''", "'"),
        ('"a\\tb"', "a\tb"),
        ('"\\e[31m"', "\x1b[31m"),
        ('"\\U0001F98A"', "🦊"),
        ("|-\n      two\n      lines", "two\nlines"),
        (">-\n      one\n      line", "one line"),
        ("!!str 7", "7"),
    ],
)
def test_quoted_yaml_says_what_it_says(tmp_path: Path, written: str, meant: str) -> None:
    snapshot = read(yaml_file(tmp_path, packages=f"\n    - {written}"))
    assert snapshot.tenants[0].skills == (meant,)


@pytest.mark.parametrize(
    ("suspend", "means"), [("true", True), ("false", False), ("null", False), ("~", False), ("", False)]
)
def test_yaml_says_whether_it_is_suspended(tmp_path: Path, suspend: str, *, means: bool) -> None:
    assert read(yaml_file(tmp_path, suspend=suspend)).tenants[0].suspended is means


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.system ['touch hacked']",
        "items: !!python/name:os.system",
        "a: &a [x]\nb: *a",
        "a: &a {x: 1}\nb:\n  <<: *a",
        "{a: b",
        "\tkind: List",
        "kind: List\n---\nkind: List",
        "kind: !!binary aGVsbG8=",
        "1: 2",
        "[" * 20_000,
    ],
)
def test_other_yaml_is_no_snapshot_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tenants.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SnapshotError, match="not a snapshot"):
        read(file)
    assert os.listdir(tmp_path) == ["tenants.yaml"]  # noqa: PTH208 - names only


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="since Python 3.12 nothing reads that deep")
def test_yaml_may_be_deeper_than_python_reads_by_default(tmp_path: Path) -> None:
    deep = "[" * 2_000 + "]" * 2_000
    file = tmp_path / "tenants.yaml"
    listed = f"{{apiVersion: pieced.ch/v1, kind: PiecedTenantList, items: [], more: {deep}}}"
    file.write_text(f"# YAML\n{listed}", encoding="utf-8")
    assert read(file).size == 0


def test_the_servers_own_list_brings_its_resource_version(tmp_path: Path) -> None:
    file = tmp_path / "raw.json"
    raw = {"apiVersion": "pieced.ch/v1", "kind": "PiecedTenantList", "items": []}
    file.write_text(json.dumps({**raw, "metadata": {"resourceVersion": "7"}}), encoding="utf-8")
    assert read(file).resource_version == "7"
    file.write_text(json.dumps({**raw, "kind": "List", "apiVersion": "v1"}), encoding="utf-8")
    assert read(file).resource_version is None


@pytest.mark.parametrize(
    "name",
    ["._tenants-20261122T050000Z.json", ".tenants-20261122T050000Z.json", ".20261122T050000Z.json.gz"],
)
def test_a_file_of_a_folder_that_begins_with_a_dot_is_no_dump(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "tenants-20261122T050000Z.json").write_text("{}")
    assert [source.name for source in sources(tmp_path)] == [
        str(tmp_path / "tenants-20261122T050000Z.json")
    ]


@pytest.mark.parametrize("suffix", [".JSON", ".Json", ".YAML", ".Yml", ".json.GZ", ".YAML.gz"])
def test_a_suffix_may_be_written_in_any_case(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tenants-20261122T050000Z{suffix}"
    file.touch()
    assert [source.name for source in sources(tmp_path)] == [str(file)]


@pytest.mark.parametrize(
    "name",
    [
        "20261122T050000Z-20261123T050000Z.json",
        "2026-11-22T05:00:00Z.20261122T060000Z.json",
        "from-20261101T000000Z-to-20261201T000000Z.yaml",
    ],
)
def test_a_name_with_several_times_tells_none(name: str) -> None:
    with pytest.raises(UsageError, match="several times"):
        sources(name)
    # One instant, written twice, is one.
    assert sources("20261122T050000Z-2026-11-22T05:00:00Z.json")
