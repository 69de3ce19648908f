"""Feeds as their owner keeps them: options, folders, unread, rules; by functions, API and command."""

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import test_cli
import visitor
from sqlalchemy.engine import Engine
from starlette.testclient import TestClient

from atlas import items
from atlas.database.tables import feeds
from atlas.database.tables import items as items_table
from atlas.sources import rules, subscriptions
from atlas.sources.subscriptions import OptionError, RuleError
from atlas.stages.table import Stage

atlas, logging_as_before = test_cli.atlas, test_cli.logging_as_before  # fixtures


def follow(engine: Engine, clock, name: str, **more: object) -> int:
    with engine.begin() as conn:
        return subscriptions.subscribe(conn, f"https://site.example/{name}", now=clock.now, **more)["id"]


def bring(engine: Engine, clock, feed_id: int, *names: str) -> list[int]:
    """Items that this feed brought, ready to be read."""
    with engine.begin() as conn:
        ids = [
            items.add(
                conn, f"https://site.example/{name}", now=clock.now, correlation_id="x", feed_id=feed_id
            ).id
            for name in names
        ]
        done = {"stage": Stage.COMPLETE, "due_at": None}
        conn.execute(items_table.update().where(items_table.c.id.in_(ids)).values(done))
    return ids


def test_unread_is_counted_by_feed_and_folder(engine: Engine, clock) -> None:
    news = follow(engine, clock, "news", folder=" Daily  papers ", title="News")
    other = follow(engine, clock, "other")
    ids = bring(engine, clock, news, "a", "b", "c")
    bring(engine, clock, other, "d")
    with engine.begin() as conn:
        items.mark_read(conn, ids[0], now=clock.now)
        listed = {feed["id"]: feed["unread"] for feed in subscriptions.list_feeds(conn)}
        assert listed == {news: 2, other: 1}
        assert subscriptions.folders(conn) == [
            {"folder": "Daily papers", "feeds": 1, "unread": 2},
            {"folder": None, "feeds": 1, "unread": 1},
        ]
        assert [feed["id"] for feed in subscriptions.list_feeds(conn, folder="Daily papers")] == [news]
        assert subscriptions.mark_read(conn, now=clock.now, folder="Daily papers", up_to=ids[1]) == 1
        assert subscriptions.mark_read(conn, now=clock.now, feed_id=news) == 1
        assert subscriptions.mark_read(conn, now=clock.now) == 1
        assert {feed["unread"] for feed in subscriptions.list_feeds(conn)} == {0}


def test_options_are_changed_and_checked(engine: Engine, clock) -> None:
    feed_id = follow(engine, clock, "feed")
    rule = {"action": "tag", "field": "title", "pattern": "cats?", "tag": "cats"}
    with engine.begin() as conn:
        conn.execute(feeds.update().values(etag="x", last_modified="y"))
        changes = {"title": "Mine", "folder": "F", "interval_seconds": 900, "full_text": "feed"}
        found = subscriptions.update(
            conn, feed_id, {**changes, "retention_days": 3, "rules": [rule], "paused": True}, now=clock.now
        )
        assert found is not None
        assert {**found, **changes, "retention_days": 3, "rules": [rule]} == found
        assert (found["named"], found["paused_at"]) == (True, clock.now)
        row = conn.execute(sa.select(feeds)).one()
        assert (row.etag, row.last_modified) == (None, None)  # so that the rules see what is there now
        back = {"title": None, "folder": "", "retention_days": None, "rules": [], "paused": False}
        found = subscriptions.update(conn, feed_id, back, now=clock.advance(5))
        assert found is not None
        assert (found["named"], found["folder"], found["retention_days"]) == (False, None, None)
        assert (found["rules"], found["paused_at"], found["due_at"]) == ([], None, clock.now)
        assert subscriptions.update(conn, feed_id + 1, {"folder": "F"}, now=clock.now) is None


@pytest.mark.parametrize(
    "change",
    [
        {"interval_seconds": 1},
        {"interval_seconds": True},
        {"full_text": "all"},
        {"retention_days": 0},
        {"retention_days": "3"},
        {"paused": "yes"},
        {"url": "https://elsewhere.example/"},
        {"folder": 3},
    ],
)
def test_what_no_feed_can_have_is_refused(engine: Engine, clock, change: dict[str, object]) -> None:
    feed_id = follow(engine, clock, "feed")
    with engine.begin() as conn, pytest.raises(OptionError):
        subscriptions.update(conn, feed_id, change, now=clock.now)


def test_leaving_a_feed_keeps_what_it_brought(engine: Engine, clock) -> None:
    feed_id = follow(engine, clock, "feed")
    (item_id,) = bring(engine, clock, feed_id, "one")
    with engine.begin() as conn:
        assert subscriptions.unsubscribe(conn, feed_id)
        assert not subscriptions.unsubscribe(conn, feed_id)
        item = items.get(conn, item_id)
    assert item is not None
    assert item["feed_id"] is None


