import engine
import pytest

ORDINARY = {
    "rootless": True,
    "cgroup_v1": False,
    "systemd": True,
    "may_raise_limits": False,
    "open_files": 524288,
    "processes": 90000,
}


def test_an_ordinary_machine_keeps_its_own_configuration():
    assert engine.containers_conf(**ORDINARY) == ""


def test_a_small_cgroup_v1_machine_gets_runc_and_limits_it_can_grant():
    text = engine.containers_conf(
        rootless=False, cgroup_v1=True, systemd=False, may_raise_limits=False, open_files=4096, processes=-1
    )
    assert text.splitlines() == [
        "[containers]",
        'default_ulimits = ["nofile=4096:4096", "nproc=30000:30000"]',
        'log_driver = "k8s-file"',
        "[engine]",
        'runtime = "runc"',
        'cgroup_manager = "cgroupfs"',
        'events_logger = "file"',
    ]


def test_without_systemd_podman_manages_cgroups_itself():
    text = engine.containers_conf(**{**ORDINARY, "systemd": False})
    assert 'cgroup_manager = "cgroupfs"' in text
    assert "runtime" not in text


def test_each_engine_gets_flags_it_knows():
    podman = engine.run_arguments(engine.Engine("podman", {}))
    docker = engine.run_arguments(engine.Engine("docker", {}))
    assert "--systemd=always" in podman
    assert "--systemd=always" not in docker
    assert "--cgroupns=host" in docker
    assert not {"--privileged"} & {*podman, *docker}


def test_an_unknown_engine_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("ATLAS_ENGINE", "lxc")
    with pytest.raises(SystemExit, match="ATLAS_ENGINE is 'lxc'"):
        engine.find()


def test_only_where_all_containers_are_one_group_a_machine_is_put_beside_what_tests_it(monkeypatch):
    for cgroup_v1, user, apart in ((True, 0, True), (False, 0, False), (True, 1000, False)):
        monkeypatch.setattr(engine, "_cgroup_v1", lambda cgroup_v1=cgroup_v1: cgroup_v1)
        monkeypatch.setattr(engine.os, "geteuid", lambda user=user: user)
        arguments = engine.run_arguments(engine.Engine("podman", {}))
        assert ("--cgroup-parent=/" in arguments) == apart
