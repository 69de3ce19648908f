"""A gate before the authority: writes down what it is asked, and turns questions away when told so.

/run/world/asked gets a line for each request. While /run/world/limited is there, new orders get the answer of
an authority that is asked too much, with the Retry-After that the file holds.
"""

import http.client
import http.server
import json
import ssl
from pathlib import Path

WORLD = Path("/run/world")
HERE = "192.0.2.2"
BEHIND = 14000
NEW_ORDER = "/order-plz"
HOP = {"connection", "transfer-encoding", "content-length"}


class Gate(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        super().handle_one_request()
        self.close_connection = True

    def do_GET(self):
        with (WORLD / "asked").open("a") as file:
            file.write(f"{self.command} {self.path}\n")
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == NEW_ORDER and (WORLD / "limited").exists():
            kind = "urn:ietf:params:acme:error:rateLimited"
            said = {"type": kind, "detail": "too many new orders recently", "status": 429}
            headers = {"Retry-After": (WORLD / "limited").read_text().strip()}
            headers["Content-Type"] = "application/problem+json"
            self.answer(429, headers.items(), json.dumps(said).encode())
            return
        context = ssl.create_default_context(cafile=str(WORLD / "ca.pem"))
        behind = http.client.HTTPSConnection(HERE, BEHIND, context=context, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        behind.request(self.command, self.path, body, headers)
        said = behind.getresponse()
        self.answer(said.status, said.getheaders(), said.read())

    def do_POST(self):
        self.do_GET()

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(WORLD / "cert.pem", WORLD / "key.pem")
server = http.server.ThreadingHTTPServer((HERE, 443), Gate)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
