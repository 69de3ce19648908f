"""A certificate from Let's Encrypt, or whoever else speaks ACME: certbot asks, what it gets is taken over.

certbot keeps it as a lineage in /etc/letsencrypt, one for each authority, so that trying a staging authority
never touches the certificate of the real one.
"""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from atlas_certificate import memory, pem, reach, store

SECONDS = 600.0
CURVES = {"P-256": "secp256r1", "P-384": "secp384r1"}  # as certbot calls them
KINDS = ("cert", "chain", "fullchain", "privkey")  # the files of a lineage
BESIDES = ("Saving debug log", "Ask for help", "See the logfile", "An unexpected error")
PROBLEM = "urn:ietf:params:acme:error:"
GROUP = re.compile(
    r"Domain:\s*(\S+)\s+Type:\s*(\S+)\s+Detail:\s*(.+?)\s*(?=\n\s*\n|\n\s*Domain:|\Z)", re.DOTALL
)
UNTIL = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")


class Places(NamedTuple):
    """Where certbot keeps what, as the distribution has it."""

    configuration: Path
    work: Path
    logs: Path

    @classmethod
    def below(cls, root: Path) -> "Places":
        """Return the usual places, below another root when tests want one."""
        return cls(root / "etc/letsencrypt", root / "var/lib/letsencrypt", root / "var/log/letsencrypt")


class Answer(NamedTuple):
    """Why there is no certificate, and until when the authority wants no more questions."""

    trouble: str
    until: datetime | None = None


def due(acme: dict[str, Any], places: Places) -> str:
    """Say why the authority must be asked; empty when its certificate is good."""
    certificate, key = _files(acme, places)
    if not certificate.exists() or not key.exists():
        return "there was none"
    if not pem.belong_together(certificate, key):
        return "its key and certificate did not belong together"
    begin, end = pem.life(certificate)
    # The shorter a certificate lives, the later: a third of its life is left then.
    left = min(timedelta(days=acme["renew_days"]), (end - begin) / 3)
    if pem.ends_within(certificate, left):
        return f"it ends within {_span(left)}"
    if not pem.is_for(certificate, acme["names"]):
        return f"it was for {', '.join(pem.names_in(certificate))}"
    if (curve := pem.curve(certificate)) != acme["curve"]:
        return f"its key was {curve}"
    return ""


def take_over(home: Path, acme: dict[str, Any], places: Places) -> bool:
    """Use what certbot has, when it has what fits and it is not in use already; say whether."""
    certificate, key = _files(acme, places)
    good = (
        certificate.exists()
        and key.exists()
        and pem.belong_together(certificate, key)
        and not pem.ends_within(certificate, timedelta())
        and pem.is_for(certificate, acme["names"])
    )
    if not good or (store.origin(home) == acme["lineage"] and store.holds(home, certificate, key)):
        return False

    def fill(aside: Path) -> None:
        for source, name in zip((certificate, key), store.FILES, strict=True):
            (aside / name).write_bytes(source.read_bytes())

    store.switch(home, fill, acme["lineage"])
    return True


def ask(home: Path, acme: dict[str, Any], places: Places, now: datetime, *, patient: bool) -> str:
    """Ask the authority, when it may be asked and would find us; return what is in the way.

    `patient` is the timer: it keeps the pauses that failures bring. Whoever asks by hand need not, unless the
    authority itself named the pause.
    """
    kept = memory.recall(home, _request(acme), now)
    if kept.waits(now, patient=patient):
        return kept.trouble
    if trouble := reach.in_the_way(acme):
        memory.remember(home, kept._replace(trouble=trouble, until=now, closed=now))
        return trouble
    answer = _certbot(acme, places, now)
    if not answer.trouble and (reason := due(acme, places)):
        answer = Answer(
            f"certbot ended well, but what it left in {places.configuration} is not good: {reason}"
        )
    if not answer.trouble:
        memory.forget(home)
        return ""
    failures = kept.failures + 1
    closed = answer.until or now
    kept = kept._replace(trouble=answer.trouble, failures=failures, closed=closed)
    memory.remember(home, kept._replace(until=max(now + memory.wait(failures), closed)))
    return answer.trouble


def in_the_way(home: Path, acme: dict[str, Any], now: datetime) -> str:
    """Say why the authority did not sign when it was last to be asked; empty when it was not in vain."""
    return memory.recall(home, _request(acme), now).trouble


def _request(acme: dict[str, Any]) -> dict[str, Any]:
    return {"server": acme["server"], "names": acme["names"]}


