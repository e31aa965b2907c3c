"""The command line: what can be said on it, and which command that is. Answers --help by itself."""

import argparse
import gc
import sys
from collections.abc import Sequence

from reconciler import __version__, options
from reconciler.errors import ExitStatus

EXIT_STATUSES = "\n".join(("exit status:", *(f"  {status:<3} {status.means}" for status in ExitStatus)))
SETTINGS = """\
Every setting is a flag and a variable in the environment or in .env:
--page-size is RECONCILER_PAGE_SIZE. The flag wins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    parser = make_parser()
    for place, argument in enumerate(sys.argv[1:] if arguments is None else arguments, start=1):
        if not options.is_text(argument):
            # It may hold a password.
            parser.error(f"argument {place} is not UTF-8")
    given = vars(parser.parse_args(arguments))
    command = given.pop("command")
    # Hardly anything refers to itself: looking for it as often as usual takes a fifth of a small pass.
    gc.set_threshold(100_000)
    # Only now: what a command needs takes a while to import.
    from reconciler.commands import execute

    try:
        return execute(command, given)
    finally:
        # Nor is it looked for at the end.
        gc.freeze()


def make_parser() -> argparse.ArgumentParser:
    """The whole command line. What was not given is absent from the result."""
    parser = argparse.ArgumentParser(
        prog="reconciler",
        description="Compares a cluster's PiecedTenants with the billing ledger in Postgres, "
        "and writes what changed.",
        epilog="`reconciler COMMAND --help` tells the settings of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"reconciler {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_loop(commands)
    _add_verify(commands)
    _add_history(commands)
    _add_coverage(commands)
    _add_usage(commands)
    _add_close(commands)
    _add_pricing(commands)
    _add_org(commands)
    _add_schema(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = _command(commands, "run", "make one pass: snapshot, compare, write what changed")
    what = run.add_argument_group("this run")
    what.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    _add_snapshot(what)
    what.add_argument(
        "--detailed-exitcode",
        action="store_true",
        help="with --dry-run: exit 10 instead of 0 where changes are planned",
    )
    what.add_argument(
        "--allow-deletions",
        metavar="N",
        type=int,
        help="let up to N deletions through that the brake would hold back",
    )
    what.add_argument(
        "--rebind",
        action="store_true",
        help="let the lifecycle of a tenant that came back under a new uid go on, as after a restore",
    )
    what.add_argument(
        "--reopen",
        metavar="TENANT",
        action="append",
        help="withdraw the recorded deletion of a tenant that lives; may be given several times",
    )
    what.add_argument(
        "--adopt-cluster",
        action="store_true",
        help="let another cluster, or one restored from a backup, continue the ledger's",
    )
    _add_output(run, "text", "json", "sql")
    _add_settings(
        run, options.DATABASE, options.CLUSTER, options.PASS, options.CATCH_UP, options.LOGGING
    )


def _add_snapshot(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--snapshot",
        metavar="FILE",
        nargs="+",
        help="instead of a cluster: what `kubectl get piecedtenants -A -o json "
        "--show-managed-fields` (or -o yaml) printed; `-` is stdin (with --observed-at); several files "
        "or a folder are taken oldest first, one pass each",
    )
    parser.add_argument(
        "--observed-at",
        metavar="TIME",
        help="when a single file was taken, if its name does not tell: RFC 3339, or `now`",
    )


def _add_loop(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    loop = _command(commands, "loop", "make a pass now, and then one at every interval")
    _add_output(loop, "text", "json")
    _add_settings(
        *(loop, options.LOOP, options.HEALTH, options.DATABASE),
        *(options.CLUSTER, options.PASS, options.LOGGING),
    )


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    verify = _command(commands, "verify", "does the ledger hold, by itself and against the cluster?")
    what = verify.add_argument_group("this look")
    what.add_argument(
        "--snapshot", metavar="FILE", help="compare with this instead of a cluster, as in `run`"
    )
    what.add_argument(
        "--observed-at",
        metavar="TIME",
        help="when it was taken, if its name does not tell: RFC 3339, or `now`",
    )
    what.add_argument(
        "--ledger-only", action="store_true", help="compare with no cluster: look at the ledger alone"
    )
    what.add_argument(
        "--deep",
        action="store_true",
        help="also whether any row was altered since it was written, by the passes' digests",
    )
    _add_output(verify, "text", "json")
    _add_settings(verify, options.DATABASE, options.CLUSTER, options.PASS, options.LOGGING)


def _add_history(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    history = _command(commands, "history", "every row of a tenant or an org, and the evidence for each")
    history.add_argument(
        "tenant", metavar="TENANT", nargs="?", help="its name (namespace/name), or a uid"
    )
    history.add_argument("--org", metavar="ORG", help="all tenants of an org instead")
    history.add_argument("--from", dest="start", metavar="TIME", help="RFC 3339; its creation")
    history.add_argument("--to", dest="end", metavar="TIME", help="RFC 3339; now")
    history.add_argument(
        "--at",
        metavar="TIME",
        help="was it billable then, and why? A day (2026-03-14), or RFC 3339",
    )
    _add_output(history, "text", "json")
    _add_settings(history, options.USAGE, options.DATABASE, options.LOGGING)


def _add_coverage(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    coverage = _command(commands, "coverage", "when nobody looked: the gaps between the passes")
    coverage.add_argument("--from", dest="start", metavar="TIME", help="RFC 3339; the first pass")
    coverage.add_argument("--to", dest="end", metavar="TIME", help="RFC 3339; now")
    _add_output(coverage, "text", "json")
    _add_settings(coverage, options.COVERAGE, options.DATABASE, options.LOGGING)


def _add_usage(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    usage = _command(commands, "usage", "the billable days that the events add up to")
    what = usage.add_argument_group("what to count")
    what.add_argument("--month", metavar="MONTH", help="a calendar month, like 2026-10")
    what.add_argument(
        "--from", dest="start", metavar="DAY", help="instead: the first day, and with it --to"
    )
    what.add_argument("--to", dest="end", metavar="DAY", help="the day after the last")
    what.add_argument("--org", metavar="ORG", help="of this organisation only")
    what.add_argument("--tenant", metavar="TENANT", help="of this tenant only, by name or uid")
    what.add_argument(
        "--prices",
        action="store_true",
        help="also amounts, at the prices of each day; a preview: nothing is invoiced or stored",
    )
    what.add_argument(
        "--prices-of",
        metavar="DAY",
        help="with --prices: what the days would have cost at the prices of this day",
    )
    what.add_argument(
        "--bounds",
        action="store_true",
        help="also the least and the most days that the intervals of the rows allow",
    )
    what.add_argument(
        "--as-of",
        metavar="TIME",
        help="leave out what was written later, passes and prices: RFC 3339, or `now`",
    )
    what.add_argument(
        "--as-of-pass",
        metavar="N",
        type=int,
        help="the same by position: the number of the last pass or price change that counts",
    )
    what.add_argument(
        "--corrections",
        action="store_true",
        help="instead: what was changed after --as-of, or since the month was closed",
    )
    what.add_argument(
        "--since-close", action="store_true", help="with --corrections: since the last close, in CHF too"
    )
    what.add_argument(
        "--strict",
        action="store_true",
        help="exit 3 where the period is not ready to be billed; the lines are printed all the same",
    )
    _add_output(usage, "text", "json", "csv")
    _add_settings(usage, options.USAGE, options.COVERAGE, options.DATABASE, options.LOGGING)


def _add_close(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    close = _command(
        commands,
        "close",
        "record position, digest, prices and totals of a month; again: a revision, with the difference",
    )
    close.add_argument("month", metavar="MONTH", help="a calendar month, like 2026-10")
    close.add_argument("--org", metavar="ORG", help="of this organisation only")
    close.add_argument(
        "--in-doubt",
        action="store_true",
        help="although tenants are quarantined, or their deletion is held back",
    )
    close.add_argument("--by", metavar="NAME", help="who goes on record for it (default: the OS's user)")
    _add_output(close, "text", "json")
    _add_settings(close, options.USAGE, options.COVERAGE, options.DATABASE, options.LOGGING)


def _add_pricing(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    pricing = _command(commands, "pricing", "the prices of the platform and of the skills")
    actions = pricing.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = _command(actions, "show", "print all prices")
    show.add_argument("--at", metavar="DAY", help="as they are valid on a day (default: today)")
    _add_ledger_settings(show)
    history = _command(actions, "history", "print what each price was set to, and from which day on")
    history.add_argument(
        "subject", metavar="NAME", nargs="?", help="only of a skill, or of a price like vat_rate_chli"
    )
    _add_ledger_settings(history)
    change = _command(actions, "set", "change prices of the platform; prints before and after")
    amounts = change.add_argument_group("prices", "exact: what is finer than the column is refused")
    for column, about in (
        ("tenant_monthly_fee_chf", "a tenant and month, without VAT"),
        ("tenant_setup_fee_chf", "once a lifecycle, without VAT"),
        ("threema_message_chf", "a message, without VAT"),
        ("vat_rate_chli", "VAT in percent: 8.10 is 8.1 %%"),
    ):
        amounts.add_argument(f"--{column.replace('_', '-')}", metavar="AMOUNT", help=about)
    _add_price_decision(change)
    skill = _command(actions, "skill", "the price of one skill")
    of_skill = skill.add_subparsers(dest="skill_action", metavar="ACTION", required=True)
    change = _command(of_skill, "set", "give a skill its price, or another one; prints before and after")
    change.add_argument("skill", metavar="SKILL", help="an entry of spec.packages")
    change.add_argument("price", metavar="AMOUNT", help="CHF a billable day and tenant, without VAT")
    _add_price_decision(change)
    remove = _command(of_skill, "remove", "take a skill's price away; prints it")
    remove.add_argument("skill", metavar="SKILL", help="an entry of spec.packages")
    _add_price_decision(remove)


def _add_org(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    org = _command(commands, "org", "how organisations are billed")
    actions = org.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_ledger_settings(_command(actions, "list", "print all organisations"))
    show = _command(
        actions, "show", "print one; the first to read it creates its row, with the defaults"
    )
    show.add_argument("org", metavar="ORG", help="the Zitadel organisation's id")
    show.add_argument(
        "--create", action="store_true", help="also of an organisation that never had a tenant"
    )
    _add_decision(show)
    change = _command(actions, "set", "change how one is billed; prints before and after")
    change.add_argument("org", metavar="ORG", help="the Zitadel organisation's id")
    for column, about in (
        ("pay_by_invoice", "by bank transfer, and not by Stripe"),
        ("auto_invoice_enabled", "invoices are issued without a person looking at them"),
        ("auto_reminders_enabled", "reminders are sent without a person looking at them"),
    ):
        flag = f"--{column.replace('_', '-')}"
        change.add_argument(flag, choices=("true", "false"), help=about)
    change.add_argument("--stripe-customer-id", metavar="ID", help="cus_…; an empty one takes it away")
    _add_decision(change)
    move = _command(
        actions,
        "move",
        "settle a changed org label, in one pass: the lifecycle under the old org ends, the next begins",
    )
    move.add_argument("tenant", metavar="TENANT", help="its name")
    what = move.add_argument_group("this pass")
    what.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    _add_snapshot(what)
    _add_output(move, "text", "json", "sql")
    _add_settings(move, options.DATABASE, options.CLUSTER, options.PASS, options.LOGGING)


def _add_price_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="valid_from",
        metavar="DAY",
        help="the first day it is valid on, past or future "
        "(default: today; for a price that was never set: all days that were not billed yet)",
    )
    _add_decision(parser)


def _add_decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--by", metavar="NAME", help="who goes on record for it (default: the OS's user)"
    )
    _add_ledger_settings(parser)


def _add_ledger_settings(parser: argparse.ArgumentParser) -> None:
    _add_output(parser, "text", "json")
    _add_settings(parser, options.DATABASE, options.LOGGING)


def _add_schema(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    schema = _command(commands, "schema", "the tables of the ledger")
    actions = schema.add_subparsers(dest="action", metavar="ACTION", required=True)
    apply = _command(actions, "apply", "make the tables, or bring them up to date")
    _add_tables(apply)
    roles = apply.add_argument_group("roles", "granted just what they need; they must exist")
    roles.add_argument("--grant-runner", metavar="ROLE", help="passes: no change of an event, no tables")
    roles.add_argument("--grant-reader", metavar="ROLE", help="dry runs and reports")
    roles.add_argument("--grant-operator", metavar="ROLE", help="both, and prices and org settings too")
    _add_settings(apply, options.DATABASE, options.LOGGING)
    _add_tables(_command(actions, "print", "print the SQL that makes them"))
    drop = _command(actions, "drop", "remove the tables, with every row in them")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    _add_settings(drop, options.DATABASE, options.LOGGING)


def _add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tables",
        choices=("all", "ledger"),
        help="`ledger` leaves the five invoice tables to the portal; later runs keep to it ",
    )


class _Once(argparse.Action):
    """A value that is given once: of two the last would win, and nobody would see it."""

    is_given = False

    def __call__(
        self,
        _: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        if option_string and self.is_given:
            raise argparse.ArgumentError(self, "given twice; give it once")
        self.is_given = True
        setattr(namespace, self.dest, values)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=f"{EXIT_STATUSES}\n\n{SETTINGS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    command.register("action", None, _Once)
    return command


def _add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    parser.add_argument(
        "--output",
        choices=formats,
        default=formats[0],
        help=f"how to print it (default {formats[0]})",
    )


def _add_settings(parser: argparse.ArgumentParser, *groups: Sequence[options.Option]) -> None:
    settings = parser.add_argument_group("settings")
    for option in (option for group in groups for option in group):
        about = (
            option.help
            if option.default in (None, "false")
            else f"{option.help} (default {option.default})"
        )
        about = about.replace("%", "%%")
        if option.metavar is None:
            settings.add_argument(options.flag(option), action="store_const", const="true", help=about)
        else:
            settings.add_argument(options.flag(option), metavar=option.metavar, help=about)


if __name__ == "__main__":
    sys.exit(main())
