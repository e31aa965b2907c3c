"""What is wrong with the input ends in one line: what, where, and what to do. Nothing is written."""

import gzip
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.command_line.snapshots import kubectl_list, row_counts, snapshot, tenant, write
from tests.conftest import RECORDINGS, SAMPLES, Command, Ran
from tests.waiting import until

FIRST = SAMPLES / "tenants-20261101T060000Z.json"
KUBECTL = RECORDINGS / "kubectl"
NOW = ("--observed-at", "now")


def failed(done: Ran, status: int, *words: str) -> None:
    """It ended with the status and one line on stderr, which holds each of the words."""
    assert done.status == status, (done.status, done.out, done.err)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith(("reconciler: ", "usage: "))
    assert all(character.isprintable() for character in done.err.rstrip("\n"))
    for word in words:
        assert word.lower() in done.err.lower(), done.err


# Files ---------------------------------------------------------------------------------------------

LIST = kubectl_list(tenant("ada", "mail"), tenant("bea"))
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "uid": "x"}}
WHOLE = gzip.compress(json.dumps(LIST).encode())


def printed(name: str) -> str:
    """What kubectl printed on stdout in one of its failures."""
    rows = json.loads((KUBECTL / "failures.json").read_text(encoding="utf-8"))["rows"]
    return str(next(row["stdout"] for row in rows if row["name"] == name))


CONTENTS: dict[str, tuple[object, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \n\n", "empty"),
    "cut JSON": (json.dumps(LIST).encode()[:-20], "not a Kubernetes list"),
    "cut YAML": ((KUBECTL / "kubectl-get.yaml").read_bytes()[:2000], ""),
    "no text": (os.urandom(64) + b"\xff", ""),
    "a list of something": ([tenant("ada")], "not a Kubernetes list"),
    "a string": ("tenants", ""),
    "one object": ((KUBECTL / "kubectl-get-one.json").read_bytes(), "PiecedTenant"),
    "a table": ((KUBECTL / "kubectl-get-table.txt").read_bytes(), ""),
    "names": ((KUBECTL / "kubectl-get-name.txt").read_bytes(), ""),
    "watch events": ((KUBECTL / "kubectl-get-watch-events.json").read_bytes(), ""),
    "two kinds in one List": (printed("two-resources"), "Namespace"),
    "another kind": (kubectl_list(NAMESPACE), "Namespace"),
    "another group": (
        (KUBECTL / "kubectl-get-namespaced-all.json").read_bytes(),
        "namespaced.pieced.ch",
    ),
    "a Status": ({"kind": "Status", "apiVersion": "v1", "status": "Failure"}, "Status"),
    "no items": ({"kind": "List", "apiVersion": "v1", "metadata": {}}, "items"),
    "null items": ({**LIST, "items": None}, "items"),
    "items no list": ({**LIST, "items": {}}, ""),
    "one page of a raw list": (
        {
            **LIST,
            "kind": "PiecedTenantList",
            "apiVersion": "pieced.ch/v1alpha1",
            "metadata": {"continue": "token", "resourceVersion": "7"},
        },
        "page",
    ),
    "a uid twice": (kubectl_list(tenant("ada", uid="1"), tenant("bea", uid="1")), "metadata.uid"),
    "cut gzip": (WHOLE[:-12], "gzip"),
    "damaged gzip": (WHOLE[:-8] + bytes(8), ""),
    "a bare gzip": (b"\x1f\x8b", "gzip"),
    "aliases": (b"items: &a [*a, *a]\nkind: List\napiVersion: v1\n", "aliases"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_that_is_no_snapshot(
    command: Command, ledger: "psycopg.Connection[Any]", tmp_path: Path, what: str
) -> None:
    content, word = CONTENTS[what]
    file = tmp_path / "the-file"
    match content:
        case bytes():
            file.write_bytes(content)
        case str():
            file.write_text(content, encoding="utf-8")
        case _:
            file.write_text(json.dumps(content), encoding="utf-8")
    failed(command("run", "--snapshot", file.name, *NOW), 1, "the-file", word)
    assert set(row_counts(ledger).values()) == {0}


def test_a_bad_file_is_named_however_long_its_path(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path / ("folder" * 20) / "tenants-20261102T000000Z.json", {})
    failed(command("run", "--snapshot", file), 1, file.name)


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        ("missing.json --observed-at now", 1, "missing.json"),
        ("file.json/below --observed-at now", 1, "below"),
        ("empty", 2, "*.json"),
        ("more", 2, "--observed-at"),
        ("more --observed-at now", 2, "--observed-at"),
        ("file.json more --observed-at now", 2, "--observed-at"),
        ("x-20261301T000000Z.json", 2, "x-20261301T000000Z.json"),
    ],
)
def test_a_path_without_a_snapshot(
    command: Command, tmp_path: Path, arguments: str, status: int, word: str
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("file.json", "more/a.json", "more/b.json"):
        write(tmp_path / name, LIST)
    failed(command("run", "--snapshot", *arguments.split()), status, word)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(command: Command, tmp_path: Path) -> None:
    file = snapshot(tmp_path, "20261102T000000Z")
    file.chmod(0)
    failed(command("run", "--snapshot", file), 1, file.name, "Permission denied")


def test_of_several_files_those_before_a_bad_one_are_written(
    command: Command, ledger: "psycopg.Connection[Any]", tmp_path: Path
) -> None:
    good = snapshot(tmp_path, "20261102T000000Z", tenant("ada"))
    bad = snapshot(tmp_path, "20261103T000000Z")
    bad.write_text("{", encoding="utf-8")
    done = command("run", "--snapshot", good.name, bad.name, "--output", "json")
    assert (done.status, done.report["lifecycleInserted"]) == (1, 1)
    assert bad.name in done.err
    assert row_counts(ledger)["reconciler_passes"] == 1


# The database --------------------------------------------------------------------------------------

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("", None),
        ("nonsense", 2),
        (f"postgres//user:{SECRET}@host", 2),
        (f"user:{SECRET}@localhost/ledger", 2),
        (f"mysql://user:{SECRET}@localhost/ledger", 2),
        (f"postgresql:user:{SECRET}@localhost", 2),
        (f"postgresql://user:%zz{SECRET}@localhost/ledger", 2),
        (f"postgresql://user:{SECRET}@[::1/ledger", 2),
        (f"postgresql://user:a@{SECRET}@localhost:1/ledger", None),
        (f"postgresql://user:a/{SECRET}@localhost:1/ledger", None),
        (f"postgresql://user:{SECRET}/a@localhost:1/ledger", None),
        (f"postgresql://user:{SECRET}#a@localhost:1/ledger", None),
        (f"postgresql://user:{SECRET}?a@localhost:1/ledger", None),
        (f"postgresql://user@localhost:{SECRET}/ledger", None),
        (f"postgresql://localhost:1/ledger?password={SECRET}", 1),
        (f"host=localhost port=1 user=user password={SECRET}", 1),
        (f"host=localhost port=1 user=user password='{SECRET}", 2),
        (f"postgresql://user:{SECRET}@/ledger?host=/nowhere", 1),
        (f"postgresql://user:{SECRET}@localhost:1/ledger?colour=blue", 2),
        (f"postgresql://user:{SECRET}@localhost:1/ledger?sslmode=maybe", None),
    ],
)
def test_a_database_url_that_leads_nowhere_is_never_printed(
    tmp_path: Path, url: str, status: int | None
) -> None:
    done = Command(tmp_path)("run", "--snapshot", FIRST, "--database-url", url)
    failed(done, done.status if status is None else status, "database")
    assert done.status in (1, 2)
    assert SECRET not in done.err


