import machine


def test_pip_inside_uses_the_index_and_the_authority_of_this_machine():
    listed = """:env:.cert='/etc/ssl/corporate.pem'
global.index-url='https://mirror.example/simple'
global.extra-index-url='file:///srv/wheels'
global.cert='/etc/ssl/other.pem'
"""
    configuration, certificate = machine.pip_configuration(listed)
    assert certificate == "/etc/ssl/corporate.pem"
    assert (
        configuration == f"[global]\ncert = {machine.CA_INSIDE}\nindex-url = https://mirror.example/simple\n"
    )


def test_pip_inside_is_left_alone_where_this_machine_sets_nothing():
    assert machine.pip_configuration("global.disable-pip-version-check='1'\n") == ("", "")


def test_the_settings_of_pip_are_for_their_owner_only_and_survive_a_deleted_cache(tmp_path, monkeypatch):
    listed = "global.index-url='https://name:word@mirror.example/simple'\n"
    answer = machine.subprocess.CompletedProcess([], 0, listed)
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr(machine.engine, "CACHE", tmp_path / "cache")
    (volume,) = machine._package_index_volumes()
    path = tmp_path / "cache" / "pip.conf"
    assert volume == f"{path}:/etc/pip.conf:ro"
    assert path.stat().st_mode & 0o777 == 0o600
