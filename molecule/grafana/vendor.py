"""A signed repository with a package called grafana, laid out as the vendor's, and a program that echoes.

It runs in the machine as root: `python3 vendor.py DIRECTORY`, and needs gpg. The key is in DIRECTORY/key.asc.
"""

import gzip
import hashlib
import os
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

PROGRAM = '''#!/usr/bin/python3
"""Stands in for Grafana: keeps the password it was made with, and answers with what it was asked."""

import configparser
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATABASE = Path("/var/lib/grafana/grafana.db")
if sys.argv[1] == "cli":
    assert sys.argv[-2:] == ["reset-admin-password", "--password-from-stdin"], sys.argv
    DATABASE.write_text(sys.stdin.read())
    sys.exit()

config = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",))
config.read_string("[DEFAULT]\\n" + Path("/etc/grafana/grafana.ini").read_text())


def file(value):
    assert value.startswith("$__file{") and value.endswith("}"), value
    return Path(value[8:-1]).read_text()


if not DATABASE.exists():
    DATABASE.write_text(file(config["security"]["admin_password"]))
file(config["security"]["secret_key"])


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = {"database": "ok", "path": self.path, "headers": dict(self.headers)}
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Security-Policy", "script-src 'self'")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


server = config["server"]
ThreadingHTTPServer((server["http_addr"], int(server["http_port"])), Answer).serve_forever()
'''
UNIT = """[Unit]
Description=Grafana instance
After=network-online.target

[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} --packaging=deb
UMask=0027

[Install]
WantedBy=multi-user.target
"""
# What the vendor's does that matters to us: the user, its directories, and who may read the configuration.
POSTINST = """#!/bin/sh
set -e
getent group grafana >/dev/null || groupadd --system grafana
id grafana >/dev/null 2>&1 || useradd --system --gid grafana --no-create-home grafana
mkdir -p /var/log/grafana /var/lib/grafana /etc/grafana
chown grafana:grafana /var/log/grafana /var/lib/grafana
[ -f /etc/grafana/grafana.ini ] || echo "; the vendor's" >/etc/grafana/grafana.ini
chown -Rh root:grafana /etc/grafana/*
chmod 755 /etc/grafana
find /etc/grafana -type f -exec chmod 640 {} ';'
find /etc/grafana -type d -exec chmod 755 {} ';'
"""
FILES = {
    "usr/share/grafana/bin/grafana": (PROGRAM, 0o755),
    "lib/systemd/system/grafana-server.service": (UNIT, 0o644),
    "etc/default/grafana-server": ("CONF_FILE=/etc/grafana/grafana.ini\n", 0o644),
    "DEBIAN/postinst": (POSTINST, 0o755),
}
CONTROL = {
    "Package": "grafana",
    "Version": "13.0.0",
    "Architecture": "all",
    "Maintainer": "nobody <nobody@example.org>",
    "Description": "stands in for Grafana",
}


def run(*command: str, **more: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **more}, stdout=subprocess.DEVNULL)


def build(root: Path) -> Path:
    tree = root / "tree"
    control = "".join(f"{name}: {value}\n" for name, value in CONTROL.items())
    for name, (text, mode) in (FILES | {"DEBIAN/control": (control, 0o644)}).items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    package = root / "pool/grafana.deb"
    package.parent.mkdir()
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(package))
    return package


def publish(root: Path, package: Path) -> None:
    data = package.read_bytes()
    entry = CONTROL | {
        "Filename": str(package.relative_to(root)),
        "Size": str(len(data)),
        "SHA256": hashlib.sha256(data).hexdigest(),
    }
    index = "".join(f"{name}: {value}\n" for name, value in entry.items()).encode()
    files = {"main/binary-amd64/Packages": index, "main/binary-amd64/Packages.gz": gzip.compress(index)}
    files |= {name.replace("amd64", "arm64"): text for name, text in files.items()}
    dist = root / "dists/stable"
    sums = ""
    for name, text in files.items():
        (dist / name).parent.mkdir(parents=True, exist_ok=True)
        (dist / name).write_bytes(text)
        sums += f" {hashlib.sha256(text).hexdigest()} {len(text)} {name}\n"
    release = (
        f"Suite: stable\nComponents: main\nArchitectures: amd64 arm64\nDate: {formatdate(usegmt=True)}\n"
    )
    (dist / "Release").write_text(f"{release}SHA256:\n{sums}")


def sign(root: Path) -> None:
    home = root / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home), "--passphrase", ""]
    run(*gpg, "--quick-generate-key", "practice@example.org", "rsa2048", "sign", "1d")
    run(*gpg, "--armor", "--output", str(root / "key.asc"), "--export")
    dist = root / "dists/stable"
    run(*gpg, "--clearsign", "--output", str(dist / "InRelease"), str(dist / "Release"))
    run("gpgconf", "--homedir", str(home), "--kill", "gpg-agent")


def main() -> None:
    root = Path(sys.argv[1])
    root.mkdir(parents=True)
    publish(root, build(root))
    sign(root)


if __name__ == "__main__":
    main()
