"""Imports as programs and people at a shell meet them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_cli
import visitor
from conftest import Clock
from starlette.testclient import TestClient
from test_cli import atlas, logging_as_before

from atlas.settings import Settings
from atlas.sources.imports.work import work

__all__ = ["atlas", "logging_as_before"]  # fixtures

DATA = Path(__file__).parent / "data" / "imports"


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[TestClient]:
    with visitor.visiting(settings, clock) as client:
        visitor.use_token(client)
        yield client


def do_all(client: TestClient, settings: Settings) -> None:
    while work(visitor.engine_of(client), settings, client.app.state.parts.clock):
        pass


def test_a_file_is_taken_and_followed(client: TestClient, settings: Settings) -> None:
    raw = (DATA / "firefox.html").read_bytes()
    answer = client.post("/api/imports?name=bookmarks.html", content=raw)
    assert answer.status_code == 202
    where = answer.headers["location"]
    assert (answer.json()["state"], answer.json()["format"], answer.json()["total"]) == (
        "waiting",
        "netscape",
        None,
    )
    do_all(client, settings)
    found = client.get(where).json()
    assert (found["state"], found["name"], found["position"], found["total"]) == (
        "done",
        "bookmarks.html",
        8,
        8,
    )
    assert found["counts"] == {
        "added": 4, "duplicate": 1, "subscribed": 1, "followed": 0, "refused": 2, "skipped": 0,
    }  # fmt: skip
    rows = client.get(f"{where}/report").json()
    assert [row["position"] for row in rows] == [*range(1, 9)]
    assert set(rows[0]) == {"position", "outcome", "url", "item_id", "message"}
    table = client.get(f"{where}/report?format=csv&outcome=refused")
    assert table.headers["content-type"].startswith("text/csv")
    assert [row["url"] for row in csv.DictReader(io.StringIO(table.text))] == [
        "javascript:alert(1)",
        "place:sort=8",
    ]
    listed = client.get("/api/imports?limit=1").json()
    assert [one["id"] for one in listed["items"]] == [found["id"]]
    assert client.post(f"{where}/cancel").status_code == 409


def test_reports_are_no_formulas(client: TestClient, settings: Settings) -> None:
    raw = b"title,url,time_added,status\nx,=HYPERLINK(1),1,read\n"
    where = client.post("/api/imports", content=raw).headers["location"]
    do_all(client, settings)
    (row,) = csv.DictReader(io.StringIO(client.get(f"{where}/report?format=csv").text))
    assert row["url"] == "'=HYPERLINK(1)"


def test_a_dry_run_and_a_format_are_asked_for(client: TestClient, settings: Settings) -> None:
    answer = client.post("/api/imports?dry_run=true&format=links", content=b"https://example.org/a")
    assert (answer.json()["dry_run"], answer.json()["format"]) == (True, "links")
    do_all(client, settings)
    assert client.get("/api/items").json()["items"] == []


def test_files_may_be_larger_than_other_bodies_but_not_endless(settings: Settings, clock: Clock) -> None:
    with visitor.visiting(settings, clock, import_max_bytes=3_000_000) as client:
        visitor.use_token(client)
        line = b"https://example.org/" + b"x" * 79 + b"\n"
        assert client.post("/api/imports", content=line * 25_000).status_code == 202
        answer = client.post("/api/imports", content=line * 40_000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert client.post("/api/items", content=line * 25_000).status_code == 413


@pytest.mark.parametrize("raw", [b"", b"\x00\x01", b'{"a": 1}'])
def test_what_is_no_import_is_refused_at_once(client: TestClient, raw: bytes) -> None:
    answer = client.post("/api/imports", content=raw)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_file")
    assert client.get("/api/imports").json()["items"] == []


def test_an_unknown_import_is_not_found(client: TestClient) -> None:
    for path in ("/api/imports/7", "/api/imports/7/report", f"/api/imports/{2**70}"):
        assert client.get(path).status_code == 404
    assert client.post("/api/imports/7/cancel").status_code == 404
    assert client.post("/api/imports?format=delicious", content=b"x").status_code == 422


# The command


def test_importing_at_the_shell(atlas: test_cli.Done, tmp_path: Path) -> None:
    done = atlas("import", str(DATA / "pocket.csv"), str(DATA / "feeds.opml"), "--wait", "--json")
    assert done.status == 0, done.err
    first, second = done.json
    assert (first["format"], first["state"], first["counts"]["added"]) == ("pocket_csv", "done", 3)
    assert (second["name"], second["counts"]["subscribed"]) == ("feeds.opml", 4)
    assert "done  pocket.csv (Pocket (CSV))  3 added, 1 refused" in atlas("import", "--list").out
    assert "4  added  https://example.org/p3" in atlas("import", "--report", str(first["id"])).out
    assert len(atlas("import", "--report", str(first["id"]), "--json").json) == 4


def test_a_folder_is_imported_with_all_in_it_but_links(atlas: test_cli.Done, tmp_path: Path) -> None:
    folder = tmp_path / "mess"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "list.txt").write_text("https://example.org/deep\n")
    (folder / "page.html").write_bytes((DATA / "saved.html").read_bytes())
    (tmp_path / "secret.txt").write_text("https://example.org/secret\n")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    done = atlas("import", str(folder), "--wait", "--json")
    assert done.json[0]["counts"]["added"] == 2
    again = atlas("import", str(folder), "--wait", "--dry-run")
    assert "done, dry run  mess (Folder of files (ZIP))  2 duplicate" in again.out


def test_what_cannot_be_imported_is_said(atlas: test_cli.Done, tmp_path: Path) -> None:
    (tmp_path / "no.bin").write_bytes(b"\0\1\2")
    done = atlas("import", str(tmp_path / "no.bin"), str(tmp_path / "gone"))
    assert done.status == 1
    assert "neither text, PDF nor ZIP" in done.err
    assert "No such file" in done.err
    assert "Name a file" in atlas("import").err
    assert "no import 99" in atlas("import", "--cancel", "99").err


def test_an_import_is_cancelled_at_the_shell(atlas: test_cli.Done) -> None:
    atlas("import", str(DATA / "pocket.csv"))
    assert "cancelled" in atlas("import", "--cancel", "1").out
    assert "has ended already" in atlas("import", "--cancel", "1").err
