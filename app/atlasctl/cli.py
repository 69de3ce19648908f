"""The command line: what there is, what it takes, and nothing that is not needed before it is asked for."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from atlasctl.files import advice
from atlasctl.paths import from_environment
from atlasctl.trouble import Trouble

DESCRIPTION = "Look after Atlas on this machine. Lost? Start with: atlasctl status, then: atlasctl doctor"


def main(arguments: list[str] | None = None) -> int:
    """Run `atlasctl` and return its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return _run(asked)
    except Trouble as error:
        print(f"atlasctl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"atlasctl: {error.filename or 'the system'}: {error.strerror}{advice(error)}", file=sys.stderr)
        return 1


def _run(asked: argparse.Namespace) -> int:  # noqa: C901, PLR0911  (one a verb)
    paths = from_environment()
    match asked.command:
        case "health":
            from atlasctl.health.command import health

            return health(
                paths, as_json=asked.json, quiet=asked.quiet, may_heal=asked.heal, metrics=asked.metrics
            )
        case "status":
            from atlasctl.status import status

            return status(paths, as_json=asked.json, watch=asked.watch)
        case "logs":
            from atlasctl.logs import logs

            return logs(asked.names, follow=asked.follow, lines=asked.lines, since=asked.since)
        case "doctor":
            from atlasctl.doctor import doctor

            return doctor(paths, as_json=asked.json)
        case "usage":
            from atlasctl.usage.command import usage

            return usage(paths, as_json=asked.json, metrics=asked.metrics, check=asked.check)
        case "report":
            from atlasctl.report.command import report

            return report(paths, as_html=asked.html, send=asked.send, metrics=asked.metrics)
        case "mail":
            from atlasctl.mail.command import mail

            return mail(paths, asked)
        case "alerts":
            from atlasctl.alerts.command import alerts

            return alerts(paths, asked)
        case "backup":
            from atlasctl.backup.command import backup

            return backup(paths, asked)
        case "restore":
            from atlasctl.backup.command import restore_

            return restore_(paths, asked)
        case "drill":
            from atlasctl.backup.command import drill

            return drill(paths, asked)
        case _:
            from atlasctl.release.command import release

            return release(paths, asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("atlasctl", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    status = commands.add_parser("status", help="how is it? (exit code 0 well, 1 wants attention, 2 broken)")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--watch", action="store_true", help="again every 5 seconds; end with Ctrl-C")

    doctor = commands.add_parser("doctor", help="find what is wrong and print the command that repairs it")
    doctor.add_argument("--json", action="store_true", help="for programs")

    logs = commands.add_parser("logs", help="what our units say, readable; atlasctl logs worker -f")
    logs.add_argument(
        "names", nargs="*", metavar="NAME", help="api, worker, nginx, postgresql, any unit (default: all)"
    )
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come; end with Ctrl-C")
    logs.add_argument(
        "-n", "--lines", type=int, metavar="N", help="the last N lines (default: 100, with --since all)"
    )
    logs.add_argument("--since", metavar="TIME", help="'10 min ago', '09:00', '2026-11-22 09:00'")

    health = commands.add_parser(
        "health", help="run the checks now, restart what is down, write the status page"
    )
    health.add_argument("--json", action="store_true", help="for programs")
    health.add_argument(
        "--quiet", action="store_true", help="for the timer: say only what changed, exit code 0"
    )
    health.add_argument("--no-heal", dest="heal", action="store_false", help="restart nothing")
    health.add_argument(
        "--metrics", type=Path, metavar="DIR", help="for the timer: write metrics for the node exporter there"
    )

    usage = commands.add_parser("usage", help="in Oracle Cloud: what is used of what is free, and leftovers")
    usage.add_argument("--json", action="store_true", help="for programs")
    usage.add_argument(
        "--metrics", action="store_true", help="for the timer: write metrics, say only what failed"
    )
    usage.add_argument("--check", action="store_true", help="for health: judge the last report, ask nobody")

    report = commands.add_parser("report", help="the week of this machine and of the app, as it is mailed")
    report.add_argument("--weekly", action="store_true", help="the last seven days (the default)")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--html", action="store_true", help="as HTML")
    form.add_argument("--send", action="store_true", help="hand it to the machine's mail, for its owner")
    form.add_argument("--metrics", action="store_true", help="only write down that it is set up")

    _mail(commands.add_parser("mail", help="the machine's own mail: what waits and why, a test mail"))
    _alerts(commands.add_parser("alerts", help="what is wrong, what was; keep it quiet for a while"))
    _backup(commands)
    _release(commands.add_parser("release", help="deploy, list, roll back and delete releases of the app"))
    return parser


def _mail(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    parser.add_argument("--json", action="store_true", help="for programs")
    test = verbs.add_parser("test", help="send a mail to the owner, and wait until the server has it")
    test.add_argument("--to", metavar="ADDRESS", help="to somebody else")
    verbs.add_parser("flush", help="try everything that waits now")
    verbs.add_parser("deliver", help="for the unit: send what is due")
    verbs.add_parser("metrics", help="for the unit: write the metrics")
    verbs.add_parser("check", help="for health: say in one line whether mail gets out")


def _alerts(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    parser.add_argument("--json", action="store_true", help="for programs")
    silence = verbs.add_parser("silence", help="tell nobody of an alert for a while: silence DiskFull 1h")
    silence.add_argument("name", metavar="NAME", help="of the alert, as atlasctl alerts shows it")
    silence.add_argument("length", metavar="LENGTH", help="30m, 1h, 2d, 1w")
    end = verbs.add_parser("end", help="end a silence")
    end.add_argument("name", metavar="NAME", help="of the alert, or the silence's id")
    history = verbs.add_parser("history", help="what fired in the last 30 days")
    history.add_argument("--json", action="store_true", help="for programs")
    test = verbs.add_parser("test", help="send an alert that means nothing, by every way")
    test.add_argument(
        "--severity", default="warning", help="critical, warning or info (default: %(default)s)"
    )
    verbs.add_parser("serve", help="for the unit: the page of alerts")


def _backup(commands: Any) -> None:  # noqa: ANN401  (argparse does not name its type)
    kinds = ("database", "originals", "config")
    make = commands.add_parser("backup", help="back up now; list what there is")
    verbs = make.add_subparsers(dest="verb", metavar="VERB")
    listing = verbs.add_parser("list", help="all snapshots, the newest first")
    verbs.add_parser("check", help="for health: say in one line whether backups are made and proven")
    telling = verbs.add_parser("tell", help="for the units: mail how it ended, if that is wanted")
    telling.add_argument("job", choices=("backup", "drill"))
    expiring = verbs.add_parser(
        "expire", help="for the units: remove what killed runs left, and what is too old"
    )
    verbs.add_parser("rekey", help="give the repositories another password, read from standard input")
    make.add_argument(
        "--if-free", action="store_true", help="for the unit: not while another one works, and without a word"
    )
    make.add_argument("--anew", metavar="NAME", help="begin a repository again that is gone")

    restore = commands.add_parser("restore", help="bring a backup back; tried first, and undone with --undo")
    restore.add_argument("snapshot", nargs="?", metavar="ID", help="see atlasctl backup list; latest (asks)")
    restore.add_argument(
        "--at", metavar="TIME", help="the database as it was then: 2026-11-25T09:30:00Z, latest"
    )
    restore.add_argument("--to", type=Path, metavar="DIR", help="only write it to a new directory")
    restore.add_argument("--yes", action="store_true", help="do not ask")
    restore.add_argument("--undo", action="store_true", help="go back to before the last restore")

    drill = commands.add_parser("drill", help="prove the backups: restore them on trial, start Atlas on them")
    for parser in (make, restore):
        parser.add_argument("--only", choices=kinds, help="only this part")
    for parser in (make, listing, restore, drill):
        parser.add_argument("--repository", metavar="NAME", help="only there, from there (all)")
    for parser in (make, expiring, drill):
        parser.add_argument("--wait", action="store_true", help="wait for another one to end")
    for parser in (make, listing, drill):
        parser.add_argument("--json", action="store_true", help="for programs")


def _release(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    deploy = verbs.add_parser(
        "deploy", help="build the release in --source and switch to it; go back if it is not ready"
    )
    rollback = verbs.add_parser("rollback", help="switch back to a release that served before")
    listing = verbs.add_parser("list", help="all releases, the one that served last first")
    prune = verbs.add_parser("prune", help="delete old releases")

    deploy.add_argument("--source", type=Path, default=Path("/opt/atlas/source"), help="default: %(default)s")
    deploy.add_argument(
        "--python", default="python3", help="builds and runs the release (default: %(default)s)"
    )
    deploy.add_argument(
        "--count", type=int, default=3, metavar="N", help="releases to keep (default: %(default)s)"
    )
    rollback.add_argument("id", nargs="?", metavar="ID", help="default: the one that served before this one")
    rollback.set_defaults(count=0)
    listing.add_argument("--json", action="store_true", help="for programs")
    prune.add_argument("--count", type=int, required=True, metavar="N", help="releases to keep")
    for verb in (deploy, rollback, listing, prune):
        verb.add_argument("--root", type=Path, help="default: /opt/atlas")
    for verb in (deploy, rollback):
        verb.add_argument(
            "--user", default="atlas", help="runs check-config and migrate (default: %(default)s)"
        )
        verb.add_argument(
            "--units", default="atlas-api.service,atlas-worker.service", help="default: %(default)s"
        )
        verb.add_argument("--ready-url", help="default: /ready of the app, on the port its settings name")
        verb.add_argument("--ready-seconds", type=float, default=60, metavar="S", help="default: %(default)s")
        verb.add_argument(
            "--settle-seconds",
            type=float,
            default=3,
            metavar="S",
            help="so long it must stay ready (default: %(default)s)",
        )
