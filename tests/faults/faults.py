"""Every fault of the suite: what it does to the parts while passes are made, and how those may end.

A fault strikes one world once. What it leaves behind, the suite takes away: `World.heal`.
"""

import gzip
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import FrameType
from typing import Final, TypeAlias

import psycopg
import yaml

from reconciler.core.reading import Dialect
from reconciler.core.tenant import Snapshot
from reconciler.ledger.postgres import LOCK_KEY
from reconciler.passes import Source
from reconciler.sources.files import FileSource
from tests import apiserver
from tests.apiserver import FAULTS, Answer, ApiServer, Json, Request, edited, recorded
from tests.faults.proxy import Then, at
from tests.faults.world import Ending, World, environment

Strike: TypeAlias = Callable[[World, Random], Sequence[Ending]]

WRITTEN: Final = frozenset({0})
FAILED: Final = frozenset({1})
EITHER: Final = frozenset({0, 1})
REFUSED: Final = frozenset({3})


@dataclass(frozen=True)
class Fault:
    """One way in which something goes wrong."""

    name: str
    strike: Strike
    ends: frozenset[int | None] = FAILED
    """The exit statuses that a pass may have then; None is no status, but a killed process."""
    weight: float = 1
    """How often it comes, compared with the others."""
    moves_time: bool = False
    """Whether the ledger's times differ from those of an undisturbed pass afterwards, as they may."""
    moves_server_time: bool = False
    """Whether the API server's clock is wrong with ours, so that no time can be told from it."""


# The API server ------------------------------------------------------------------------------------

_SLOW: Final = frozenset({"silence", "silence in the middle", "drip"})
_FOR_PAGE_2: Final = frozenset({"page 1 again", "another resourceVersion"})
_ONLY_LISTS: Final = frozenset(
    {*_FOR_PAGE_2, "a uid twice", "a Table", "metadata only", "drip", "silence in the middle"}
)


def _page(world: World, random: Random, name: str) -> int:
    return random.randint(min(2, world.pages) if name in _FOR_PAGE_2 else 1, world.pages)


def _impatient(world: World) -> Source:
    return world.source(read_timeout=0.25, list_timeout=0.5)


def _at_a_page(name: str) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.fail(FAULTS[name], on=_page(world, random, name))
        return [world.make_pass(_impatient(world) if name in _SLOW else None)]

    return strike