def test_a_password_in_an_address_is_kept_apart(engine: Engine, clock) -> None:
    with engine.begin() as conn:
        feed = subscriptions.subscribe(conn, "https://me:s%40fe@site.example/feed", now=clock.now)
        assert feed["url"] == "https://site.example/feed"
        assert "s@fe" not in str(feed)
        assert conn.execute(sa.select(feeds.c.login)).scalar() == "me:s@fe"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("x", "list"),
        ([3], "Rule 1"),
        ([{"action": "eat", "pattern": "x"}], "keep, drop or tag"),
        ([{"action": "drop", "pattern": ""}], "no pattern"),
        ([{"action": "drop", "pattern": "x", "field": "smell"}], "smell"),
        ([{"action": "drop", "pattern": "x" * 600}], "longer"),
        ([{"action": "tag", "pattern": "x"}], "no tag"),
        ([{"action": "drop", "pattern": "ok"}, {"action": "drop", "pattern": "(a"}], "pattern of rule 2"),
        ([{"action": "drop", "pattern": 3}], "text"),
        ([{"action": "drop", "pattern": "x"}] * 101, "at most"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_a_sentence(wrong: object, words: str) -> None:
    with pytest.raises(RuleError, match=words) as caught:
        rules.checked(wrong)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("written", "keep", "tags"),
    [
        ([], True, ()),
        ([{"action": "drop", "field": "title", "pattern": "SPONSORED"}], False, ()),
        ([{"action": "drop", "field": "content", "pattern": "sponsored"}], True, ()),
        ([{"action": "keep", "field": "author", "pattern": "^ada$"}], True, ()),
        ([{"action": "keep", "field": "author", "pattern": "^bob$"}], False, ()),
        (
            [{"action": "keep", "pattern": "nothing"}, {"action": "keep", "field": "url", "pattern": "/x"}],
            True,
            (),
        ),
        ([{"action": "keep", "pattern": "ada"}, {"action": "drop", "pattern": "engine"}], False, ()),
        (
            [
                {"action": "tag", "pattern": "engine", "tag": "machines"},
                {"action": "tag", "pattern": "x{9}", "tag": "no"},
            ],
            True,
            ("machines",),
        ),
    ],
)
def test_rules_keep_drop_and_tag(written: list[dict[str, str]], keep: bool, tags: tuple[str, ...]) -> None:
    entry = {
        "title": "A sponsored post",
        "url": "https://a.example/x",
        "author": "Ada",
        "content": "An engine",
    }
    verdict = rules.judge(rules.checked(written), entry)
    assert (verdict.keep, verdict.tags) == (keep, tags)


def test_no_rule_can_hang_whoever_applies_it() -> None:
    evil = rules.checked([{"action": "drop", "pattern": "(a+)+$"}])
    with pytest.raises(rules.RulesTooSlowError):
        rules.judge(evil, {"title": "a" * 60 + "!"})
    assert rules.judge(evil, {"title": "b"}).keep


# By the API and by command


@pytest.fixture
def client(settings, clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


def test_the_api_follows_changes_refreshes_and_leaves(client: TestClient, clock) -> None:
    made = client.post("/api/feeds", json={"url": "https://site.example/f", "title": "T", "folder": "F"})
    feed = made.json()
    address = f"/api/feeds/{feed['id']}"
    assert (made.status_code, feed["title"], feed["folder"], feed["unread"]) == (201, "T", "F", 0)
    changed = client.patch(address, json={"full_text": "page", "rules": [{"action": "drop", "pattern": "x"}]})
    assert changed.json() == client.get(address).json()
    assert (changed.json()["full_text"], changed.json()["rules"][0]["field"]) == ("page", "any")
    clock.advance(100)
    refreshed = client.post(f"{address}/refresh")
    assert (refreshed.status_code, refreshed.json()["due_at"]) == (202, "2026-11-22T08:01:40Z")
    assert client.get("/api/feeds", params={"folder": "G"}).json() == {"items": []}
    assert client.get("/api/feeds", params={"broken": "false"}).json()["items"][0]["id"] == feed["id"]
    assert client.delete(address).status_code == 204
    for answer in (client.get(address), client.delete(address), client.post(f"{address}/refresh")):
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rules": [{"action": "drop", "pattern": "("}]}, "invalid_rule"),
        ({"interval_seconds": 5}, "invalid_option"),
        ({"interval_seconds": None}, "invalid_option"),
        ({"colour": "red"}, "invalid_request"),
        ({"full_text": "some"}, "invalid_request"),
    ],
)
def test_the_api_refuses_what_cannot_be(client: TestClient, change: dict[str, object], code: str) -> None:
    feed_id = client.post("/api/feeds", json={"url": "https://site.example/f"}).json()["id"]
    answer = client.patch(f"/api/feeds/{feed_id}", json=change)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


def test_the_command_follows_changes_and_leaves(atlas) -> None:
    assert (
        atlas("feed", "add", "https://site.example/f", "--folder", "F").out == "1  https://site.example/f\n"
    )
    rules_ = json.dumps([{"action": "tag", "pattern": "x", "tag": "y"}])
    done = atlas(
        "feed", "set", "1", "--title", "T", "--retention", "9", "--rules", rules_, "--pause", "--json"
    )
    assert {"title": "T", "retention_days": 9, "full_text": "auto"}.items() <= done.json.items()
    assert "(in F, paused)" in atlas("feed", "list").out
    assert atlas("feed", "set", "1", "--retention", "", "--json").json["retention_days"] is None
    assert atlas("feed", "refresh", "1").status == 0
    assert (
        "no regular expression"
        in atlas("feed", "set", "1", "--rules", '[{"action":"drop","pattern":"("}]').err
    )
    for wrong in (["--rules", "{"], ["--retention", "soon"], [], ["--interval", "1"]):
        done = atlas("feed", "set", "1", *wrong)
        assert (done.status, done.err.count("\n")) == (1, 1)
    assert atlas("feed", "remove", "1").status == 0
    for verb in ("remove", "refresh"):
        assert "no feed 1" in atlas("feed", verb, "1").err
    assert "no feed 1" in atlas("feed", "set", "1", "--folder", "x").err