@pytest.fixture
def locked_out(ledger_url: str) -> Iterator[str]:
    """The URL of a role that the server lets in only with another password than this."""
    role = f"locked_out_{uuid4().hex}"
    with psycopg.connect(ledger_url, autocommit=True) as owner:
        row = owner.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        before = rules.read_text(encoding="utf-8")
        rules.write_text(f"local all {role} scram-sha-256\n{before}", encoding="utf-8")
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
        owner.execute("SELECT pg_reload_conf()")
        yield ledger_url.replace("postgres@", f"{role}:{SECRET}@", 1)
        rules.write_text(before, encoding="utf-8")
        owner.execute(f"SELECT pg_reload_conf(); DROP ROLE {role}")


@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_database_url_that_is_not_utf_8_is_never_printed(tmp_path: Path, where: str) -> None:
    url = f"postgresql://billing:{SECRET}\udcff@localhost/billing"
    if where == "argument":
        done = Command(tmp_path)("run", "--database-url", url)
    else:
        done = Command(tmp_path, settings={"RECONCILER_DATABASE_URL": url})("run")
    assert (done.status, done.out) == (2, "")
    assert "is not UTF-8" in done.err
    assert SECRET not in done.err


def is_refused(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return True
    return False


def test_a_wrong_password_is_told_and_not_printed(tmp_path: Path, locked_out: str) -> None:
    until(lambda: is_refused(locked_out))  # once the server has read its rules
    for flags in ((), ("--log-level", "debug")):
        done = Command(tmp_path)("run", "--snapshot", FIRST, *flags, RECONCILER_DATABASE_URL=locked_out)
        failed(done, 1, "password authentication failed")
        assert SECRET not in done.err


def test_a_database_that_does_not_exist(tmp_path: Path, postgres: str) -> None:
    url = postgres.replace("@/postgres?", "@/no_such_ledger?")
    done = Command(tmp_path)("run", "--snapshot", FIRST, "--database-url", url)
    failed(done, 1, "no_such_ledger")


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of what listens like a Postgres, and gives every connection this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as connections:

        def serve() -> None:
            with suppress(OSError):  # the end of the test
                while True:
                    connection = connections.enter_context(server.accept()[0])
                    answer(connection)

        Thread(target=serve, daemon=True).start()
        yield f"postgresql://user:{SECRET}@127.0.0.1:{server.getsockname()[1]}/ledger?sslmode=disable"
        server.shutdown(socket.SHUT_RDWR)


def _is_old(connection: socket.socket) -> None:
    connection.recv(1000)
    facts = {"server_version": "14.9", "server_encoding": "UTF8", "client_encoding": "UTF8"}
    pairs = [f"{key}\0{value}\0".encode() for key, value in facts.items()]
    message = b"R" + struct.pack("!ii", 8, 0)
    message += b"".join(b"S" + struct.pack("!i", len(pair) + 4) + pair for pair in pairs)
    connection.sendall(message + b"Z" + struct.pack("!i", 5) + b"I")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_is_old, ["14", "15"]),
        (lambda connection: connection.close(), []),
        (lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), []),
        (lambda _: None, ["timeout"]),
    ],
    ids=["too old", "hangs up", "is no Postgres", "says nothing"],
)
def test_what_listens_is_no_ledger(
    tmp_path: Path, answer: Callable[[socket.socket], None], words: list[str]
) -> None:
    with listening(answer) as url:
        done = Command(tmp_path)(
            "run", "--snapshot", FIRST, "--database-url", url, "--database-connect-timeout", "2s"
        )
    failed(done, 1, "127.0.0.1", *words)
    assert SECRET not in done.err


