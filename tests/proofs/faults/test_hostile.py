"""Content that tries SQL, terminals, logs and memory: stored faithfully, or its tenant alone waits."""

import io
import json
import logging
import re
import signal
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from reconciler.cli import main
from tests.apiserver import ApiServer, instead, recorded
from tests.command_line.snapshots import psql
from tests.conftest import Ran
from tests.proofs.faults.proxy import Proxy, Then, at

OBSERVED: Final = "2026-11-22T16:00:00Z"
ORG: Final = "pieced.ch/zitadel-org-id"
NEIGHBOURS: Final = ("aa-first", "zz-last")

STRINGS: Final = {
    "sql": "'; DROP TABLE tenant_skill_events; --",
    "sql with a backslash": "\\'; DROP TABLE tenant_skill_events; --",
    "sql in dollars": "$$; DROP TABLE tenant_skill_events; $$",
    "sql in an array": '{a,"b",NULL}',
    "copy's end": "\\.\n\\.",
    "copy's escapes": "\\N\t\\x41\\101",
    "psql's commands": "\\! touch hacked",
    "psql's variables": ":'HOME' :HOME :\"HOME\"",
    "colours": "\x1b[31mred\x1b[0m",
    "a window's title": "\x1b]0;owned\x07",
    "colours of 8 bit": "\x9b31mred\x9b0m",
    "a cleared screen": "\x1b[2J\x1b[H",
    "back over the line": "mail\b\b\b\bvault\x7f",
    "a forged line": "mail\r\n2026-11-22T16:00:00Z INFO all is well",
    "a forged object": 'mail"}\n{"message": "all is well"}',
    "other ends of lines": "a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg\x1dh\x1ei",
    "right to left": "mail\u202etluav",
    "no width": "ma\u200bil\ufeff",
    "combined": "e\u0301" * 50,
    "beyond the plane": "\U0001f40e\U000e0001\U0010ffff",
    "no characters": "\ufffe\uffff\ufdd0",
    "formats": "%s %(name)s {0} {name} $name ${HOME} `id` $(id)",
    "a path": "../../../../etc/passwd",
    "markup": "<script>alert(1)</script>&amp;",
    "a date": "2026-02-30T00:00:00Z",
    "yaml": "yes: [null, ~, <<, =, !!python/object:os.system]",
    "blanks": " \t ",
    "a megabyte": "m" * 1_000_000 + "'",
    "a megabyte of controls": "\x1b[31m" * 200_000,
}
FITS_A_LABEL: Final = [key for key, text in STRINGS.items() if len(text.encode()) <= 63]

# As JSON: what a string of Python cannot hold, or what is none.
QUARANTINED: Final = {
    "a NUL": rb'"ma\u0000il"',
    "half a pair": rb'"\ud800"',
    "the other half": rb'"x\udfffx"',
    "the halves in the wrong order": rb'"\udc00\ud800"',
    "no UTF-8": b'"\xff\xfe"',
    "UTF-8 of a half": b'"\xed\xa0\x80"',
    "UTF-8 that is too long": b'"\xc0\x80"',
    "a number": b"7",
    "a huge number": b"9" * 5000,
    "a number beyond all": b"1e999",
    "true": b"true",
    "a list": b'["mail"]',
    "an object": b'{"mail": true}',
    "an empty string": b'""',
    "deep lists": b"[" * 9_000 + b"]" * 9_000,
    "deep objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
}


def tenant(name: str = "hostile", *packages: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pieced.ch/v1alpha1",
        "kind": "PiecedTenant",
        "metadata": {
            "name": name,
            "uid": f"uid-{zlib.crc32(name.encode())}",
            "creationTimestamp": "2026-11-01T00:00:00Z",
            "labels": {ORG: "org-1"},
            **metadata,
        },
        "spec": {"packages": list(packages)},
    }


def listed(*tenants: dict[str, Any] | bytes) -> bytes:
    """A list of these, between two neighbours that nothing is wrong with."""
    first, last = (json.dumps(tenant(name, "mail")).encode() for name in NEIGHBOURS)
    # As the API server does: only what JSON has to escape is escaped.
    items = [
        one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode()
        for one in tenants
    ]
    head = b'{"apiVersion":"pieced.ch/v1alpha1","kind":"PiecedTenantList","metadata":'
    head += b'{"resourceVersion":"7"},"items":['
    return head + b",".join([first, *items, last]) + b"]}"