def _before_the_list(name: str) -> Strike:
    """At the namespace that names the cluster, or at the versions of the group."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        path = random.choice(["/api/v1/namespaces/kube-system", "/apis/pieced.ch"])
        world.server.fail(FAULTS[name], on=lambda request: request.path == path)
        return [world.make_pass(_impatient(world) if name in _SLOW else None)]

    return strike


def _to_the_list(fault: apiserver.Fault, page: int | None = 1, *, forever: bool = False) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.fail(fault, on=page or random.randint(1, world.pages), forever=forever)
        return [world.make_pass()]

    return strike


def _recorded_refusals(folder: str) -> list[str]:
    root = apiserver.RECORDINGS
    found = []
    for file in sorted((root / folder).glob("*.json")):
        exchange = json.loads(file.read_bytes())
        asked = exchange.get("request", {})
        status = exchange.get("response", {}).get("status", 0)
        is_list = asked.get("method") == "GET" and "watch" not in asked.get("query", {})
        if status >= 400 and status != 410 and is_list and "body" in exchange["response"]:
            found.append(str(file.relative_to(root)))
    return found


def _a_recorded_refusal(folder: str) -> Strike:
    files = _recorded_refusals(folder)

    def strike(world: World, random: Random) -> Sequence[Ending]:
        return _to_the_list(recorded(random.choice(files)), None)(world, random)

    return strike


def _empty(body: Json) -> Json:
    return body | {"items": [], "metadata": {**_versions(body), "continue": ""}}


def _versions(body: Json) -> Json:
    return {"resourceVersion": body["metadata"]["resourceVersion"]}


def _only_the_deleted(server: ApiServer, request: Request) -> Answer:
    """A CRD on its way out: all are deleted, and only what a finalizer holds is still there."""
    body = json.loads(server.answer(replace(request, query={})).body)
    held = [item for item in body["items"] if "deletionTimestamp" in item["metadata"]]
    body |= {"items": held, "metadata": {**_versions(body), "continue": ""}}
    return Answer(body=json.dumps(body).encode())


def _crd_gone_before_a_page(world: World, random: Random) -> Sequence[Ending]:
    def gone(server: ApiServer, request: Request) -> Answer:
        server.installed = False
        return server.answer(request)

    world.server.fail(gone, on=random.randint(1, world.pages))
    try:
        return [world.make_pass()]
    finally:
        world.server.installed = True


def _crd_missing(world: World, _: Random) -> Sequence[Ending]:
    world.server.installed = False
    try:
        return [world.make_pass()]
    finally:
        world.server.installed = True


def _expires(*, forever: bool) -> Strike:
    """The token of a page really is too old; what the answer offers instead must not be used."""

    def strike(world: World, _: Random) -> Sequence[Ending]:
        def expired(server: ApiServer, request: Request) -> Answer:
            server.tenants.expire_tokens()
            return server.answer(request)

        def is_later(request: Request) -> bool:
            return "continue" in request.query

        world.server.fail(expired, on=is_later, forever=forever)
        return [world.make_pass()]

    return strike


def _written_between_pages(world: World, random: Random) -> Sequence[Ending]:
    """All changes, and is as it was before the list has ended: what page 1 said still holds."""

    def busy(server: ApiServer, request: Request) -> Answer:
        tenants = server.tenants
        before = deepcopy(tenants.current)
        for key, resource in before.items():
            tenants.put_object(_with(resource, packages=["never"]))
            if random.random() < 0.5:
                namespace, _, name = key.rpartition("/")
                tenants.put_object(_with(resource, finalizers=None))
                tenants.delete(name, namespace=namespace or None)
        tenants.create("aaa-new", ["mail"], namespace="north" if server.namespaced else None)
        answer = server.answer(request)
        tenants.delete("aaa-new", namespace="north" if server.namespaced else None)
        for resource in before.values():
            tenants.put_object(resource)
        return answer

    world.server.fail(busy, on=random.randint(2, max(2, world.pages)))
    return [world.make_pass()]


def _with(resource: Json, *, packages: object = None, finalizers: object = ()) -> Json:
    patch: Json = {"spec": {"packages": packages}} if packages else {}
    if finalizers is None:
        patch["metadata"] = {"finalizers": None, "deletionTimestamp": None}
    return apiserver.merged(resource, patch)


def _restored_from_backup(world: World, random: Random) -> Sequence[Ending]:
    tenants = world.server.tenants
    kept = list(tenants.log), dict(tenants.current), tenants.revision, tenants.compacted
    tenants.restore(max(1, tenants.revision - random.randint(30, 60)))
    tenants.compacted = 1
    try:
        return [world.make_pass()]
    finally:
        tenants.log, tenants.current, tenants.revision, tenants.compacted = kept


def _restored_before_page_2(world: World, random: Random) -> Sequence[Ending]:
    tenants = world.server.tenants
    kept = list(tenants.log), dict(tenants.current), tenants.revision

    def restore(server: ApiServer, request: Request) -> Answer:
        tenants.restore(max(1, tenants.revision - random.randint(1, 30)))
        return server.answer(request)

    world.server.fail(restore, on=2)
    try:
        return [world.make_pass()]
    finally:
        tenants.log, tenants.current, tenants.revision = kept


def _another_cluster(world: World, _: Random) -> Sequence[Ending]:
    before = world.server.cluster_uid
    world.server.cluster_uid = "00000000-1111-4222-8333-444444444444"
    try:
        return [world.make_pass()]
    finally:
        world.server.cluster_uid = before


def _two_versions(world: World, _: Random) -> Sequence[Ending]:
    world.server.versions = ("v1beta1", "v1alpha1")
    try:
        return [world.make_pass()]
    finally:
        world.server.versions = ("v1alpha1",)


def _version_not_served(world: World, _: Random) -> Sequence[Ending]:
    return [world.make_pass(world.source(version="v9"))]


def _gzip_cut(world: World, random: Random) -> Sequence[Ending]:
    def cut(server: ApiServer, request: Request) -> Answer:
        right = server.answer(request)
        body = gzip.compress(right.body)
        return replace(
            right,
            headers={**right.headers, "Content-Encoding": "gzip"},
            body=body[: random.randint(len(body) // 3, len(body) - 40)],
        )

    return _to_the_list(cut, None)(world, random)


def _no_gzip(world: World, random: Random) -> Sequence[Ending]:
    def plain(server: ApiServer, request: Request) -> Answer:
        right = server.answer(request)
        return replace(right, headers={**right.headers, "Content-Encoding": "gzip"})

    return _to_the_list(plain, None)(world, random)


def _unreachable(host: str) -> Strike:
    def strike(world: World, _: Random) -> Sequence[Ending]:
        file = world.kubeconfig.with_suffix(".elsewhere")
        file.write_text(world.kubeconfig.read_text().replace(world.server.url, host))
        try:
            return [world.make_pass(world.source(kubeconfig=file))]
        finally:
            file.unlink()

    return strike


def _starting(world: World, random: Random) -> Sequence[Ending]:
    """A server that has just started: 403 to a valid account, then 429, then all is well."""
    ends = []
    for name in ("403", "429 while storage initializes"):
        world.server.fail(FAULTS[name], on=1)
        ends.append(world.make_pass())
    world.server.fail(FAULTS["503"], on=random.randint(1, world.pages))
    return [*ends, world.make_pass()]


# kubectl -------------------------------------------------------------------------------------------


def _file(world: World, content: bytes, suffix: str = ".json") -> Ending:
    """One pass from what kubectl printed."""
    path = world.kubeconfig.with_suffix(suffix)
    path.write_bytes(content)
    try:
        return world.make_pass(
            FileSource(str(path), world.clock.now, Dialect(), world.server.cluster_uid)
        )
    finally:
        path.unlink()


def _tenants(world: World) -> list[Json]:
    return [item for _, item in sorted(world.server.tenants.current.items())]


def _list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


def _kubectl_failures() -> list[Json]:
    found: Json = json.loads((apiserver.RECORDINGS / "kubectl" / "failures.json").read_bytes())
    return [row for row in found["rows"] if row["exitStatus"] != 0]


def _kubectl_failed(world: World, random: Random) -> Sequence[Ending]:
    """What a failed `kubectl get` printed; of a part, it is a part of these tenants."""
    printed = random.choice(_kubectl_failures())["stdout"].encode()
    if b'"items"' in printed and b'"kind": "List"' in printed:
        part = _list(_tenants(world)[:PARTIAL] if json.loads(printed)["items"] else [])
        printed = json.dumps(part).encode()
    return [_file(world, printed, random.choice([".json", ".yaml"]))]


PARTIAL: Final = 1
"""So many tenants of a partial list: so few that more than half are missing."""


def _kubectl_prints(names: Sequence[str]) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        file = apiserver.RECORDINGS / "kubectl" / random.choice(names)
        return [_file(world, file.read_bytes(), file.suffix)]

    return strike


def _mixed_list(world: World, random: Random) -> Sequence[Ending]:
    items = _tenants(world)
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "north", "uid": "x"}}
    items.insert(random.randint(0, len(items)), other)
    return [_file(world, json.dumps(_list(items)).encode())]


def _cut_file(world: World, random: Random) -> Sequence[Ending]:
    whole = json.dumps(_list(_tenants(world)), indent=4).encode()
    return [_file(world, whole[: random.randint(0, len(whole) - 1)])]


def _whole_file(world: World, random: Random) -> Sequence[Ending]:
    printed = json.dumps(_list(_tenants(world)), indent=4).encode()
    if random.random() < 0.3 and b"\\u0000" not in printed:
        return [_file(world, yaml.safe_dump(json.loads(printed), default_style='"').encode(), ".yaml")]
    return [_file(world, gzip.compress(printed) if random.random() < 0.5 else printed)]


def _older_file(world: World, random: Random) -> Sequence[Ending]:
    older = world.clock.now - timedelta(seconds=random.randint(1300, 100_000))
    path = world.kubeconfig.with_suffix(".json")
    path.write_text(json.dumps(_list(_tenants(world)[:7])))
    try:
        return [world.make_pass(FileSource(str(path), older, Dialect(), None))]
    finally:
        path.unlink()


# Postgres ------------------------------------------------------------------------------------------


def _statement(world: World, random: Random) -> int:
    return random.randint(1, world.statements)


def _dropped(then: Then, *, at_commit: bool = False) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        number = world.statements if at_commit else _statement(world, random)
        world.proxy.on_statement = at(number, then)
        return [world.make_pass()]

    return strike


def _commit_unknown(world: World, _: Random) -> Sequence[Ending]:
    """The answer to COMMIT is lost, and nobody can be asked whether it was executed."""

    def executed(number: int) -> None:
        if number == world.statements:
            world.proxy.refusing = True

    world.proxy.on_statement = at(world.statements, Then.DROP_AFTER)
    world.proxy.after_execution = executed
    return [world.make_pass()]


def _all_dropped_in_a_row(world: World, random: Random) -> Sequence[Ending]:
    """Pass after pass fails, each somewhere else."""
    ends = []
    for _ in range(random.randint(2, 5)):
        world.proxy.heal()
        world.proxy.on_statement = at(random.randint(1, world.statements - 1), Then.DROP_BEFORE)
        ends.append(world.make_pass())
    return ends


def _at_statement(act: Callable[[World], None]) -> Strike:
    """Something happens right before a statement gets to the server."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        chosen, done = _statement(world, random), threading.Event()

        def on_statement(number: int, _message: bytes) -> Then:
            if number == chosen:
                try:
                    act(world)
                finally:
                    done.set()
            return Then.PASS

        world.proxy.on_statement = on_statement
        ending = world.make_pass()
        done.wait(30)  # The connection may end before it is done.
        return [ending]

    return strike


