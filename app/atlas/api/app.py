"""Puts the app together."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute

from atlas import __version__
from atlas.accounts.oidc import Provider
from atlas.api import (
    accounts,
    dead_letters,
    exports,
    feeds,
    handed,
    highlights,
    imports,
    items,
    search,
    site_cookies,
    system,
    tags,
    transcripts,
)
from atlas.api.auth import Gate, Tokens, tell_door
from atlas.api.edge import Edge, error_answer, security_headers
from atlas.api.errors import documented, problem_of
from atlas.api.saving import Saver
from atlas.api.state import Clock, State
from atlas.clients import annotations, fever, greader, wallabag
from atlas.database import migrate
from atlas.database.engine import make_engine
from atlas.settings import Settings
from atlas.telemetry import tally
from atlas.telemetry.metrics import Metrics
from atlas.web import adding, library, login, oidc, public, reader
from atlas.web import feeds as feed_pages
from atlas.web import search as search_page
from atlas.web import settings as settings_pages
from atlas.web.pages import ROUTERS
from atlas.web.render import Pages
from atlas.web.static import Static

#: Requests that ask the database at the same time: no more than the engine has connections.
THREADS = 12

#: Seconds between two times that what requests counted is written.
COUNT_SECONDS = 10.0

#: Seconds between two looks whether nginx knows the sessions there are.
DOOR_SECONDS = 10.0

DESCRIPTION = """\
Saves pages, follows feeds, and finds what was read.

Send `Authorization: Bearer TOKEN`; make a token on the settings page or by `atlas token create NAME`.

Every error has the form `{"error": {"code", "message", "id"}}`: a word for programs, a sentence for people,
and the request's id, under which the log tells more. Every answer carries that id as `X-Request-ID`; send
your own to follow a request through the log and through the history of the item it made.
"""


def utc_now() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


def create_app(settings: Settings, *, clock: Clock = utc_now) -> FastAPI:
    """Return the app; nothing is connected before the first request."""
    engine = make_engine(settings)
    app = FastAPI(
        title="Atlas",
        version=__version__,
        description=DESCRIPTION,
        # The pages that show the description need scripts from elsewhere; the description itself is private.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        routes=_routes(),
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.parts = State(
        settings=settings,
        engine=engine,
        clock=clock,
        saver=Saver(engine, settings.max_queue_size, clock),
        tokens=Tokens(engine),
        pages=Pages(Static()),
        provider=Provider(settings) if settings.oidc_issuer else None,
        metrics=Metrics(engine, clock),
        outdated=migrate.older(),
    )
    app.add_api_route(
        "/api/openapi.json", _openapi, responses=documented(401), tags=["system"], summary="This description."
    )
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_middleware(Gate)
    app.add_middleware(Edge, headers=security_headers(secure=settings.secure_cookies))
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Return the routes of every app of this process; at the first request all their parameters are read."""
    router = APIRouter()
    # Routes are tried in this order, so what is asked most stands first.
    for module in (
        items, handed, accounts, highlights, tags, transcripts, search, feeds, imports, dead_letters, system,
        login, oidc, public
    ):  # fmt: skip
        router.include_router(module.router)
    router.include_router(site_cookies.router)
    for pages in (library, reader, search_page, adding, feed_pages, settings_pages):
        router.include_router(pages.router)
    for prefix in greader.PREFIXES:
        router.include_router(greader.router, prefix=prefix)
    router.include_router(fever.router)
    router.include_router(exports.router)
    router.include_router(wallabag.router)
    router.include_router(annotations.router)
    for made in ROUTERS:
        router.include_router(made)
    return router.routes


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    engine: Engine = app.state.parts.engine
    tasks = [asyncio.create_task(_keep_counts(engine)), asyncio.create_task(_keep_door(app.state.parts))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        with suppress(SQLAlchemyError):
            tally.save(engine)
        engine.dispose()


async def _keep_counts(engine: Engine) -> None:
    """Write every few seconds what requests counted; while the database is away it is kept."""
    while True:
        await asyncio.sleep(COUNT_SECONDS)
        with suppress(SQLAlchemyError):
            await run_in_threadpool(tally.save, engine)


async def _keep_door(parts: State) -> None:
    """Have nginx know which sessions there are, also after other processes ended some."""
    while parts.settings.door_directory is not None:
        await run_in_threadpool(tell_door, parts)
        await asyncio.sleep(DOOR_SECONDS)


async def _answer(request: Request, error: Exception) -> Response:
    return error_answer(request.scope, problem_of(error))


async def _openapi(request: Request) -> Response:
    description: Mapping[str, Any] = request.app.openapi()
    return JSONResponse(description)
