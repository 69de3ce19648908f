"""nginx as the role sets it up beside a stock one: same machine, same certificate, same app, turn by turn.

.venv/bin/python tests/bench/door.py [--machine atlas-local] [--seconds 5] [--rounds 3]

Takes a running machine (`make up`, or `molecule converge -s nginx`), `wrk`, and being root: the machine is
asked at its own address, which it is told to answer to. The stock nginx has the package's own nginx.conf and
one site with TLS. What one address may ask for is raised meanwhile, as all comes from one; it is counted.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import engine  # noqa: E402

STOCK_PORT = 8443
#: What is asked for: a name, the path, and headers.
ASKED = {
    "TLS handshakes": ("/status/public.html", ["Connection: close"]),
    "static": ("/status/public.html", []),
    "proxied": ("/health", []),
}
SITE = f"""
server {{
    listen {STOCK_PORT} ssl;
    ssl_certificate /etc/atlas/certificate/current/fullchain.pem;
    ssl_certificate_key /etc/atlas/certificate/current/privkey.pem;
    location /status/ {{ alias /var/lib/atlas-status/; }}
    location / {{ proxy_pass http://127.0.0.1:7444; }}
}}
"""
PREPARE = f"""
set -e
cp -p /etc/nginx/atlas-limits.conf /run/limits.conf
cp -p /etc/nginx/sites-enabled/atlas.conf /run/site.conf
address=$(hostname -I | cut -d ' ' -f 1)
sed -i "s/^    server_name .*localhost/& $address/" /etc/nginx/sites-enabled/atlas.conf
sed -i -E 's/rate=[0-9]+r.[sm]/rate=1000000r\\/s/' /etc/nginx/atlas-limits.conf
systemctl reload nginx
rm -rf /run/stock; mkdir -p /run/stock/sites; cd /run/stock
apt-get -qq download nginx-common
dpkg-deb --fsys-tarfile nginx-common_*.deb | tar -xf - ./etc/nginx/nginx.conf
sed -e 's#/run/nginx.pid#/run/stock/nginx.pid#' -e 's#/etc/nginx/sites-enabled#/run/stock/sites#' \\
    -e 's#/var/log/nginx/#/run/stock/#' -e 's#/etc/nginx/conf.d#/run/stock/none#' \\
    etc/nginx/nginx.conf > nginx.conf
cat > sites/stock <<'END'
{SITE}
END
nginx -c /run/stock/nginx.conf
"""
RESTORE = """
kill "$(cat /run/stock/nginx.pid)"; rm -rf /run/stock
cp -p /run/limits.conf /etc/nginx/atlas-limits.conf; cp -p /run/site.conf /etc/nginx/sites-enabled/atlas.conf
systemctl reload nginx
"""


@contextmanager
def beside(run: engine.Engine, machine: str) -> Iterator[str]:
    """Have the stock nginx run beside the other; return the machine's address."""
    run.execute(machine, PREPARE)
    try:
        yield run.execute(machine, "hostname -I").split()[0]
    finally:
        run.execute(machine, RESTORE)


def ask(url: str, headers: list[str], seconds: int) -> tuple[float, float]:
    """Return requests a second, and the 99th percentile in milliseconds."""
    given = [part for header in ["Host: machine", *headers] for part in ("--header", header)]
    command = ["wrk", "--threads=1", "--connections=10", f"--duration={seconds}s", "--latency", *given, url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if wrong := re.search(r"(Non-2xx|Socket errors).*", said):
        print(f"  {wrong[0].strip()}", file=sys.stderr)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main() -> None:
    """Measure turn by turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", default="atlas-local")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt-get install wrk")
    with beside(engine.require(), options.machine) as address:
        ports = {"role": 443, "stock": STOCK_PORT}
        for name, (path, headers) in ASKED.items():
            seen: dict[str, list[tuple[float, float]]] = {one: [] for one in ports}
            for turn in range(options.rounds):
                for one in sorted(ports, reverse=bool(turn % 2)):
                    url = f"https://{address}:{ports[one]}{path}"
                    seen[one].append(ask(url, headers, options.seconds))
            rate = {one: statistics.median(rate for rate, _ in found) for one, found in seen.items()}
            late = {one: statistics.median(late for _, late in found) for one, found in seen.items()}
            share = rate["role"] / rate["stock"]
            print(f"{name:16}{rate['role']:9.0f}/s, stock {rate['stock']:.0f}/s: {share:.0%};", end=" ")
            print(f"p99 {late['role']:.1f} ms, stock {late['stock']:.1f} ms")


if __name__ == "__main__":
    main()
