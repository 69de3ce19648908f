"""Static files: read once at start, addressed by their content, so that browsers may keep them for ever."""

import gzip
import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from atlas.api.errors import Problem

FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_DAY = "public, max-age=86400"

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}


class Static:
    """The files of `atlas/web/static`. `url("atlas.css")` is `/static/atlas.1a2b3c4d5e.css`."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._bodies: dict[str, tuple[bytes, str]] = {}
        self._packed: dict[str, bytes] = {}
        for file in sorted(files("atlas.web").joinpath("static").iterdir(), key=lambda file: file.name):
            stem, _, ending = file.name.rpartition(".")
            body = file.read_bytes()
            name = f"{stem}.{hashlib.sha256(body).hexdigest()[:10]}.{ending}"
            self._urls[file.name] = f"/static/{name}"
            self._bodies[name] = (body, _TYPES[f".{ending}"])
            if ending != "png":
                self._packed[name] = gzip.compress(body, mtime=0)

    def url(self, name: str) -> str:
        """Return the address of a file; raises KeyError when there is none by that name."""
        return self._urls[name]

    def text(self, name: str) -> str:
        """Return the text of a file."""
        return self._bodies[self._urls[name].removeprefix("/static/")][0].decode()

    def plain(self, name: str) -> Response:
        """Return a file for an address that cannot carry its hash, such as /favicon.ico."""
        body, kind = self._bodies[self._urls[name].removeprefix("/static/")]
        return Response(body, media_type=kind, headers={"Cache-Control": FOR_A_DAY})

    def serve(self, request: Request) -> Response:
        """Answer a request for /static/{name}."""
        found = self._bodies.get(request.path_params["name"])
        if found is None:
            raise Problem(404, "not_found", "There is no such file.")
        body, kind = found
        headers = {"Cache-Control": FOR_EVER}
        packed = self._packed.get(request.path_params["name"])
        if packed is not None:
            headers["Vary"] = "Accept-Encoding"
            # Only of these: compressed pages would tell who listens how much of what they hold is alike.
            if "gzip" in request.headers.get("accept-encoding", ""):
                return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
        return Response(body, media_type=kind, headers=headers)
