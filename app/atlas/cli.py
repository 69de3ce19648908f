"""The command `atlas`: what can be typed, and which function of `atlas.commands` does it.

A command's code is imported when it runs, so that `--help` is quick and the worker does not carry the API
with it. Exit status: 0 done, 1 failed (and why, on standard error), 2 not understood.
"""

import argparse
import importlib
import os
import sys
from typing import Any

from atlas import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = importlib.import_module("atlas.commands").run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough; nothing may be flushed there at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    text = "Atlas, a private content platform. Settings come from the environment (ATLAS_...) and .env."
    parser = argparse.ArgumentParser(prog="atlas", description=text, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"atlas {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    add = _verb(verbs, "add", "library:add", "queue web addresses to be fetched, and files to be read")
    add.add_argument(
        "urls",
        metavar="URL|FILE",
        nargs="+",
        help="address, or a file (PDF, HTML, Markdown, text, mail); - reads addresses from standard input, "
        "one a line",
    )
    add.add_argument("--tag", action="append", default=[], metavar="TAG", help="file it under TAG")
    note = _verb(verbs, "note", "library:note", "keep a note, in Markdown")
    note.add_argument("text", metavar="TEXT", nargs="?", default="-", help="- or nothing: standard input")
    note.add_argument("--title", metavar="TITLE", help="without: its first heading or line")
    note.add_argument("--tag", action="append", default=[], metavar="TAG", help="file it under TAG")
    search = _verb(verbs, "search", "library:search", "find what was read")
    search.add_argument(
        "words", metavar="WORD", nargs="+", help='a word, "a phrase", or (after --) -word to leave out'
    )
    search.add_argument("--limit", type=_positive, default=20, metavar="N", help="show at most N (20)")
    _imports(verbs)
    _exports(verbs)
    _verb(verbs, "status", "overview:status", "show queue, workers, feeds and the last errors")

    work = _service(verbs, "work", "work:work", "fetch and read what is queued, until stopped")
    work.add_argument("--once", action="store_true", help="end when nothing is due any more")
    work.add_argument("--max-items", type=_positive, metavar="N", help="end after N items")
    _service(verbs, "serve", "serve:serve", "serve API and web pages, until stopped")
    _service(verbs, "poll", "feeds:poll", "ask the feeds that are due, once")
    _verb(verbs, "migrate", "system:migrate", "bring the database up to date and make the owner's account")
    check = _verb(verbs, "check-config", "system:check_config", "say what is wrong with the settings")
    check.add_argument("--connect", action="store_true", help="also try database, mail and model")

    _verb(verbs, "error", "errors:explain", "explain an error by the id that was shown").add_argument(
        "id", metavar="ID", help="of an error, or of a request (X-Request-ID)"
    )
    _add_feeds(verbs)
    _add_care(verbs)
    _add_report(verbs)

    user = _group(verbs, "user", "manage accounts")
    password = _verb(user, "set", "accounts:set_password", "make an account, or give it a new password")
    password.add_argument("name", metavar="NAME", help="the password is read from standard input")
    password.add_argument(
        "--role", choices=("owner", "member"), help="owners manage accounts (the first account: owner)"
    )
    _verb(user, "list", "accounts:list_users", "list the accounts")
    remove = _verb(user, "remove", "accounts:remove_user", "remove an account, its sessions and tokens")
    remove.add_argument("name", metavar="NAME")

    token = _group(verbs, "token", "manage API tokens")
    create = _verb(token, "create", "accounts:create_token", "make a token and print it, once")
    create.add_argument("name", metavar="NAME", help="the program it is for")
    create.add_argument("--user", metavar="USER", help="the account it belongs to (the owner's)")
    create.add_argument(
        "--scope",
        action="append",
        choices=("read", "write", "admin"),
        help="what it may do: look, change the library, manage accounts (read and write); may be repeated",
    )
    create.add_argument(
        "--expires", type=_positive, metavar="DAYS", help="it ends after so many days (never)"
    )
    _verb(token, "list", "accounts:list_tokens", "list the tokens")
    revoke = _verb(token, "revoke", "accounts:revoke_token", "make a token worthless")
    revoke.add_argument("id", metavar="ID", type=_positive, help="as `atlas token list` shows it")
    audit = _verb(verbs, "audit-log", "accounts:audit_log", "show what was done with accounts, and by whom")
    audit.add_argument("--limit", type=_positive, default=50, metavar="N", help="show the last N (50)")
    return parser


def _add_care(verbs: Any) -> None:  # noqa: ANN401
    again = _verb(verbs, "reprocess", "care:reprocess", "read everything again from the kept originals")
    again.add_argument("--kind", metavar="KIND", help="only items of this kind")
    again.add_argument("--since", metavar="DATE", help="only items added since then")
    again.add_argument(
        "--failed", action="store_true", help="those that failed, instead of those that are here"
    )
    again.add_argument("--item", type=_positive, metavar="ID", help="only this item")
    again.add_argument("--dry-run", action="store_true", help="only say what would change")
    audit = _verb(
        verbs, "audit", "care:audit", "find junk, orphans, duplicates, broken originals, index drift"
    )
    audit.add_argument("--quick", action="store_true", help="do not unpack the originals")
    clean = _verb(verbs, "clean", "care:clean", "mend what the audit finds, after a copy of the database")
    clean.add_argument("--yes", action="store_true", help="do it; without, only say what would be done")


def _add_feeds(verbs: Any) -> None:  # noqa: ANN401
    cookies = _group(verbs, "cookies", "keep cookies that open sites for their subscriber")
    keep = _verb(cookies, "set", "cookies:keep", "keep a site's cookies, read from standard input")
    keep.add_argument("host", metavar="HOST", help="example.org; hosts below it are covered")
    _verb(cookies, "list", "cookies:list_sites", "list the sites that have cookies")
    forget = _verb(cookies, "remove", "cookies:remove", "forget a site's cookies")
    forget.add_argument("host", metavar="HOST", help="as `atlas cookies list` shows it")

    dead = _group(verbs, "dead", "show what failed and decide what becomes of it")
    failed = _verb(dead, "list", "dead:list_dead", "list what failed, and why")
    failed.add_argument("--code", metavar="CODE", help="only this reason, such as http_404")
    failed.add_argument("--ignored", action="store_true", help="those that were set aside instead")
    failed.add_argument("--limit", type=_positive, default=50, metavar="N", help="show at most N (50)")
    again = _verb(dead, "retry", "dead:retry", "try items again")
    again.add_argument("ids", metavar="ID", nargs="*", type=_positive, help="as `atlas dead list` shows it")
    again.add_argument("--code", metavar="CODE", help="all that failed for this reason")
    aside = _verb(dead, "ignore", "dead:ignore", "set items aside: they are not tried again by themselves")
    aside.add_argument("ids", metavar="ID", nargs="+", type=_positive, help="as `atlas dead list` shows it")
    aside.add_argument("--undo", action="store_true", help="bring them back")

    index = _group(verbs, "index", "look after the search index")
    _verb(index, "check", "library:check_index", "say whether the search index fits what it is made of")
    _verb(index, "rebuild", "library:rebuild_index", "make the search index anew; nobody writes meanwhile")

    feed = _group(verbs, "feed", "subscribe to feeds, list and change them")
    add = _verb(feed, "add", "feeds:add", "subscribe to a feed, or to the one a page names")
    add.add_argument("url", metavar="URL")
    add.add_argument("--title", metavar="TITLE", help="what to call it, instead of its own title")
    add.add_argument("--folder", metavar="FOLDER", help="the folder it goes into")
    _verb(feed, "list", "feeds:show_all", "list the feeds")
    change = _verb(feed, "set", "feeds:change", "change options of a feed")
    change.add_argument("id", metavar="ID", type=_positive, help="as `atlas feed list` shows it")
    change.add_argument("--title", metavar="TITLE", help='what to call it ("": its own title again)')
    change.add_argument("--folder", metavar="FOLDER", help='the folder it goes into ("": none)')
    change.add_argument("--interval", type=_positive, metavar="SECONDS", help="how often it is asked")
    change.add_argument(
        "--full-text",
        choices=("auto", "feed", "page"),
        help="what is kept of an entry: its own text if it is whole, else the page; always one of the two",
    )
    change.add_argument("--retention", metavar="DAYS", help='days until read entries go ("": never)')
    change.add_argument("--rules", metavar="JSON", help="a list of rules as docs/feeds.md describes them")
    paused = change.add_mutually_exclusive_group()
    paused.add_argument("--pause", dest="paused", action="store_true", default=None, help="stop asking it")
    paused.add_argument("--resume", dest="paused", action="store_false", default=None, help="ask it again")
    remove = _verb(feed, "remove", "feeds:remove", "follow a feed no more; what it brought stays")
    remove.add_argument("id", metavar="ID", type=_positive)
    refresh = _verb(feed, "refresh", "feeds:refresh", "have a feed asked now")
    refresh.add_argument("id", metavar="ID", type=_positive)


def _add_report(verbs: Any) -> None:  # noqa: ANN401
    report = _verb(verbs, "report", "report:report", "tell what a week brought, and what to do")
    report.add_argument("--weekly", action="store_true", help="the last seven days (the default)")
    report.add_argument("--since", metavar="DATE", help="from this day (UTC) instead, such as 2026-11-22")
    form = report.add_mutually_exclusive_group()
    form.add_argument("--text", action="store_true", help="print the text (the default)")
    form.add_argument("--html", action="store_true", help="print the HTML")
    form.add_argument("--send", action="store_true", help="send it by mail to ATLAS_REPORT_TO")


def _exports(verbs: Any) -> None:  # noqa: ANN401
    give = _verb(verbs, "export", "exports:export", "write what is here in forms that others read")
    forms = ("json", "netscape", "opml", "epub", "rss", "atom", "highlights")
    give.add_argument("form", choices=forms, help="json is everything, and can be imported again")
    give.add_argument("--output", "-o", metavar="FILE", help="write it there (standard output)")
    give.add_argument("--query", "-q", metavar="WORDS", default="", help="only what this search finds")
    give.add_argument("--limit", type=_positive, metavar="N", help="no more than the N newest items")
    give.add_argument("--title", metavar="TITLE", default="", help="what to call a book or feed")
    give.add_argument("--without-originals", action="store_true", help="json without what was fetched")


def _imports(verbs: Any) -> None:  # noqa: ANN401
    take = _verb(verbs, "import", "imports:take", "take over what other services (or Atlas) exported")
    take.add_argument("files", metavar="FILE", nargs="*", help="file or folder; - reads standard input")
    take.add_argument("--dry-run", action="store_true", help="only tell what would happen")
    take.add_argument("--format", metavar="NAME", help="what it is, if what is in it shall not tell")
    take.add_argument("--wait", action="store_true", help="do it here and now, and say what became of it")
    take.add_argument("--list", action="store_true", help="list the imports there were")
    take.add_argument("--report", type=_positive, metavar="ID", help="print what became of each record")
    take.add_argument("--cancel", type=_positive, metavar="ID", help="end an import where it is")


def _group(verbs: Any, name: str, text: str) -> Any:  # noqa: ANN401 - argparse does not name this type
    return verbs.add_parser(name, help=text, description=_sentence(text)).add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )


def _verb(verbs: Any, name: str, function: str, text: str) -> argparse.ArgumentParser:  # noqa: ANN401
    parser = _service(verbs, name, function, text)
    parser.set_defaults(service=False)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser


def _service(verbs: Any, name: str, function: str, text: str) -> argparse.ArgumentParser:  # noqa: ANN401
    """Add a command that runs unattended: its output is a log."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=_sentence(text), allow_abbrev=False
    )
    parser.set_defaults(function=function, service=True)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
