"""The findings of `verify` as text and as JSON, printed while they are found."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct

from reconciler.core.plan import Plan
from reconciler.core.text import clean, counted
from reconciler.core.verify import Checked, Digests, Finding, RowName
from reconciler.output.plan_json import json_report, to_json
from reconciler.output.plan_text import text_report

MOST_OF_A_RULE: Final = 20
"""The text shows no more findings of one rule; the JSON has all."""


class Verdict:
    """What was checked, and the number of findings so far."""

    def __init__(self, *, checked: Checked, planned: Plan | None, digests: Digests | None) -> None:
        self.checked = checked
        self.planned = planned
        self.digests = digests
        self.found = Counter[str]()
        self.noted = Counter[str]()

    def count(self, finding: Finding) -> int:
        """Counts a finding and returns how many of its rule there are so far."""
        counter = self.noted if finding.of.is_note else self.found
        counter[finding.rule] += 1
        return counter[finding.rule]

    @property
    def pending(self) -> int:
        """The number of rows that the next pass would write."""
        return sum(1 for _ in self.planned.rows()) if self.planned else 0

    @property
    def message(self) -> str:
        """The result in one line."""
        found, noted = self.found.total(), self.noted.total()
        said = [counted(found, "finding") if found else "the ledger is consistent"]
        if self.planned is None:
            said.append("not compared with a cluster")
        elif self.pending:
            said.append(f"{counted(self.pending, 'row')} pending for the next pass")
        if self.planned is not None and self.planned.held:
            said.append(f"{counted(len(self.planned.held), 'deletion')} held back")
        if self.planned is not None and self.planned.quarantined:
            said.append(f"{len(self.planned.quarantined)} quarantined")
        if noted:
            said.append(counted(noted, "note"))
        return "; ".join(said)


class _Told(Struct, rename="camel"):
    rule: str
    is_note: bool
    tenant_name: str | None
    tenant_uid: str | None
    rows: Sequence[RowName]
    what: str
    told: str
    advice: str


class _Rest(Struct, rename="camel"):
    message: str
    clean: bool
    checked: Checked
    digests: Digests | None


def json_findings(findings: Iterator[Finding], verdict: Verdict) -> Iterator[bytes]:
    """One object on one line, in pieces. `pending` is what `run --dry-run --output json` would print."""
    yield b'{"findings":['
    separator = b""
    for one in findings:
        verdict.count(one)
        rule = one.of
        yield separator + to_json(
            _Told(
                rule=one.rule,
                is_note=rule.is_note,
                tenant_name=one.tenant_name,
                tenant_uid=one.tenant_uid,
                rows=one.rows,
                what=rule.broken,
                told=one.told,
                advice=rule.advice,
            )
        )
        separator = b","
    yield b'],"pending":'
    if verdict.planned is None:
        yield b"null"
    else:
        yield from (piece.rstrip(b"\n") for piece in json_report(verdict.planned, dry_run=True))
    rest = _Rest(verdict.message, not verdict.found, verdict.checked, verdict.digests)
    yield b"," + to_json(rest)[1:] + b"\n"


def text_findings(findings: Iterator[Finding], verdict: Verdict) -> Iterator[str]:
    """The lines, without their ends."""
    for one in findings:
        number, rule = verdict.count(one), one.of
        if number > MOST_OF_A_RULE:
            continue
        yield f"{'note: ' if rule.is_note else ''}{one.rule}: {rule.broken}"
        who = clean(one.tenant_name, 300) if one.tenant_name is not None else ""
        if one.tenant_uid is not None:
            who += f" (uid {clean(one.tenant_uid, 300)})"
        yield f"  {'  '.join(part for part in (who.strip(), _named(one.rows)) if part)}"
        yield f"  {clean(one.told, 500)}"
        yield f"  → {rule.advice}"
    for rule_name, count in sorted((verdict.found + verdict.noted).items()):
        if count > MOST_OF_A_RULE:
            yield f"… and {count - MOST_OF_A_RULE} more of {rule_name}; --output json has them all"
    if verdict.planned is not None and (verdict.pending or verdict.planned.held):
        yield "The next pass would write:"
        *lines, _ = text_report(verdict.planned, dry_run=True, colour=False)
        yield from lines
    looked_at = verdict.checked
    yield "checked " + ", ".join(
        (
            counted(looked_at.lifecycles, "lifecycle"),
            counted(looked_at.skill_events, "skill event"),
            counted(looked_at.suspension_events, "suspension event"),
            counted(looked_at.passes, "pass"),
        )
    )
    if verdict.digests is not None:
        yield from _sealed(verdict.digests)
    yield verdict.message


def _named(rows: Sequence[RowName]) -> str:
    shown = [f"{row.table} {row.id}" for row in islice(rows, 10)]
    return ", ".join(shown) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")


def _sealed(digests: Digests) -> Iterator[str]:
    if digests.passes_without:
        without = counted(digests.passes_without, "pass")
        yield f"{without} without a digest, written before version 2 of the schema"
    if digests.passes:
        having = counted(digests.passes, "pass")
        yield f"digest of pass {digests.last_pass}: {digests.last_digest}"
        yield f"{having} with a digest; store the last one outside the database: it covers all of them"
