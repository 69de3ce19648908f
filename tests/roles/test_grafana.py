"""What of Grafana can be said without it: whose key signs its packages, and that it tells nobody of us."""

import base64
import configparser
import hashlib
from pathlib import Path

import jinja2
import pytest

ROLE = Path(__file__).parents[2] / "roles/grafana"
# As the vendor names it in its documentation.
FINGERPRINT = "B53AE77BADB630A683046005963FA27710458545"


def test_the_key_is_the_vendors():
    armour = (ROLE / "files/grafana.asc").read_text()
    body = armour.partition("\n\n")[2].rpartition("\n=")[0]
    packets = base64.b64decode(body)
    assert packets[0] == 0x99, "an old-style packet with a public key, its length in two bytes"
    key = packets[3 : 3 + int.from_bytes(packets[1:3])]
    digest = hashlib.sha1(b"\x99" + len(key).to_bytes(2) + key, usedforsecurity=False)
    assert digest.hexdigest().upper() == FINGERPRINT
    assert armour.count("BEGIN PGP PUBLIC KEY BLOCK") == 1


@pytest.fixture(scope="module")
def settings():
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["comment"] = lambda text, decoration="# ": decoration + text
    text = environment.from_string((ROLE / "server/etc/grafana/grafana.ini.j2").read_text()).render(
        ansible_managed="ours",
        atlas_domain="example.org",
        atlas_public_port="8443",
        atlas_owner_name="owner",
        grafana_port=3000,
        grafana_session_days=30,
        monitoring_interval_seconds=15,
    )
    read = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",))
    read.read_string(f"[DEFAULT]\n{text}")
    return read


def test_it_is_reached_by_its_own_machine_alone_and_knows_where_people_find_it(settings):
    assert settings["server"]["http_addr"] == "127.0.0.1"
    assert settings["server"]["root_url"] == "https://example.org:8443/grafana/"
    assert settings["server"]["serve_from_sub_path"] == "true"


def test_secrets_are_read_from_files_only(settings):
    for name in ("admin_password", "secret_key"):
        assert settings["security"][name] == f"$__file{{/run/credentials/grafana-server.service/{name}}}"


def test_nobody_comes_in_but_by_its_login(settings):
    assert [settings[f"auth.{way}"]["enabled"] for way in ("anonymous", "basic", "proxy")] == ["false"] * 3
    assert settings["users"]["allow_sign_up"] == "false"
    assert settings["security"]["cookie_secure"] == "true"


def test_it_tells_nobody_of_us(settings):
    off = {
        "analytics": ("reporting_enabled", "check_for_updates", "check_for_plugin_updates"),
        "news": ("news_feed_enabled",),
        "snapshots": ("external_enabled",),
        "plugins": ("plugin_admin_enabled", "preinstall_auto_update"),
    }
    assert {settings[part][name] for part, names in off.items() for name in names} == {"false"}
    assert settings["security"]["disable_gravatar"] == "true"
    assert settings["plugins"]["preinstall_disabled"] == "true"
    unit = (ROLE / "server/etc/systemd/system/grafana-server.service.d/atlas.conf.j2").read_text()
    assert "IPAddressDeny=any" in unit
