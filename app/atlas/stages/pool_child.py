"""The process that a ReaderPool starts: reads pages that its parent sends it, until the parent goes away."""

import contextlib
import math
import os
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.reading.keywords import terms_of
from atlas.reading.language import language_of
from atlas.stages.page import PageError
from atlas.stages.read import read_page
from atlas.stages.wire import receive, send

#: A child that keeps this share of the memory it may take is replaced after its page.
LARGEST_SHARE = 1 / 8
#: Seconds after the limit at which a child ends itself, if its parent is not there to end it.
GRACE_SECONDS = 5


def main(descriptor: int, memory_mb: int, timeout_seconds: float) -> None:
    """Serve the parent at the other end of the socket `descriptor`."""
    _limit(memory_mb)
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    with socket.socket(fileno=descriptor) as connection, contextlib.suppress(EOFError, ConnectionError):
        while True:
            request, raw = receive(connection)
            signal.alarm(math.ceil(timeout_seconds) + GRACE_SECONDS)
            answer = _answer(raw, **request)
            if _resident_mb() > memory_mb * LARGEST_SHARE:
                answer["spent"] = True
            signal.alarm(0)
            send(connection, answer)


def _limit(memory_mb: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Sent to all of us; but stopping is the parent's business.
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        # When memory is short, rather this process than the database.
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _resident_mb() -> int:
    with contextlib.suppress(OSError):  # Where there is no /proc, children grow until they have read enough.
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize() >> 20
    return 0


def _end_with_parent(descriptor: int) -> None:
    """End at once when the other end of the connection is closed, even in the middle of a page."""
    poll = select.poll()
    poll.register(descriptor, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    poll.poll()
    os._exit(0)


def _page(raw: bytes, *, content_type: str | None, url: str) -> dict[str, Any]:
    return {"page": read_page(raw, content_type, url).to_json()}


def _feed(raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as `read_feed` takes it
    from atlas.sources.reading import read_feed  # noqa: PLC0415 - most children never see a feed

    return read_feed(raw, **request)


def _transcript(raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as `read_transcript` takes it
    from atlas.sources.episodes import read_transcript  # noqa: PLC0415

    return read_transcript(raw, **request)


def _episode(raw: bytes, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as `read_episode` takes it
    from atlas.sources.episodes import read_episode  # noqa: PLC0415

    return read_episode(raw, **request)


def _describe(raw: bytes, *, title: str, language: str | None) -> dict[str, Any]:
    text = raw.decode("utf-8", "replace")
    found = language_of(text, language)
    return {"language": found, "terms": terms_of(title, text, found)}


#: What a child can do: from bytes and what else it is told to an answer in JSON.
JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "page": _page,
    "feed": _feed,
    "transcript": _transcript,
    "episode": _episode,
    "describe": _describe,
}


def _answer(raw: bytes, *, job: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - each job has its own
    try:
        answer = JOBS[job](raw, **request)
    except PageError as error:
        answer = {"code": error.code, "message": error.message}
    except (MemoryError, RecursionError):
        answer = {
            "code": "too_complex",
            "message": "Reading the page needed more memory than it may.",
            "spent": True,
        }
    except Exception:  # noqa: BLE001 - whatever it is, the parent must hear of it
        answer = {"broke": traceback.format_exc(limit=-6), "spent": True}
    return answer


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
