"""Every setting: its name, its default and what it means. Nothing here imports anything heavy.

A setting is a flag (`--page-size`) and a variable in the environment or in `.env`
(`RECONCILER_PAGE_SIZE`). A flag overrides the environment, and the environment overrides `.env`.
"""

from collections import namedtuple  # typing.NamedTuple takes longer to import than --help to answer

PREFIX = "RECONCILER_"

Option = namedtuple("Option", "name group metavar default help")
"""`group` is its title in --help; `default` is as in the environment; `metavar` None is a switch."""


def _group(title: str, *settings: tuple[str, str | None, str | None, str]) -> tuple[Option, ...]:
    return tuple(
        Option(name, title, metavar, default, text) for name, metavar, default, text in settings
    )


DATABASE = _group(
    "Database",
    (
        "database_url",
        "URL",
        None,
        "database of the ledger: postgresql://user:password@host:5432/database",
    ),
    (
        "embedded",
        None,
        "false",
        "use a private Postgres under --embedded-dir instead, to try things out",
    ),
    ("embedded_dir", "DIR", ".reconciler/postgres", "where the embedded Postgres keeps its data"),
    ("database_connect_timeout", "DURATION", "10s", "how long to wait for a connection to the database"),
    ("lock_timeout", "DURATION", "60s", "how long to wait while another pass is being written"),
)
CLUSTER = _group(
    "Cluster",
    (
        "kubeconfig",
        "FILE",
        None,
        "kubeconfig file; without it the service account of the pod, else KUBECONFIG or ~/.kube/config",
    ),
    ("context", "NAME", None, "context of the kubeconfig; without it the current one"),
    ("api_group", "GROUP", "pieced.ch", "API group of the tenants"),
    (
        "api_version",
        "VERSION",
        None,
        "API version of the tenants; without it the one that the server prefers",
    ),
    ("plural", "NAME", "piecedtenants", "plural name of the resource"),
    ("kind", "NAME", "PiecedTenant", "kind of the resource"),
    (
        "org_label",
        "LABEL",
        "pieced.ch/zitadel-org-id",
        "label that names the organisation (org) that pays",
    ),
    (
        "managed_fields",
        None,
        "true",
        "use the times in managedFields; switch it off for snapshots from Kubernetes before 1.25",
    ),
    ("page_size", "N", "500", "tenants per page of the list"),
    (
        "compress",
        None,
        "true",
        "ask the API server to compress its answers; beside it, the network is faster than that",
    ),
    ("connect_timeout", "DURATION", "5s", "how long to wait for a connection to the API server"),
    ("read_timeout", "DURATION", "60s", "how long the API server may take to send more of its answer"),
    ("list_timeout", "DURATION", "10m", "how long the list of all tenants may take"),
)
SNAPSHOT = _group(
    "Snapshot",
    (
        "cluster_uid",
        "UID",
        None,
        "cluster of the files, as the uid of its namespace kube-system; without it the ledger's",
    ),
)
BRAKE = _group(
    "Safety",
    (
        "brake_floor",
        "N",
        "5",
        "weak deletions in a pass that are always written",
    ),
    (
        "brake_percent",
        "N",
        "10",
        "weak deletions in a pass that are written, in percent of the live tenants",
    ),
)
QUARANTINE = _group(
    "Safety",
    (
        "quarantine_exit",
        "STATUS",
        "4",
        "exit status if the pass was written and tenants are quarantined",
    ),
)
READING = _group(
    "Reading",
    (
        "read_all",
        None,
        "false",
        "read every tenant, even those that have not changed since they were last read",
    ),
)
CATCH_UP = _group(
    "Watch",
    (
        "catch_up",
        None,
        "true",
        "first record each change since the last pass, as far back as the API server keeps them",
    ),
    (
        "settle",
        "DURATION",
        "2s",
        "how long a burst of watched deletions may pause before it is written",
    ),
)
CATCH_UP_TIMEOUT = _group(
    "Watch",
    ("catch_up_timeout", "DURATION", "5m", "how long catching up may take"),
    (
        "list_every",
        "DURATION",
        "0s",
        "list only if the last list is this old, and follow the changes until then; 0s: always list",
    ),
)
SCHEDULE = _group(
    "Schedule",
    ("interval", "DURATION", "5m", "time from the start of one pass to the start of the next"),
    ("jitter", "DURATION", "0s", "delay each pass at random by up to this long"),
    (
        "cron",
        "SCHEDULE",
        None,
        "start passes on this schedule instead, in UTC; as a CronJob's, like '*/5 * * * *' or @hourly",
    ),
    ("stop_timeout", "DURATION", "20s", "on SIGTERM or Ctrl-C, how long to wait for the running pass"),
)
WATCH = _group(
    "Watch",
    ("watch", None, "false", "also record every change as it happens"),
    ("watch_silence", "DURATION", "2m", "reopen a watch that has delivered nothing for this long"),
)
HEALTH = _group(
    "Health",
    ("ready_within", "DURATION", "15m", "/readyz fails if the last pass is older than this"),
    ("live_within", "DURATION", "20m", "/livez fails if one round of the loop takes longer than this"),
    ("health_port", "PORT", "8080", "port of /livez, /readyz and /metrics; 0 for none"),
)
COVERAGE = _group(
    "Period",
    ("coverage_gap", "DURATION", "15m", "report gaps between passes longer than this"),
)
TIME_ZONE = _group(
    "Time",
    (
        "time_zone",
        "ZONE",
        "Europe/Zurich",
        "time zone of the calendar days, of those that are billed as of those given to flags",
    ),
)
LOGS = _group(
    "Logs",
    ("log_level", "LEVEL", "info", "debug, info, warning or error"),
    ("log_format", "FORMAT", "auto", "text or json; auto is text on a terminal and json otherwise"),
)

ALL = (
    *(
        *DATABASE,
        *CLUSTER,
        *SNAPSHOT,
        *BRAKE,
        *QUARANTINE,
        *READING,
        *CATCH_UP,
        *CATCH_UP_TIMEOUT,
        *SCHEDULE,
        *WATCH,
        *HEALTH,
    ),
    *(*COVERAGE, *TIME_ZONE, *LOGS),
)


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