# Settings ------------------------------------------------------------------------------------------

SOMEWHERE = ("--database-url", "postgresql://localhost:1/ledger")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["--database-url", "--embedded"]),
        ((*SOMEWHERE, "--embedded"), ["--database-url", "--embedded"]),
        ((*SOMEWHERE, "--page-size", "many"), ["--page-size", "RECONCILER_PAGE_SIZE"]),
        ((*SOMEWHERE, "--page-size", "0"), ["--page-size"]),
        ((*SOMEWHERE, "--lock-timeout", "soon"), ["--lock-timeout", "30s"]),
        ((*SOMEWHERE, "--lock-timeout=-1s"), ["--lock-timeout"]),
        ((*SOMEWHERE, "--brake-percent", "101"), ["--brake-percent"]),
        ((*SOMEWHERE, "--quarantine-exit", "256"), ["--quarantine-exit"]),
        ((*SOMEWHERE, "--log-level", "loud"), ["--log-level"]),
        ((*SOMEWHERE, "--plural", ""), ["--plural"]),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    failed(Command(tmp_path)("run", "--snapshot", FIRST, *arguments), 2, *words)


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_bad_setting_is_named_wherever_it_stands(tmp_path: Path, where: str) -> None:
    bad = {"RECONCILER_INTERVAL": "often", "RECONCILER_DATABASE_URL": f"postgresql://u:{SECRET}@h/d"}
    if where == ".env":
        lines = [f"{key}={value}\n" for key, value in bad.items()]
        (tmp_path / ".env").write_text("".join(lines), encoding="utf-8")
        bad = {}
    done = Command(tmp_path)("run", "--snapshot", FIRST, **bad)
    failed(done, 2, "RECONCILER_INTERVAL")
    assert SECRET not in done.err


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RECONCILER_PAGE_SIZE=x\nRECONCILER_PLURAL=y\n", encoding="utf-8")
    done = Command(tmp_path)("run", *SOMEWHERE, "--page-size", "y", RECONCILER_PAGE_SIZE="1")
    failed(done, 2, "--page-size")
    done = Command(tmp_path)("run", "--snapshot", FIRST, *SOMEWHERE, RECONCILER_PAGE_SIZE="1")
    failed(done, 1, "localhost:1")


@pytest.mark.parametrize(
    "arguments", ["--kubeconfig missing", "--kubeconfig good --context elsewhere", "--kubeconfig bad"]
)
def test_a_cluster_that_the_kubeconfig_does_not_know(
    command: Command, ledger: "psycopg.Connection[Any]", tmp_path: Path, arguments: str
) -> None:
    cluster = {"name": "here", "cluster": {"server": "https://127.0.0.1:1"}}
    user = {"name": "me", "user": {"token": SECRET}}
    here = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    config = {"clusters": [cluster], "users": [user], "contexts": [here], "current-context": "here"}
    write(tmp_path / "good", {"apiVersion": "v1", "kind": "Config", **config})
    (tmp_path / "bad").write_text("contexts: [", encoding="utf-8")
    done = command("run", *arguments.split())
    assert done.status in (1, 2)
    failed(done, done.status, arguments.rpartition(" ")[2])
    assert SECRET not in done.err
    assert set(row_counts(ledger).values()) == {0}


def test_no_cluster_at_all(command: Command) -> None:
    failed(command("run"), 2, "--kubeconfig")
