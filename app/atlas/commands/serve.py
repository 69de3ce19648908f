"""`atlas serve`: the API as a service that tells systemd how it is."""

import argparse
import asyncio
import socket
from contextlib import suppress
from typing import Any, cast

import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from atlas.api.app import create_app
from atlas.api.auth import comes_from_our_door
from atlas.memory import be_frugal
from atlas.settings import Settings
from atlas.telemetry.systemd import give_up, keep, kept, notify, watchdog_seconds

#: How long requests may take to end after the service was asked to stop, in seconds.
STOP_SECONDS = 15

#: Longer than nginx keeps a connection it does not use, so that nginx never meets a closed one (seconds).
KEEP_ALIVE_SECONDS = 75

#: What systemd calls the socket it keeps for the next run.
SOCKET = "api"


def serve(_options: argparse.Namespace, settings: Settings) -> int:
    """Serve until told to stop; return the exit status."""
    be_frugal()
    config = uvicorn.Config(
        _behind_proxy(create_app(settings), settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,  # ours is in place
        access_log=False,  # the app itself logs requests, with their ids
        proxy_headers=False,  # done by _behind_proxy
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = _Server(config)
    with suppress(KeyboardInterrupt, SystemExit):  # Ctrl+C stops it; the exit status is ours
        server.run([_listening(config)])
    return 0 if server.started else 1


def _listening(config: uvicorn.Config) -> socket.socket:
    """Return the socket to listen at: what the last run left with systemd, else a new one, left there.

    It stays open between two runs, so whoever comes meanwhile waits in its queue instead of being refused.
    """
    for found in kept(SOCKET):
        if found.getsockname()[:2] == (config.host, config.port):
            return found
        found.close()
        give_up(SOCKET)  # the settings say another address now
    made = config.bind_socket()
    made.listen(config.backlog)  # systemd drops a socket that hangs up, as one does that nobody listens at
    keep(SOCKET, made)
    return made


def _behind_proxy(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let the web server before us say who asks it, and note who it was that connected to us.

    With a key of the door only who brings it is that web server: other programs of this machine may ask, too.
    """
    inner: Any = ProxyHeadersMiddleware(cast("Any", app), trusted_hosts="127.0.0.1")

    async def noting(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        believed = True
        if scope["type"] == "http":
            scope["atlas.peer"] = scope.get("client")
            believed = settings.door_key is None or comes_from_our_door(Headers(scope=scope), settings)
        await (inner if believed else app)(scope, receive, send)

    return noting


class _Server(uvicorn.Server):
    """Says when it listens, that its loop turns, and when it stops."""

    _watchdog: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            notify("READY=1")
            self._watchdog = asyncio.create_task(_feed_watchdog())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        if self._watchdog is not None:
            self._watchdog.cancel()
        await super().shutdown(sockets=sockets)


async def _feed_watchdog() -> None:
    every = watchdog_seconds()
    while every is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(every)
