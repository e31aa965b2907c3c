"""Random ledgers: the portal's rows and ours, with everything that a month can hold.

They are put into the ledger behind the triggers' back, for a pass writes only what it sees.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from tests.proofs.usage.reckoning import UNSET, Deletion, Event, Life, Pass, Price, Rows

ZURICH = ZoneInfo("Europe/Zurich")
SKILLS = ("mail", "wiki", "Ä'chat", "x" * 200)
MICROSECOND = timedelta(microseconds=1)


@dataclass
class History:
    """Some tenants over some months."""

    chance: random.Random
    first: date
    months: int
    tenants: int = 20
    _lives: list[Life] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)

    def rows(self) -> Rows:
        chance = self.chance
        self._start = datetime(self.first.year, self.first.month, 1, tzinfo=ZURICH).astimezone(UTC)
        self._length = timedelta(days=30 * self.months + chance.randint(0, 20))
        self._passes = list(self._all_passes())
        for number in range(self.tenants):
            self._tenant(f"tenant-{number}", f"org-{number % 3}")
        return Rows(
            passes=self._passes,
            lives=self._lives,
            events=self._events,
            prices=list(self._prices()),
        )

    def _prices(self) -> Iterator[Price]:
        """Each set some times, from a day on or from ever; those of skills also taken away."""
        chance = self.chance
        numbers = {one.id for one in self._passes}
        subjects = [
            *((column, None) for column in UNSET),
            *(("daily_price_chf", skill) for skill in SKILLS if chance.random() < 0.8),
        ]
        for column, skill in subjects:
            for _ in range(chance.choice([0, 1, 2, 5, 12, 30])):
                near = chance.choice(self._passes)
                later = chance.choice([timedelta(0), MICROSECOND, timedelta(hours=1)])
                number = next(one for one in count(near.id + 1) if one not in numbers)
                numbers.add(number)
                days = chance.randrange(-60, self._length.days + 60)
                yield Price(
                    id=number,
                    column=column,
                    skill=skill,
                    value=self._value(column),
                    valid_from=self.first + timedelta(days=days) if chance.random() < 0.8 else None,
                    recorded_at=near.written_at + later,
                )

    def _value(self, column: str) -> Decimal | None:
        if column == "vat_rate_chli":
            return Decimal(self.chance.choice(["8.10", "7.70", "2.55", "0"]))
        if column != "daily_price_chf":
            return Decimal(self.chance.randrange(20_000)).scaleb(-2)
        return None if self.chance.random() < 0.2 else Decimal(self.chance.randrange(200_000)).scaleb(-5)

    def _all_passes(self) -> Iterator[Pass]:
        at, number = self._start + timedelta(days=2), 0
        while at < self._start + self._length:
            number += 1
            asked = at
            at += timedelta(seconds=self.chance.choice([0, 1, 90]))
            written = at + timedelta(seconds=self.chance.choice([1, 60, 86_400]))
            # Between two passes there is room for what is numbered like them.
            yield Pass(id=100 * number, asked_at=asked, observed_at=at, written_at=written)
            at += timedelta(hours=self.chance.choice([1, 6, 24, 24, 72, 24 * 20]))
            if self.chance.random() < 0.3:
                at = max(self._midnight(at), at)

    def _midnight(self, near: datetime) -> datetime:
        day = near.astimezone(ZURICH).date()
        return datetime(day.year, day.month, day.day, tzinfo=ZURICH).astimezone(UTC)

    def _instant(self, since: datetime, until: datetime) -> datetime:
        """Somewhere between the two; often where it is delicate."""
        at = since + self.chance.random() * max(until - since, timedelta(0))
        match self.chance.randrange(9):
            case 0 | 1:
                at = self._midnight(at)
            case 2:
                at = self._midnight(at) - MICROSECOND
            case 3:
                at = since
            case 8:
                at = self._midnight(at.replace(day=15) - timedelta(days=14))
            case 4:
                at = min((one.observed_at for one in self._passes), key=lambda one: abs(one - at))
            case _:
                at = at.replace(microsecond=0)
        return min(max(at, since), until)

    def _pass(self, at: datetime, after: int = 0) -> Pass | None:
        """One that may have seen it: at once, or later."""
        later = [one for one in self._passes if one.observed_at >= at and one.id >= after]
        return self.chance.choice(later[: self.chance.choice([1, 1, 3])]) if later else None

    def _tenant(self, name: str, org: str) -> None:
        chance, until = self.chance, self._start + self._length
        since = self._instant(self._start - timedelta(days=40), until)
        by_portal = chance.random() < 0.3 and since < self._passes[0].asked_at
        moved = False
        while since < until:
            seen = None if by_portal else self._pass(since)
            if seen is None and not by_portal:
                return
            life = Life(
                id=len(self._lives) + 1,
                org=org,
                tenant=name,
                created_at=since,
                pass_id=seen.id if seen else None,
                moved=moved,
                not_before=self._not_before(since, seen) if seen and moved else None,
            )
            end = self._instant(since, until) if chance.random() < 0.6 else until
            deletions = list(self._deletions(life, end, until)) if end < until else []
            if deletions:
                end = deletions[-1].at if deletions[-1].withdrawn_by is None else until
            self._lives.append(replace(life, deletions=deletions))
            self._events_of(life, min(end, until))
            if not deletions or deletions[-1].withdrawn_by is not None:
                return
            since = end if chance.random() < 0.4 else self._instant(end, until)
            moved, by_portal = chance.random() < 0.4, False
            org = f"org-{chance.randrange(3)}" if moved else org

    def _deletions(self, life: Life, at: datetime, until: datetime) -> Iterator[Deletion]:
        seen = None
        if life.pass_id is not None or self.chance.random() < 0.6:
            seen = self._pass(at, after=life.pass_id or 0)
            if seen is None:
                return
        deletion = Deletion(
            at=at,
            not_before=max(self._not_before(at, seen), life.created_at) if seen else None,
            observed_at=seen.observed_at if seen else None,
            pass_id=seen.id if seen else None,
        )
        withdrawn = self._pass(at, after=seen.id + 1) if seen else None
        if withdrawn is None or self.chance.random() < 0.6:
            yield deletion
            return
        yield replace(deletion, withdrawn_by=withdrawn.id)
        again = self._instant(withdrawn.observed_at, until)
        seen = self._pass(again, after=withdrawn.id + 1)
        if seen is not None and self.chance.random() < 0.5:
            nb = self._not_before(again, seen)
            yield Deletion(at=again, not_before=nb, observed_at=seen.observed_at, pass_id=seen.id)

    def _not_before(self, at: datetime, seen: Pass) -> datetime:
        before = [one.asked_at for one in self._passes if one.id < seen.id]
        return min(self.chance.choice([at, *before[-1:]]), at)

    def _events_of(self, life: Life, end: datetime) -> None:
        for skill in (None, *SKILLS):
            if self.chance.random() < 0.7:
                on = self._by_portal(life, skill, end) if life.pass_id is None else False
                self._ours(life, skill, end, on=on)

    def _by_portal(self, life: Life, skill: str | None, end: datetime) -> bool:
        """What the portal wrote: it may say the same twice, or lie ahead; tells how it ended."""
        on = False
        last = min(end, self._passes[0].asked_at)
        if self.chance.random() < 0.4:
            last += timedelta(days=60)
        times = sorted(self._instant(life.created_at, last) for _ in range(self.chance.randrange(5)))
        for at in times:
            on = not on if self.chance.random() < 0.8 else on
            number = len(self._events) + 1
            self._events.append(Event(id=number, tenant=life.tenant, skill=skill, on=on, at=at))
        return on

    def _ours(self, life: Life, skill: str | None, end: datetime, *, on: bool) -> None:
        chance = self.chance
        ordinal, after = (0 if on else 1), life.pass_id or 1
        at = not_before = life.created_at
        for _ in range(chance.choice([0, 1, 1, 2, 3, 6, 12])):
            is_first_sight = (
                ordinal == 1 and skill is not None and life.pass_id and chance.random() < 0.6
            )
            if not is_first_sight:
                at = self._instant(at, end)
                if chance.random() < 0.5:
                    at = min(at, self._instant(at, end))
            seen = self._pass(at, after)
            if seen is None:
                return
            not_before = max(not_before, self._not_before(at, seen))
            self._events.append(
                Event(
                    id=len(self._events) + 1,
                    tenant=life.tenant,
                    skill=skill,
                    on=ordinal % 2 == 1,
                    at=at,
                    lifecycle=life.id,
                    ordinal=ordinal,
                    not_before=life.not_before or at if is_first_sight else not_before,
                    observed_at=seen.observed_at,
                    source="creation" if is_first_sight and not life.moved else "observed",
                    pass_id=seen.id,
                )
            )
            ordinal, after = ordinal + 1, seen.id
            if is_first_sight:
                # No later row lies before the snapshot in which it was first seen.
                at = seen.observed_at
                after = seen.id + 1
                end = max(end, at)


def put_in(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """Fills an empty ledger."""
    with connection.transaction():
        # The portal wrote before there was a rule; and what a pass never writes has no trigger to pass.
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("tenant_skill_events", "tenant_suspension_events"):
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_is_explained")
        connection.execute(
            "ALTER TABLE tenant_billing_lifecycle"
            " DROP CONSTRAINT IF EXISTS tenant_billing_lifecycle_end_is_explained"
        )
        _copy(connection, "reconciler_passes", _passes(rows))
        _copy(connection, "tenant_billing_lifecycle", _lifecycles(rows))
        _copy(connection, "reconciler_reopenings", _reopenings(rows))
        _copy(connection, "reconciler_moves", _moves(rows))
        _copy(connection, "tenant_skill_events", _events(rows, of_skills=True))
        _copy(connection, "tenant_suspension_events", _events(rows, of_skills=False))
        _copy(connection, "reconciler_price_history", _price_history(rows))
    connection.execute("ANALYZE tenant_billing_lifecycle, tenant_skill_events, tenant_suspension_events")


Record = dict[str, object]


def _copy(connection: psycopg.Connection[Any], table: str, records: Sequence[Record]) -> None:
    if not records:
        return
    columns = ", ".join(records[0])
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for record in records:
            copy.write_row(list(record.values()))


def _passes(rows: Rows) -> Sequence[Record]:
    counts = ("tenants_examined", "lifecycle_inserted", "lifecycle_deleted", "events_inserted")
    return [
        {
            "id": one.id,
            "source": "random",
            "asked_at": one.asked_at,
            "observed_at": one.observed_at,
            "written_at": one.written_at,
            "program_version": "0",
            **dict.fromkeys((*counts, "suspension_events_inserted"), 0),
        }
        for one in rows.passes
    ]


def _price_history(rows: Rows) -> Sequence[Record]:
    return [
        {
            "id": one.id,
            "column_name": one.column,
            "skill_id": one.skill,
            "value": one.value,
            "valid_from": one.valid_from,
            "is_planned": False,
            "recorded_at": one.recorded_at,
            "database_user": "random",
        }
        for one in rows.prices
    ]


def _lifecycles(rows: Rows) -> Sequence[Record]:
    observed = {one.id: one.observed_at for one in rows.passes}

    def record(life: Life) -> Record:
        deletion = next((one for one in life.deletions if one.withdrawn_by is None), None)
        ours = life.pass_id is not None
        return {
            "id": life.id,
            "tenant_name": life.tenant,
            "zitadel_org_id": life.org,
            "tenant_uid": f"uid-{life.id}" if ours else None,
            "created_at": life.created_at,
            "created_not_before": (life.not_before or life.created_at) if ours else None,
            "created_time_source": ("observed" if life.moved else "creation") if ours else None,
            "created_observed_at": observed.get(life.pass_id or 0),
            "created_pass_id": life.pass_id,
            "deleted_at": deletion.at if deletion else None,
            "deleted_not_before": deletion.not_before if deletion else None,
            "deleted_time_source": "observed" if deletion and deletion.pass_id else None,
            "deleted_observed_at": deletion.observed_at if deletion else None,
            "deleted_pass_id": deletion.pass_id if deletion else None,
        }

    return [record(life) for life in rows.lives]


def _reopenings(rows: Rows) -> Sequence[Record]:
    return [
        {
            "pass_id": one.withdrawn_by,
            "lifecycle_id": life.id,
            "deleted_at": one.at,
            "deleted_not_before": one.not_before,
            "deleted_time_source": "observed",
            "deleted_observed_at": one.observed_at,
            "deleted_pass_id": one.pass_id,
        }
        for life in rows.lives
        for one in life.deletions
        if one.withdrawn_by is not None
    ]


def _moves(rows: Rows) -> Sequence[Record]:
    return [
        {"pass_id": life.pass_id, "lifecycle_id": life.id, "previous_lifecycle_id": life.id - 1}
        for life in rows.lives
        if life.moved
    ]


def _events(rows: Rows, *, of_skills: bool) -> Sequence[Record]:
    kinds = ("disabled", "enabled") if of_skills else ("resumed", "suspended")
    return [
        {
            "id": one.id,
            "tenant_name": one.tenant,
            **({"skill_id": one.skill} if of_skills else {}),
            "event_kind": kinds[one.on],
            "occurred_at": one.at,
            "lifecycle_id": one.lifecycle,
            "tenant_uid": None if one.lifecycle is None else f"uid-{one.lifecycle}",
            "not_before": one.not_before,
            "time_source": one.source,
            "observed_at": one.observed_at,
            "pass_id": one.pass_id,
            "ordinal": one.ordinal,
        }
        for one in rows.events
        if (one.skill is not None) == of_skills
    ]
