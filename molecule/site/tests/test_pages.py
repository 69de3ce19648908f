"""From a link to a page that is read and found, through the front door."""

import pytest


def test_a_page_is_saved_read_and_found(library, birds):
    item = library.read(f"{birds}/heron.html")
    assert (item["stage"], item["title"]) == (590, "On the heron"), item["error"]
    hits = library.search("heron patience")
    assert [hit["id"] for hit in hits] == [item["id"]]
    assert "<mark>heron</mark>" in hits[0]["snippet"]


def test_the_same_page_again_is_a_duplicate_and_changes_nothing(library, birds):
    first = library.read(f"{birds}/egret.html")
    again = library.read(f"{birds}/egret.html?utm_source=newsletter")
    assert (again["stage"], again["duplicate_of"]) == (599, first["id"])
    assert library.item(first["id"])["text"] == first["text"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404", "http_404"),
        ("/loop", "too_many_redirects"),
        ("/metadata", "forbidden_address"),
        ("/large", "body_too_large"),
        ("/bomb/gzip", "decompression_bomb"),
        ("/binary", "not_html"),
    ],
)
def test_a_bad_page_ends_with_a_reason(library, birds, path, code):
    item = library.read(f"{birds}{path}", seconds=60)
    assert (item["stage"], item["error"]["code"]) == (777, code)
    assert " " in item["error"]["message"]


def test_pages_want_a_login(web):
    answer = web.get("/")
    assert answer.status_code == 401


def test_the_api_wants_a_token(web):
    assert web.get("/api/items").status_code == 401
