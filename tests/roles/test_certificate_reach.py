"""Whether the world finds a machine by its names: a name server and a web server of our own answer."""

import contextlib
import errno
import http.server
import socket
import struct
import threading

import pytest

from atlas_certificate import dns, reach

NAME = "atlas.example.org"
PUBLIC = "192.88.99.7"  # an address of the internet; nobody is asked there
PUBLIC6 = "2a00::7"


def packed(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def record(kind, data, name=b"\xc0\x0c"):
    return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def both_on_one_port():
    """A port that is free for datagrams may be in use for streams: then another."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError as error:
            udp.close()
            if error.errno != errno.EADDRINUSE:
                raise


class NameServer:
    """Answers by the kind of record asked for: records, or a code."""

    def __init__(self):
        self.udp, self.tcp = both_on_one_port()
        self.address = f"127.0.0.1#{self.udp.getsockname()[1]}"
        self.says = {dns.A: [], dns.AAAA: []}
        self.code = 0
        self.changed = lambda answer: answer
        self.truncates = False
        self.questions = 0
        for serve in (self._datagrams, self._streams):
            threading.Thread(target=serve, daemon=True).start()

    def answer(self, question, *, whole):
        (kind,) = struct.unpack("!H", question[-4:-2])
        records = self.says[kind] if whole else []
        flags = 0x8180 | self.code | (0 if whole else 0x0200)
        head = question[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0)
        return head + question[12:] + b"".join(records)

    def _datagrams(self):
        with contextlib.suppress(OSError):
            while True:
                question, peer = self.udp.recvfrom(512)
                self.questions += 1
                self.udp.sendto(self.changed(self.answer(question, whole=not self.truncates)), peer)

    def _streams(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with connection:
                    (length,) = struct.unpack("!H", connection.recv(2))
                    answer = self.answer(connection.recv(length), whole=True)
                    # In two pieces, as it may come.
                    connection.sendall(struct.pack("!H", len(answer)) + answer[:20])
                    connection.sendall(answer[20:])

    def close(self):
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(dns, "SECONDS", 0.3)
    server = NameServer()
    yield server
    server.close()


V4 = record(dns.A, bytes([192, 0, 2, 1]))
V6 = record(dns.AAAA, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
ALIAS = record(5, packed("www.example.net"))


class TestDns:
    def test_both_kinds_of_addresses(self, server):
        server.says = {dns.A: [V4, record(dns.A, bytes([192, 0, 2, 2]))], dns.AAAA: [V6]}
        assert dns.resolve(NAME, [server.address]) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]

    def test_an_alias_is_followed(self, server):
        server.says[dns.A] = [ALIAS, record(dns.A, bytes([192, 0, 2, 9]), packed("www.example.net"))]
        assert dns.resolve(NAME, [server.address]) == ["192.0.2.9"]

    @pytest.mark.parametrize("code", [0, 3])
    def test_no_such_name(self, server, code):
        server.code = code
        assert dns.resolve(NAME, [server.address]) == []

    def test_what_does_not_fit_comes_over_tcp(self, server):
        server.truncates = True
        server.says[dns.A] = [record(dns.A, bytes([192, 0, 2, number])) for number in range(100)]
        assert len(dns.resolve(NAME, [server.address])) == 100

    def test_the_next_server_is_asked(self, server):
        server.says[dns.A] = [V4]
        assert dns.resolve(NAME, ["127.0.0.1#9", server.address]) == ["192.0.2.1"]

    def test_failure_is_no_absence(self, server):
        server.code = 2
        with pytest.raises(
            dns.NoAnswerError, match=rf"no answer for {NAME} \({server.address}: server failure\)"
        ):
            dns.resolve(NAME, [server.address])
        assert server.questions == dns.ROUNDS

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda answer: b"xx" + answer[2:], "what was not asked"),
            (lambda answer: answer.replace(b"atlas", b"atlaz"), "what was not asked"),
            (lambda answer: answer[:-2], "broken"),
            (lambda answer: answer[:20], "what was not asked"),
            (lambda _: b"", "what was not asked"),
        ],
    )
    def test_what_is_no_answer_is_not_believed(self, server, change, words):
        server.says[dns.A] = [V4]
        server.changed = change
        with pytest.raises(dns.NoAnswerError, match=words):
            dns.resolve(NAME, [server.address])

    def test_what_resolved_asks_goes_before_what_mixes_in_hosts(self, tmp_path, monkeypatch):
        upstream, stub = tmp_path / "upstream", tmp_path / "stub"
        stub.write_text("# made by hand\nnameserver 127.0.0.53\noptions edns0\n")
        monkeypatch.setattr(dns, "RESOLVERS", (upstream, stub))
        assert dns.servers() == ["127.0.0.53"]
        upstream.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
        assert dns.servers() == ["192.0.2.53", "2001:db8::53"]
        upstream.write_text("")
        stub.write_text("")
        assert dns.servers() == ["127.0.0.1"]


class Web(http.server.SimpleHTTPRequestHandler):
    """Shows the directory, or what it is told to instead."""

    instead = None

    def do_GET(self):
        if self.instead is None:
            super().do_GET()
            return
        status, location = self.instead
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    handler = type("Handler", (Web,), {})
    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: handler(*given, directory=str(tmp_path / "challenge"))
    )
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.handler = handler
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def way(monkeypatch, tmp_path, web):
    """Say what is in the way of a machine with these interfaces, whose name has these addresses."""

    def tell(*found, local=(), stated=(), public=True, reaches=True):
        def resolve(*_):
            if any(isinstance(one, Exception) for one in found):
                raise found[0]
            return list(found)

        monkeypatch.setattr(dns, "resolve", resolve)
        monkeypatch.setattr(reach, "interface_addresses", lambda: list(local))
        connect = socket.create_connection

        def instead(address, *given, **named):
            if not reaches and address[0] != reach.HERE:
                raise TimeoutError("timed out")
            return connect((reach.HERE, address[1]), *given, **named)

        monkeypatch.setattr(socket, "create_connection", instead)
        acme = {"names": [NAME], "addresses": list(stated), "dns_servers": ["x"], "public": public}
        acme |= {"challenge_directory": str(tmp_path / "challenge"), "port": web.server_port}
        said = reach.in_the_way(acme)
        left = [path for path in (tmp_path / "challenge").rglob("*") if path.is_file()]
        assert left == [], "nothing of the trial is left"
        return said

    return tell


A_RECORD = f"Set this record where the domain is managed: {NAME}. A {PUBLIC}"


class TestReach:
    def test_nothing_is_in_the_way(self, way):
        assert way(PUBLIC, local=[PUBLIC]) == ""
        assert way(PUBLIC, PUBLIC6, local=["10.0.0.5"]) == "", (
            "an address nobody told us of, and it leads here"
        )

    def test_the_record_to_set_is_named(self, way):
        assert way(local=["10.0.0.5", PUBLIC]) == f"{NAME} has no address in the DNS. {A_RECORD}"
        assert way(local=["10.0.0.5"], stated=[PUBLIC]).endswith(A_RECORD)
        assert way(local=["10.0.0.5"]).endswith(f"{NAME}. A, with the public address of this machine")
        assert way(local=["10.0.0.5"], public=False).endswith(f"{NAME}. A 10.0.0.5")
        assert way(local=["10.0.0.5"], stated=["atlas.example.org", "127.0.0.1"], public=False).endswith(
            "A 10.0.0.5"
        )

    def test_another_machine(self, way):
        said = f"{NAME} leads to 192.88.99.9, which is not this machine. {A_RECORD}"
        assert way("192.88.99.9", local=[PUBLIC], reaches=False) == said
        assert way(PUBLIC, "192.88.99.9", local=[PUBLIC], reaches=False).startswith("http://"), (
            "in their order"
        )

    def test_another_machine_that_answers(self, way, web):
        web.handler.instead = (404, "")
        assert "which is not this machine" in way("192.88.99.9", local=[PUBLIC])

    def test_ipv6_counts_as_much(self, way):
        """Let's Encrypt prefers it."""
        said = way("2a00::9", local=[PUBLIC], reaches=False)
        assert said.endswith(f"Remove this record where the domain is managed: {NAME}. AAAA 2a00::9")
        said = way("2a00::9", local=[PUBLIC, PUBLIC6], reaches=False)
        assert said.endswith(f"Set this record where the domain is managed: {NAME}. AAAA {PUBLIC6}")

    def test_an_address_nobody_can_come_to(self, way):
        said = way("10.0.0.5", local=["10.0.0.5"], stated=[PUBLIC])
        assert said == f"{NAME} leads to 10.0.0.5, where nobody comes from the internet. {A_RECORD}"
        assert way("10.0.0.5", local=["10.0.0.5"], public=False) == ""

    def test_behind_a_router_that_is_not_known(self, way):
        said = way(PUBLIC, local=["10.0.0.5"], reaches=False)
        assert "it cannot be told whether that is this machine, which has 10.0.0.5 itself" in said
        assert said.endswith(f"If it is, state it: certificate_public_addresses: [{PUBLIC}]")

    def test_behind_a_router_that_does_not_lead_back_in(self, way, web):
        assert way(PUBLIC, local=["10.0.0.5"], stated=[PUBLIC], reaches=False) == ""
        web.handler.instead = (404, "")
        assert "does not lead to where" in way(PUBLIC, local=["10.0.0.5"], stated=[PUBLIC], reaches=False)

    def test_nobody_answers(self, way):
        said = way(PUBLIC, local=[PUBLIC], reaches=False)
        assert f"at {PUBLIC}, nothing answers (timed out)" in said

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ((308, "https://x.example/"), "it answers 308 to https://x.example/"),
            ((401, ""), "it answers 401."),
            ((200, ""), "it answers with something else"),
        ],
    )
    def test_the_answer_is_not_shown(self, way, web, answer, words):
        web.handler.instead = answer
        said = way(PUBLIC, local=[PUBLIC])
        assert said.startswith(f"http://{NAME}/.well-known/acme-challenge/ does not lead to where")
        assert words in said

    def test_a_name_server_that_is_away(self, way):
        assert way(dns.NoAnswerError("The DNS gave no answer")).startswith(
            "The DNS gave no answer. Does this"
        )


def test_addresses_of_interfaces_are_those_that_others_can_reach(monkeypatch):
    listed = (
        '[{"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}, {"local": "::1"}]},'
        ' {"addr_info": [{"local": "10.0.0.5"}, {"local": "fe80::1"}, {"local": "2a00:0::7"}]},'
        ' {"ifname": "down"}, {}]'
    )
    monkeypatch.setattr(reach.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": listed}))
    assert reach.interface_addresses() == ["10.0.0.5", "2a00::7"]