def _terminate_backends(world: World) -> None:
    world.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def _refuses_connections(world: World, _: Random) -> Sequence[Ending]:
    world.proxy.refusing = True
    return [world.make_pass()]


def _says_nothing(world: World, _: Random) -> Sequence[Ending]:
    world.proxy.silent = True
    return [world.make_pass()]


def _is_not_there(world: World, _: Random) -> Sequence[Ending]:
    url = world.url.replace("host=", "host=/nowhere")
    return [world.make_pass(url=url)]


def _database_closed(world: World, _: Random) -> Sequence[Ending]:
    with psycopg.connect(world.laboratory.server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {world.database} ALLOW_CONNECTIONS false")
        try:
            return [world.make_pass()]
        finally:
            connection.execute(f"ALTER DATABASE {world.database} ALLOW_CONNECTIONS true")


_TABLES: Final = (
    "reconciler_passes",
    "tenant_billing_lifecycle",
    "tenant_skill_events",
    "tenant_suspension_events",
    "reconciler_state",
)


def _raises(state: str, *, at_commit: bool = False) -> Strike:
    """The database raises an error at some row that is written, or only when it commits."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        table = "reconciler_passes" if at_commit else random.choice(_TABLES)
        chance = 1 if at_commit else random.choice([1, 0.5, 0.2])
        when = "AFTER" if at_commit else "BEFORE"
        constraint, deferred = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("", "")
        world.execute(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF random() < {chance} THEN RAISE 'as on a bad day' USING ERRCODE = '{state}'; END IF;"
            " RETURN NEW; END $$",
            f"CREATE {constraint} TRIGGER zz_fault {when} INSERT ON {table} {deferred}"
            " FOR EACH ROW EXECUTE FUNCTION fault()",
        )
        try:
            return [world.make_pass()]
        finally:
            world.execute("DROP FUNCTION fault() CASCADE")

    return strike


@contextmanager
def _held(world: World, statement: str) -> Iterator[None]:
    """Another session has executed a statement, and does not end its transaction."""
    with psycopg.connect(world.direct) as connection:
        connection.execute(statement.encode())
        yield
        connection.rollback()


def _locked(world: World, _: Random) -> Sequence[Ending]:
    with _held(world, f"SELECT pg_advisory_xact_lock({LOCK_KEY})"):
        return [world.make_pass(lock_timeout=0.15)]


def _table_locked(world: World, random: Random) -> Sequence[Ending]:
    with _held(world, f"LOCK TABLE {random.choice(_TABLES)} IN ACCESS EXCLUSIVE MODE"):
        return [world.make_pass(lock_timeout=0.15)]


def _statement_timeout(world: World, _: Random) -> Sequence[Ending]:
    with _held(world, f"SELECT pg_advisory_xact_lock({LOCK_KEY})"):
        return [world.make_pass(url=f"{world.url}&options=-c%20statement_timeout%3D150")]


def _idle_timeout(world: World, random: Random) -> Sequence[Ending]:
    """The server ends a session that waits too long between two statements."""
    chosen = random.randint(2, world.statements)

    def on_statement(number: int, _message: bytes) -> Then:
        if number == chosen:
            time.sleep(0.25)
        return Then.PASS

    world.proxy.on_statement = on_statement
    option = "idle_in_transaction_session_timeout%3D100"
    return [world.make_pass(url=f"{world.url}&options=-c%20{option}")]


_ODD_SESSIONS: Final = (
    "timezone=Europe/Zurich",
    "timezone=Asia/Kathmandu",
    "DateStyle=German",
    "IntervalStyle=sql_standard",
    "standard_conforming_strings=off",
    "default_transaction_isolation=serializable",
    "default_transaction_read_only=on",
    "default_transaction_deferrable=on",
    "extra_float_digits=0",
    "bytea_output=escape",
    "enable_seqscan=off",
    "row_security=off",
)


def _odd_session(world: World, random: Random) -> Sequence[Ending]:
    option = random.choice(_ODD_SESSIONS).replace("=", "%3D").replace("/", "%2F")
    return [world.make_pass(url=f"{world.url}&options=-c%20{option}")]


# Several at once -----------------------------------------------------------------------------------


class Delayed:
    """A source that takes its time before and after it asks."""

    is_live = True

    def __init__(self, source: Source, random: Random, longest: float) -> None:
        self._source, self._random, self._longest = source, random, longest

    def snapshot(self) -> Snapshot:
        time.sleep(self._random.uniform(0, self._longest))
        snapshot = self._source.snapshot()
        time.sleep(self._random.uniform(0, self._longest))
        return snapshot


def delay_statements(world: World, random: Random, longest: float) -> None:
    def on_statement(_number: int, _message: bytes) -> Then:
        if random.random() < 0.3:
            time.sleep(random.uniform(0, longest))
        return Then.PASS

    world.proxy.on_statement = on_statement


def at_once(passes: Sequence[Callable[[], Ending]]) -> list[Ending]:
    """Makes them all at the same time."""
    ends: list[Ending | None] = [None] * len(passes)

    def run(number: int) -> None:
        ends[number] = passes[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(passes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [end or Ending(70, "a thread died") for end in ends]


def _several_at_once(world: World, random: Random) -> Sequence[Ending]:
    delay_statements(world, Random(random.random()), 0.01)  # noqa: S311
    delayed = [
        Delayed(world.source(), Random(random.random()), 0.03)  # noqa: S311
        for _ in range(random.randint(2, 8))
    ]
    return at_once([partial(world.make_pass, source) for source in delayed])


def _several_at_once_and_one_dropped(world: World, random: Random) -> Sequence[Ending]:
    world.proxy.on_statement = at(
        random.randint(1, 2 * world.statements), random.choice([Then.DROP_BEFORE, Then.DROP_AFTER])
    )
    return at_once([world.make_pass for _ in range(random.randint(2, 4))])


# The process ---------------------------------------------------------------------------------------


class _Interrupted(KeyboardInterrupt):
    pass


def _interrupted(world: World, random: Random) -> Sequence[Ending]:
    """As by a signal, in this process: at a statement."""
    chosen, armed = _statement(world, random), True

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise _Interrupted

    def on_statement(number: int, _message: bytes) -> Then:
        if number == chosen:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(random.choice([0, 0.01]))
        return Then.PASS

    before = signal.signal(signal.SIGUSR1, interrupt)
    world.proxy.on_statement = on_statement
    try:
        ending = world.make_pass()
    except _Interrupted:
        ending = Ending(None)
    finally:
        armed = False
        signal.signal(signal.SIGUSR1, before)
    return [ending]


def _process(number: signal.Signals, moment: str) -> Strike:
    def strike(world: World, random: Random) -> Sequence[Ending]:
        started: list[subprocess.Popen[str]] = []
        ready = threading.Event()

        def send() -> None:
            ready.wait()
            started[0].send_signal(number)
            if number == signal.SIGKILL:
                started[0].wait()

        chosen = _statement(world, random)

        def on_statement(this: int, _message: bytes) -> Then:
            if this == chosen:
                send()
            return Then.PASS

        if moment == "a statement":
            world.proxy.on_statement = on_statement
        elif moment == "an executed statement":
            world.proxy.after_execution = lambda this: send() if this == chosen else None
        elif moment == "a page":

            def page(server: ApiServer, request: Request) -> Answer:
                send()
                return server.answer(request)

            world.server.fail(page, on=random.randint(1, world.pages))
        started.append(process := world.start())
        ready.set()
        if moment == "any time":
            time.sleep(random.uniform(0, 1.6))
            process.send_signal(number)
        return [world.ended(process)]

    return strike


def _processes_at_once(world: World, random: Random) -> Sequence[Ending]:
    started = [world.start() for _ in range(random.randint(2, 4))]
    victim = random.choice(started)
    time.sleep(random.uniform(0.3, 2.0))
    victim.send_signal(random.choice([signal.SIGKILL, signal.SIGTERM]))
    return [world.ended(process) for process in started]


# The clock -----------------------------------------------------------------------------------------


def _zone(world: World, random: Random) -> Sequence[Ending]:
    zones = ("Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "XXX+13:37")
    with environment({"TZ": random.choice(zones)}):
        return [world.make_pass()]


def _clock_off(least: float, most: float) -> Strike:
    """Our clock is off by so many seconds, back or forth."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        off = timedelta(seconds=random.uniform(least, most) * random.choice([-1, 1]))
        return [world.make_pass(world.source(now=lambda: world.clock.now + off))]

    return strike


def _clock_steps(world: World, random: Random) -> Sequence[Ending]:
    """Our clock steps while the list is under way."""
    jumps = [random.choice([-7200, -3600, -60, -3, 3, 60, 3600, 7200]) for _ in range(8)]

    def now() -> datetime:
        return world.clock.now + timedelta(seconds=jumps.pop() if jumps else 0)

    return [world.make_pass(world.source(now=now))]


def _both_clocks_off(least: float, most: float) -> Strike:
    """The API server's clock is off, and ours with it."""

    def strike(world: World, random: Random) -> Sequence[Ending]:
        world.server.clock_skew = random.uniform(least, most)
        off = timedelta(seconds=world.server.clock_skew)
        try:
            return [world.make_pass(world.source(now=lambda: world.clock.now + off))]
        finally:
            world.server.clock_skew = 0

    return strike


# All of them ---------------------------------------------------------------------------------------


def _all() -> Iterator[Fault]:
    for name in FAULTS:
        ends = WRITTEN if name == "410" else FAILED
        weight = 0.4 if name in _SLOW else 1
        yield Fault(f"API server: {name}, at a page", _at_a_page(name), ends, weight)
        if name not in _ONLY_LISTS:
            strike = _before_the_list(name)
            yield Fault(f"API server: {name}, before the list", strike, weight=weight / 2)
    yield from (
        Fault("API server: 410 each time", _to_the_list(FAULTS["410"], forever=True)),
        Fault("API server: token expires under way", _expires(forever=False), WRITTEN),
        Fault("API server: tokens expire each time", _expires(forever=True)),
        Fault("API server: connection refused", _unreachable("http://127.0.0.1:9")),
        Fault("API server: name not known", _unreachable("http://nowhere.invalid:6443"), weight=0.3),
        Fault("API server: empty 200", _to_the_list(edited(_empty)), REFUSED, 2),
        Fault("API server: CRD on its way out", _to_the_list(_only_the_deleted), REFUSED, 2),
        Fault("API server: CRD gone before a page", _crd_gone_before_a_page),
        Fault("API server: CRD missing", _crd_missing),
        Fault("API server: just started", _starting),
        Fault("API server: writes between pages", _written_between_pages, WRITTEN, 2),
        Fault("API server: etcd restored from backup", _restored_from_backup, REFUSED, 2),
        Fault("API server: etcd restored before page 2", _restored_before_page_2),
        Fault("API server: another cluster", _another_cluster, REFUSED),
        Fault("API server: two versions served", _two_versions, WRITTEN),
        Fault("API server: version not served", _version_not_served),
        Fault("API server: gzip cut", _gzip_cut),
        Fault("API server: gzip that is none", _no_gzip),
    )
    for folder in ("errors", "crd-variants", "restored-from-backup", "v1.20"):
        if _recorded_refusals(folder):
            yield Fault(f"API server: as recorded in {folder}/", _a_recorded_refusal(folder), weight=2)
    no_snapshots = [f"kubectl-get-{name}" for name in ("one.json", "table.txt", "name.txt")]
    no_snapshots.append("kubectl-get-watch-events.json")
    yield from (
        Fault("kubectl: failed", _kubectl_failed, FAILED | REFUSED, 2),
        Fault("kubectl: printed something else", _kubectl_prints(no_snapshots)),
        Fault("kubectl: nothing found", _kubectl_prints(["kubectl-get-selector-none.json"]), REFUSED),
        Fault("kubectl: a mixed List", _mixed_list),
        Fault("kubectl: a file cut short", _cut_file),
        Fault("kubectl: a file in the place of the list", _whole_file, WRITTEN),
        Fault("kubectl: an older file", _older_file, REFUSED),
    )
    yield from (
        Fault("Postgres: dropped before a statement", _dropped(Then.DROP_BEFORE), FAILED, 12),
        Fault("Postgres: dropped after a statement", _dropped(Then.DROP_AFTER), EITHER, 12),
        Fault("Postgres: dropped before COMMIT", _dropped(Then.DROP_BEFORE, at_commit=True), FAILED, 3),
        Fault("Postgres: answer to COMMIT lost", _dropped(Then.DROP_AFTER, at_commit=True), WRITTEN, 4),
        Fault("Postgres: answer lost, nobody to ask", _commit_unknown, FAILED, 3),
        Fault("Postgres: dropped pass after pass", _all_dropped_in_a_row, FAILED, 2),
        Fault("Postgres: backend terminated", _at_statement(_terminate_backends), FAILED, 3),
        Fault(
            "Postgres: restarts at a statement",
            _at_statement(lambda world: world.laboratory.restart_postgres()),
            FAILED,
            0.7,
        ),
        Fault("Postgres: refuses connections", _refuses_connections),
        Fault("Postgres: says nothing", _says_nothing, weight=0.2),
        Fault("Postgres: is not there", _is_not_there),
        Fault("Postgres: database closed", _database_closed),
        Fault("Postgres: disk full at a row", _raises("53100"), EITHER, 3),
        Fault("Postgres: disk full at COMMIT", _raises("53100", at_commit=True)),
        Fault("Postgres: out of memory at a row", _raises("53200"), EITHER),
        Fault("Postgres: serialization failure at a row", _raises("40001"), EITHER, 2),
        Fault("Postgres: serialization failure at COMMIT", _raises("40001", at_commit=True)),
        Fault("Postgres: deadlock at a row", _raises("40P01"), EITHER),
        Fault("Postgres: statement cancelled at a row", _raises("57014"), EITHER),
        Fault("Postgres: lock timeout, another pass", _locked),
        Fault("Postgres: lock timeout, a table", _table_locked, EITHER),
        Fault("Postgres: statement timeout", _statement_timeout),
        Fault("Postgres: idle session ended", _idle_timeout, EITHER),
        Fault("Postgres: odd session settings", _odd_session, WRITTEN, 2),
        Fault("passes: two to eight at once", _several_at_once, WRITTEN, 3),
        Fault("passes: several at once, one dropped", _several_at_once_and_one_dropped, EITHER, 2),
        Fault("process: interrupted at a statement", _interrupted, frozenset({None, 0}), 4),
    )
    for number in (signal.SIGKILL, signal.SIGTERM):
        for moment in ("any time", "a page", "a statement", "an executed statement"):
            name = f"process: {number.name} at {moment}"
            yield Fault(name, _process(number, moment), frozenset({None, 0}), 0.35)
    yield from (
        Fault("process: several at once, one ended", _processes_at_once, frozenset({None, 0}), 0.2),
        Fault("clock: another zone in TZ", _zone, WRITTEN, 2),
        Fault("clock: ours off by up to 2 s", _clock_off(0.1, 1.9), WRITTEN, 1, moves_time=True),
        Fault("clock: ours off by hours", _clock_off(3, 40_000), WRITTEN, 2, moves_time=True),
        Fault("clock: ours steps under way", _clock_steps, WRITTEN, 2, moves_time=True),
        Fault("clock: both back by hours", _both_clocks_off(-90_000, -2_400), REFUSED),
        Fault(
            *("clock: both ahead by minutes", _both_clocks_off(6, 900), WRITTEN, 2),
            moves_time=True,
            moves_server_time=True,
        ),
    )


ALL: Final[tuple[Fault, ...]] = tuple(_all())