def raw(json_text: bytes, place: str) -> bytes:
    """A tenant that has these bytes in that place."""
    mark = "the place"
    one = tenant("hostile", "mail", mark) if place == "package" else tenant()
    if place == "org":
        one["metadata"]["labels"] = {ORG: mark}
    elif place == "suspend":
        one["spec"]["suspend"] = mark
    elif place != "package":
        one["metadata"][place] = mark
    return json.dumps(one).encode().replace(json.dumps(mark).encode(), json_text)


class Hostile:
    """The command over such a list: from a file, or from an API server. In this process, for speed."""

    def __init__(self, folder: Path, url: str, environment: pytest.MonkeyPatch) -> None:
        self.folder, self._url, self._environment = folder, url, environment
        self.settings(RECONCILER_DATABASE_URL=url, RECONCILER_LOG_FORMAT="text")

    def settings(self, **settings: str) -> None:
        for name, value in settings.items():
            self._environment.setenv(name, value)

    def command(self, *arguments: str) -> Ran:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
        on_term = signal.getsignal(signal.SIGTERM)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                status = main(["run", *arguments])
        finally:
            signal.signal(signal.SIGTERM, on_term)
        said = []
        for stream in (out, err):
            stream.flush()
            content = stream.buffer
            assert isinstance(content, io.BytesIO)
            said.append(content.getvalue().decode())
        return Ran(status, said[0], said[1])

    def run(self, content: bytes, *arguments: str, status: int, observed_at: str = OBSERVED) -> Ran:
        file = self.folder / "tenants.json"
        file.write_bytes(content)
        return clean(
            self.command("--snapshot", str(file), "--observed-at", observed_at, *arguments), status
        )

    def skills(self, name: str = "hostile") -> set[str]:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT skill_id FROM tenant_skill_events WHERE tenant_name = %s", [name]
            ).fetchall()
        return {skill for (skill,) in rows}

    def tenants(self) -> dict[str, str]:
        """Name to org."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute("SELECT tenant_name, zitadel_org_id FROM tenant_billing_lifecycle")
            return dict(rows.fetchall())


def clean(done: Ran, status: int) -> Ran:
    """Ended as it should, and neither output can do anything to a terminal or to a log."""
    assert done.status == status, (done.status, done.out[-2000:], done.err[-2000:])
    assert "Traceback" not in done.err
    for stream in (done.out, done.err):
        found = re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", stream)
        assert found is None, (found, stream[max(0, found.start() - 200) : found.end() + 200])
    for line in done.err.splitlines():
        assert line.startswith(("reconciler: ", "20")), line
        assert len(line) < 2000
    return done


@pytest.fixture
def hostile(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.chdir(tmp_path)
    log = logging.getLogger()
    handlers, level = log.handlers[:], log.level
    yield Hostile(tmp_path, ledger_url, monkeypatch)
    log.handlers[:], log.level = handlers, level


# Strings that are strings --------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["text", "json", "sql"])
def test_every_string_is_stored_as_it_is_and_printed_without_effect(
    hostile: Hostile, output: str
) -> None:
    content = listed(tenant("hostile", *STRINGS.values()))
    planned = hostile.run(content, "--output", output, "--dry-run", status=0)
    assert not hostile.tenants()
    done = hostile.run(content, "--output", output, status=0)
    assert hostile.skills() == set(STRINGS.values())
    assert hostile.skills("aa-first") == hostile.skills("zz-last") == {"mail"}
    if output == "json":
        assert {row["skillId"] for row in done.report["rows"]} == {*STRINGS.values(), "mail", None}
        assert planned.report["rows"] == done.report["rows"]
    again = hostile.run(content, "--output", "json", status=0)
    assert again.report["rows"] == []


def test_sql_full_of_hostile_strings_gives_the_same_ledger(
    hostile: Hostile, tmp_path: Path, ledger_url: str
) -> None:
    script = hostile.run(
        listed(tenant("hostile", *STRINGS.values())), "--output", "sql", "--dry-run", status=0
    ).out
    done = subprocess.run(
        [psql(), "-X", "-q", "-d", ledger_url],
        input=script.encode(),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert hostile.skills() == set(STRINGS.values())
    assert not (tmp_path / "hacked").exists()


def test_names_and_orgs_are_stored_as_they_are_or_are_too_long(hostile: Hostile) -> None:
    strings = {key: STRINGS[key] for key in FITS_A_LABEL}
    named = [tenant(f"{text}", "mail") for text in strings.values()]
    labelled = [
        tenant(f"org-{number}", labels={ORG: text}) for number, text in enumerate(strings.values())
    ]
    long = tenant(STRINGS["a megabyte"]), tenant("long-org", labels={ORG: STRINGS["a megabyte"]})
    content = listed(*named, *labelled, *long)
    for output in ("text", "json", "sql"):
        hostile.run(content, "--output", output, "--dry-run", status=4)
    done = hostile.run(content, "--output", "json", status=4)
    assert len(done.report["quarantined"]) == 2
    expected = dict.fromkeys((*NEIGHBOURS, *strings.values()), "org-1")
    expected |= {f"org-{number}": text for number, text in enumerate(strings.values())}
    assert hostile.tenants() == expected


def test_a_tenant_that_changed_to_a_hostile_org_is_told_without_effect(hostile: Hostile) -> None:
    hostile.run(listed(tenant(labels={ORG: STRINGS["colours"]})), status=0)
    file = listed(tenant(labels={ORG: STRINGS["a forged line"]}))
    for output in ("text", "json", "sql"):
        hostile.run(file, "--output", output, status=4)


@pytest.mark.long
def test_a_hundred_thousand_packages_of_one_tenant_are_an_ordinary_pass(hostile: Hostile) -> None:
    packages = {f"package-{number}" for number in range(100_000)}
    content = listed(tenant("hostile", *packages))
    assert len(hostile.run(content, "--dry-run", status=0).out.splitlines()) > 1
    done = hostile.run(content, "--output", "json", status=0)
    assert done.report["eventsInserted"] == 100_002
    assert hostile.skills() == packages


# What is no string ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["package", "name", "uid", "org", "suspend", "creationTimestamp"])
def test_what_cannot_be_stored_quarantines_its_tenant_alone(hostile: Hostile, place: str) -> None:
    strings = {key: text for key, text in QUARANTINED.items() if (place, key) != ("suspend", "true")}
    for number, (key, text) in enumerate(strings.items()):
        output = ("text", "json", "sql")[number % 3]
        hostile.run(listed(raw(text, place)), "--output", output, status=4)
        assert set(hostile.tenants()) == set(NEIGHBOURS), key


def test_many_such_tenants_at_once_are_all_named_and_nobody_else_suffers(hostile: Hostile) -> None:
    items = [
        raw(text, "package")
        .replace(b'"hostile"', b'"h%d"' % number)
        .replace(b'"uid-', b'"u%d-' % number)
        for number, text in enumerate(QUARANTINED.values())
    ]
    done = hostile.run(listed(*items), "--output", "json", status=4)
    told = {one["tenantName"] for one in done.report["quarantined"]}
    assert told == {f"h{number}" for number in range(len(items))}
    assert set(hostile.tenants()) == set(NEIGHBOURS)


@pytest.mark.parametrize("depth", [5_000, 9_900])
def test_what_nobody_reads_may_be_deep(hostile: Hostile, depth: int) -> None:
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    one = json.dumps(tenant("hostile", "mail", annotations="deep")).encode().replace(b'"deep"', deep)
    done = hostile.run(listed(one), "--output", "json", status=0)
    assert done.report["tenantsExamined"] == 3


@pytest.mark.parametrize(
    "managed_fields", [b"7", b'"x"', b"[7]", b"[" * 9_000 + b"]" * 9_000, b'[{"time":7}]']
)
def test_odd_evidence_is_no_error(hostile: Hostile, managed_fields: bytes) -> None:
    one = json.dumps(tenant("hostile", "mail", managedFields="odd")).encode()
    hostile.run(listed(one.replace(b'"odd"', managed_fields)), status=0)
    one = one.replace(b'["mail"]', b'["vault"]').replace(b'"odd"', managed_fields)
    hostile.run(listed(one), status=0, observed_at="2026-11-22T16:10:00Z")
    assert hostile.skills() == {"mail", "vault"}


# From an API server --------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, hostile: Hostile) -> Iterator[ApiServer]:
    with ApiServer() as server:
        hostile.settings(RECONCILER_KUBECONFIG=str(server.kubeconfig(tmp_path / "kubeconfig")))
        yield server


def test_an_api_servers_hostile_tenants_are_read_as_a_files_are(
    hostile: Hostile, server: ApiServer
) -> None:
    odd = [
        raw(text, "package")
        .replace(b'"hostile"', b'"h%d"' % number)
        .replace(b'"uid-', b'"u%d-' % number)
        for number, text in enumerate(QUARANTINED.values())
    ]
    server.serve_list(listed(tenant("hostile", *STRINGS.values()), *odd))
    done = clean(hostile.command("--output", "json"), 4)
    assert len(done.report["quarantined"]) == len(odd)
    assert hostile.skills() == set(STRINGS.values())


def test_what_an_api_server_says_of_an_error_stays_on_its_line(
    hostile: Hostile, server: ApiServer
) -> None:
    for text in FITS_A_LABEL:
        said = STRINGS[text] * 20
        status = {"kind": "Status", "message": said, "reason": STRINGS[text]}
        for body, number in ((json.dumps(status).encode(), 500), (said.encode(), 503)):
            server.fail(instead(body, status=number))
            lines = clean(hostile.command(), 1).err.splitlines()
            assert [" INFO context" in line for line in lines] in ([False], [True, False]), text


LOUD: Final = ("colours", "colours of 8 bit", "a forged line", "a megabyte")


@pytest.mark.parametrize("text", LOUD)
def test_a_clusters_hostile_uid_stays_on_its_line(
    hostile: Hostile, server: ApiServer, text: str
) -> None:
    server.tenants.create("ada", ["mail"])
    clean(hostile.command(), 0)
    server.cluster_uid = STRINGS[text]
    done = hostile.command()
    assert done.status in (1, 3)
    clean(done, done.status)


@pytest.mark.parametrize("text", LOUD)
def test_a_lists_hostile_kind_and_versions_stay_on_their_line(
    hostile: Hostile, server: ApiServer, text: str
) -> None:
    said = STRINGS[text]
    server.tenants.create("ada", ["mail"])
    clean(hostile.command(), 0)
    server.serve_list({"apiVersion": said, "kind": said, "metadata": {}, "items": []})
    clean(hostile.command(), 1)
    tenants = {"apiVersion": "pieced.ch/v1alpha1", "kind": "PiecedTenantList", "items": []}
    server.serve_list({**tenants, "metadata": {"resourceVersion": said}})
    done = hostile.command()
    assert done.status in (1, 3)
    clean(done, done.status)


def test_a_hostile_group_document_is_no_version(hostile: Hostile, server: ApiServer) -> None:
    for text in ("colours", "a forged line", "a path", "a megabyte"):
        body = {"kind": "APIGroup", "preferredVersion": {"version": STRINGS[text]}}
        server.fail(
            instead(json.dumps(body).encode()), on=lambda request: request.path == "/apis/pieced.ch"
        )
        clean(hostile.command(), 1)
    assert all(request.method == "GET" for request in server.requests)
    server.fail(recorded("errors/list-forbidden-403.json"))
    clean(hostile.command(), 1)


# From the other side -------------------------------------------------------------------------------


def test_what_postgres_says_of_an_error_stays_on_its_line(hostile: Hostile, ledger_url: str) -> None:
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        message = "\x1b[31m''no''\r\n2026-11-22T16:00:00Z INFO all is well"
        connection.execute(
            "CREATE FUNCTION hostile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE '{message}' USING ERRCODE = '53100'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER hostile BEFORE INSERT ON reconciler_state "
            "FOR EACH ROW EXECUTE FUNCTION hostile()"
        )
    done = hostile.run(listed(tenant()), status=1)
    assert len(done.err.splitlines()) == 1
    assert not hostile.tenants()


def test_no_password_is_said_when_the_connection_breaks(hostile: Hostile, ledger_url: str) -> None:
    """Whatever breaks, and wherever."""
    database, _, host = ledger_url.partition("@/")[2].partition("?host=")
    for number in (1, 4, 8, 12):
        with Proxy(Path(host)) as proxy:
            proxy.on_statement = at(number, Then.DROP_BEFORE)
            url = proxy.url(database).replace("postgres@", "postgres:not-to-be-said@")
            hostile.settings(RECONCILER_DATABASE_URL=url)
            done = hostile.run(listed(tenant("hostile", "mail")), "--log-level", "debug", status=1)
        assert "not-to-be-said" not in done.out + done.err
