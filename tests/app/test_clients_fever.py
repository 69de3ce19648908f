"""The Fever API, asked as its clients ask it."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import visitor
from conftest import Clock
from readers import put_entry, put_feed, state_of
from starlette.testclient import TestClient

from atlas.database.tables import tokens
from atlas.settings import Settings


@pytest.fixture
def stranger(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.make_owner(client)
        yield client


class Fever:
    """A client that was given a name and a token to use as password."""

    def __init__(self, client: TestClient, token: str, name: str = visitor.NAME) -> None:
        self.client = client
        self.key = hashlib.md5(f"{name}:{token}".encode()).hexdigest()

    def ask(self, query: str, **fields: str) -> Any:
        answer = self.client.post(f"/fever/?api&{query}", data={"api_key": self.key, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def fever(stranger: TestClient) -> Fever:
    return Fever(stranger, visitor.make_token(stranger, "read", "write"))


def test_reeder_fetches_everything_step_by_step(stranger, fever, clock) -> None:
    sea = put_feed(stranger, title="Lighthouses", folder="Sea")
    hill = put_feed(stranger, "https://example.org/b.xml")
    made = [
        put_entry(stranger, sea, n, published_at=clock.now - dt.timedelta(days=1), byline="Anna")
        for n in range(60)
    ]
    put_entry(stranger, hill, 99, read_at=clock.now, starred_at=clock.now)
    assert fever.ask("") == {"api_version": 3, "auth": 1, "last_refreshed_on_time": 0}

    groups = fever.ask("groups")
    (group,) = groups["groups"]
    assert group["title"] == "Sea"
    assert groups["feeds_groups"] == [{"group_id": group["id"], "feed_ids": str(sea)}]
    feeds = fever.ask("feeds")
    assert [(feed["id"], feed["title"]) for feed in feeds["feeds"]] == [
        (sea, "Lighthouses"),
        (hill, "https://example.org/b.xml"),
    ]
    assert feeds["feeds_groups"] == groups["feeds_groups"]
    assert fever.ask("favicons")["favicons"] == fever.ask("links")["links"] == []

    first = fever.ask("items&since_id=0")
    assert first["total_items"] == 61
    assert [item["id"] for item in first["items"]] == made[:50]
    assert first["items"][0] == {
        "id": made[0],
        "feed_id": sea,
        "title": "Entry 0",
        "author": "Anna",
        "html": "<p>Some words about lighthouses.</p>",
        "url": f"https://example.org/{sea}/0",
        "is_saved": 0,
        "is_read": 0,
        "created_on_time": int((clock.now - dt.timedelta(days=1)).timestamp()),
    }
    rest = fever.ask(f"items&since_id={made[49]}")["items"]
    assert len(rest) == 11
    assert (rest[-1]["is_read"], rest[-1]["is_saved"]) == (1, 1)
    assert fever.ask(f"items&since_id={rest[-1]['id']}")["items"] == []
    newest = fever.ask(f"items&max_id={made[10]}")["items"]
    assert [item["id"] for item in newest] == made[9::-1]
    some = fever.ask(f"items&with_ids={made[3]},{made[1]},99999,x")["items"]
    assert [item["id"] for item in some] == [made[3], made[1]]

    ids = fever.ask("unread_item_ids&saved_item_ids")
    assert ids["unread_item_ids"] == ",".join(map(str, made))
    assert ids["saved_item_ids"] == str(rest[-1]["id"])


def test_items_are_marked_and_the_answer_says_how_things_stand(stranger, fever) -> None:
    feed = put_feed(stranger)
    one, two = put_entry(stranger, feed, 1), put_entry(stranger, feed, 2)
    assert fever.ask(f"mark=item&as=read&id={one}")["unread_item_ids"] == str(two)
    assert fever.ask("", mark="item", **{"as": "saved"}, id=str(two))["saved_item_ids"] == str(two)
    assert (state_of(stranger, one), state_of(stranger, two)) == ((True, False), (False, True))
    fever.ask(f"mark=item&as=unread&id={one}")
    fever.ask(f"mark=item&as=unsaved&id={two}")
    assert (state_of(stranger, one), state_of(stranger, two)) == ((False, False), (False, False))


def test_feeds_and_groups_are_marked_up_to_a_moment(stranger, fever, clock) -> None:
    sea, hill = put_feed(stranger, folder="Sea"), put_feed(stranger, "https://example.org/b.xml")
    wave, rock = put_entry(stranger, sea, 1), put_entry(stranger, hill, 2)
    before = int(clock.now.timestamp()) + 1
    clock.advance(60)
    late = put_entry(stranger, sea, 3)
    fever.ask(f"mark=feed&as=read&id={sea}&before={before}")
    assert [state_of(stranger, one)[0] for one in (wave, rock, late)] == [True, False, False]
    group = fever.ask("groups")["groups"][0]["id"]
    fever.ask(f"mark=group&as=read&id={group}&before={int(clock.now.timestamp())}")
    assert [state_of(stranger, one)[0] for one in (wave, rock, late)] == [True, False, True]
    fever.ask(f"mark=group&as=read&id=0&before={int(clock.now.timestamp())}")
    assert state_of(stranger, rock)[0]


def test_an_entry_that_is_read_later_is_not_passed_over(stranger, fever, clock) -> None:
    feed = put_feed(stranger)
    slow = put_entry(stranger, feed, 1, stage=110, due_at=clock.now)
    quick = put_entry(stranger, feed, 2)
    assert fever.ask("items&since_id=0")["items"] == [], "or the client would ask for more than the quick one"
    assert fever.ask("unread_item_ids")["unread_item_ids"] == str(quick)
    clock.advance(601)
    assert [item["id"] for item in fever.ask("items&since_id=0")["items"]] == [quick]
    assert slow < quick


@pytest.mark.parametrize("content_type", ["multipart/form-data", "application/json"])
def test_the_key_comes_in_whatever_form(stranger, fever, content_type) -> None:
    if content_type == "application/json":
        answer = stranger.post("/fever/?api", json={"api_key": fever.key.upper()})
    else:
        answer = stranger.post("/fever?api", files={"api_key": (None, fever.key)})
    assert answer.json()["auth"] == 1


def test_a_wrong_key_opens_nothing_and_is_counted(stranger) -> None:
    visitor.try_login(stranger)  # the session's cookie goes with every request, and opens nothing here
    wrong = Fever(stranger, visitor.PASSWORD)
    for _ in range(5):
        assert wrong.ask("items&feeds") == {"api_version": 3, "auth": 0}
    answer = stranger.post("/fever/?api", data={"api_key": wrong.key})
    assert answer.status_code == 429
    right = Fever(stranger, visitor.make_token(stranger, "read"))
    assert right.ask("")["auth"] == 1, "who knows the key is not held up"
    assert stranger.post("/fever/?api").json()["auth"] == 0
    assert visitor.count_rows(stranger, tokens) == 1


def test_a_token_to_read_with_changes_nothing(stranger) -> None:
    item = put_entry(stranger, put_feed(stranger), 1)
    reading = Fever(stranger, visitor.make_token(stranger, "read"))
    answer = stranger.post(f"/fever/?api&mark=item&as=read&id={item}", data={"api_key": reading.key})
    assert (answer.status_code, answer.json()["auth"]) == (403, 1)
    assert state_of(stranger, item) == (False, False)


def test_the_key_is_not_kept(stranger, fever) -> None:
    with visitor.engine_of(stranger).connect() as conn:
        assert fever.key not in str(conn.execute(tokens.select()).all())


@pytest.mark.parametrize(
    "odd",
    [
        "items&since_id=x",
        "items&max_id=99999999999999999999999",
        "items&with_ids=,,",
        "items&feed_ids=&group_ids=7",
        "mark=item&as=read&id=x",
        "mark=item&as=eaten&id=1",
        "mark=feed&as=read&id=1&before=99999999999999999",
        "mark=everything",
        "refresh",
    ],
)
def test_nonsense_is_passed_over(stranger, fever, odd) -> None:
    put_entry(stranger, put_feed(stranger), 1)
    assert fever.ask(odd)["auth"] == 1
