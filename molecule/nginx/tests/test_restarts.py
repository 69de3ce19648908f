"""Reloads, new certificates and restarts while people read: none of them sees any of it."""

import pytest

#: What is asked for, what is done meanwhile, how often, and the seconds between.
CASES = {
    "reload": ("/status/public.html", "systemctl reload nginx", 8, 0.5),
    "certificate": ("/status/public.html", "atlas-certificate --renew", 4, 1),
    "restart": ("/api/items?limit=1", "systemctl restart atlas-api", 3, 2),
    # What the package does when it is upgraded, and whoever wants a library of nginx's to be the new one.
    "upgrade": ("/status/public.html", "sh /var/lib/dpkg/info/nginx.postinst configure", 3, 1),
}


@pytest.fixture(scope="module")
def _unlimited(host):
    """One address stands for many visitors."""
    generous = "sed -i -E 's/rate=[0-9]+r.s/rate=100000r\\/s/' /etc/nginx/atlas-limits.conf"
    with host.sudo():
        host.check_output(
            f"cp -p /etc/nginx/atlas-limits.conf /run/limits.conf && {generous} && systemctl reload nginx"
        )
        yield
        host.check_output("cp -p /run/limits.conf /etc/nginx/atlas-limits.conf && systemctl reload nginx")


def repeat(host, command: str, running, times: int, pause: float) -> int:
    """Run a command again and again while the visitors ask; return how often."""
    done = 0
    while running() and done < times:
        host.check_output(command)
        done += 1
        host.check_output(f"sleep {pause}")
    return done


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("_unlimited")
@pytest.mark.parametrize("what", CASES)
def test_of_ten_thousand_requests_none_fails(host, crowd, token, what):
    path, command, times, pause = CASES[what]
    asked = {"path": path, "headers": token, "connections": 20, "times": 10_000, "pause": 0.015}
    with host.sudo(), crowd("load", **asked) as ended:
        crowd.wait(1)
        done = repeat(host, command, crowd.running, times, pause)
    result = ended["result"]
    print(what, done, result)
    assert done >= 2
    assert result["failures"] == {}
    assert result["statuses"] == {"200": 10_000}


STARTED = "systemctl show --value --property=ActiveEnterTimestampMonotonic nginx"


def test_a_play_never_restarts_it(host, play):
    """A restart shuts the door for its moment; a reload does not."""
    started, process = host.check_output(STARTED), host.check_output("cat /run/nginx.pid")
    try:
        changed = play("--tags=nginx", "--extra-vars=nginx_page_rate=21")
        assert changed.succeeded, changed.output
        assert changed.changes == {
            "nginx : Install nginx's files": [
                "/etc/nginx/atlas-limits.conf",
                "/etc/nginx/sites-enabled/atlas.conf",
            ],
            "nginx : Keep nginx running": [],
        }
    finally:
        assert play("--tags=nginx").succeeded
    assert (host.check_output(STARTED), host.check_output("cat /run/nginx.pid")) == (started, process)


@pytest.mark.timeout(120)
def test_an_upgrade_is_of_the_program_and_systemd_goes_on_with_it(host):
    started, process = host.check_output(STARTED), host.check_output("cat /run/nginx.pid")
    with host.sudo():
        host.check_output("sh /var/lib/dpkg/info/nginx.postinst configure; sleep 2")
    after = host.check_output("cat /run/nginx.pid")
    assert after != process
    assert host.check_output("systemctl show --value --property=MainPID nginx") == after
    assert host.check_output(STARTED) == started, "it was not restarted"
    assert host.service("nginx").is_running
