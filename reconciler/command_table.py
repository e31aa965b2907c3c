"""Every command: what it does, its flags and settings, and examples. Imports nothing heavy.

`reconciler org move` runs `org_move` in `reconciler.commands.org`, with its flags as arguments.
"""

from collections.abc import Iterator, Mapping, Sequence

from reconciler.errors import ExitStatus
from reconciler.flags import (
    BECAUSE,
    BY,
    DRY_RUN,
    FILES,
    LEDGER,
    OBSERVED_AT,
    PASS,
    Command,
    Flag,
    Group,
    number,
    output,
)
from reconciler.options import (
    ALL,
    BRAKE,
    CATCH_UP,
    CATCH_UP_TIMEOUT,
    CLUSTER,
    COVERAGE,
    DATABASE,
    HEALTH,
    LOGS,
    QUARANTINE,
    READING,
    SCHEDULE,
    SNAPSHOT,
    TIME_ZONE,
    WATCH,
    Option,
    flag,
)

_RUN = Command(
    "make one pass: list the tenants, compare them with the ledger, and record what changed",
    "The first pass records every tenant (backfill). A second one right after it records nothing.",
    (
        *(FILES, OBSERVED_AT, *SNAPSHOT),
        DRY_RUN,
        Flag(
            "--detailed-exitcode",
            "Output",
            None,
            "with --dry-run, exit with 10 instead of 0 if changes are planned",
        ),
        output("text", "json", "sql", "markdown", "html"),
        Flag(
            "--allow-deletions",
            "Safety",
            "N",
            "write up to N weak deletions that would be held back",
            {"type": number},
        ),
        Flag(
            "--rebind",
            "Safety",
            None,
            "treat a tenant that is back under a new uid as the same lifecycle, as after a restore",
        ),
        Flag(
            "--reopen",
            "Safety",
            "TENANT",
            "withdraw the recorded deletion of a tenant that exists; may be repeated",
            {"action": "append"},
        ),
        Flag(
            "--adopt-cluster",
            "Safety",
            None,
            "accept another cluster, or one restored from a backup, as the one of the ledger",
        ),
        *(BY, BECAUSE),
        *(*READING, *BRAKE, *QUARANTINE, *CATCH_UP, *CATCH_UP_TIMEOUT, *PASS),
    ),
    (
        "reconciler run --dry-run",
        "reconciler run --snapshot tenants-20261101T060000Z.json",
        "reconciler run --allow-deletions 12",
    ),
    (ExitStatus.REFUSED, ExitStatus.QUARANTINED, ExitStatus.CHANGES_PLANNED),
)
_LOOP = Command(
    "make a pass at every interval; with --watch, record every change as it happens",
    "Runs until SIGTERM or Ctrl-C and then exits with 0. A failed pass is retried.",
    (
        *(*SCHEDULE, *WATCH, *READING, *CATCH_UP, *HEALTH, *BRAKE),
        output("text", "json"),
        *(*DATABASE, *CLUSTER, *LOGS),
    ),
    ("reconciler loop --watch", "reconciler loop --cron '*/5 * * * *' --health-port 0"),
)
_VERIFY = Command(
    "check the ledger: by its own events, and against the cluster",
    "Prints what does not agree, and what the next pass would write. It writes nothing.",
    (
        Flag("--ledger-only", "Check", None, "check the ledger alone; compare it with no cluster"),
        Flag("--deep", "Check", None, "check also that no row was altered since it was written"),
        Flag("--invoices", "Check", None, "check also that issued invoices are what the ledger gives"),
        *(FILES._replace(help="compare with this file instead of the cluster", more={}), OBSERVED_AT),
        *SNAPSHOT,
        output("text", "json"),
        *(*BRAKE, *PASS),
    ),
    ("reconciler verify", "reconciler verify --ledger-only --deep"),
    (ExitStatus.FOUND,),
)
_FROM = Flag("--from", "Period", "TIME", "show nothing before this", {"dest": "start"})
_TO = Flag("--to", "Period", "TIME", "show nothing from this on (default: now)", {"dest": "end"})
_HISTORY = Command(
    "show every recorded change of a tenant or an org, and the evidence for its time",
    "",
    (
        Flag("tenant", None, "TENANT", "name (namespace/name if namespaced) or uid", {"nargs": "?"}),
        Flag("--org", "Selection", "ORG", "all tenants of this organisation instead"),
        *(_FROM, _TO),
        Flag("--at", "Period", "TIME", "say whether it was billable at this time or day, and why"),
        output("text", "json"),
        *(*DATABASE, *TIME_ZONE, *LOGS),
    ),
    (
        "reconciler history acme",
        "reconciler history acme --from 2026-10-01 --to 2026-11-01",
        "reconciler history --org 320815470900000001 --at 2026-10-15",
    ),
)
_COVERAGE = Command(
    "show when changes may have been missed",
    "A change that was made and undone within a gap is not recorded.",
    (_FROM, _TO, *COVERAGE, output("text", "json"), *DATABASE, *TIME_ZONE, *LOGS),
    ("reconciler coverage --from 2026-10-01 --to 2026-11-01",),
)
_USAGE = Command(
    "show the billable days of a period, and what they cost",
    "",
    (
        Flag("--month", "Period", "MONTH", "a calendar month, like 2026-10"),
        _FROM._replace(metavar="DAY", help="instead of --month: the first day"),
        _TO._replace(metavar="DAY", help="with --from: the day after the last"),
        Flag("--org", "Selection", "ORG", "only this organisation"),
        Flag("--tenant", "Selection", "TENANT", "only this tenant, by name or uid"),
        Flag("--prices", "Output", None, "also amounts, at the prices of each day; nothing is invoiced"),
        Flag("--prices-of", "Output", "TIME", "with --prices, at the prices of this day instead"),
        Flag("--bounds", "Output", None, "also the fewest and the most days that the evidence allows"),
        output("text", "json", "csv", "xlsx"),
        Flag(
            "--by",
            "Groups",
            None,
            "add the lines up",
            {"choices": ("org", "tenant", "skill", "day", "month")},
        ),
        Flag("--sort", "Groups", None, "the highest first", {"choices": ("amount", "days")}),
        Flag("--top", "Groups", "N", "only so many; the total counts all", {"type": number}),
        Flag("--totals", "CSV", "FILE", "also write the totals, with the position, to this file"),
        Flag(
            "--separator",
            "CSV",
            None,
            "between the cells (default comma)",
            {"choices": ("comma", "semicolon", "tab")},
        ),
        Flag(
            "--decimal", "CSV", None, "sign of amounts (default point)", {"choices": ("point", "comma")}
        ),
        Flag("--bom", "CSV", None, "begin with a byte-order mark, as Excel wants it for UTF-8"),
        Flag("--as-of", "Corrections", "TIME", "leave out what was written later: passes and prices"),
        Flag(
            "--as-of-pass",
            "Corrections",
            "N",
            "leave out what follows this pass or price change",
            {"type": number},
        ),
        Flag("--corrections", "Corrections", None, "show instead what was changed after --as-of"),
        Flag("--since-close", "Corrections", None, "with --corrections, since the last close"),
        Flag(
            "--strict",
            "Readiness",
            None,
            "exit with 3 if the period is not ready to be billed; the days are printed all the same",
        ),
        *(*COVERAGE, *DATABASE, *TIME_ZONE, *LOGS),
    ),
    (
        "reconciler usage --month 2026-10 --prices",
        "reconciler usage --month 2026-10 --prices --by org --sort amount --top 10",
        "reconciler usage --from 2026-01-01 --to 2027-01-01 --by month",
        "reconciler usage --month 2026-10 --prices --output csv --separator semicolon --bom",
        "reconciler usage --month 2026-10 --as-of 2026-11-02 --corrections",
    ),
    (ExitStatus.REFUSED,),
)
_REPORT = Command(
    "write a month as an HTML file to look at, to print or to send",
    "With --org the statement of one organisation: its lines, each day, and what proves them. Without, "
    "the fleet: tenants by day, organisations and skills. The figures are those of `usage --prices`. "
    "Needs the extra `report`.",
    (
        Flag("--month", "Period", "MONTH", "a calendar month, like 2026-10", {"required": True}),
        Flag("--org", "Selection", "ORG", "only this organisation"),
        Flag("--output", "Output", "FILE", "where to write it (default: stdout)", {"dest": "file"}),
        *(*COVERAGE, *DATABASE, *TIME_ZONE, *LOGS),
    ),
    (
        "reconciler report --month 2026-10 --output fleet.html",
        "reconciler report --month 2026-10 --org 320815470900000001 --output statement.html",
    ),
)
_METRICS = Command(
    "print where the ledger stands, as Prometheus reads it",
    "For passes by a CronJob, whose process is gone when Prometheus asks: write it to a file for "
    "node_exporter, or push it. The loop serves its own on --health-port.",
    (*COVERAGE, *DATABASE, *LOGS),
    ("reconciler metrics > reconciler.prom",),
)
_CLOSE = Command(
    "record a month as it is billed: its position, prices, totals and digest",
    "Closing a month again records a revision, and what changed since the last one.",
    (
        Flag("month", None, "MONTH", "a calendar month, like 2026-10"),
        Flag("--org", "Selection", "ORG", "only this organisation"),
        Flag(
            "--in-doubt",
            "Readiness",
            None,
            "close it although tenants are quarantined, or their deletions are held back",
        ),
        *(BY, output("text", "json")),
        *(*COVERAGE, *DATABASE, *TIME_ZONE, *LOGS),
    ),
    ("reconciler close 2026-10",),
    (ExitStatus.REFUSED,),
)
_VOID = Command(
    "void a pass that should never have been, and all passes after it",
    "For a pass with a wrong time or over the wrong tenants, which later passes cannot put right. Its "
    "rows are withdrawn and kept on record, and the ledger is as the pass before it left it. Only the "
    "owner of the tables may.",
    (
        Flag("first_pass", None, "PASS", "number of the first pass that is voided", {"type": number}),
        Flag("--because", "Record", "TEXT", "why, for the record; not needed with --dry-run"),
        BY,
        Flag("--dry-run", "Output", None, "print what would be withdrawn, and change nothing"),
        Flag("--yes", "Record", None, "void without asking"),
        *(output("text", "json"), *LEDGER),
    ),
    (
        "reconciler void 12 --dry-run",
        "reconciler void 12 --because 'file dated 2027 by mistake'",
    ),
)
_SKILL = Flag("skill", None, "SKILL", "an entry of spec.packages")
_ORG = Flag("org", None, "ORG", "id of the Zitadel organisation")
_BY_AND_OUTPUT = (BY, output("text", "json"))
_SET = (*_BY_AND_OUTPUT, *LEDGER)
_VALID_FROM = Flag(
    "--from",
    "Period",
    "TIME",
    "the first day that it is valid on, past or future (default: today; for a price that was never "
    "set, all days that were not billed yet)",
    {"dest": "valid_from"},
)
_SET_PRICE = (_VALID_FROM, *_BY_AND_OUTPUT, *DATABASE, *TIME_ZONE, *LOGS)


