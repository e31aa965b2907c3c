"""The interval promise: the short form of `make truth`, and the recorded lives."""

import json
from collections import defaultdict
from datetime import datetime

import pytest

from tests.conftest import RECORDINGS
from tests.proofs.truth.evidence import SECOND, micros
from tests.proofs.truth.measure import Measured
from tests.proofs.truth.reconcile import EVIDENCE, INTERVALS, Reconciler, Row, rows
from tests.proofs.truth.recorded import Known, exchange, lived_again
from tests.proofs.truth.report import report
from tests.proofs.truth.shards import Key, Shard


def test_every_interval_holds_the_true_time_and_no_row_is_missing() -> None:
    totals: defaultdict[Key, Measured] = defaultdict(Measured)
    for number in (2, 3):
        for key, measured in Shard(5, number, changes=1000, tenants=8).measured().items():
            totals[key] += measured
            assert measured.violations == []
    assert totals[4, True].changes >= 2000
    with_it, without = totals[4, True], totals[4, False]
    assert with_it.evident_rows == without.evident_rows > 500
    # In the full run it is 20 times better; so few changes scatter.
    assert with_it.evident_off * 10 < without.evident_off
    for minutes in INTERVALS:
        hourly = totals[minutes, True]
        assert hourly.rows <= hourly.caught_up <= hourly.changes
        assert hourly.days_wrong_caught_up <= hourly.days_wrong
    assert totals[60, True].days_wrong_caught_up * 3 < totals[60, True].days_wrong
    assert "violations of the interval promise                        0" in report(totals, 5)


def test_a_history_is_the_same_for_the_same_seed() -> None:
    one, again = (Shard(3, 3, changes=300, tenants=4).measured() for _ in range(2))
    assert one == again


MOVED = {
    # The same manager touched its entry again before the snapshot: what it tells is late.
    ("life", "gemse", "enabled", "chat"): "2026-11-22T15:44:33Z",
}


@pytest.mark.parametrize("life", ["life", "life-set"])
def test_the_rows_of_a_recorded_life_hold_the_truth_and_evidence_has_the_second_right(life: str) -> None:
    truth = lived_again(life)[1]
    reconciler, judged, evident = Reconciler(EVIDENCE), 0, 0
    for file in sorted((RECORDINGS / life).glob("*-snapshot.json")):
        one = exchange(f"{life}/{file.name}")
        before, after = (datetime.fromisoformat(one[side]) for side in ("before", "after"))
        body = one["response"]["body"]
        reacted = {
            item["metadata"]["uid"]: item.get("status", {}).get("suspendedAt") for item in body["items"]
        }
        names = {item["metadata"]["uid"]: item["metadata"]["name"] for item in body["items"]}
        for row in rows(reconciler.reconcile(json.dumps(body).encode(), before, after)):
            cause = _cause(row, truth, after)
            latest = row.observed_at if row.first_sight else row.occurred_at
            assert row.not_before // SECOND <= micros(cause.after) // SECOND, row
            assert micros(cause.before) // SECOND <= latest // SECOND, row
            assert row.occurred_at <= row.observed_at
            judged += 1
            if not cause.change.evident or row.first_sight:
                continue
            evident += 1
            if row.source == "status":
                # The operator's second, who reacts to the change.
                assert row.occurred_at == micros(datetime.fromisoformat(reacted[row.uid])), row
                continue
            moved = MOVED.get((life, names[row.uid], row.kind, row.skill or ""))
            told = micros(datetime.fromisoformat(moved)) if moved else cause.change.at
            assert row.occurred_at // SECOND == told // SECOND, (row, cause)
    assert judged >= len(truth) // 2
    assert evident >= 5


def _cause(row: Row, truth: list[Known], until: datetime) -> Known:
    causes = [
        known
        for known in truth
        if (known.change.uid, known.change.kind, known.change.skill) == (row.uid, row.kind, row.skill)
        and known.after <= until
    ]
    return causes[-1]
