"""The recorded lives, replayed pass by pass: the ledger agrees with the log of what was really done.

`truth.jsonl` has every write with the moments around it; the snapshots lie between writes. What came
and went between two snapshots left no trace in them and is in no row.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command_line.snapshots import Json, instant, recorded, row_counts, write
from tests.conftest import RECORDINGS, Command

Row = tuple[str, str, str, str | None]  # kind, name, uid, skill


@dataclass(frozen=True)
class State:
    """What counts of one tenant."""

    name: str
    org: str | None
    skills: frozenset[str]
    suspended: bool
    deleted: bool = False


@dataclass(frozen=True)
class Write:
    before: datetime
    after: datetime
    uid: str
    was: State | None
    became: State | None


def state(name: str, logged: Json | None) -> State | None:
    """None where it is absent."""
    if logged is None:
        return None
    suspend = logged.get("suspend")
    return State(
        name,
        logged.get("org"),
        frozenset(logged.get("packages", ())),
        "suspendedAt" in logged if suspend is None else suspend,
        "deletionTimestamp" in logged,
    )


def truth(life: str) -> list[Write]:
    lines = (RECORDINGS / life / "truth.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Write(
            instant(one["before"]),
            instant(one["after"]),
            one["uid"],
            state(one["tenant"], one["stateBefore"]),
            state(one["tenant"], one["stateAfter"]),
        )
        for one in map(json.loads, lines)
    ]


def snapshots(life: str, folder: Path) -> Iterator[tuple[datetime, Path]]:
    """Each recorded list as a file named by when it was taken."""
    for exchange in sorted((RECORDINGS / life).glob("*-snapshot.json")):
        one = recorded(f"{life}/{exchange.name}")
        yield (
            instant(one["after"]),
            write(folder / f"{one['after']}.json", one["response"]["body"]),
        )


def seen_at(time: datetime, writes: list[Write], known: Mapping[str, State]) -> dict[str, State]:
    """Who there is, in what state; without an org, in the state that was known."""
    logged = {one.uid: one.became for one in writes if one.after <= time}
    there = {uid: state for uid, state in logged.items() if state is not None}
    seen = {uid: state if state.org else known.get(uid) for uid, state in there.items()}
    return {uid: state for uid, state in seen.items() if state is not None}


def differences(known: Mapping[str, State], seen: Mapping[str, State]) -> Iterator[Row]:
    for uid, new in seen.items():
        old = known.get(uid)
        if old is None:
            yield "created", new.name, uid, None
        elif old.deleted:
            continue
        before = State(new.name, new.org, frozenset(), suspended=False) if old is None else old
        if new.deleted and old is not None:
            yield "deleted", new.name, uid, None
            continue
        for skill in new.skills - before.skills:
            yield "enabled", new.name, uid, skill
        for skill in before.skills - new.skills:
            yield "disabled", new.name, uid, skill
        if new.suspended != before.suspended:
            yield "suspended" if new.suspended else "resumed", new.name, uid, None
        if new.deleted:
            yield "deleted", new.name, uid, None
    for uid, old in known.items():
        if uid not in seen and not old.deleted:
            yield "deleted", old.name, uid, None


def cause(row: Row, writes: list[Write], until: datetime) -> Write:
    """The write that made it so: the last before the snapshot that did, of deletions the first."""
    kind, _, uid, skill = row

    def says_so(one: State | None) -> bool:
        match kind:
            case "created":
                return one is not None
            case "deleted":
                return one is None or one.deleted
            case "suspended" | "resumed":
                return one is not None and one.suspended is (kind == "suspended")
            case _:
                return one is not None and (skill in one.skills) is (kind == "enabled")

    causes = [
        one
        for one in writes
        if one.uid == uid and one.after <= until and says_so(one.became) and not says_so(one.was)
    ]
    return causes[0 if kind == "deleted" else -1]


def second(time: datetime) -> datetime:
    return time.replace(microsecond=0)


@pytest.mark.parametrize("life", ["life", "life-set"])
def test_a_replayed_life_is_in_the_ledger_as_it_was(
    command: Command, ledger: "psycopg.Connection[Any]", tmp_path: Path, life: str
) -> None:
    folder = tmp_path / "dumps"
    files = list(snapshots(life, folder))
    planned = command("run", "--dry-run", "--snapshot", folder, "--output", "json")
    writes, known, rows_before = truth(life), dict[str, State](), list[Json]()
    for (time, file), dry in zip(files, planned.reports, strict=True):
        done = command("run", "--snapshot", file, "--output", "json")
        seen = seen_at(time, writes, known)
        assert done.status == (4 if _without_org(file) else 0), done.err
        report = done.report
        assert report["rows"] == dry["rows"]
        told = {_row(one): one for one in report["rows"]}
        assert len(told) == len(report["rows"])
        assert set(told) == set(differences(known, seen)), file.name
        for row, one in told.items():
            what = cause(row, writes, time)
            first_sight = row[0] == "enabled" and one["timeSource"] == "creation"
            latest = one["observedAt"] if first_sight else one["occurredAt"]
            assert second(instant(one["notBefore"])) <= what.after, one
            assert second(what.before) <= instant(latest) <= time, one
        known = seen
        rows_before += report["rows"]
    _is_whole(ledger, rows_before)
    before = row_counts(ledger)
    again = command("run", "--snapshot", folder)
    assert (again.status, again.out) == (0, "")
    assert all(file.name in again.err for _, file in files)
    assert row_counts(ledger) == before


def _without_org(file: Path) -> bool:
    items = json.loads(file.read_text(encoding="utf-8"))["items"]
    return any("labels" not in item["metadata"] for item in items)


def _row(one: Json) -> Row:
    return one["kind"], one["tenantName"], one["tenantUid"], one["skillId"]


def _is_whole(ledger: "psycopg.Connection[Any]", told: list[Json]) -> None:
    """The ledger has what the passes told, and nothing else."""
    counted = row_counts(ledger)
    kinds = [one["kind"] for one in told]
    assert counted["tenant_billing_lifecycle"] == kinds.count("created")
    assert counted["tenant_skill_events"] == kinds.count("enabled") + kinds.count("disabled")
    assert counted["tenant_suspension_events"] == kinds.count("suspended") + kinds.count("resumed")
    assert counted["reconciler_state"] == kinds.count("created") - kinds.count("deleted")
