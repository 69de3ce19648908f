"""Turns templates into pages. All is escaped but what a template calls `safe`: HTML that was sanitised."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import jinja2
from starlette.responses import HTMLResponse

from atlas.web import words
from atlas.web.look import CHOICES, Look
from atlas.web.static import Static


class Pages:
    """The templates, loaded once."""

    def __init__(self, static: Static) -> None:
        self.static = static
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("atlas.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            undefined=jinja2.StrictUndefined,
        )
        self._environment.globals.update(
            static=static.url,
            ago=words.ago,
            clock=words.clock,
            day=words.day,
            device=words.device,
            iso=words.iso,
            moment=moment,
            plain_url=plain_url,
            progress=words.progress,
            reading_time=words.reading_time,
            reason_words=words.reason_words,
            size=words.size,
            soon=words.soon,
            sources=words.SOURCES,
            stage_words=words.stage_words,
            state_of=words.state_of,
            states=words.STATES,
            kinds=words.KINDS,
            look_choices=CHOICES,
            until=words.until,
            web_link=web_link,
        )

    def answer(
        self,
        template: str,
        *,
        now: datetime,
        secret: str = "",
        here: str = "",
        status: int = 200,
        look: Look = Look(),  # noqa: B008 - it is frozen
        **context: object,
    ) -> HTMLResponse:
        """Render a page.

        `secret` is the cookie from which its forms' tokens derive, `here` its entry in the navigation.
        """
        page = self._environment.get_template(template).render(
            now=now, csrf_token=form_token(secret), here=here, status=status, look=look, **context
        )
        return HTMLResponse(page, status)


def form_token(secret: str) -> str:
    """Return the token a form must send back: it proves the form is ours, made for this very session."""
    return hmac.new(secret.encode(), b"atlas form", hashlib.sha256).hexdigest()[:32]


def web_link(url: str | None) -> str:
    """Return an address a link may lead to, "" for what is none: feeds may name anything as their site."""
    return url if url and url.startswith(("https://", "http://")) else ""


def moment(item: Mapping[str, Any], seconds: float) -> str:
    """Return a link to a place in an item's sound or film, "" when it has none."""
    media = item.get("media") or {}
    if video := media.get("video_id"):
        return f"https://www.youtube.com/watch?v={quote(video, safe='')}&t={int(seconds)}s"
    address = web_link(media.get("audio") or media.get("video"))
    return f"{address}#t={int(seconds)}" if address else ""


def plain_url(url: str) -> str:
    """Return an address as people read it: without scheme, `www.` and escapes."""
    parts = urlsplit(url)
    path = unquote(parts.path).rstrip("/")
    return f"{parts.netloc.removeprefix('www.')}{path}{'?' + parts.query if parts.query else ''}"