def _certbot(acme: dict[str, Any], places: Places, now: datetime) -> Answer:
    _set_damaged_aside(acme["lineage"], places, now)
    command = [
        *(
            "certbot",
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "--force-renewal",
            "--no-directory-hooks",
        ),
        *("--renew-with-new-domains", "--cert-name", acme["lineage"], "--server", acme["server"]),
        *("--webroot", "--webroot-path", acme["challenge_directory"]),
        *("--key-type", "ecdsa", "--elliptic-curve", CURVES[acme["curve"]]),
        *(("--email", acme["email"]) if acme["email"] else ("--register-unsafely-without-email",)),
        *("--no-eff-email", "--max-log-backups", "10"),
        "--no-autorenew",  # certbot's own timer is for others: two would double what goes wrong
        *(
            "--config-dir",
            str(places.configuration),
            "--work-dir",
            str(places.work),
            "--logs-dir",
            str(places.logs),
        ),
        *(word for name in acme["names"] for word in ("--domain", name)),
    ]
    trusted = {"REQUESTS_CA_BUNDLE": acme["ca_file"]} if acme["ca_file"] else {}
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8", **trusted},
        )
    except FileNotFoundError:
        return Answer("certbot is not installed. Run the whole playbook, not only its tag certificate")
    except subprocess.TimeoutExpired:
        return Answer(f"{_authority(acme)} took more than {SECONDS:.0f} s")
    return Answer("") if done.returncode == 0 else _understand(done.stdout, places, acme, now)


def _understand(said: str, places: Places, acme: dict[str, Any], now: datetime) -> Answer:
    """Turn what certbot says into a sentence that says what to do."""
    log = places.logs / "letsencrypt.log"
    answers = _answers(log.read_text(errors="replace")) if log.exists() else []
    status, headers, body = answers[-1] if answers else (0, {}, "")
    who = _authority(acme)
    until = _until(headers.get("retry-after", ""), said, now) if status >= 400 else None
    if f"{PROBLEM}rateLimited" in body or status == 429:
        until = until or now + memory.LONGEST_WAIT
        return Answer(
            f"{who} wants fewer requests, and none before {until:%Y-%m-%d %H:%M} UTC: {_last(said)}", until
        )
    if found := GROUP.findall(said):
        name, kind, detail = found[0]
        return Answer(_refusal(who, name, kind, " ".join(detail.split())), until)
    if not answers:
        return Answer(_silence(who, said), until)
    return Answer(f"{who} did not sign: {_last(said)}", until)


def _refusal(who: str, name: str, kind: str, detail: str) -> str:
    """Say why the authority did not believe that a name is ours."""
    advice = {
        "connection": "It comes from outside: is port 80 open in every firewall before this machine?",
        "unauthorized": "Does the name lead elsewhere when it is looked up from outside?",
        "dns": "It asks from outside, where a new record may need some hours to be known.",
        "caa": f"A CAA record of the domain must allow it, such as: {name}. CAA 0 issue letsencrypt.org",
    }
    return f"{who} could not see that {name} is this machine ({detail}). {advice.get(kind, '')}".rstrip()


def _silence(who: str, said: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said:
        return (
            f"{who} has a certificate this machine does not trust. State its authority: certificate_acme_ca"
        )
    return f"{who} does not answer: {_last(said)}"


def _answers(log: str) -> list[tuple[int, dict[str, str], str]]:
    """List the answers of the authority that certbot logged: status, headers with small letters, body."""
    found = []
    for block in log.split("Received response:\nHTTP ")[1:]:
        first, _, rest = block.partition("\n")
        head, _, body = rest.partition("\n\n")
        headers = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        found.append((int(first), {name.lower(): value for name, value in headers.items()}, body))
    return found


def _until(header: str, said: str, now: datetime) -> datetime | None:
    """Read when the authority may be asked again: from Retry-After (seconds or a date), or from its words."""
    if header.isdecimal():
        return now + timedelta(seconds=int(header))
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        pass
    named = UNTIL.search(said)
    return datetime.fromisoformat(f"{named[1]}T{named[2]}+00:00") if named else None


def _last(said: str) -> str:
    """Pick what certbot says went wrong from what it says besides."""
    lines = [line.strip() for line in said.splitlines()]
    told = [line for line in lines if line and not line.startswith(BESIDES)]
    return told[-1] if told else "it does not say why"


def _set_damaged_aside(lineage: str, places: Places, now: datetime) -> None:
    """Move away what is left of a lineage that is not whole: certbot would make another beside it."""
    conf = places.configuration / "renewal" / f"{lineage}.conf"
    live = places.configuration / "live" / lineage
    archive = places.configuration / "archive" / lineage
    parts = [conf, live, archive]
    files = [live / f"{kind}.pem" for kind in KINDS]
    if all(one.exists() for one in (*parts, *files)):
        text = conf.read_text(errors="replace")
        if all(re.search(rf"^{kind} = ", text, re.MULTILINE) for kind in KINDS):
            return
    away = places.configuration / "set-aside" / f"{now:%Y%m%dT%H%M%SZ}"
    for part in parts:
        if part.exists():
            away.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.rename(away / f"{part.parent.name}-{part.name}")


def _files(acme: dict[str, Any], places: Places) -> tuple[Path, Path]:
    certificate, key = (places.configuration / "live" / acme["lineage"] / file for file in store.FILES)
    return certificate, key


def _authority(acme: dict[str, Any]) -> str:
    """Name the authority as people know it."""
    staging = "'s staging authority" if "staging" in acme["lineage"] else ""
    return f"Let's Encrypt{staging}" if acme["public"] else f"The certificate authority at {acme['server']}"


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span >= timedelta(days=2) else f"{span.total_seconds() / 3600:.0f} hours"
