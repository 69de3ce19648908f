"""Keep this machine's certificate good: have it signed, renew it, repair it, and tell who uses it.

/etc/atlas/certificate.json says for which names, and who signs: an authority of this machine's own, or Let's
Encrypt (or whoever else speaks ACME), which certbot asks. In its `directory`:

    ca.pem                 the own authority's certificate, for everybody who is to trust it
    authority/ca.key       its key, for root alone; 10 years
    current                -> issued/ID, the certificate in use
    issued/ID/             fullchain.pem and privkey.pem, for root alone; ID ends with @LINEAGE if certbot's
    renewal.json           only while another authority does not sign: what is in the way

Until another authority has signed, the own one does, so that servers can start. When there is a new
certificate, every program in /etc/atlas/certificate.d is run.

    atlas-certificate            do what is due; prints JSON: changed, actions, trouble, warning
    atlas-certificate --timer    the same, but after a failure first wait
    atlas-certificate --local    the same, but ask nobody else
    atlas-certificate --check    only say what is due
    atlas-certificate --renew    renew, due or not

Exit codes: 0; 75 when another authority did not sign (all else is done, and it will be tried again); 1 when
something could not be done.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from atlas_certificate import acme, hooks, internal, memory, pem, store

TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h


class Outcome(NamedTuple):
    """What was done, what is in the way of the rest, and who could not be told."""

    actions: list[str]
    trouble: str = ""
    untold: list[str] = []  # noqa: RUF012  (never written to)


def main() -> int:
    """Run the command line."""
    asked = parse()
    os.umask(0o077)
    try:
        settings = json.loads((asked.root / "etc/atlas/certificate.json").read_text())
        home = Path(settings["directory"])
        if asked.check:
            done = Outcome(due(home, settings, asked))
        else:
            with store.locked(home):
                done = keep(home, settings, asked, datetime.now(UTC))
        warning = in_full(home, settings, done, datetime.now(UTC))
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        print(f"atlas-certificate: {words(error)}", file=sys.stderr)
        return 1
    print(json.dumps({"changed": bool(done.actions), **done._asdict(), "warning": warning}))
    if warning:
        print(f"atlas-certificate: {warning}", file=sys.stderr)
    return TRY_LATER if warning else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timer", action="store_true", help="after a failure first wait")
    parser.add_argument("--local", action="store_true", help="ask nobody else")
    parser.add_argument("--check", action="store_true", help="only say what is due")
    parser.add_argument("--renew", action="store_true", help="renew, due or not")
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    return parser.parse_args()


def due(home: Path, settings: dict[str, Any], asked: argparse.Namespace) -> list[str]:
    """Say what would be done."""
    if reason := internal.authority_wrong(home, settings):
        return [f"new authority: {reason}", "issued: the authority is new"]
    actions = [f"closed {path}" for path in store.too_open(home)]
    if settings["acme"]:
        reason = internal.stopgap_wrong(home, settings)
        wanted = acme.due(settings["acme"], acme.Places.below(asked.root))
        # What is in the way is known, and watched by the health check: nothing that a run would change.
        known = acme.in_the_way(home, settings["acme"], datetime.now(UTC))
        if wanted and not known and not asked.local:
            actions.append(f"signed: {wanted}")
    else:
        reason = internal.certificate_wrong(home, settings)
    untold = ["tell those who use it"] if hooks.untold(home) else []
    return actions + ([f"issued: {reason}"] if reason else []) + untold


def keep(home: Path, settings: dict[str, Any], asked: argparse.Namespace, now: datetime) -> Outcome:
    """Do what is due."""
    actions = []
    if reason := internal.authority_wrong(home, settings):
        internal.make_authority(home)
        actions.append(f"new authority: {reason}")
    for path in store.too_open(home):
        path.chmod(0o600 if path.is_file() else 0o700)
        actions.append(f"closed {path}")
    if settings["acme"]:
        done = from_elsewhere(home, settings, asked, now)
        return done._replace(actions=actions + done.actions)
    memory.forget(home)
    wanted = "asked for" if asked.renew else ""
    if reason := internal.certificate_wrong(home, settings) or wanted:
        internal.issue(home, settings)
        actions.append(f"issued: {reason}")
    told, untold = tell(home, asked)
    return Outcome(actions + told, untold=untold)


def from_elsewhere(home: Path, settings: dict[str, Any], asked: argparse.Namespace, now: datetime) -> Outcome:
    """Have a certificate signed by another authority, and one of our own until then."""
    wanted, places = settings["acme"], acme.Places.below(asked.root)
    actions = []
    if acme.take_over(home, wanted, places):
        actions.append(f"installed: what certbot has as {wanted['lineage']}")
    elif reason := internal.stopgap_wrong(home, settings):
        internal.issue(home, settings)
        actions.append(f"issued: {reason}")
    told, untold = tell(home, asked)
    actions += told
    if asked.local:
        return Outcome(actions, untold=untold)
    reason = acme.due(wanted, places) or ("asked for" if asked.renew else "")
    if not reason:
        memory.forget(home)
        return Outcome(actions, untold=untold)
    trouble = acme.ask(home, wanted, places, now, patient=asked.timer)
    if acme.take_over(home, wanted, places):
        told, untold = tell(home, asked)
        actions += [f"signed: {reason}", *told]
    return Outcome(actions, trouble, untold)


def tell(home: Path, asked: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Tell those who use the certificate, when there is a new one; say who was told, and what failed."""
    if not hooks.untold(home):
        return [], []
    return hooks.tell(home, asked.root / "etc/atlas/certificate.d")


def in_full(home: Path, settings: dict[str, Any], done: Outcome, now: datetime) -> str:
    """Say what is in the way, what it means for those who come with a browser, and what happens next."""
    said = [f"There is a new certificate, but {'; '.join(done.untold)}."] if done.untold else []
    if done.trouble:
        stop = "" if done.trouble.endswith((".", "?")) else "."
        said += [_meaning(home, settings["acme"]["names"][0], now), done.trouble + stop]
    if said:
        said.append("It is tried again every hour by itself; at once by running site.yml again, or with")
        said.append("`atlas-certificate` on the machine.")
    return " ".join(said)


def _meaning(home: Path, name: str, now: datetime) -> str:
    if not store.origin(home):
        return f"Browsers warn at {name}: this machine signed its certificate itself, until another does."
    _, end = pem.life(store.current(home)[0])
    when = "is good until" if end > now else "ended on"
    return f"The certificate of {name} {when} {end:%Y-%m-%d}, but there is no new one yet."


def words(error: Exception) -> str:
    """Say what went wrong in the words of the program that failed."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd[:2])} failed: {str(error.stderr).strip()}"
    return str(error) or type(error).__name__