def _amount(column: str, text: str) -> Flag:
    return Flag(f"--{column.replace('_', '-')}", "Prices", "AMOUNT", text)


def _choice(column: str, text: str) -> Flag:
    return Flag(f"--{column.replace('_', '-')}", "Billing", None, text, {"choices": ("true", "false")})


_PRICING = Group(
    "show or change prices",
    {
        "show": Command(
            "show all prices",
            "",
            (
                Flag("--at", "Period", "TIME", "the prices of this day (default: today)"),
                output("text", "json"),
                *(*DATABASE, *TIME_ZONE, *LOGS),
            ),
            ("reconciler pricing show", "reconciler pricing show --at 2026-10-01"),
        ),
        "history": Command(
            "show what each price was set to, and from which day on",
            "",
            (
                Flag(
                    "subject",
                    None,
                    "NAME",
                    "a skill, or a price like vat_rate_chli",
                    {"nargs": "?"},
                ),
                *(output("text", "json"), *LEDGER),
            ),
            ("reconciler pricing history", "reconciler pricing history vat_rate_chli"),
        ),
        "set": Command(
            "change prices of the platform",
            "Prints the old and new values. The change goes on record.",
            (
                _amount("tenant_monthly_fee_chf", "CHF per tenant and month"),
                _amount("tenant_setup_fee_chf", "CHF once per lifecycle"),
                _amount("threema_message_chf", "CHF per message"),
                _amount("vat_rate_chli", "VAT in percent, like 8.10"),
                *_SET_PRICE,
            ),
            ("reconciler pricing set --tenant-monthly-fee-chf 49 --from 2027-01-01",),
        ),
        "skill": Group(
            "set or remove the price of a skill (an entry of spec.packages)",
            {
                "set": Command(
                    "set the price of a skill",
                    "Prints the old and the new price. The change goes on record.",
                    (
                        _SKILL,
                        Flag("price", None, "AMOUNT", "CHF per billable day and tenant, without VAT"),
                        *_SET_PRICE,
                    ),
                    ("reconciler pricing skill set crm 0.50",),
                ),
                "remove": Command(
                    "remove the price of a skill",
                    "Prints the price that it had. The change goes on record.",
                    (_SKILL, *_SET_PRICE),
                    ("reconciler pricing skill remove crm",),
                ),
            },
        ),
    },
)
_ORGS = Group(
    "show or change how organisations (orgs) are billed",
    {
        "list": Command(
            "show all organisations", "", (output("text", "json"), *LEDGER), ("reconciler org list",)
        ),
        "show": Command(
            "show one organisation",
            "The first to read an organisation creates its row, with the defaults.",
            (
                *(_ORG, BY),
                Flag("--create", "Record", None, "also of an organisation that never had a tenant"),
                *(output("text", "json"), *LEDGER),
            ),
            ("reconciler org show 320815470900000001",),
        ),
        "set": Command(
            "change how an organisation is billed",
            "Prints the old and new values. The change goes on record.",
            (
                _ORG,
                _choice("pay_by_invoice", "pay by bank transfer instead of Stripe"),
                _choice("auto_invoice_enabled", "issue invoices without review"),
                _choice("auto_reminders_enabled", "send reminders without review"),
                Flag("--stripe-customer-id", "Billing", "ID", "cus_…; an empty one removes it"),
                Flag(
                    "--name",
                    "Billing",
                    "NAME",
                    "what people call it, shown beside the id; an empty one removes it",
                    {"dest": "display_name"},
                ),
                *_SET,
            ),
            (
                "reconciler org set 320815470900000001 --pay-by-invoice true",
                "reconciler org set 320815470900000001 --name 'Bergbahn Arosa AG'",
            ),
        ),
        "move": Command(
            "record that a tenant changed to another organisation",
            "Makes one pass that ends the tenant's lifecycle under the old organisation and begins the "
            "next one under the new organisation.",
            (
                Flag("tenant", None, "TENANT", "name (namespace/name if namespaced)"),
                Flag(
                    "--effective",
                    "Record",
                    "TIME",
                    "when it moved (default: what managedFields says about the label, else the time of "
                    "the snapshot)",
                ),
                *(BY, BECAUSE),
                *(FILES, OBSERVED_AT, *SNAPSHOT),
                *(DRY_RUN, output("text", "json", "sql", "markdown", "html")),
                *(*READING, *BRAKE, *QUARANTINE, *CATCH_UP, *CATCH_UP_TIMEOUT, *PASS),
            ),
            (
                "reconciler org move acme --dry-run",
                "reconciler org move acme",
                "reconciler org move acme --effective 2026-11-17T09:00:00Z --because 'contract 4711'",
            ),
            (ExitStatus.REFUSED, ExitStatus.QUARANTINED),
        ),
    },
)
_TABLES = Flag(
    "--tables",
    "Tables",
    None,
    "ledger leaves the five invoice tables to the portal, and later runs keep to it",
    {"choices": ("all", "ledger")},
)
_SCHEMA = Group(
    "create, print or drop the tables of the ledger",
    {
        "apply": Command(
            "create the tables, or bring them up to date",
            "",
            (
                _TABLES,
                Flag("--grant-runner", "Roles", "ROLE", "for passes"),
                Flag("--grant-reader", "Roles", "ROLE", "for dry runs and reports"),
                Flag("--grant-operator", "Roles", "ROLE", "for both, and for prices and org settings"),
                Flag(
                    "--grant-portal", "Roles", "ROLE", "for reports, prices, org settings and invoices"
                ),
                *LEDGER,
            ),
            ("reconciler schema apply", "reconciler schema apply --grant-runner reconciler_runner"),
        ),
        "print": Command(
            "print the SQL that creates the tables",
            "",
            (_TABLES,),
            ("reconciler schema print > schema.sql",),
        ),
        "drop": Command(
            "drop the tables with all their rows",
            "",
            (Flag("--yes", "Safety", None, "drop without asking"), *LEDGER),
            ("reconciler schema drop",),
        ),
    },
)
_SETTINGS = Command(
    "show the settings in effect, and where each comes from",
    "A setting comes from a flag, the environment, .env or its default. Passwords are not shown.",
    (output("text", "json"), *ALL),
    ("reconciler settings", "reconciler settings --output json"),
)
_COMPLETION = Command(
    "print a script that completes commands and flags in a shell",
    "",
    (Flag("shell", None, "SHELL", "bash, zsh or tcsh", {"choices": ("bash", "zsh", "tcsh")}),),
    ('eval "$(reconciler completion bash)"',),
)

COMMANDS: dict[str, Command | Group] = {
    "run": _RUN,
    "loop": _LOOP,
    "verify": _VERIFY,
    "history": _HISTORY,
    "coverage": _COVERAGE,
    "usage": _USAGE,
    "report": _REPORT,
    "metrics": _METRICS,
    "close": _CLOSE,
    "pricing": _PRICING,
    "org": _ORGS,
    "void": _VOID,
    "schema": _SCHEMA,
    "settings": _SETTINGS,
    "completion": _COMPLETION,
}


def leaves(commands: Mapping[str, Command | Group] = COMMANDS) -> Iterator[tuple[str, Command]]:
    """Every command that does something, as it is typed: `run`, `org move`."""
    for name, command in commands.items():
        if isinstance(command, Group):
            yield from ((f"{name} {below}", leaf) for below, leaf in leaves(command.commands))
        else:
            yield name, command


def flags_of(command: Command) -> Sequence[str]:
    """Every flag that the command takes, as it is typed."""
    flags = ["--help", *(one.name for one in command.flags if isinstance(one, Flag))]
    for one in command.flags:
        if isinstance(one, Option):
            flags.append(flag(one))
            if one.metavar is None:
                flags.append(f"--no-{flag(one)[2:]}")
    return flags
