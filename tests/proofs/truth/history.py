"""The history of a cluster: what happens how often in it, when, and the evidence that is left.

Each tenant is written to again and again: after a write, in 10 % of cases by the same hands within five
minutes (a label, a status, another change, a flap), and otherwise after five minutes and more. All that
managers do to managedFields happens.
"""

from datetime import timedelta
from typing import Final

from tests.apiserver import Tenants
from tests.proofs.truth.evidence import API_VERSION, EPOCH, HOUR, KIND, MINUTE, SECOND, Evidence, micros
from tests.simulation import Clock, Habits, Life
from tests.simulation.truth import ORG_LABEL

HABITS: Final = Habits(
    writes={
        "patch_packages": 46,
        "apply_packages": 12,
        "switch_suspension": 13,
        "apply_what_is_there": 5,
        "give_up": 2,
        "label": 7,
        "remove_a_field": 3,
        "touch_status": 3,
        "let_many_managers_write": 2.5,
        "let_an_early_sharer_stay": 0.1,
        "delete": 2,
        "break_it": 0.4,
        "forge_times": 0.6,
        "clear_times": 0.2,
    },
    reborn=(0.002, 0.5, 30, 400, 3000, 10_000),
    posthumous=1,
    unlabelled=0.03,
    same_hands=0.1,
    turns=True,
)


class History:
    """Makes the history, until so many changes that count were made."""

    def __init__(self, seed: str, begin: int, *, tenants: int, set_list: bool) -> None:
        clock = Clock(EPOCH + timedelta(microseconds=begin))
        self.tenants = Tenants(
            api_version=API_VERSION, kind=KIND, org_label=ORG_LABEL, now=clock, set_list=set_list
        )
        keys = [f"tenant-{number:02}" for number in range(tenants)]
        self.life = Life(tenants=self.tenants, seed=seed, clock=clock, habits=HABITS, keys=keys)
        self.evidence = Evidence(self.tenants)
        for _ in keys:
            self.life.later(self.life.chance.uniform(0, 600), lambda: self.life.fill(1))

    def run(self, changes: int) -> None:
        while len(self.evidence.read().truth) < changes:
            self.life.next()
        self.life.end()
        self.evidence.read()

    @property
    def now(self) -> int:
        return micros(self.life.clock.now)


def begins(number: int) -> int:
    """Spread over a year, among them the nights in which Zurich changes its clocks."""
    days = (_DAY_OF_2026[number % len(_DAY_OF_2026)] - 1) * 24
    return 1_767_225_600 * SECOND + days * HOUR + (number * 97 % 1440) * MINUTE + 123_457


_DAY_OF_2026: Final = (295, 296, 297, 86, 87, 88, 1, 60, 150, 210, 364)
