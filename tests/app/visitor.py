"""People and programs who visit the app in tests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from atlas import accounts, items
from atlas.api.app import create_app
from atlas.api.auth import client_of
from atlas.database.tables import items as items_table
from atlas.settings import Settings

NAME, PASSWORD = "owner", "correct horse"
HOST = "https://atlas.test"
#: What a browser says about a form of our own page.
OURS = {"Sec-Fetch-Site": "same-origin", "Origin": HOST, "Accept": "text/html"}


@contextmanager
def visiting(settings: Settings, clock: Any, **changes: Any) -> Iterator[TestClient]:
    """A client of an app that is reached by TLS; nobody is logged in."""
    app = create_app(settings.model_copy(update={"public_url": HOST, **changes}), clock=clock)
    with TestClient(app, base_url=HOST, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


def engine_of(client: TestClient) -> Engine:
    engine: Engine = client.app.state.parts.engine
    return engine


def make_owner(client: TestClient) -> accounts.User:
    with engine_of(client).begin() as conn:
        return accounts.set_password(conn, NAME, PASSWORD, client.app.state.parts.clock(), actor="system")


def make_token(client: TestClient, *scopes: str, name: str = NAME, **more: Any) -> str:
    """A token of an account that is there; without scopes it may do everything."""
    with engine_of(client).begin() as conn:
        user = accounts.find_user(conn, name)
        assert user is not None
        now = client.app.state.parts.clock()
        return accounts.create_token(conn, user, "test", now, scopes=scopes or None, **more)


def use_token(client: TestClient, *scopes: str) -> str:
    """Let the client send a token from now on."""
    make_owner(client)
    token = make_token(client, *scopes)
    client.headers["Authorization"] = f"Bearer {token}"
    return token


def log_in(client: TestClient, **fields: str) -> Any:
    """Make the owner's account, and fill in the login form as a browser would."""
    make_owner(client)
    return try_login(client, **fields)


def try_login(client: TestClient, **fields: str) -> Any:
    """Fill in the login form."""
    client.headers["Accept"] = "text/html"
    csrf = csrf_of(client.get("/login").text)
    return client.post(
        "/login", data={"name": NAME, "password": PASSWORD, "csrf": csrf, **fields}, headers=OURS
    )


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


def submit(client: TestClient, path: str, **fields: str) -> Any:
    """Send a form of ours as the logged-in visitor."""
    return client.post(path, data={"csrf": csrf_of(client.get("/add").text), **fields}, headers=OURS)


def put_article(client: TestClient, url: str = "https://example.org/a", **fields: Any) -> int:
    """Make a readable item; `title`, `text`, `html` and any column of the item may be given."""
    now = client.app.state.parts.clock()
    text = fields.pop("text", "Some words about lighthouses.")
    html = fields.pop("html", f"<p>{text}</p>")
    title = fields.pop("title", "A title")
    with engine_of(client).begin() as conn:
        added = items.add(conn, url, now=now, correlation_id="test")
        conn.execute(
            items_table.update()
            .where(items_table.c.id == added.id)
            .values(**{"stage": 590, "due_at": None, "title": title, "word_count": 700, **fields})
        )
        items.write_content(conn, added.id, title=title or "", text=text, html=html)
    return added.id


def put_failed(
    client: TestClient, url: str = "https://example.org/dead", message: str = "It is gone."
) -> int:
    """Make an item that failed for good."""
    now = client.app.state.parts.clock()
    error = {"code": "http_404", "message": message, "stage": 120, "at": now.isoformat(), "id": "ab12cd34"}
    with engine_of(client).begin() as conn:
        added = items.add(conn, url, now=now, correlation_id="test")
        conn.execute(
            items_table.update()
            .where(items_table.c.id == added.id)
            .values(stage=777, due_at=None, error=error)
        )
    return added.id


def routes_of(client: TestClient, methods: set[str]) -> list[tuple[str, str]]:
    """Every route of our own, as (method, path) with numbers filled in; not those of other systems' APIs."""
    app: FastAPI = client.app
    found = [
        (method, re.sub(r"{[^}]+}", "1", route.path))
        for route in every_route(app.routes)
        if client_of(route.path) is None
        for method in sorted(route.methods or ())
        if method in methods
    ]
    assert len(found) > 3
    return found


def every_route(routes: Any) -> Iterator[Any]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from every_route(included.routes)


@contextmanager
def database_away(client: TestClient) -> Iterator[None]:
    """No connection can be made while this lasts, and those there are have broken."""
    engine = engine_of(client)

    def refuse(dialect: Any, *_: object) -> None:
        raise dialect.loaded_dbapi.OperationalError("connection refused: secret-host.example")

    engine.dispose()
    event.listen(engine, "do_connect", refuse)
    try:
        yield
    finally:
        event.remove(engine, "do_connect", refuse)


def count_rows(client: TestClient, table: sa.Table) -> int:
    with engine_of(client).connect() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
