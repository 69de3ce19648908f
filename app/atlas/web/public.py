"""What a browser may fetch before anyone has logged in: nothing in it is private."""

import hashlib
import json

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from atlas.api.state import state
from atlas.web.static import FOR_A_DAY

router = APIRouter(include_in_schema=False)

#: What a phone may share as a file.
SHARED_TYPES = [
    "application/pdf", "text/html", "text/markdown", "text/plain", "message/rfc822", ".pdf", ".html", ".md",
    ".txt", ".eml",
]  # fmt: skip

#: What the service worker keeps from the first: a page without network needs no more.
_KEPT = ("atlas.css", "atlas.js", "reader.js", "offline.js", "icon.svg", "icon-180.png")


@router.get("/sw.js")
async def service_worker(request: Request) -> Response:
    """Return the service worker; browsers look for a newer one at each visit."""
    static = state(request).pages.static
    files = [static.url(name) for name in _KEPT]
    version = hashlib.sha256("".join([*files, static.url("sw.js")]).encode()).hexdigest()[:10]
    assets = json.dumps({"version": version, "files": ["/offline", *files]})
    body = f"const ASSETS = {assets};\n{static.text('sw.js')}"
    return Response(body, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/offline")
async def offline(request: Request) -> Response:
    """Return what is shown when there is no network: the same for everybody."""
    parts = state(request)
    return parts.pages.answer("offline.html", now=parts.clock())


@router.get("/static/{name}")
async def static(request: Request) -> Response:
    """Return a static file, to be kept for ever: its address changes with its content."""
    return state(request).pages.static.serve(request)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Return the icon to those who look for it where it always was."""
    return state(request).pages.static.plain("icon-180.png")


@router.get("/robots.txt")
async def robots() -> Response:
    """Ask robots to stay away."""
    return PlainTextResponse("User-agent: *\nDisallow: /\n", headers={"Cache-Control": FOR_A_DAY})


@router.get("/manifest.webmanifest")
async def manifest(request: Request) -> Response:
    """Say what the installed app is called, how it looks, and that it takes what is shared to it."""
    url = state(request).pages.static.url
    body = {
        "id": "/",
        "name": "Atlas",
        "short_name": "Atlas",
        "description": "Everything worth keeping, saved, readable and found again.",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#faf8f3",
        "theme_color": "#faf8f3",
        "icons": [
            {"src": url("icon.svg"), "sizes": "any", "type": "image/svg+xml"},
            {"src": url("icon-192.png"), "sizes": "192x192", "type": "image/png"},
            {"src": url("icon-512.png"), "sizes": "512x512", "type": "image/png"},
            {
                "src": url("icon-maskable-512.png"),
                "sizes": "512x512",
                "type": "image/png",
                "purpose": "maskable",
            },
        ],
        # Nothing of it reaches the server before its owner says so: our service worker takes what is shared,
        # and opens a form that asks (`static/sw.js`).
        "share_target": {
            "action": "/share",
            "method": "POST",
            "enctype": "multipart/form-data",
            "params": {
                "title": "title",
                "text": "text",
                "url": "url",
                "files": [{"name": "files", "accept": SHARED_TYPES}],
            },
        },
        "shortcuts": [{"name": "Add a page", "url": "/add"}, {"name": "Search", "url": "/search"}],
    }
    return JSONResponse(body, headers={"Cache-Control": FOR_A_DAY}, media_type="application/manifest+json")
