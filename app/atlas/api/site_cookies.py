"""Cookies of sites: kept for fetching, listed by host, never handed out."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field

from atlas import site_cookies
from atlas.api.errors import Problem, documented
from atlas.api.state import state
from atlas.database.engine import read
from atlas.site_cookies import BadCookies

router = APIRouter(prefix="/api/site-cookies", tags=["site cookies"])

Host = Annotated[str, Path(max_length=300, description="The site's host, such as example.org.")]


class Cookies(BaseModel):
    """What a browser sends to a site where its owner is logged in."""

    cookies: str = Field(max_length=20_000, examples=["session=abc; theme=dark"])


class Site(BaseModel):
    """A site that has cookies. They are never shown."""

    host: str
    updated_at: datetime


class Sites(BaseModel):
    """The sites that have cookies."""

    items: list[Site]


@router.get("", response_model=Sites, responses=documented(401, 503))
def list_sites(request: Request) -> dict[str, Any]:
    """List the sites that have cookies."""
    with read(state(request).engine) as conn:
        return {"items": site_cookies.hosts(conn)}


@router.put("/{host}", status_code=204, responses=documented(401, 403, 422, 503))
def keep(request: Request, host: Host, given: Cookies) -> Response:
    """Keep the cookies of a site and of the hosts below it, in place of earlier ones."""
    parts = state(request)
    try:
        with parts.engine.begin() as conn:
            site_cookies.keep(conn, host, given.cookies, now=parts.clock())
    except BadCookies as error:
        raise Problem(422, "invalid_request", str(error)) from None
    return Response(status_code=204)


@router.delete("/{host}", status_code=204, responses=documented(401, 403, 404, 422, 503))
def remove(request: Request, host: Host) -> Response:
    """Forget the cookies of a site."""
    try:
        with state(request).engine.begin() as conn:
            done = site_cookies.remove(conn, host)
    except BadCookies as error:
        raise Problem(422, "invalid_request", str(error)) from None
    if not done:
        raise Problem(404, "not_found", "There are no cookies of this site.")
    return Response(status_code=204)
