"""The library by API: filters, changes, bulk, highlights, tags, history, related."""

import pytest
import visitor
from sqlalchemy import event

from atlas import items
from atlas.database.tables import items as items_table
from atlas.database.tables import relations


@pytest.fixture
def client(settings, clock):
    with visitor.visiting(settings, clock) as stranger:
        visitor.use_token(stranger)
        yield stranger


def ids(client, query=""):
    answer = client.get(f"/api/items?{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_filters_of_the_list(client, clock):
    one = visitor.put_article(client, "https://a.test/1", kind="note", source="web", starred_at=clock())
    two = visitor.put_article(client, "https://b.a.test/2", read_at=clock(), published_at=clock())
    dead = visitor.put_failed(client)
    client.patch(f"/api/items/{two}", json={"tags": ["Deep Sea", "x"]})
    found = {
        "kind=note": [one],
        "source=web": [one],
        "tag=deep%20sea": [two],
        "tag=x&tag=deep%20sea": [two],
        "tag=x&tag=y": [],
        "state=failed": [dead],
        "state=ready&order=oldest": [one, two],
        "site=a.test": [two, one],
        "read=true": [two],
        "read=false": [one],
        "starred=1": [one],
        "after=2026-11-22": [dead, two, one],
        "before=2026-11-22": [],
        "before=2026-11-22T09:00:00%2B02:00": [],
        "q=is:starred": [one],
        "highlighted=true": [],
        "order=published": [two, dead, one],
        "feed=7": [],
        "folder=x": [],
        "import=3": [],
        "limit=1": [dead],
        "state=&read=&after=&feed=": [dead, two, one],
    }
    assert {query: ids(client, query) for query in found} == found


@pytest.mark.parametrize(
    "query",
    ["state=odd", "order=x", "before=soon", "read=maybe", "feed=0", "tag=", "cursor=~", "cursor=2026~x"],
)
def test_a_wrong_filter_is_refused(client, query):
    answer = client.get(f"/api/items?{query}")
    assert answer.status_code == 422
    assert f"“{query.partition('=')[0]}" in answer.json()["error"]["message"]


def test_changing_an_item(client, clock):
    one = visitor.put_article(client)
    change = {"read": True, "starred": True, "progress": 0.5, "note": "N", "title": "T", "add_tags": ["a"]}
    row = client.patch(f"/api/items/{one}", json=change).json()
    assert (row["progress"], row["note"], row["title"], row["tags"]) == (0.5, "N", "T", ["a"])
    assert row["read_at"] == row["starred_at"] == clock().isoformat().replace("+00:00", "Z")
    assert client.get(f"/api/items/{one}").json()["tags"] == ["a"]
    row = client.patch(f"/api/items/{one}", json={"read": False, "note": None, "remove_tags": ["A"]}).json()
    assert (row["read_at"], row["note"], row["tags"], row["title"]) == (None, None, [], "T")
    assert client.patch(f"/api/items/{one}", json={}).json() == row
    assert client.patch("/api/items/999", json={"read": True}).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"progress": 2},
        {"read": None},
        {"tags": None},
        {"tags": ["a"] * 51},
        {"note": "x" * 20_001},
        {"stage": 590},
        [],
    ],
)
def test_a_wrong_change_is_refused(client, change):
    one = visitor.put_article(client)
    assert client.patch(f"/api/items/{one}", json=change).status_code == 422


def test_changing_many(client):
    one, two = visitor.put_article(client), visitor.put_article(client, "https://b.test/", kind="note")
    post = {"ids": [one, two, 999], "change": {"read": True}}
    assert client.post("/api/items/bulk", json=post).json() == {"items": 2}
    post = {"filter": {"kind": "note", "read": True}, "change": {"add_tags": ["n"], "starred": True}}
    assert client.post("/api/items/bulk", json=post).json() == {"items": 1}
    assert ids(client, "tag=n&starred=true&read=true") == [two]
    nothing = {"filter": {"q": "--"}, "change": {"read": False}}
    assert client.post("/api/items/bulk", json=nothing).json() == {"items": 0}
    for wrong in ({}, {"ids": [1], "filter": {}}, {"filter": {"nope": 1}}):
        assert client.post("/api/items/bulk", json={**wrong, "change": {}}).status_code == 422


def test_deleting(client):
    one, two = visitor.put_article(client), visitor.put_article(client, "https://b.test/")
    double = client.post("/api/items", json={"url": "https://example.org/a"}).json()["id"]
    assert client.delete(f"/api/items/{one}").status_code == 204
    assert [client.get(f"/api/items/{item}").status_code for item in (one, double, two)] == [404, 404, 200]
    for gone in (one, 2**70):
        assert client.delete(f"/api/items/{gone}").status_code == 404
    assert client.post("/api/items/bulk", json={"filter": {}, "delete": True}).json() == {"items": 1}
    assert ids(client) == []
    for wrong in ({"ids": [1]}, {"ids": [1], "delete": True, "change": {}}):
        assert client.post("/api/items/bulk", json=wrong).status_code == 422


