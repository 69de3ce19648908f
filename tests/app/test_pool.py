"""Children that read pages: what happens when they are slow, greedy, killed or orphaned."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas.stages import pool_child, wire
from atlas.stages.page import Page, PageError
from atlas.stages.pool import ReaderPool, _Child, _environment
from atlas.stages.read import read_page

PROSE = "The tide came in while nobody looked, and took the picnic with it. "
PAGE = f"<html><title>A day at the sea</title><body><p>{PROSE * 10}</p></body></html>".encode()
URL = "https://a.example/x"
#: Takes a reader some seconds.
SLOW = (("<p>" + "a <br>" * 200 + "</p>") * 2000).encode()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are watched by way of /proc")


def processes() -> Iterator[tuple[int, int, str, bytes]]:
    """Number, parent, state and command line of every process."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            yield int(entry.name), int(parent), state, (entry / "cmdline").read_bytes()


def readers(of: int | None = None) -> set[int]:
    """Readers at work or at rest that a process has started."""
    me = of or os.getpid()
    return {
        pid
        for pid, parent, state, line in processes()
        if parent == me and state != "Z" and b"pool_child" in line
    }


def alive(pid: int) -> bool:
    return any(pid == number and state != "Z" for number, _, state, _ in processes())


def eventually(condition, seconds: float = 10) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def pool() -> Iterator[ReaderPool]:
    with ReaderPool(1, timeout_seconds=20, memory_mb=1024) as pool:
        yield pool
    assert not readers()


def refusal(pool: ReaderPool, raw: bytes = PAGE) -> PageError:
    with pytest.raises(PageError) as caught:
        pool.read(raw, "text/html", URL)
    return caught.value


def test_a_page_is_the_same_as_without_a_child(pool: ReaderPool) -> None:
    assert pool.read(PAGE, None, URL) == read_page(PAGE, None, URL)


def test_a_refusal_is_the_same_too(pool: ReaderPool) -> None:
    error = refusal(pool, b"GIF89a")
    assert error.code == "not_html"
    assert "picture" in error.message


def test_nobody_works_before_there_is_work() -> None:
    with ReaderPool(2, 20, 1024) as pool:
        assert not readers()
        pool.read(PAGE, None, URL)
        assert len(readers()) == 1


def test_a_child_is_used_again(pool: ReaderPool) -> None:
    pool.read(PAGE, None, URL)
    first = readers()
    pool.read(PAGE, None, URL)
    assert readers() == first


def test_threads_share_so_many_children_and_no_more() -> None:
    results: list[Page] = []
    most = 0
    with ReaderPool(2, 60, 1024) as pool:
        threads = [
            threading.Thread(target=lambda: results.append(pool.read(PAGE, None, URL))) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, len(readers()))
    assert len(results) == 12
    assert 1 <= most <= 2


def test_children_end_after_a_rest() -> None:
    with ReaderPool(1, 20, 1024, idle_seconds=0.2) as pool:
        for _ in range(2):
            pool.read(PAGE, None, URL)
            assert eventually(lambda: not readers())


def test_a_page_that_takes_too_long_is_given_up() -> None:
    with ReaderPool(1, timeout_seconds=0.8, memory_mb=2048) as pool:
        started = time.monotonic()
        error = refusal(pool, SLOW)
        assert time.monotonic() - started < 6
        assert error.code == "too_complex"
        assert "0.8 seconds" in error.message
        assert not readers()


def test_a_page_that_needs_too_much_memory_is_given_up() -> None:
    with ReaderPool(1, 60, memory_mb=120) as pool:
        assert refusal(pool, b"<p>" + b"<b>x</b>" * 1_000_000).code == "too_complex"
        assert pool.read(PAGE, None, URL).word_count == 130


def test_a_child_that_was_killed_while_resting_is_not_missed(pool: ReaderPool) -> None:
    pool.read(PAGE, None, URL)
    for pid in readers():
        os.kill(pid, signal.SIGKILL)
    assert pool.read(PAGE, None, URL).word_count == 130


def test_a_child_leaves_stopping_to_its_parent(pool: ReaderPool) -> None:
    pool.read(PAGE, None, URL)
    before = readers()
    for pid in before:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert pool.read(PAGE, None, URL).word_count == 130
    assert readers() == before


