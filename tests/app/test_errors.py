"""What breaks inside is kept under the id that was shown, and `atlas error ID` explains it."""

import io
import json
import threading

import pytest
import sqlalchemy as sa
import test_cli
import test_worker
import visitor

from atlas import items
from atlas.chores import CHORES, Chore, Clerk
from atlas.database.engine import make_engine, read
from atlas.database.tables import errors as table
from atlas.patience import Patience
from atlas.stages.context import Context
from atlas.telemetry import advice, errors, logs

atlas, logging_as_before = test_cli.atlas, test_cli.logging_as_before  # fixtures
web, reader, make = test_worker.web, test_worker.reader, test_worker.make


@pytest.fixture(autouse=True)
def _fresh_brake(monkeypatch):
    monkeypatch.setattr(errors, "_brake", errors._Brake())


@pytest.fixture
def client(settings, clock):
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


@pytest.fixture
def log_lines(logging_as_before):
    """What is logged, as the lines of JSON that leave the process."""
    stream = io.StringIO()
    logs.configure("debug", "json", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def kept(engine):
    with read(engine) as conn:
        return [row._asdict() for row in conn.execute(sa.select(table).order_by(table.c.at, table.c.id))]


def keep(engine, clock, error_id="e1", message="dust", **values):
    error = RuntimeError(message)
    errors.keep(engine, error, error_id=error_id, where="worker", place="a test", now=clock.now, **values)


def test_one_id_leads_from_the_request_to_the_last_stage(client, make, reader, engine, log_lines):
    """A request's id is in its answer, its log line, its item's stages, and the lines of the worker."""
    given = "from-the-phone-1"
    headers = {"X-Request-ID": given}
    answer = client.post("/api/items", json={"url": "https://example.org/a"}, headers=headers)
    assert answer.headers["X-Request-ID"] == given
    make().run()
    with read(engine) as conn:
        history = items.history(conn, answer.json()["id"])
    assert (history[0]["stage"], history[-1]["stage"]) == (110, 590)
    assert {step["correlation_id"] for step in history} == {given}
    mine = [line for line in log_lines() if line.get("correlation_id") == given]
    assert [line["event"] for line in mine if line["event"] in ("request", "item")] == ["request", "item"]
    assert mine[-1]["outcome"] == "complete"


def test_a_request_that_breaks_is_explained_by_the_id_it_was_answered(client, engine, atlas, monkeypatch):
    def broken(*_):
        raise RuntimeError("the cellar is flooded: postgresql://me:hunter2@db/")

    monkeypatch.setattr(items, "get", broken)
    answer = client.get("/api/items/1")
    error_id = answer.json()["error"]["id"]
    (row,) = kept(engine)
    assert (row["id"], row["correlation_id"]) == (error_id, error_id)
    assert row["place"] == "GET /api/items/{item_id}"
    assert "cellar" in row["traceback"]
    assert "in broken" in row["traceback"]
    assert "hunter2" not in row["traceback"] + row["message"]

    done = atlas("error", error_id)
    assert done.status == 0
    for part in (
        "RuntimeError: the cellar is flooded",
        "GET /api/items/{item_id}",
        "What to do",
        "in broken",
    ):
        assert part in done.out
    assert "hunter2" not in done.out
    assert atlas("error", error_id, "--json").json["errors"][0]["id"] == error_id


def test_a_step_that_breaks_is_explained_by_item_error_and_request(client, make, reader, engine, atlas):
    url = "https://example.org/odd"
    reader.answers[url.encode()] = RuntimeError("a shape nobody has seen")
    answer = client.post("/api/items", json={"url": url}, headers={"X-Request-ID": "the-request-1"})
    make(max_attempts=1).run()
    item = client.get(f"/api/items/{answer.json()['id']}").json()
    (row,) = kept(engine)
    assert row["id"] == item["error"]["id"]
    assert row["item_id"] == item["id"]
    assert row["correlation_id"] == "the-request-1"
    for wanted in (row["id"], "the-request-1"):
        out = atlas("error", wanted).out
        for part in ("a shape nobody has seen", url, "Something broke inside Atlas", "  777  ", "stage 300"):
            assert part in out, wanted


def test_an_ordinary_failure_is_explained_too(client, atlas):
    visitor.put_failed(client)
    out = atlas("error", "ab12cd34").out
    assert "It is gone." in out
    assert "The page is gone (HTTP 404). Look for it elsewhere" in out
    assert "Traceback" not in out


def test_a_request_that_went_well_is_told_by_its_item(client, atlas):
    client.post("/api/items", json={"url": "https://example.org/"}, headers={"X-Request-ID": "went-well"})
    out = atlas("error", "went-well").out
    assert "https://example.org/" in out
    assert "on its way" in out


def test_an_id_nobody_knows_says_where_to_look(atlas):
    done = atlas("error", "feedbeef")
    assert done.status == 1
    assert "journalctl" in done.err
    assert "feedbeef" in done.err


def test_keeping_never_fails_and_the_log_still_tells(plain_settings, engine, clock, log_lines):
    away = plain_settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    keep(make_engine(away), clock)
    keep(None, clock)
    errors.keep(engine, ValueError(), error_id="e", where="worker", place=None, now=clock.now)
    told = [line for line in log_lines() if line["event"] == "error not kept"]
    assert [line["error_id"] for line in told] == ["e1", "e1", "e"]
    assert kept(engine) == []


def test_odd_errors_are_kept(engine, clock):
    keep(engine, clock, message="nul \0 and \udc80" + "x" * 100_000)
    (row,) = kept(engine)
    assert len(row["message"]) == 500
    assert len(row["traceback"]) <= errors.LONGEST_TRACEBACK


def test_a_flood_is_not_written(engine, clock):
    for number in range(errors.MOST_A_MINUTE + 20):
        keep(engine, clock, error_id=f"e{number:03}")
    assert len(kept(engine)) == errors.MOST_A_MINUTE


def test_values_of_a_statement_are_not_kept(engine, clock):
    private = "what I wrote in my di" + "ary"
    with read(engine) as conn:
        try:
            conn.execute(sa.text("SELECT * FROM nothing WHERE a = :a"), {"a": private})
        except sa.exc.SQLAlchemyError as problem:
            errors.keep(engine, problem, error_id="sql", where="chore", place="a test", now=clock.now)
    (row,) = kept(engine)
    assert "FROM nothing" in row["traceback"]
    assert "diary" not in row["traceback"] + row["message"]


def test_old_ones_and_too_many_are_forgotten(settings, engine, clock, monkeypatch):
    monkeypatch.setattr(errors, "MOST_KEPT", 3)
    keep(engine, clock, error_id="old")
    clock.advance(31 * 86_400)
    for number in range(5):
        clock.advance(1)
        keep(engine, clock, error_id=f"new{number}")
    ctx = Context(settings, engine, None, None, clock, Patience(threading.Event()))
    Clerk(ctx, [chore for chore in CHORES if chore.name == "errors"]).go_round()
    assert [row["id"] for row in kept(engine)] == ["new2", "new3", "new4"]


def test_a_chore_that_breaks_is_kept(settings, engine, clock):
    def dust(_):
        raise RuntimeError("dust")

    ctx = Context(settings, engine, None, None, clock, Patience(threading.Event()))
    Clerk(ctx, [Chore("sweep", 60, dust)]).go_round()
    assert [row["place"] for row in kept(engine)] == ["the chore sweep"]


def test_every_reason_a_page_is_refused_for_has_words_of_its_own():
    from typing import get_args

    from atlas.stages.page import Reason

    assert set(get_args(Reason)) <= set(advice._ADVICE)


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("http_404", "gone"),
        ("http_403", "does not let us in"),
        ("http_503", "broken"),
        ("http_429", "slow down"),
        ("http_418", "refused"),
        ("login_wall", "wants a login"),
        ("never_heard_of", "Never heard of"),
        ("", "Unknown"),
    ],
)
def test_every_code_has_plain_words(code, part):
    said = advice.advice(code)
    assert part in said.reason
    assert said.todo.endswith(".")
