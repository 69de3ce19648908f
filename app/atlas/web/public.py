"""What a browser may fetch before anyone has logged in: nothing in it is private."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from atlas.api.state import state
from atlas.web.static import FOR_A_DAY

router = APIRouter(include_in_schema=False)


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
        # By GET, to a form that asks: what is shared is saved by one tap there, never by following a link.
        "share_target": {
            "action": "/add",
            "method": "GET",
            "params": {"title": "title", "text": "text", "url": "url"},
        },
        "shortcuts": [{"name": "Add a page", "url": "/add"}, {"name": "Search", "url": "/search"}],
    }
    return JSONResponse(body, headers={"Cache-Control": FOR_A_DAY}, media_type="application/manifest+json")
