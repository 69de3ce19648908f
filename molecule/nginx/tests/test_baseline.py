"""dev-sec's nginx baseline, restated: its control ids, and where our value is another one, why."""

import re

import pytest


@pytest.fixture(scope="module")
def configuration(host):
    """All that nginx has read."""
    with host.sudo():
        return host.check_output("nginx -T 2>/dev/null")


def values(configuration: str, directive: str) -> list[str]:
    return re.findall(rf"^\s*{directive}\s+(.*?);$", configuration, re.MULTILINE)


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([km]?)", text).groups()
    return int(number) * {"": 1, "k": 1024, "m": 1024**2}[unit]


def test_nginx_01_workers_run_as_an_unprivileged_user(host, configuration):
    assert values(configuration, "user") == ["www-data"]
    assert host.user("www-data").exists
    workers = host.check_output("ps -o user= -C nginx").split()
    assert workers.count("root") == 1  # the master
    assert set(workers) == {"root", "www-data"}


def test_nginx_02_the_configuration_is_roots_and_not_for_all_to_read(host):
    file = host.file("/etc/nginx/nginx.conf")
    assert (file.user, file.group, file.mode & 0o007) == ("root", "root", 0)
    for secret in host.check_output("ls /etc/nginx/atlas-door*.conf /etc/nginx/atlas.htpasswd").split():
        assert host.file(secret).mode & 0o007 == 0, secret


def test_nginx_03_nothing_of_the_distributions_default_site_is_left(host, configuration):
    assert not host.file("/etc/nginx/conf.d/default.conf").exists
    assert not host.file("/etc/nginx/sites-enabled/default").exists
    assert "conf.d" not in "".join(values(configuration, "include"))


def test_nginx_04_there_is_one_instance(host):
    assert host.check_output("pgrep --count --full 'nginx: master'") == "1"


def test_nginx_05_the_version_is_not_told(configuration, web):
    assert values(configuration, "server_tokens") == ["off"]
    answers = [web.get("/"), web.get("/status/public.html"), web.get("/%00")]
    assert {answer.headers["server"] for answer in answers} == {"nginx"}
    assert not any(re.search(r"nginx/\d", answer.text) for answer in answers)


def test_nginx_06_buffers_and_bodies_are_bounded(configuration):
    """It wants 1k each, which no article fits in: shared texts come in addresses, files in bodies."""
    assert values(configuration, "client_header_buffer_size") == ["1k"]
    number, each = values(configuration, "large_client_header_buffers")[0].split()
    assert int(number) * size(each) <= 128 * 1024
    assert [size(value) for value in values(configuration, "client_body_buffer_size")] == [16 * 1024]
    bodies = values(configuration, "client_max_body_size")
    assert bodies[0] == "1m"
    assert bodies.count("0") == 2  # imports, which the app bounds
    assert all(size(body) <= 25 * 1024**2 for body in bodies)


def test_nginx_07_dawdlers_are_cut_off_and_connections_counted(configuration):
    """It wants 10 s, 5 s idle and 5 connections: by HTTP/2 a browser has more requests than that at once."""
    for directive in ("client_body_timeout", "client_header_timeout", "send_timeout"):
        assert values(configuration, directive) == ["10s"]
    assert int(values(configuration, "keepalive_timeout")[0].removesuffix("s")) <= 30
    assert values(configuration, "limit_conn_zone") == ["$atlas_client zone=connections:2m"]
    assert int(values(configuration, "limit_conn")[0].split()[1]) <= 100


def test_nginx_08_pages_are_in_no_frame_of_others(web):
    """It wants SAMEORIGIN; we frame nothing ourselves."""
    assert web.get("/").headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in web.get("/").headers["content-security-policy"]


def test_nginx_09_scripts_that_were_slipped_in_do_not_run(web):
    """It wants X-XSS-Protection, which browsers removed because it made holes; the policy does it."""
    policy = web.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "x-xss-protection" not in web.get("/").headers


def test_nginx_10_content_types_are_not_guessed(web):
    assert web.get("/").headers["x-content-type-options"] == "nosniff"
