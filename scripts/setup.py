"""Make `.venv` with the pinned tools and the system packages they need; `oci`: with Oracle's SDK too."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile

import engine

if sys.version_info < (3, 11):  # noqa: UP036 - this is what an older Python says
    sys.exit(
        f"Atlas needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12"
    )

VENV = engine.VENV
PYTHON = VENV / "bin" / "python"
PIP = [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check", "--no-input"]
PINNED = ["install", "--no-deps", "--require-hashes", "--requirement"]
REQUIREMENTS = engine.ROOT / "requirements"
STAMP = VENV / "requirements.sha256"
OCI_STAMP = VENV / "requirements-oci.sha256"
# What of Oracle's SDK is used: all of it is 18,000 files, and what is not compiled takes seconds to import.
OCI_PARTS = (
    "*.py",
    "_vendor",
    "auth",
    "budget",
    "circuit_breaker",
    "core",
    "dns",
    "identity",
    "limits",
    "monitoring",
    "object_storage",
    "ons",
    "pagination",
    "retry",
    "usage_api",
    "work_requests",
)
# Packages that not every release has, and what happens without them.
OPTIONAL = {
    "chromium": "the browser tests will be skipped",
    "epubcheck": "no one else judges the e-books",
    "newsboat": "no feed reader is a client in the tests",
    "passt": "podman takes slirp4netns instead",
}


def main() -> None:
    """Make the virtual environment ready."""
    install_packages(venv_packages())
    make_venv()
    if sys.argv[1:] == ["oci"]:
        make_oci()


def venv_packages() -> list[str]:
    """Name the Debian packages `python3 -m venv` lacks here."""
    return [] if importlib.util.find_spec("ensurepip") or _works() else ["python3-venv"]


def install_packages(packages: list[str], why: str = "to make .venv") -> None:
    """Install Debian packages, by sudo when this is not root; an empty list asks nobody anything."""
    if not packages:
        return
    if not shutil.which("apt-get"):
        sys.exit(f"Missing {why}: {', '.join(packages)} (Debian's names). Install them and run this again.")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    print(
        f"Installing {', '.join(packages)} {why}{' (sudo may ask for your password)' if sudo else ''}.",
        flush=True,
    )
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]
    subprocess.run([*apt, "update"], check=True)
    packages = [package for package in packages if package not in OPTIONAL or _is_known(package)]
    if not packages:
        return
    installed = subprocess.run(
        [*apt, "install", "--yes", "--no-install-recommends", *packages],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if installed.returncode:
        sys.exit("apt-get could not install them; the reason is above.")


def _is_known(package: str) -> bool:
    """Say whether apt can install a package (a name others only depend on has no entry), or what follows."""
    entry = subprocess.run(["apt-cache", "show", package], check=False, capture_output=True)
    if entry.returncode == 0 and entry.stdout.strip():
        return True
    print(f"apt does not know {package} here: {OPTIONAL[package]}.", flush=True)
    return False


def make_venv() -> None:
    """Make `.venv` hold exactly what requirements/ pins, unless it does."""
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted and PYTHON.exists():
        return
    print("Making .venv with the pinned tools: a minute or two.", flush=True)
    if not _works():
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    subprocess.run([*PIP, *PINNED, REQUIREMENTS / "dev.txt"], check=True)
    _unpack_collections()
    STAMP.write_text(wanted)


def make_oci() -> None:
    """Add Oracle's SDK to `.venv`, with compiled bytecode, unless it is there as pinned."""
    wanted = f"{_fingerprint()} {_digest((REQUIREMENTS / 'oci.txt').read_bytes())} all compiled"
    if OCI_STAMP.exists() and OCI_STAMP.read_text() == wanted:
        return
    print("Adding Oracle's SDK to .venv: 250 MB, half a minute.", flush=True)
    subprocess.run([*PIP, *PINNED, REQUIREMENTS / "oci.txt", "--no-compile"], check=True)
    (package,) = VENV.glob("lib/python3*/site-packages/oci")
    parts = [path for part in OCI_PARTS for path in sorted(package.glob(part))]
    # What it stands on, too: where Python may not write beside its sources, each task would compile it anew.
    others = [path for path in sorted(package.parent.iterdir()) if path.name != "oci"]
    subprocess.run([PYTHON, "-m", "compileall", "-q", *parts, *others], check=True)
    OCI_STAMP.write_text(wanted)


def _works() -> bool:
    """Say whether .venv has pip and this Python: one whose making was interrupted lacks the first."""
    asked = [str(PYTHON), "-c", "import sys, pip; print(sys.version)"]
    try:
        answer = subprocess.run(asked, check=False, capture_output=True, text=True)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == sys.version.strip()


def _fingerprint() -> str:
    parts = [(REQUIREMENTS / name).read_bytes() for name in ("dev.txt", "collections.txt")]
    parts += [(engine.ROOT / "requirements.yml").read_bytes(), sys.version.encode()]
    return _digest(b"\0".join(parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _unpack_collections() -> None:
    """Take the collections requirements.yml names from the hash-checked `ansible` wheel instead of Galaxy."""
    downloads = engine.CACHE / "collections"
    shutil.rmtree(downloads, ignore_errors=True)
    command = [*PIP, "download", "--no-deps", "--require-hashes", "--dest", str(downloads)]
    subprocess.run([*command, "--requirement", REQUIREMENTS / "collections.txt"], check=True)
    names = [
        line.split(":")[1].strip().replace(".", "/")
        for line in (engine.ROOT / "requirements.yml").read_text().splitlines()
        if line.strip().startswith("- name:")
    ]
    prefixes = tuple(f"ansible_collections/{name}/" for name in names)
    (site_packages,) = VENV.glob("lib/python3*/site-packages")
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                site_packages, [name for name in archive.namelist() if name.startswith(prefixes)]
            )
    shutil.rmtree(downloads)


if __name__ == "__main__":
    main()
