"""What Alertmanager and Prometheus say, and the few things Alertmanager is asked to do."""

import json
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from atlasctl import web
from atlasctl.files import read_object
from atlasctl.paths import Paths
from atlasctl.trouble import Trouble
from atlasctl.words import parse, shorten, stamp

#: It fires always: what is wrong is that it does not come.
ALWAYS = "Watchdog"
SEVERITIES = ("critical", "warning", "info")
#: Labels that say nothing about which thing is meant.
PLAIN = frozenset({"alertname", "severity", "job", "instance", "subject", "inhibits"})
TIMEOUT_SECONDS = 8
#: So much an answer may be, head and all: as objects it takes some twenty times that much memory.
MOST_BYTES = 1_500_000
HEAD_BYTES = 2_000


class Settings(NamedTuple):
    """Where they listen; where the docs are read, if anybody said; how often rules are looked at."""

    alertmanager: str
    prometheus: str
    docs: str
    interval: float


class Alert(NamedTuple):
    """An alert as Alertmanager has it."""

    id: str
    labels: dict[str, str]
    annotations: dict[str, str]
    since: datetime
    graph: str
    silenced_by: tuple[str, ...]
    inhibited: bool

    @property
    def name(self) -> str:
        """What the rule is called."""
        return self.labels.get("alertname", "?")

    @property
    def severity(self) -> str:
        """How bad it is; what nobody weighed is a warning."""
        said = self.labels.get("severity", "")
        return said if said in SEVERITIES else "warning"

    @property
    def quiet(self) -> bool:
        """Whether nobody is told of it."""
        return bool(self.silenced_by) or self.inhibited

    @property
    def why_quiet(self) -> str:
        """Why nobody is told."""
        return "silenced" if self.silenced_by else "something worse speaks for it"


class Silence(NamedTuple):
    """A silence that holds, or will."""

    id: str
    what: str
    until: datetime
    by: str


class TooMuchError(Trouble):
    """The answer was larger than we take."""


def read(paths: Paths) -> Settings:
    """Return the settings that role alertmanager wrote."""
    said = read_object(paths.alerts_settings)
    if "alertmanager" not in said:
        raise Trouble(
            f"There is no Alertmanager on this machine: {paths.alerts_settings} is missing."
            " Run site.yml, without monitoring_enabled: false."
        )
    return Settings(
        str(said["alertmanager"]),
        str(said.get("prometheus", "")),
        str(said.get("docs", "")),
        float(said.get("interval_seconds", 15)),
    )


def alerts(settings: Settings) -> list[Alert]:
    """Return what is wrong now, the worst first, of those the newest."""
    found = [_alert(one) for one in _alertmanager(settings, "GET", "/alerts")]
    found = [one for one in found if one.name != ALWAYS]
    found.sort(key=lambda one: (SEVERITIES.index(one.severity), -one.since.timestamp(), one.name, one.id))
    return found


def silences(settings: Settings) -> list[Silence]:
    """Return the silences that hold, the one that ends first before the others."""
    found = [
        Silence(
            one["id"],
            ", ".join(_matcher(matcher) for matcher in _named_first(one["matchers"])),
            _moment(one["endsAt"]),
            one["createdBy"],
        )
        for one in _alertmanager(settings, "GET", "/silences")
        if one["status"]["state"] != "expired"
    ]
    return sorted(found, key=lambda one: (one.until, one.id))


def silence(settings: Settings, labels: dict[str, str], length: timedelta, now: datetime, by: str) -> str:
    """Keep alerts with these labels quiet for a while; return the silence's id."""
    matchers = [
        {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()
    ]
    asked = {
        "matchers": matchers,
        "startsAt": stamp(now),
        "endsAt": stamp(now + length),
        "createdBy": by,
        "comment": "atlasctl alerts",
    }
    return str(_alertmanager(settings, "POST", "/silences", asked)["silenceID"])


def end_silence(settings: Settings, name: str) -> None:
    """End a silence; one that has ended already is ended enough."""
    try:
        _alertmanager(settings, "DELETE", f"/silence/{name}")
    except Trouble:
        if any(one.id == name for one in silences(settings)):
            raise


def fire(settings: Settings, labels: dict[str, str], annotations: dict[str, str], until: datetime) -> None:
    """Have an alert of our own told."""
    told = {"labels": labels, "annotations": annotations, "endsAt": stamp(until), "generatorURL": ""}
    _alertmanager(settings, "POST", "/alerts", [told])


def thing(labels: dict[str, str]) -> str:
    """Return an alert's name and what tells it from others of that name."""
    more = [f"{name} {value}" for name, value in sorted(labels.items()) if name not in PLAIN]
    return ", ".join([labels.get("alertname", "?"), *more])


def query(settings: Settings, expression: str, **range_: float) -> list[dict[str, Any]]:
    """Ask Prometheus, for now or (start, end, step) for a time; return its series."""
    if not settings.prometheus:
        raise Trouble("There is no Prometheus on this machine.")
    verb = "query_range" if range_ else "query"
    said = _ask(
        "Prometheus",
        "GET",
        f"{settings.prometheus}/api/v1/{verb}?{urlencode({'query': expression, **range_})}",
    )
    if said.get("status") != "success":
        raise Trouble(f"Prometheus says: {said.get('error', 'nothing')}")
    return list(said["data"]["result"])


def _alertmanager(settings: Settings, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  (JSON)
    return _ask("Alertmanager", method, f"{settings.alertmanager}/api/v2{path}", body)


def _ask(who: str, method: str, url: str, body: object = None) -> Any:  # noqa: ANN401  (JSON)
    content = b"" if body is None else json.dumps(body).encode()
    try:
        answer = web.ask(method, url, timeout=TIMEOUT_SECONDS, body=content, limit=MOST_BYTES)
    except web.NoAnswerError as error:
        raise Trouble(f"{who} does not answer: {error}") from None
    try:
        said = json.loads(answer.body) if answer.body.strip() else {}
    except ValueError:
        if len(answer.body.encode()) > MOST_BYTES - HEAD_BYTES:
            raise TooMuchError(f"{who} has more to say than can be shown.") from None
        said = answer.body
    if answer.status != 200 or isinstance(said, str):
        raise Trouble(f"{who} says: {shorten(str(said), 200) or answer.status}")
    return said


def _alert(said: dict[str, Any]) -> Alert:
    status = said["status"]
    return Alert(
        said["fingerprint"],
        said["labels"],
        said["annotations"],
        _moment(said["startsAt"]),
        said.get("generatorURL", ""),
        tuple(status["silencedBy"]),
        bool(status["inhibitedBy"]),
    )


def _named_first(matchers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(matchers, key=lambda one: (one["name"] != "alertname", one["name"]))


def _matcher(said: dict[str, Any]) -> str:
    if said["name"] == "alertname" and said.get("isEqual", True) and not said["isRegex"]:
        return str(said["value"])
    sign = ("=" if said.get("isEqual", True) else "!=") if not said["isRegex"] else "=~"
    return f"{said['name']}{sign}{said['value']}"


def _moment(text: str) -> datetime:
    moment = parse(text)
    if moment is None:
        raise Trouble(f"Alertmanager names a time that is none: {text}")
    return moment
