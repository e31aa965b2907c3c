"""Every setting: its name, its default, and what it means. Nothing here imports anything heavy.

A setting is a flag (`--page-size`), and a variable in the environment or in `.env`
(`RECONCILER_PAGE_SIZE`); the flag wins over the environment, the environment over `.env`.
"""

from collections import namedtuple  # typing.NamedTuple takes longer to import than --help to answer

PREFIX = "RECONCILER_"

Option = namedtuple("Option", "name metavar default help")
"""`default` is the text that one would write in the environment; `metavar` None is a switch."""

DATABASE = (
    Option("database_url", "URL", None, "the ledger: postgresql://user:password@host:5432/database"),
    Option("embedded", None, "false", "use a private Postgres under --embedded-dir instead"),
    Option("embedded_dir", "DIR", ".reconciler/postgres", "where the embedded Postgres keeps its data"),
    Option("database_connect_timeout", "TIME", "10s", "how long to wait for a connection to it"),
    Option("lock_timeout", "TIME", "60s", "how long to wait while another pass is being written"),
)
CLUSTER = (
    Option("kubeconfig", "FILE", None, "the kubeconfig; without it in-cluster, else ~/.kube/config"),
    Option("context", "NAME", None, "the kubeconfig's context"),
    Option("api_group", "GROUP", "pieced.ch", "API group of the tenants"),
    Option("api_version", "VERSION", None, "its version; without it the one the server prefers"),
    Option("plural", "NAME", "piecedtenants", "the resource's plural"),
    Option("kind", "NAME", "PiecedTenant", "the resource's kind"),
    Option("org_label", "LABEL", "pieced.ch/zitadel-org-id", "the label that names who pays"),
    Option(
        "managed_fields",
        "BOOL",
        "true",
        "believe the times in managedFields; false for snapshots of Kubernetes before 1.25",
    ),
    Option("page_size", "N", "500", "tenants a page of the list"),
    Option("connect_timeout", "TIME", "5s", "how long to wait for a connection to the API server"),
    Option("read_timeout", "TIME", "60s", "how long to wait for its next byte"),
    Option("list_timeout", "TIME", "10m", "how long a whole list may take"),
)
PASS = (
    Option(
        "cluster_uid",
        "UID",
        None,
        "the cluster that snapshot files are of; without it the ledger's",
    ),
    Option("brake_floor", "N", "5", "weak deletions of a pass that are always let through"),
    Option("brake_percent", "N", "10", "weak deletions let through, in percent of the live tenants"),
    Option("quarantine_exit", "N", "4", "exit status of a pass that wrote, with tenants quarantined"),
)
CATCH_UP = (
    Option(
        "catch_up",
        None,
        "false",
        "first write the changes since the last pass one by one, as far back as the API server tells",
    ),
    Option("catch_up_timeout", "TIME", "5m", "how long a run may take for that"),
)
COVERAGE = (Option("coverage_gap", "TIME", "15m", "how long nobody may look before it counts as a gap"),)
USAGE = (Option("time_zone", "ZONE", "Europe/Zurich", "whose calendar days are billed"),)
LOOP = (
    Option("interval", "TIME", "5m", "time from the start of one pass to the start of the next"),
    Option("jitter", "TIME", "0s", "each pass begins up to so much later, by chance"),
    Option(
        "cron",
        "SCHEDULE",
        None,
        "when passes begin instead, in UTC: as a CronJob's schedule, like '*/5 * * * *' or @hourly",
    ),
    Option("stop_timeout", "TIME", "20s", "told to end, how long to wait for the pass in hand"),
    Option("watch", None, "false", "a pass for every change as well, at once"),
    Option("watch_silence", "TIME", "2m", "after so long without a word a watch is replaced"),
    Option("ready_within", "TIME", "15m", "/readyz: how old the last pass may be"),
    Option("live_within", "TIME", "20m", "/livez: how long the loop may take to come round"),
)
HEALTH = (
    Option(
        "health_port",
        "PORT",
        None,
        "where /livez, /readyz and /metrics answer; without it loop takes 8080; 0: nowhere",
    ),
)
LOGGING = (
    Option("log_level", "LEVEL", "info", "debug, info, warning or error"),
    Option("log_format", "FORMAT", "auto", "text or json; auto: text on a terminal, else json"),
)

ALL = (*DATABASE, *CLUSTER, *PASS, *CATCH_UP, *LOOP, *HEALTH, *COVERAGE, *USAGE, *LOGGING)


def flag(option: Option) -> str:
    """The setting as a flag."""
    return f"--{option.name.replace('_', '-')}"


def variable(option: Option) -> str:
    """The setting as a variable of the environment."""
    return f"{PREFIX}{option.name.upper()}"


def is_text(value: str) -> bool:
    """Whether it came as UTF-8; nothing else can be written to the ledger, or printed."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
