import contextlib
import os
import socket

import engine
import local
import pytest


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


@pytest.mark.parametrize(("said", "code"), [(0, 0), (1, 0), (2, 0), (3, 3), (127, 127)])
def test_status_fails_only_when_it_has_no_answer(monkeypatch, said, code):
    command = ["sh", "-c", f"exit {said}"]
    monkeypatch.setattr(local, "_command_inside", lambda *_: (engine.Engine("podman", {}), command))
    with pytest.raises(SystemExit) as ended:
        local.status()
    assert ended.value.code == code


class Absent:
    """An engine that has nothing yet and remembers what it is told."""

    def __init__(self):
        self.told = []

    def succeeds(self, *_):
        return False

    def run(self, *arguments):
        self.told.append(arguments)
        return ""


def _stop(*_):
    raise KeyboardInterrupt


def test_a_failed_build_leaves_no_volume_that_holds_on_to_the_suite(monkeypatch):
    absent = Absent()
    monkeypatch.setattr(local, "port_user", lambda _: "")
    monkeypatch.setattr(local.image, "ensure", _stop)
    with pytest.raises(KeyboardInterrupt):
        local._create(absent)
    assert absent.told == []


def test_an_interrupted_first_start_leaves_no_container(monkeypatch):
    removed = []
    monkeypatch.setattr(local, "port_user", lambda _: "")
    monkeypatch.setattr(local.image, "ensure", lambda *_: "image")
    monkeypatch.setattr(local.machine, "create", lambda *_: None)
    monkeypatch.setattr(local, "_make_owners", _stop)
    monkeypatch.setattr(local.machine, "destroy", lambda _, name: removed.append(name))
    with pytest.raises(KeyboardInterrupt):
        local._create(Absent())
    assert removed == [local.NAME]


@pytest.mark.parametrize(
    ("arguments", "code", "played"),
    [
        ((), 0, ["playbooks/agree.yml"]),
        (("latest", "--only", "config"), 0, ["playbooks/agree.yml"]),
        (("--to", "/root/restored"), 0, []),
        (("--only", "config", "--to=/root/restored"), 0, []),
        ((), 1, []),
    ],
)
def test_what_a_restore_changed_the_rest_of_the_machine_learns(monkeypatch, arguments, code, played):
    done = []
    command = ["sh", "-c", f"exit {code}"]
    monkeypatch.setattr(local, "_command_inside", lambda *_: (engine.Engine("podman", {}), command))
    monkeypatch.setattr(local.machine, "published", lambda *_: {443: 8443})
    monkeypatch.setattr(local, "_play", lambda _, playbook: done.append(playbook))
    with contextlib.suppress(SystemExit):
        local.restore(*arguments)
    assert done == played
