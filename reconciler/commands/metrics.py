"""`reconciler metrics`: where the ledger stands, as Prometheus reads it."""

from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from reconciler.commands.parts import Parts
from reconciler.commands.printing import print_bytes
from reconciler.core.kinds import Kind
from reconciler.errors import ExitStatus
from reconciler.ledger.standing import Standing, standing


def metrics(parts: Parts) -> int:
    """Prints the metrics in the text format. Raises ReconcilerError."""
    longest = timedelta(seconds=parts.settings.coverage_gap)
    print_bytes([generate_latest(_registry(standing(parts.database, longest)))])
    return ExitStatus.DONE


def _registry(found: Standing) -> CollectorRegistry:
    registry = CollectorRegistry()
    for name, about, value in (
        ("last_pass_timestamp_seconds", "When the last pass was written.", found.last_pass or 0),
        ("last_list_timestamp_seconds", "When one over all was written.", found.last_list or 0),
        ("last_look_timestamp_seconds", "The instant that it looked at.", found.last_look or 0),
        ("tenants_live", "Live tenants.", found.live),
        ("tenants_suspended", "Suspended ones among them.", found.suspended),
        ("tenants_quarantined", "Quarantined ones, as of the last list.", found.quarantined),
        ("held_deletions", "Deletions held back, as of the last list.", found.held),
        ("unseen_seconds", "Of the last day: when changes may be missing.", found.unseen),
        ("position", "The number of the last pass or price change.", found.position),
    ):
        Gauge(f"reconciler_ledger_{name}", about, registry=registry).set(value)
    Counter("reconciler_ledger_passes", "Passes written.", registry=registry).inc(found.passes)
    rows = Counter("reconciler_ledger_rows", "Rows written, by kind.", ["kind"], registry=registry)
    for kind in Kind:
        rows.labels(kind.value).inc(found.rows.get(kind.value, 0))
    return registry
