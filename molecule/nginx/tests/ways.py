"""Every way in that the app and nginx know, so that a new one cannot be forgotten."""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "app"))

from atlas.api.app import create_app  # noqa: E402
from atlas.settings import Settings  # noqa: E402

#: What answers anybody, and why that is right.
PUBLIC = {
    "/health": "a probe",
    "/ready": "a probe",
    "/robots.txt": "asks robots to stay away",
    "/favicon.ico": "an icon",
    "/manifest.webmanifest": "a phone asks for it without a password",
    "/sw.js": "a browser asks for it without a password",
    "/offline": "the same for everybody",
    "/static/{name}": "style, scripts and icons of the pages",
    "/logged-out": "says goodbye",
    "/status/public.html": "says whether all is well, no more",
    "/status/public.json": "the same for programs",
    "/status/status.css": "style",
    "/status": "leads to a page that asks",
    "/status/public": "leads to the public one",
    "/unavailable.css": "style",
    "/ca.pem": "the authority's certificate, to be trusted",
    # Each wants a name and a token in the request itself, or says which API this is.
    "/wallabag/api/version": "says what it speaks",
    "/wallabag/api/version.json": "says what it speaks",
    "/wallabag/api/info": "says what it speaks",
    "/wallabag/api/info.json": "says what it speaks",
    "/fever": "tells a client that its key is wrong",
    "/fever/": "tells a client that its key is wrong",
    "/wallabag/oauth/v2/token": "where clients log in",
}
REFUSED = {301, 302, 303, 307, 308, 400, 401, 403, 404, 405}


def routes_of(routes: list, prefix: str = "") -> Iterator[tuple[str, str]]:
    """List the paths and methods of all routers, with what they are mounted below."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            below = getattr(getattr(route, "include_context", None), "prefix", "")
            yield from routes_of(inner.routes, prefix + below)
        elif getattr(route, "methods", None):
            yield from ((method, prefix + route.path) for method in sorted(route.methods))


def locations_of(configuration: str) -> Iterator[str]:
    """List the paths of nginx's locations, those of patterns as one path each."""
    for kind, path in re.findall(r"^\s*location (\S+ )?(/\S*|\^/\S+) \{", configuration, re.MULTILINE):
        if kind.strip() != "~":
            yield path
            continue
        body = path.removeprefix("^").removesuffix("$")
        body = (
            re.sub(r"\(\?<\w+>", "(", body).replace("(/|$)", "/").replace("[0-9]+", "1").replace(r"\.", ".")
        )
        yield from _spelt_out(body)


def _spelt_out(pattern: str) -> Iterator[str]:
    """Write out a pattern of alternatives."""
    found = re.search(r"\(([^()]*)\)(\?)?", pattern)
    if not found:
        yield pattern
        return
    for choice in [*found[1].split("|"), *([""] if found[2] else [])]:
        yield from _spelt_out(pattern[: found.start()] + choice + pattern[found.end() :])


def every_way(configuration: str) -> list[tuple[str, str]]:
    """List methods and paths of the app, and those of nginx's configuration."""
    with TemporaryDirectory() as nowhere:  # it makes its database's directory where it is told
        app = create_app(Settings(_env_file=None, data_dir=Path(nowhere)))
    ways = set(routes_of(app.routes))
    paths = {path for _, path in ways}
    assert set(app.openapi()["paths"]) <= paths
    locations = set(locations_of(configuration))
    assert len(ways) > 150
    assert {"/api/", "/status/", "/ca.pem", "/fever/"} <= locations
    assert set(PUBLIC) <= paths | locations, "a public way is gone: take it off the list"
    return sorted(ways | {("GET", path) for path in locations})


def open_ways(web: httpx2.Client, ways: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Try each way that is not public as a stranger; return those that let him in."""
    found = {}
    for method, path in ways:
        if path in PUBLIC:
            continue
        status = _try(web, method, re.sub(r"\{[^}]+\}", "1", path))
        # The app counts logins, for longer than a test lasts.
        if status not in REFUSED and not (status == 429 and "ClientLogin" in path):
            found[method, path] = status
    return found


def _try(web: httpx2.Client, method: str, path: str) -> int:
    """Ask, and again where nginx says that it was too much at once."""
    for _ in range(10):
        answer = web.request(method, path)
        if answer.status_code != 429 or "too_many_attempts" in answer.text:
            break
        time.sleep(1)
    return answer.status_code
