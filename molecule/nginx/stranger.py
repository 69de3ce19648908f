"""Runs in the machine: asks its web server from an address there, over one connection, and prints what came.

`python3 stranger.py '{"from": "198.51.100.7", "to": "10.88.0.2", "times": 3, "path": "/"}'`; also `method`,
`headers`, `body`, and `pause`, seconds between two. Who is not answered any more within `patience` seconds
gives up; the last status is then 0.
"""

import http.client
import json
import socket
import ssl
import sys
import time
from typing import Any


def ask(
    connection: http.client.HTTPSConnection, wanted: dict[str, Any], context: ssl.SSLContext
) -> http.client.HTTPResponse:
    """Ask once, over the connection that is there or a new one."""
    if connection.sock is None:
        plain = socket.create_connection((wanted["to"], 443), wanted.get("patience", 30), (wanted["from"], 0))
        connection.sock = context.wrap_socket(plain, server_hostname="machine")
    connection.request(
        wanted.get("method", "GET"), wanted["path"], wanted.get("body"), wanted.get("headers", {})
    )
    return connection.getresponse()


def main() -> None:
    wanted = json.loads(sys.argv[1])
    context = ssl.create_default_context(cafile="/etc/atlas/certificate/ca.pem")
    connection = http.client.HTTPSConnection("machine", context=context, timeout=30)
    found = []
    for _ in range(wanted.get("times", 1)):
        time.sleep(wanted.get("pause", 0))
        began = time.monotonic()
        try:
            answer = ask(connection, wanted, context)
            text = answer.read().decode("utf-8", "replace")
        except OSError as error:
            found.append({"status": 0, "text": str(error)})
            break
        found.append(
            {
                "status": answer.status,
                "seconds": time.monotonic() - began,
                "retry_after": answer.headers.get("Retry-After"),
                "text": text[:2000],
            }
        )
    print(json.dumps(found))


main()
