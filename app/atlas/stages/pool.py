"""Reading pages and feeds in child processes: they may be hostile, and parsers are not written in Python.

A child has a limit of time and of memory, no secrets in its environment and no connection but the one to
its parent, which takes nothing but JSON from it. One child serves one thread at a time; it starts when
needed, and ends when it has rested, when it has grown, or when its parent dies. (Pools of
`multiprocessing`, and pebble's on top of them, need one more process and threads that poll, and take
pickles from their children.)
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from atlas.stages.page import Page, PageError
from atlas.stages.wire import receive, send

#: Pages after which a child makes room for a fresh one.
PAGES_PER_CHILD = 500

log = structlog.stdlib.get_logger(__name__)


class ReaderPool:
    """Reads pages like `read_page`, in at most `processes` children at once; to be called from any thread."""

    def __init__(
        self, processes: int, timeout_seconds: float, memory_mb: int, *, idle_seconds: float = 60.0
    ) -> None:
        self._timeout = timeout_seconds
        self._memory_mb = memory_mb
        self._idle_seconds = idle_seconds
        self._slots = threading.BoundedSemaphore(processes)
        self._lock = threading.Lock()
        self._resting: list[_Child] = []
        self._timer: threading.Timer | None = None
        self._closed = False

    def read(self, raw: bytes, content_type: str | None, url: str) -> Page:
        """Read what `url` answered. Raises PageError, whatever befalls the child; OSError if none starts."""
        try:
            return _page(self.ask("page", raw, content_type=content_type, url=url), url)
        except TooComplexError as error:
            raise PageError("too_complex", str(error)) from None

    def ask(self, job: str, raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON can write
        """Have a child do a job of `pool_child.JOBS`; return what it says.

        Raises TooComplexError when that took too much time or memory; OSError if no child starts.
        """
        request = {"job": job, **request}
        with self._slots:
            for _ in range(2):
                # Perhaps something else ended the child: a page is blamed when it happens twice.
                with contextlib.suppress(_GoneError):
                    return self._ask(request, raw)
        log.warning("page ended two readers", url=request.get("url"), job=job)
        raise TooComplexError("The page breaks its reader: it is too large, or made to do so.")

    def _ask(self, request: dict[str, Any], raw: bytes) -> dict[str, Any]:
        child = self._take()
        try:
            answer = child.ask(request, raw, self._timeout)
        except TimeoutError:
            child.kill()
            log.warning("page took too long", url=request.get("url"), seconds=self._timeout)
            message = f"Reading the page took longer than {self._timeout:g} seconds."
            raise TooComplexError(message) from None
        except BaseException:
            child.kill()
            raise
        self._give_back(child, spent=bool(answer.get("spent")))
        return answer

    def close(self) -> None:
        """End all children. Those at work end with their page."""
        with self._lock:
            self._closed = True
            resting, self._resting = self._resting, []
            if self._timer:
                self._timer.cancel()
        for child in resting:
            child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self) -> "_Child":
        with self._lock:
            while self._resting:
                child = self._resting.pop()
                if child.alive():
                    return child
                child.kill()
        return _Child(self._memory_mb, self._timeout)

    def _give_back(self, child: "_Child", *, spent: bool) -> None:
        with self._lock:
            if not (spent or self._closed or child.pages >= PAGES_PER_CHILD):
                child.rests_since = time.monotonic()
                self._resting.append(child)
                self._watch(self._idle_seconds)
                return
        child.stop()

    def _watch(self, seconds: float) -> None:
        """Look after resting children once, later. The caller holds the lock."""
        if self._timer is None and not self._closed:
            self._timer = threading.Timer(seconds, self._stop_idle)
            self._timer.daemon = True
            self._timer.start()

    def _stop_idle(self) -> None:
        with self._lock:
            self._timer = None
            ends = time.monotonic() - self._idle_seconds
            idle = [child for child in self._resting if child.rests_since <= ends]
            self._resting = [child for child in self._resting if child.rests_since > ends]
            if self._resting:
                self._watch(max(self._resting[0].rests_since - ends, 0.05))
        for child in idle:
            child.stop()


class TooComplexError(Exception):
    """Reading something took more time or memory than it may; the message says which, to a reader."""


class _GoneError(Exception):
    """A child ended before it answered."""


class _Child:
    """A process that does one job after the other."""

    def __init__(self, memory_mb: int, timeout_seconds: float) -> None:
        self.pages = 0
        self.rests_since = 0.0
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "atlas.stages.pool_child"]
        limits = [str(theirs.fileno()), str(memory_mb), str(timeout_seconds)]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command + limits,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except OSError:
                self._socket.close()
                raise

    def ask(self, request: dict[str, Any], raw: bytes, timeout: float) -> dict[str, Any]:
        """Have a job done. Raises TimeoutError, and _GoneError when the child has ended."""
        started = time.monotonic()
        self._socket.settimeout(timeout)
        try:
            send(self._socket, request, raw)
            answer, _ = receive(self._socket, timeout - (time.monotonic() - started))
        except TimeoutError:
            raise
        except (EOFError, OSError, ValueError) as error:
            raise _GoneError from error
        self.pages += 1
        return answer

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process: it does so by itself when nobody is there to ask it."""
        self._socket.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def _environment() -> dict[str, str]:
    """Give a child what it needs to find our code, and nothing else: our environment may hold secrets."""
    return {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LANG": "C.UTF-8",
        "PATH": os.defpath,
        # Give memory back to the system as soon as a page is done.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
    }


def _page(answer: dict[str, Any], url: str) -> Page:
    """Take an answer for what it is worth: the child may have been taken over by its page."""
    try:
        if "code" in answer:
            raise PageError(answer["code"], answer["message"])
        return Page.from_json(answer["page"])
    except (KeyError, TypeError, ValueError):
        log.error("reader broke", url=url, error=answer.get("broke"))  # noqa: TRY400 - the child's trace counts
        raise PageError("too_complex", "Atlas cannot make sense of this page: its log says more.") from None
