import os
import socket

import local


def test_a_free_port_has_no_user():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert local.port_user(port) == ""


def test_a_taken_port_is_blamed_on_its_process():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert f"(process {os.getpid()})" in local.port_user(server.getsockname()[1])
