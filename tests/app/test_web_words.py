"""How the pages say things."""

import datetime as dt

import pytest

from atlas.api.errors import Problem
from atlas.stages.table import Stage
from atlas.web import words
from atlas.web.forms import MOST_FIELDS, checked_form
from atlas.web.render import form_token, plain_url

NOW = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("2026-11-22T07:59:30", "just now"),
        ("2026-11-22T08:00:09", "just now"),
        ("2026-11-22T07:01:00", "59 min ago"),
        ("2026-11-21T09:00:00", "23 h ago"),
        ("2026-11-21T07:59:00", "yesterday"),
        ("2026-11-20T23:00:00", "2 days ago"),
        ("2026-11-16T08:00:00", "6 days ago"),
        ("2026-11-15T08:00:00", "15 Nov"),
        ("2024-03-02T08:00:00", "2 Mar 2024"),
    ],
)
def test_ago(then: str, said: str) -> None:
    assert words.ago(dt.datetime.fromisoformat(then).replace(tzinfo=dt.UTC), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "now"), (3, "now"), (45, "in 45 seconds"), (90, "in 2 minutes"), (3600, "in 60 minutes"),
     (7200, "in 2 hours"), (200_000, "on 24 Nov")],
)  # fmt: skip
def test_until(seconds: float, said: str) -> None:
    assert words.until(NOW + dt.timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 second"), (89, "89 seconds"), (90, "2 minutes"), (900, "15 minutes")]
)
def test_a_wait_is_never_said_too_short(seconds: float, said: str) -> None:
    assert words.wait_words(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(None, ""), (0, ""), (10, "1 min"), (1150, "5 min")])
def test_reading_time(count: int | None, said: str) -> None:
    assert words.reading_time(count) == said


def test_every_stage_belongs_to_one_state_and_has_words() -> None:
    for stage in Stage:
        assert sum(stage in state.stages for state in words.STATES.values() if state.stages is not None) == 1
        assert words.stage_words(stage)
    assert words.state_of(Stage.RATE_LIMITED) == "waiting"
    assert words.stage_words(Stage.QUALITY_CHECK) == "Quality check"


@pytest.mark.parametrize(
    ("stage", "marks"),
    [
        (110, ["done", "now", "", "", ""]),
        (190, ["done", "done", "now", "", ""]),
        (390, ["done", "done", "done", "done", "now"]),
        (590, ["done"] * 5),
        (888, ["done", "now", "", "", ""]),
    ],
)
def test_progress(stage: int, marks: list[str]) -> None:
    assert [mark for _, mark in words.progress(stage)] == marks


@pytest.mark.parametrize(
    ("agent", "named"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (iPhone; like Mac OS X) Version/20.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/156.0 Safari/537.36 Edg/156.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15) Firefox/150.0", "Firefox on Mac"),
        ("curl/8.0", "Unknown device"),
        ("", "Unknown device"),
    ],
)  # fmt: skip
def test_a_browser_is_called_what_its_owner_calls_it(agent: str, named: str) -> None:
    assert words.device(agent) == named


def test_addresses_as_people_read_them() -> None:
    assert plain_url("https://www.example.org/a%20b/") == "example.org/a b"
    assert plain_url("https://example.org/?p=1") == "example.org?p=1"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"csrf=TOKEN&a=1", FORM, 0),
        (b"csrf=TOKEN&a=1", f"{FORM}; charset=utf-8", 0),
        (b"csrf=TOKEN", "multipart/form-data; boundary=x", 415),
        (b"csrf=TOKEN", "", 415),
        (b"csrf=TOKEN&a=\xff", FORM, 422),
        (b"csrf=TOKEN" + b"&a=1" * MOST_FIELDS, FORM, 422),
        (b"a=1", FORM, 403),
    ],
)
def test_forms_are_read_with_care(body: bytes, content_type: str, status: int) -> None:
    body = body.replace(b"TOKEN", form_token("secret").encode())
    if not status:
        assert checked_form("secret", body, content_type)["a"] == "1"
        return
    with pytest.raises(Problem) as caught:
        checked_form("secret", body, content_type)
    assert caught.value.status == status


def test_without_a_session_no_form_is_believed() -> None:
    with pytest.raises(Problem):
        checked_form("", f"csrf={form_token('')}".encode(), FORM)
