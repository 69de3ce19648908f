"""One validated source of settings: where values come from, and what is said about wrong ones."""

import ipaddress

import pytest

from atlas.settings import Settings, SettingsError, load_settings, unknown_options


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Keep a developer's own .env out."""
    monkeypatch.chdir(tmp_path)


def test_nothing_needs_to_be_set(tmp_path):
    settings = load_settings()
    assert settings.api_port == 7444
    assert settings.database().render_as_string() == f"sqlite:///{tmp_path}/var/atlas.db"
    assert not settings.secure_cookies


def test_environment_wins_over_file_and_file_over_secrets(tmp_path, monkeypatch):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "owner_name").write_text("from secrets\n")
    (tmp_path / "secrets" / "api_host").write_text("from secrets\n")
    (tmp_path / "secrets" / "owner_password").write_text("from secrets\n")
    (tmp_path / ".env").write_text("ATLAS_OWNER_NAME=from file\nATLAS_API_HOST=from file\n")
    monkeypatch.setenv("ATLAS_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("ATLAS_OWNER_NAME", "from environment")
    settings = load_settings()
    assert (settings.owner_name, settings.api_host) == ("from environment", "from file")
    assert settings.owner_password.get_secret_value() == "from secrets"


def test_what_systemd_hands_over_is_read_first(tmp_path, monkeypatch):
    for name in ("unit", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "database_password").write_text(name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "unit"))
    monkeypatch.setenv("ATLAS_SECRETS_DIR", str(tmp_path / "shared"))
    assert load_settings().database_password.get_secret_value() == "unit"


def test_the_password_joins_the_url_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("ATLAS_DATABASE_URL", "postgresql+psycopg://atlas@127.0.0.1/atlas")
    monkeypatch.setenv("ATLAS_DATABASE_PASSWORD", "s3/cret@")
    settings = load_settings()
    assert settings.database().password == "s3/cret@"
    assert "s3" not in str(settings.database())
    assert "s3/cret@" not in repr(settings)


def test_networks_are_a_list_with_commas(monkeypatch):
    monkeypatch.setenv("ATLAS_ALLOWED_NETWORKS", " 10.0.0.0/8, fd00::/8,")
    assert load_settings().allowed_networks == [
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("fd00::/8"),
    ]


def test_cookies_are_secure_where_people_come_by_tls():
    settings = Settings(_env_file=None, public_url="https://atlas.example/")
    assert settings.secure_cookies
    assert settings.public_url == "https://atlas.example"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("API_PORT", "99999", "ATLAS_API_PORT must be less than or equal to 65535, but is '99999'."),
        ("API_PORT", "web", "ATLAS_API_PORT must be a valid integer, but is 'web'."),
        (
            "LOG_LEVEL",
            "loud",
            "ATLAS_LOG_LEVEL must be 'debug', 'info', 'warning' or 'error', but is 'loud'.",
        ),
        ("RETRY_BASE_SECONDS", "nan", "ATLAS_RETRY_BASE_SECONDS must be a finite number, but is 'nan'."),
        ("OWNER_NAME", "x" * 200, f"ATLAS_OWNER_NAME must have at most 100 characters, but is {'x' * 80!r}."),
        (
            "ALLOWED_NETWORKS",
            "10.0.0.0/8,10.0.0.1/8",
            "ATLAS_ALLOWED_NETWORKS must list networks such as 192.168.1.0/24; '10.0.0.1/8' is none.",
        ),
        (
            "PUBLIC_URL",
            "atlas.example",
            "ATLAS_PUBLIC_URL must start with http:// or https:// and name a host, but is 'atlas.example'.",
        ),
        ("DATABASE_URL", "atlas", "ATLAS_DATABASE_URL is not a database URL."),
        (
            "DATABASE_URL",
            "mysql://me:secret@db/atlas",
            "ATLAS_DATABASE_URL must start with sqlite:/// or postgresql+psycopg://, not mysql://.",
        ),
        (
            "DATABASE_URL",
            "sqlite://",
            "ATLAS_DATABASE_URL must name a database; one in memory would be another for every connection.",
        ),
    ],
)
def test_a_wrong_option_is_one_sentence(monkeypatch, name, value, sentence):
    monkeypatch.setenv(f"ATLAS_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.problems == [sentence]


def test_every_wrong_option_is_named_at_once(monkeypatch):
    monkeypatch.setenv("ATLAS_API_PORT", "0")
    monkeypatch.setenv("ATLAS_WORKER_THREADS", "many")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "ATLAS_API_PORT",
        "ATLAS_WORKER_THREADS",
    ]


def test_a_secrets_directory_that_is_not_there(monkeypatch):
    monkeypatch.setenv("ATLAS_SECRETS_DIR", "/nowhere/at/all")
    with pytest.raises(SettingsError, match="ATLAS_SECRETS_DIR must name a directory"):
        load_settings()


def test_unknown_options_are_told_with_the_nearest():
    given = {
        "ATLAS_PUBLC_URL": "x",
        "ATLAS_API_PORT": "1",
        "ATLAS_SECRETS_DIR": "/x",
        "ATLAS_QQQQQQ": "",
        "HOME": "/",
    }
    assert unknown_options(given) == [
        "ATLAS_PUBLC_URL is not an option; did you mean ATLAS_PUBLIC_URL?",
        "ATLAS_QQQQQQ is not an option.",
    ]


def test_unknown_options_of_the_file_are_told_too(tmp_path):
    (tmp_path / ".env").write_text("ATLAS_API_PROT=1\nATLAS_API_PORT=2\nOTHER=3\n")
    assert unknown_options({}) == ["ATLAS_API_PROT is not an option; did you mean ATLAS_API_PORT?"]


def test_every_option_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())
