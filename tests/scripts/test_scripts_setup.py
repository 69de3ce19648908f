import subprocess
import sys

import engine
import pytest
import setup


@pytest.fixture
def commands(monkeypatch):
    """What is run instead of being run; apt knows every package but passt."""
    run = []

    def record(command, **_):
        run.append([str(word) for word in command])
        known = command[0] != "apt-cache" or command[-1] != "passt"
        return subprocess.CompletedProcess(command, 0 if known else 100, b"Package: it\n" if known else b"")

    monkeypatch.setattr(setup.subprocess, "run", record)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    return run


def test_packages_apt_does_not_know_are_left_out_and_named(commands, capsys):
    setup.install_packages(["postgresql", "passt", "chromium"])
    assert "update" in commands[0]
    assert commands[-1][-2:] == ["postgresql", "chromium"]
    assert "apt does not know passt here" in capsys.readouterr().out


def test_nothing_is_installed_when_apt_knows_none(commands):
    setup.install_packages(["passt"])
    assert not [command for command in commands if "install" in command]


def test_a_virtual_environment_without_pip_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "PYTHON", tmp_path / "bin" / "python")
    assert not setup._works()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    assert not setup._works()
    monkeypatch.setattr(setup, "PYTHON", setup.VENV / "bin" / "python")
    assert setup._works()
    monkeypatch.setattr(setup.sys, "version", "3.99.0 (another one)")
    assert not setup._works()


def test_without_root_mmdebstrap_needs_uidmap_whatever_the_engine(monkeypatch):
    monkeypatch.setattr(engine, "find", lambda: engine.Engine("docker", {}))
    monkeypatch.setattr(engine.shutil, "which", lambda name, path=None: None if "uidmap" in name else "/it")
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    assert "uidmap" in engine.packages()
    assert "passt" not in engine.packages()
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    assert "uidmap" not in engine.packages()


def test_podman_without_root_gets_what_debian_only_recommends(monkeypatch):
    monkeypatch.setattr(engine, "find", lambda: None)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    assert {"podman", "dbus-user-session", "passt"} <= {*engine.packages()}


def test_podman_lacks_its_runtime_also_beside_a_docker_that_is_not_used(monkeypatch):
    monkeypatch.setattr(engine, "find", lambda: engine.Engine("podman", {}))
    monkeypatch.setattr(engine.shutil, "which", lambda name, path=None: None if "run" in name else "/it")
    monkeypatch.setattr(engine, "_runtime", lambda: "runc")
    assert "runc" in engine.packages()
