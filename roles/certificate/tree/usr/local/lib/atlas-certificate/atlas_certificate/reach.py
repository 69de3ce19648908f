"""Whether the world finds this machine by its names: the DNS, and the path a certificate authority asks for.

An authority counts what it finds wrong, and soon answers no more (Let's Encrypt: 5 failures an hour for a
name). So everything that can be known from here is looked at before it is asked.
"""

import contextlib
import http.client
import ipaddress
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from atlas_certificate import dns

PATH = "/.well-known/acme-challenge/"
SECONDS = 5.0
PORT = 80
HERE = "127.0.0.1"


class _Here(NamedTuple):
    """What is known of this machine, and the word to be found here."""

    local: list[str]  # addresses of its interfaces
    ours: list[str]  # those it was told are its own, and these
    public: bool  # the authority comes over the internet
    port: int
    path: str
    word: str


def in_the_way(acme: dict[str, Any]) -> str:
    """Say why an authority would not find this machine by one of its names; empty when it would."""
    servers = acme["dns_servers"] or dns.servers()
    local = interface_addresses()
    stated = [one for one in map(_normal, acme["addresses"]) if _is_address(one)]
    with _token(Path(acme["challenge_directory"])) as (path, word):
        here = _Here(local, stated + local, acme["public"], acme.get("port", PORT), path, word)
        for name in acme["names"]:
            try:
                found = dns.resolve(name, servers)
            except dns.NoAnswerError as error:
                return f"{error}. Does this machine reach its name servers?"
            if not found:
                return f"{name} has no address in the DNS. {_record(name, here)}"
            for address in found:
                if words := _wrong(name, address, here):
                    return words
    return ""


def _wrong(name: str, address: str, here: _Here) -> str:
    """Say what is wrong with one of a name's addresses; empty when the authority would come here by it."""
    reachable = ipaddress.ip_address(address).is_global
    if here.public and not reachable:
        return (
            f"{name} leads to {address}, where nobody comes from the internet. {_record(name, here, address)}"
        )
    said = _fetch(address, name, here)
    if not said:
        return ""
    hidden = "." in address and not _global(here.ours, address)  # nobody hides behind one of IPv6
    if address not in here.ours and reachable and hidden:
        return (
            f"{name} leads to {address}. From here it cannot be told whether that is this machine, which has "
            f"{', '.join(here.local) or 'no address'} itself: {said}. "
            f"If it is, state it: certificate_public_addresses: [{address}]"
        )
    if address not in here.ours:
        return f"{name} leads to {address}, which is not this machine. {_record(name, here, address)}"
    if address not in here.local:
        # A router may not lead back in what comes from inside: only the way from nginx on can be tried.
        said = _fetch(HERE, name, here)
    return said and (
        f"http://{name}{PATH} does not lead to where an authority's question is answered: at {address}, "
        f"{said}. Is nginx running, and as site.yml makes it (systemctl status nginx)?"
    )


def interface_addresses() -> list[str]:
    """List the addresses of this machine's network interfaces, without those that lead nowhere else."""
    listed = subprocess.run(["ip", "-json", "address"], check=True, capture_output=True, text=True).stdout
    addresses = [_normal(one["local"]) for link in json.loads(listed) for one in link.get("addr_info", [])]
    return [one for one in addresses if _is_address(one)]


def _is_address(text: str) -> bool:
    """Say whether it is an address that others could reach."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _normal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _record(name: str, here: _Here, wrong: str = "") -> str:
    """Say which record to set, in the form in which those who sell domains ask for it."""
    where = "Set this record where the domain is managed"
    kind = "AAAA" if ":" in wrong else "A"
    mine = _global(here.ours, wrong or HERE)
    if not mine and not here.public:
        mine = [one for one in here.ours if (":" in one) == (":" in wrong)]
    if mine:
        return f"{where}: {name}. {kind} {mine[0]}"
    if wrong and here.ours:
        return f"Remove this record where the domain is managed: {name}. {kind} {wrong}"
    return f"{where}: {name}. {kind}, with the public address of this machine"


def _global(addresses: list[str], like: str) -> list[str]:
    """List those that the internet knows, of the same version of IP."""
    alike = [one for one in addresses if (":" in one) == (":" in like)]
    return [one for one in alike if ipaddress.ip_address(one).is_global]


@contextlib.contextmanager
def _token(directory: Path) -> Iterator[tuple[str, str]]:
    """Lay down a word for the time being where certbot lays down its answers; yield its path and the word."""
    name, word = f"atlas-{secrets.token_hex(8)}", secrets.token_hex(16)
    place = directory / PATH.strip("/")
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    for one in (place, *place.parents[:2]):
        one.chmod(0o755)
    file = place / name
    file.write_text(word)
    file.chmod(0o644)
    try:
        yield PATH + name, word
    finally:
        file.unlink()


def _fetch(address: str, name: str, here: _Here) -> str:
    """Ask for the word as the authority will ask; say what came instead, nothing when it came."""
    connection = http.client.HTTPConnection(address, here.port, timeout=SECONDS)
    try:
        connection.request("GET", here.path, headers={"Host": name, "User-Agent": "atlas-certificate"})
        answer = connection.getresponse()
        body = answer.read(1000).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"nothing answers ({str(error) or type(error).__name__})"
    finally:
        connection.close()
    if answer.status != http.client.OK:
        towards = f" to {answer.headers['Location']}" if answer.headers["Location"] else ""
        return f"it answers {answer.status}{towards}"
    return "" if body == here.word else "it answers with something else"
