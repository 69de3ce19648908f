"""What the routes share: made once by `create_app`, found again with `state(request)`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from starlette.requests import Request

from atlas.accounts.oidc import Provider
from atlas.api.auth import Tokens
from atlas.api.saving import Saver
from atlas.settings import Settings
from atlas.telemetry.metrics import Metrics
from atlas.web.render import Pages

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class State:
    """The parts of a running app."""

    settings: Settings
    engine: Engine
    clock: Clock
    saver: Saver
    tokens: Tokens
    pages: Pages
    #: Where people may log in besides; None: nowhere.
    provider: Provider | None
    metrics: Metrics
    #: Revisions of the database that are too old for this release.
    outdated: frozenset[str]


def state(request: Request) -> State:
    """Return the parts of the app that serves a request."""
    found: State = request.app.state.parts
    return found
