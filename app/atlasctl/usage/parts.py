"""What the sources hand over: numbers with limits, the idle margin, money spent, leftovers."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from atlasctl.cloud.client import Client
from atlasctl.cloud.configuration import Configuration
from atlasctl.cloud.metadata import Machine
from atlasctl.words import parse

GIGA = 1e9


class Reading(NamedTuple):
    """How much of a limit is used; `forecast` is for the end of the month, if it grows by itself."""

    limit: str
    title: str
    used: float
    allowed: float
    forecast: float | None = None
    estimated: bool = False


class Leftover(NamedTuple):
    """Something nobody seems to need; `monthly_dollars` is its price should the free allowance be used up."""

    kind: str
    name: str
    why: str
    age_days: float
    gigabytes: float = 0
    monthly_dollars: float = 0
    things: int = 1


class Idle(NamedTuple):
    """Percent of the machine that is used (95th percentile of 7 days); None where Monitoring has no data."""

    cpu: float | None
    network: float | None
    memory: float | None
    observed_hours: float
    margin: float | None


class Part(NamedTuple):
    """What one source has to say; `missing` is what it should say and cannot."""

    readings: tuple[Reading, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    idle: Idle | None = None
    cost: tuple[float, str] | None = None
    missing: str = ""


class Scene(NamedTuple):
    """What all sources look at."""

    client: Client
    machine: Machine
    configuration: Configuration
    now: datetime
    compartments: tuple[str, ...]
    whole_tenancy: bool = False  # the compartments are all there are

    @property
    def month(self) -> datetime:
        """When this month began."""
        return self.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)

    @property
    def hours_left(self) -> float:
        """How much of the month is left."""
        following = (self.month + timedelta(days=32)).replace(day=1)
        return (following - self.now).total_seconds() / 3600

    def age_days(self, created: object) -> float:
        """Return how old something is that was created at a stamp of Oracle's."""
        moment = parse(created)
        return round(max(0.0, (self.now - moment).total_seconds()) / 86400, 1) if moment else 0.0


def wire_time(moment: datetime) -> str:
    """Return a moment as Oracle writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
