import json


def test_logs_outlive_a_restart_and_stay_within_bounds(host):
    assert host.file("/var/log/journal").is_directory
    limit = host.check_output("systemd-analyze cat-config systemd/journald.conf | grep ^SystemMaxUse")
    assert limit == "SystemMaxUse=500M"


def test_the_kernel_takes_no_directions_from_strangers(host):
    assert host.sysctl("net.ipv4.conf.all.accept_redirects") == 0
    assert host.sysctl("net.ipv4.conf.all.send_redirects") == 0


def test_the_roles_find_the_directories_they_drop_into(host):
    for name in ("backup.d", "cleanup.d", "health.d"):
        directory = host.file(f"/etc/atlas/{name}")
        assert directory.is_directory
        assert (directory.user, directory.mode) == ("root", 0o755)


def test_it_is_watched_for_full_disks_and_memory(host):
    checks = {
        json.loads(host.file(f"/etc/atlas/health.d/{name}.json").content_string)["check"]
        for name in ("disk", "memory")
    }
    assert checks == {"disk", "memory"}
