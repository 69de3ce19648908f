"""The app's settings file, read as systemd reads it, and what we need to know of it."""

from pathlib import Path


def read_settings(path: Path) -> dict[str, str]:
    """Return the KEY=VALUE lines of a file as systemd's EnvironmentFile= does; an absent file is empty."""
    settings: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return settings
    for line in lines:
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            settings[key.strip()] = _unquote(value.strip())
    return settings


def api_port(settings: dict[str, str]) -> int:
    """Return the port the app listens on, on 127.0.0.1."""
    return int(settings.get("ATLAS_API_PORT") or 7444)


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    inner = value[1:-1]
    return inner if value[0] == "'" else inner.replace('\\"', '"').replace("\\\\", "\\")
