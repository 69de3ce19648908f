"""What visitors see while the app is away."""

import pytest
from visiting import ready, stopped


@pytest.fixture(scope="module", autouse=True)
def _away(host):
    with stopped(host, "atlas-api"):
        yield


def test_people_get_a_page_that_shows_the_status(web, login):
    away = web.get("/", auth=login)
    assert away.status_code == 503
    assert away.headers["retry-after"] == "5"
    assert "Atlas is not answering just now" in away.text
    assert "The last health check found" in away.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/items",
        "/accounts/ClientLogin",
        "/reader/api/0/token",
        "/fever",
        "/fever/?api",
        "/wallabag/api/version",
    ],
)
def test_programs_get_json_and_need_no_password_of_nginx(web, path):
    away = web.get(path, headers={"Authorization": "Bearer atl_x"})
    assert (away.status_code, away.json()["error"]["code"]) == (503, "unavailable")
    assert away.headers["retry-after"] == "5"


def test_the_status_page_needs_no_app(web, login):
    assert web.get("/status/public.html").status_code == 200
    assert web.get("/status/", auth=login).status_code == 200


def test_it_is_there_again_as_soon_as_it_is(host, web, eventually):
    host.check_output("systemctl start atlas-api")
    eventually(lambda: ready(web), 10)
