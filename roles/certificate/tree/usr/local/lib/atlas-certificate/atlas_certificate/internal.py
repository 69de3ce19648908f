"""The authority of this machine's own, and the certificates it signs."""

import os
import secrets
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from atlas_certificate import pem, store

AUTHORITY_DAYS = 3650


def authority_wrong(home: Path, settings: dict[str, Any]) -> str:
    """Say why the authority cannot sign; empty when it can."""
    certificate, key = home / "ca.pem", home / "authority" / "ca.key"
    if not certificate.exists() or not key.exists():
        return "there was none"
    if pem.ends_within(certificate, timedelta(days=settings["days"])):
        return "it ends before what it would sign"
    return "" if pem.belong_together(certificate, key) else "its key and certificate did not belong together"


def certificate_wrong(home: Path, settings: dict[str, Any]) -> str:
    """Say why the certificate in use is not a good one of this authority; empty when it is."""
    if reason := unusable(home):
        return reason
    certificate, _ = store.current(home)
    if pem.ends_within(certificate, timedelta(days=settings["renew_days"])):
        return f"it ends within {settings['renew_days']} days"
    if not pem.signed_by(certificate, home / "ca.pem"):
        return "the authority had not signed it"
    if not pem.is_for(certificate, settings["names"]):
        return f"it was for {', '.join(pem.names_in(certificate))}"
    if (curve := pem.curve(certificate)) != settings["curve"]:
        return f"its key was {curve}"
    return ""


def stopgap_wrong(home: Path, settings: dict[str, Any]) -> str:
    """Say why what is in use cannot stay until another authority has signed; empty when it can.

    What another one has signed stays, even when it is over or for other names: to replace it by what no
    browser trusts would help nobody.
    """
    return unusable(home) if store.origin(home) else certificate_wrong(home, settings)


def unusable(home: Path) -> str:
    """Say why a server could not start with what is in use; empty when it could."""
    certificate, key = store.current(home)
    if not certificate.exists() or not key.exists():
        return "there was none"
    return "" if pem.belong_together(certificate, key) else "its key and certificate did not belong together"


def make_authority(home: Path) -> None:
    """Make a new authority; its certificate appears last."""
    private = home / "authority"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=private) as aside:
        key, certificate = Path(aside, "ca.key"), Path(aside, "ca.pem")
        pem.new_key(key, "P-256")
        pem.openssl(
            *("req", "-x509", "-new", "-key", str(key), "-out", str(certificate)),
            *("-days", str(AUTHORITY_DAYS)),
            *("-subj", f"/CN=Atlas {os.uname().nodename} {time.strftime('%Y-%m-%d', time.gmtime())}"),
            *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        certificate.chmod(0o644)
        key.replace(private / "ca.key")
        certificate.replace(home / "ca.pem")


def issue(home: Path, settings: dict[str, Any]) -> None:
    """Issue a certificate and use it."""
    store.switch(home, lambda aside: _sign(home, aside, settings))


def _sign(home: Path, aside: Path, settings: dict[str, Any]) -> None:
    key, request, certificate = aside / "privkey.pem", aside / "request.pem", aside / "fullchain.pem"
    extensions = aside / "extensions"
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\n"
        "subjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
        f"subjectAltName={','.join(pem.subject(name) for name in settings['names'])}\n"
    )
    pem.new_key(key, settings["curve"])
    named = f"/CN={settings['names'][0][:64]}"
    pem.openssl("req", "-new", "-key", str(key), "-out", str(request), "-subj", named)
    pem.openssl(
        *("x509", "-req", "-in", str(request), "-out", str(certificate), "-days", str(settings["days"])),
        *("-CA", str(home / "ca.pem"), "-CAkey", str(home / "authority/ca.key")),
        *("-set_serial", f"0x{secrets.token_hex(16)}", "-sha256", "-extfile", str(extensions)),
    )