def test_a_page_is_tried_again_when_its_child_dies_once_and_given_up_the_second_time(
    pool: ReaderPool,
) -> None:
    for kills, outcome in ((1, "read"), (2, "too_complex")):
        seen: list[str] = []

        def read(seen: list[str] = seen) -> None:
            try:
                pool.read(SLOW[: len(SLOW) // 8], "text/html", URL)
                seen.append("read")
            except PageError as error:
                seen.append(error.code)

        thread = threading.Thread(target=read)
        before = readers()
        thread.start()
        for _ in range(kills):
            assert eventually(lambda before=before: readers() - before or readers())
            time.sleep(0.05)
            (victim,) = readers()
            os.kill(victim, signal.SIGKILL)
            assert eventually(lambda victim=victim: victim not in readers())
        thread.join(30)
        assert seen == [outcome]


def test_a_child_knows_no_secrets_and_no_files(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATLAS_DATABASE_PASSWORD", "hunter2")
    with (tmp_path / "database").open("w") as database:
        os.set_inheritable(database.fileno(), True)
        pool.read(PAGE, None, URL)
        (child,) = readers()
        assert b"hunter2" not in Path(f"/proc/{child}/environ").read_bytes()
        files = {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()}
        assert str(tmp_path / "database") not in files
        assert len([name for name in files if name.startswith("socket:")]) <= 2


def test_a_child_ends_with_its_parent_even_in_the_middle_of_a_page(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import threading\n"
        "from atlas.stages.pool import ReaderPool\n"
        f"from {Path(__file__).stem} import PAGE, SLOW, URL\n"
        "pool = ReaderPool(2, 60, 2048)\n"
        "pool.read(PAGE, None, URL)\n"
        "for _ in range(2):\n"
        "    threading.Thread(target=pool.read, args=(SLOW, 'text/html', URL)).start()\n"
        "print('busy', flush=True)\n"
    )
    path = os.pathsep.join([_environment()["PYTHONPATH"], str(Path(__file__).parent)])
    parent = subprocess.Popen([sys.executable, str(script)], env={"PYTHONPATH": path}, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"busy\n"
    assert eventually(lambda: len(readers(parent.pid)) == 2)
    orphans = readers(parent.pid)
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not any(map(alive, orphans)), 5)


def test_a_child_that_cannot_start_is_the_machine_s_fault(
    pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="nowhere"):
        pool.read(PAGE, None, URL)
    monkeypatch.undo()
    assert pool.read(PAGE, None, URL).word_count == 130


def test_a_child_that_has_read_enough_is_replaced(pool: ReaderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.stages.pool.PAGES_PER_CHILD", 1)
    pool.read(PAGE, None, URL)
    assert not readers()


def test_a_child_that_has_grown_is_replaced() -> None:
    with ReaderPool(1, 20, memory_mb=160) as pool:
        pool.read(PAGE, None, URL)
        assert not readers()


def test_after_closing_nothing_is_left_to_rest() -> None:
    pool = ReaderPool(1, 20, 1024)
    pool.close()
    assert pool.read(PAGE, None, URL).word_count == 130
    assert not readers()


# --- the child itself, in this process


def served(*requests: bytes, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Answers of a child's main loop, run in a thread without its limits."""
    monkeypatch.setattr(pool_child, "_limit", lambda memory_mb: None)
    monkeypatch.setattr(pool_child, "_end_with_parent", lambda descriptor: None)
    monkeypatch.setattr("signal.alarm", lambda seconds: 0)
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=pool_child.main, args=(theirs.detach(), 1024, 20.0))
    thread.start()
    answers = []
    with ours:
        for raw in requests:
            wire.send(ours, {"job": "page", "content_type": None, "url": URL}, raw)
            answers.append(wire.receive(ours, 20)[0])
    thread.join(10)
    assert not thread.is_alive()
    return answers


def test_a_child_answers_until_its_parent_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    read, refused = served(PAGE, b"", monkeypatch=monkeypatch)
    assert Page.from_json(read["page"]).title == "A day at the sea"  # type: ignore[arg-type]
    assert refused["code"] == "empty_page"


@pytest.mark.parametrize(
    ("error", "key"), [(MemoryError(), "code"), (RecursionError(), "code"), (KeyError("x"), "broke")]
)
def test_a_child_says_what_went_wrong_and_asks_to_be_replaced(
    error: Exception, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Page:
        raise error

    monkeypatch.setattr(pool_child, "read_page", broken)
    (answer,) = served(PAGE, monkeypatch=monkeypatch)
    assert key in answer
    assert answer["spent"] is True


@pytest.mark.parametrize(
    "answer",
    [
        {"broke": "Traceback", "spent": True},
        {},
        {"page": {}},
        {"page": {"title": "x", "html": 1}},
        {"code": "nonsense", "message": "x"},
        {"code": "soft_404"},
        {"page": None},
    ],
)
def test_whatever_a_child_answers_is_a_page_or_a_refusal(
    answer: dict[str, object], pool: ReaderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Child, "ask", lambda self, *_: answer)
    assert refusal(pool).code == "too_complex"


def test_a_message_that_never_ends_is_waited_for_no_longer_than_said() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\x00\x00\x00\x09\x00")
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            wire.receive(ours, 0.2)
        assert time.monotonic() - started < 2


def test_a_message_that_breaks_off_is_no_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(theirs, {"a": "ü"}, b"body")
        assert wire.receive(ours) == ({"a": "ü"}, b"body")
        theirs.sendall(b"\x00\x00\x00\x02\x00\x00\x00\x00[]")
        with pytest.raises(ValueError, match="header"):
            wire.receive(ours)
        theirs.sendall(b"\x00\x00")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            wire.receive(ours)