def test_highlights(client):
    one = visitor.put_article(client, text="Some words about lighthouses.")
    path = f"/api/items/{one}/highlights"
    made = client.post(path, json={"quote": "about lighthouses", "note": "N", "color": "blue"})
    assert made.status_code == 201
    mark = made.json()
    assert (mark["start"], mark["end"], mark["prefix"]) == (11, 28, "Some words ")
    assert client.get(path).json()["items"] == [mark]
    changed = client.patch(f"/api/highlights/{mark['id']}", json={"note": None}).json()
    assert (changed["note"], changed["color"]) == (None, "blue")
    listed = client.get("/api/highlights").json()
    assert [(row["quote"], row["title"]) for row in listed["items"]] == [("about lighthouses", "A title")]
    assert ids(client, "highlighted=true") == [one]
    assert client.delete(f"/api/highlights/{mark['id']}").status_code == 204
    assert client.delete(f"/api/highlights/{mark['id']}").status_code == 404
    assert client.patch(f"/api/highlights/{mark['id']}", json={}).status_code == 404
    assert client.get("/api/items/999/highlights").status_code == 404
    assert client.post("/api/items/999/highlights", json={"quote": "x"}).status_code == 404
    for wrong in ({}, {"quote": "  "}, {"quote": "x", "color": "pink"}, {"quote": "x", "position": -1}):
        assert client.post(path, json=wrong).status_code == 422


def test_tags(client):
    for number, names in enumerate((["b", "Ab"], ["ab", "c"])):
        item = visitor.put_article(client, f"https://{number}.test/")
        client.patch(f"/api/items/{item}", json={"tags": names})
    found = client.get("/api/tags").json()["items"]
    assert [(tag["name"], tag["items"]) for tag in found] == [("Ab", 2), ("b", 1), ("c", 1)]
    first = client.get("/api/tags?limit=2").json()
    assert client.get(f"/api/tags?limit=2&cursor={first['next']}").json()["items"] == found[2:]
    assert client.get("/api/tags?q=A").json()["items"] == found[:1]
    assert client.patch(f"/api/tags/{found[2]['id']}", json={"name": "B"}).json() == {"id": found[1]["id"]}
    assert client.patch(f"/api/tags/{found[2]['id']}", json={"name": "d"}).status_code == 404
    assert client.patch(f"/api/tags/{found[1]['id']}", json={"name": " ,"}).status_code == 422
    assert client.delete(f"/api/tags/{found[0]['id']}").status_code == 204
    assert client.delete(f"/api/tags/{found[0]['id']}").status_code == 404
    assert [tag["name"] for tag in client.get("/api/tags").json()["items"]] == ["b"]


def test_history_and_related(client):
    one, two, three = (visitor.put_article(client, f"https://{n}.test/") for n in range(3))
    dead = visitor.put_failed(client)
    with visitor.engine_of(client).begin() as conn:
        rows = [(two, one, 0.5), (three, one, 0.9), (dead, one, 1.0)]
        conn.execute(relations.insert(), [{"item_id": a, "other_id": b, "score": s} for a, b, s in rows])
    found = client.get(f"/api/items/{one}/related").json()["items"]
    assert [(row["id"], row["score"]) for row in found] == [(three, 0.9), (two, 0.5)]
    assert [row["id"] for row in client.get(f"/api/items/{two}/related").json()["items"]] == [one]
    steps = client.get(f"/api/items/{one}/history").json()
    assert [step["reason"] for step in steps["items"]] == ["Added"]
    assert client.get(f"/api/items/{one}/history?limit=1&cursor=1").json() == {"items": [], "next": None}
    for path in ("history", "related"):
        assert client.get(f"/api/items/999/{path}").status_code == 404
        assert client.get(f"/api/items/{2**70}/{path}").status_code == 404


def test_a_search_tells_more_than_a_thousand(client, monkeypatch):
    monkeypatch.setattr("atlas.search.results.RANKED", 2)
    for number in range(4):
        visitor.put_article(client, f"https://{number}.test/")
    answer = client.get("/api/search?q=lighthouse is:unread").json()
    assert (answer["total"], len(answer["items"])) == (3, 2)
    assert {hit["stage"] for hit in answer["items"]} == {590}


def test_every_list_costs_the_same_few_statements(client):
    seen = []
    for number in range(12):
        item = visitor.put_article(client, f"https://{number}.test/")
        client.patch(f"/api/items/{item}", json={"tags": ["a", f"t{number}"]})
        client.post(f"/api/items/{item}/highlights", json={"quote": "words"})
    event.listen(visitor.engine_of(client), "before_cursor_execute", lambda *args: seen.append(args[2]))
    for path in ("/api/items?", "/api/highlights?", "/api/tags?", "/api/search?q=lighthouse&"):
        counts = []
        for limit in (1, 12):
            seen.clear()
            assert len(client.get(f"{path}limit={limit}").json()["items"]) == limit
            counts.append(len(seen))
        assert counts[0] == counts[1] <= 10, path


def test_what_is_listed_is_what_is_shown(client):
    one = visitor.put_article(client)
    with visitor.engine_of(client).begin() as conn:
        conn.execute(items_table.update().values(keywords=["sea"], media={"audio": []}, summary="S"))
        assert items.get(conn, one)["summary"] == "S"
    full = client.get(f"/api/items/{one}").json()
    listed = client.get("/api/items").json()["items"][0]
    assert {key: full[key] for key in listed} == listed
    assert (full["keywords"], full["summary"], full["media"]) == (["sea"], "S", {"audio": []})
