"""What strangers may try against the whole app: made-up requests, paths, pages, redirects."""

import re
import string
import threading
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from html import escape
from html.parser import HTMLParser
from ipaddress import ip_network
from urllib.parse import quote, urlsplit

import pytest
import requests
import schemathesis
import sqlalchemy as sa
import test_sanitise
import visitor
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as bounded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from webserver import Page, WebServer

from atlas import items
from atlas.chores import CHORES, Clerk
from atlas.database.engine import read
from atlas.database.tables import contents
from atlas.database.tables import items as items_table
from atlas.net.client import Fetcher
from atlas.net.errors import FetchError
from atlas.net.guard import GuardedBackend, look_up
from atlas.patience import Patience
from atlas.scheduler import poll_due
from atlas.sources import mailbox
from atlas.sources.subscriptions import subscribe
from atlas.stages.context import Context
from atlas.stages.pool import ReaderPool
from atlas.stages.table import Stage
from atlas.urls import InvalidUrl
from atlas.worker import Limits, Worker, utc_now


@pytest.fixture
def _no_network(monkeypatch):
    """Made-up addresses are asked for nothing."""

    def unreachable(*_, **__):
        raise FetchError("connection_failed", "There is no network in this test.", retry=True)

    monkeypatch.setattr(GuardedBackend, "connect_tcp", unreachable)


@pytest.fixture
def client(settings, clock):
    with visitor.visiting(settings, clock, max_queue_size=1_000_000) as client:
        visitor.use_token(client)
        yield client


# Requests made from the description


class Prober:
    """Sends what schemathesis makes up, with ids that exist, and holds every answer to what is promised."""

    def __init__(self, client):
        self.client = client
        self.sent = 0
        self.prepared = 0
        self.item = 0

    def prepare(self):
        self.prepared += 1
        self.item = visitor.put_article(self.client, f"https://example.org/well/{self.prepared}")
        visitor.put_failed(self.client, f"https://example.org/failed/{self.prepared}")

    def send(self, case):
        for name, value in (case.path_parameters or {}).items():
            if isinstance(value, int) and value % 2:
                case.path_parameters[name] = self.item if name == "item_id" else 1
        try:
            prepared = requests.Request(**case.as_transport_kwargs(base_url=visitor.HOST)).prepare()
        except (requests.RequestException, UnicodeError, ValueError):
            return  # not to be said in HTTP
        headers = {
            name: value
            for name, value in prepared.headers.items()
            if name.lower() not in ("authorization", "cookie", "user-agent", "content-length", "host")
        }
        answer = self._ask(prepared, headers)
        if answer.status_code == 401:  # the token was revoked, or its owner is gone
            visitor.use_token(self.client)
            answer = self._ask(prepared, headers)
        self.sent += 1
        self.check(case, answer)

    def _ask(self, prepared, headers):
        body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        headers = {name: value.encode("latin-1", "replace") if isinstance(value, str) else value
                   for name, value in headers.items()}  # fmt: skip
        return self.client.request(prepared.method, prepared.url, headers=headers, content=body)

    def check(self, case, answer):
        asked = f"{case.method} {answer.request.url} {(answer.request.content or b'')[:300]!r}"
        what = f"{asked}: {answer.text[:300]}"
        assert answer.status_code < 500, f"{answer.status_code} {what}"
        assert answer.headers["X-Request-ID"]
        is_api = answer.request.url.path.startswith("/api/") and case.method != "HEAD"
        if answer.status_code >= 400 and is_api:
            assert set(answer.json()["error"]) == {"code", "message", "id"}, what


def probe(client, examples):
    """Send so many requests of each kind, good and bad, to every operation."""
    description = client.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(description)
    prober = Prober(client)
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            prober.prepare()

            @seed(20261122)
            @bounded(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def run(case):
                prober.send(case)

            with suppress(Unsatisfiable):  # nothing to get wrong
                run()
    return len(operations), prober.sent


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_no_network")
def test_no_request_of_the_description_breaks_anything(client):
    operations, sent = probe(client, examples=10)
    assert operations > 20
    assert sent > operations * 10


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_no_network")
def test_no_request_of_the_description_breaks_anything_for_long(client):
    operations, sent = probe(client, examples=100)
    assert sent > operations * 100


# Who may what, on every route there is


def api_routes(client):
    found = visitor.routes_of(client, {"GET", "POST", "PUT", "PATCH", "DELETE"})
    return [(method, path) for method, path in found if path.startswith("/api/")]


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_a_token_reaches_the_routes_of_its_scopes_alone(client, scope):
    """Reading is GET, changing is all else, accounts are the admin's: on every route there is."""
    token = visitor.make_token(client, scope)
    headers = {"Authorization": f"Bearer {token}"}
    tried = set()
    for method, path in api_routes(client):
        needs = "admin" if path.startswith("/api/accounts") else "read" if method == "GET" else "write"
        answer = client.request(method, path, headers=headers)
        code = answer.json()["error"]["code"] if answer.status_code == 403 else ""
        assert (code == "scope_missing") == (needs != scope), (method, path, answer.text)
        tried.add(needs)
    assert tried == {"read", "write", "admin"}


# Paths

CANARY = "the canary of this test"
CLIMBS = [
    "../" * 6 + "etc/passwd",
    "..%2f" * 6 + "etc%2fpasswd",
    "%2e%2e/" * 6 + "etc/passwd",
    "%2e%2e%2f" * 6 + "etc%2fpasswd",
    "..%252f" * 6 + "etc%252fpasswd",
    "....//....//etc/passwd",
    "..%5c" * 6 + "etc%5cpasswd",
    "..\\..\\etc\\passwd",
    "%c0%ae%c0%ae%c0%af" * 6 + "etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "file:%2f%2f%2fetc%2fpasswd",
    "1%00.html",
    "../canary.txt",
    "..%2fcanary.txt",
    "..%2f..%2fcanary.txt",
    ".",
    "..",
    "%2e",
    "~root",
]


@pytest.mark.slow
@pytest.mark.usefixtures("_no_network")
def test_no_path_leads_out(client, settings):
    """Every route with something in its path, with every spelling of "one up": never a file or a fault."""
    settings.data_dir.mkdir(exist_ok=True)
    for place in (settings.data_dir, settings.data_dir / "originals"):
        place.mkdir(exist_ok=True)
        (place / "canary.txt").write_text(CANARY)
    token = client.headers["Authorization"]
    visitor.log_in(client)
    csrf = visitor.csrf_of(client.get("/add").text)
    tried = 0
    for route in visitor.every_route(client.app.routes):
        for hole in re.findall(r"{[^}]+}", route.path):
            for climb in CLIMBS:
                path = re.sub(r"{[^}]+}", "1", route.path.replace(hole, climb))
                for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
                    if route.path.startswith("/api/"):
                        headers, data = {"Authorization": token}, None
                    else:
                        headers, data = visitor.OURS, {"csrf": csrf} if method == "POST" else None
                    answer = client.request(method, path, headers=headers, data=data)
                    assert answer.status_code < 500, (method, path, answer.text)
                    assert "root:" not in answer.text, (method, path)
                    assert CANARY not in answer.text, (method, path)
                    tried += 1
    assert tried > 200


def test_names_of_what_is_handed_in_are_only_names(client, settings):
    """An import is called what its sender likes; what is kept has a name of our own."""
    before = set(settings.data_dir.parent.rglob("*"))
    for climb in ("../../../evil.html", "/tmp/evil.html", "..\\evil.html", "evil\x00.html", "a" * 200):
        answer = client.post("/api/imports", params={"name": climb}, content=b"https://example.org/evil\n")
        assert answer.status_code < 500, answer.text
    new = set(settings.data_dir.parent.rglob("*")) - before
    assert not [path for path in new if "evil" in path.name]


# Pages, feeds, mails and imports that bring scripts

#: What no page of ours has in it, whatever it shows; what we keep is judged by `test_sanitise`.
BAD_TAGS = {"object", "embed", "applet", "base", "frame", "frameset", "math", "style", "xmp", "marquee"}


class Whole(HTMLParser):
    """Reads a whole page of ours, and fails on anything that would run or lead astray."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        assert tag not in BAD_TAGS, tag
        assert not [name for name in values if name.startswith("on") or name in ("srcdoc", "style")], attrs
        for name in ("href", "src", "action", "formaction", "poster", "data", "xlink:href"):
            scheme = urlsplit(re.sub(r"[\x00-\x20]", "", values.get(name, ""))).scheme.lower()
            assert scheme in ("", "http", "https", "mailto"), (tag, name, values[name])
        if tag == "script":
            assert values.get("src", "").startswith("/static/") or values.get("type") == "application/json"
        if tag == "link":
            assert values.get("rel") != "stylesheet" or values["href"].startswith("/static/")
        if tag == "meta":
            is_refresh = values.get("http-equiv", "").lower() == "refresh"
            assert not is_refresh or values["content"].isdigit(), attrs  # the same page, now and then
        if tag == "form":
            assert values.get("action", "/").startswith("/"), attrs
        if tag == "iframe":
            assert values["src"].startswith("https://www.youtube-nocookie.com/"), attrs


def check_whole(page):
    reader = Whole()
    reader.feed(page)
    assert {"html", "main", "h1"} <= set(reader.tags)


def check_page(client, item_id):
    answer = client.get(f"/items/{item_id}", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    check_whole(answer.text)


def check_kept(engine, item_id):
    with read(engine) as conn:
        html = items.get(conn, item_id)["html"]
    test_sanitise.assert_harmless(html)
    return html


ATTACK = (
    '<script>alert(1)</script>"><img src=x onerror=alert(1)><svg onload=alert(1)>'
    "<a href='javascript:alert(1)'>x</a>{{7*7}}<iframe srcdoc='<script>alert(1)</script>'></iframe>"
)
WORDS = "Enough words to be taken for an article by whoever looks at it, and then some more of them. "


@pytest.fixture
def person(client):
    """Someone who is logged in, and has a token for the API."""
    visitor.log_in(client)
    return client


def run_imports(settings, engine, clock):
    ctx = Context(settings, engine, None, None, clock, Patience(threading.Event()))
    Clerk(ctx, [chore for chore in CHORES if chore.name == "imports"]).go_round()


def through_a_worker(settings, engine, pages):
    """Let a worker fetch pages from here, read them in a real reader, and keep them; return the ids."""
    own = settings.model_copy(
        update={"allowed_networks": [ip_network("127.0.0.0/8")], "host_delay_seconds": 0, "lease_seconds": 30}
    )
    with WebServer() as web, ReaderPool(1, 20, 1024) as reader:
        web.pages = {f"/{number}": Page(page) for number, page in enumerate(pages)}
        with engine.begin() as conn:
            ids = [
                items.add(conn, web.url(f"/{number}"), now=utc_now(), correlation_id="c").id
                for number in range(len(pages))
            ]
        Worker(own, engine, Fetcher(own), reader, limits=Limits(once=True)).run()
    return ids


@pytest.mark.slow
def test_pages_that_bring_scripts_are_read_without_them(person, settings, engine):
    """Each vector in the body of an article, all over its metadata, and where it hurts most."""
    vectors = test_sanitise.XSS
    groups = [vectors[start : start + 4] for start in range(0, len(vectors), 4)]
    attack = escape(ATTACK)
    head = (
        f"<!doctype html><html lang=en><head><title>Vectors {ATTACK}</title>"
        f'<meta name=author content="{attack}"><meta property=og:site_name content="{attack}">'
        f'<meta property=og:image content="javascript:alert(1)"><meta name=description content="{attack}">'
        "<link rel=canonical href='javascript:alert(1)'></head>"
    )
    pages = [
        f"{head}<body><article><h1>Vectors {number}</h1>"
        + "".join(f"<p>{WORDS * 3}</p><div>{vector}</div><p>{WORDS * 3}</p>" for vector in group)
        + "</article></body></html>"
        for number, group in enumerate(groups)
    ]
    ids = through_a_worker(settings, engine, pages)
    done = 0
    for item_id in ids:
        with read(engine) as conn:
            stage = items.get(conn, item_id)["stage"]
        if stage == Stage.COMPLETE:
            check_kept(engine, item_id)
            done += 1
        check_page(person, item_id)
    assert done > len(ids) / 2  # some vectors swallow the rest of the page
    for path in ("/", "/?state=failed", "/search?q=vectors", "/search?q=words"):
        check_whole(person.get(path, headers={"Accept": "text/html"}).text)


@pytest.mark.slow
def test_feeds_that_bring_scripts_are_shown_without_them(person, settings, engine):
    entries = "".join(
        f"<item><title>{escape(ATTACK)} {number}</title><link>https://example.org/{number}</link>"
        f"<guid>{number}</guid><author>{escape(ATTACK)}</author><category>{escape(ATTACK)}</category>"
        f"<description>{escape(f'<p>{WORDS * 6}</p>{vector}<p>{WORDS * 6}</p>')}</description>"
        f"<content:encoded>{escape(f'<p>{WORDS * 20}</p>{vector}<p>{WORDS * 20}</p>')}</content:encoded>"
        "</item>"
        for number, vector in enumerate(test_sanitise.XSS)
    )
    feed = (
        '<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/">'
        f"<channel><title>{escape(ATTACK)}</title><link>javascript:alert(1)</link>{entries}</channel></rss>"
    )
    feed = "".join(character for character in feed if character.isprintable() or character == "\n")
    own = settings.model_copy(
        update={"allowed_networks": [ip_network("127.0.0.0/8")], "host_delay_seconds": 0}
    )
    with WebServer() as web:
        web.pages["/feed.xml"] = Page(feed, content_type="application/rss+xml")
        with engine.begin() as conn:
            subscribe(conn, web.url("/feed.xml"), now=utc_now(), interval_seconds=3600)
        with ReaderPool(1, 20, 1024) as reader:
            done = poll_due(own, engine, Fetcher(own), reader)
    assert (done.failed, done.new_items) == (0, len(test_sanitise.XSS))
    with read(engine) as conn:
        found = conn.execute(sa.select(contents.c.item_id, contents.c.html)).all()
        ids = conn.execute(sa.select(items_table.c.id)).scalars().all()
    for row in found:
        test_sanitise.assert_harmless(row.html)
    for item_id in ids[:: max(1, len(ids) // 12)]:
        check_page(person, item_id)
    for path in ("/", "/feeds", "/?state=waiting"):
        check_whole(person.get(path, headers={"Accept": "text/html"}).text)


@pytest.mark.slow
def test_mails_that_bring_scripts_are_shown_without_them(person, settings, engine):
    ctx = Context(settings, engine, None, None, utc_now, Patience(threading.Event()))
    vectors = test_sanitise.XSS
    for start in range(0, len(vectors), 8):
        mail = EmailMessage()
        mail["Subject"], mail["From"] = f"{ATTACK} {start}", Address(ATTACK, "news", "example.org")
        mail["Message-ID"] = f"<{start}@example.org>"
        mail.set_content("Plain words.")
        body = "".join(f"<p>{WORDS * 3}</p><div>{one}</div>" for one in vectors[start : start + 8])
        body = "".join(one for one in body if one.isprintable())
        mail.add_alternative(f"<html><body><h1>{start}</h1>{body}<p>{WORDS * 9}</p></body></html>", "html")
        mailbox.keep(ctx, mail.as_bytes())
    with ReaderPool(1, 20, 1024) as reader:
        Worker(settings, engine, Fetcher(settings), reader, limits=Limits(once=True)).run()
    with read(engine) as conn:
        rows = conn.execute(sa.select(items_table.c.id, items_table.c.stage)).all()
    assert len(rows) == len(range(0, len(vectors), 8))
    assert sum(row.stage == Stage.COMPLETE for row in rows) > len(rows) / 2
    for row in rows:
        if row.stage == Stage.COMPLETE:
            check_kept(engine, row.id)
        check_page(person, row.id)


@pytest.mark.slow
def test_imports_that_bring_scripts_are_shown_without_them(person, settings, engine, clock):
    """Titles, tags and notes of bookmarks are text, and addresses are web addresses or refused."""
    lines = "".join(
        f'<DT><A HREF="https://example.org/{number}" TAGS="{escape(ATTACK)},b" ADD_DATE="1700000000">'
        f"{escape(vector)}</A><DD>{escape(vector)}\n"
        for number, vector in enumerate(test_sanitise.XSS)
    )
    lines += '<DT><A HREF="javascript:alert(1)">x</A><DT><A HREF="data:text/html,<script>1</script>">x</A>'
    head = f"<!DOCTYPE NETSCAPE-Bookmark-file-1><TITLE>Bookmarks</TITLE><H1>{escape(ATTACK)}</H1>"
    page = f"{head}<DL><p>{lines}</DL>"
    answer = person.post("/api/imports", params={"name": f"{ATTACK[:150]}.html"}, content=page.encode())
    assert answer.status_code < 300, answer.text
    run_imports(settings, engine, clock)
    with read(engine) as conn:
        rows = conn.execute(sa.select(items_table.c.id, items_table.c.url)).all()
    assert len(rows) == len(test_sanitise.XSS)
    assert all(row.url.startswith("https://example.org/") for row in rows)
    for row in rows[::8]:
        check_page(person, row.id)
    for path in ("/", "/?state=waiting", "/imports", "/tags"):
        check_whole(person.get(path, headers={"Accept": "text/html"}).text)


# Addresses that lead inside

#: However the forbidden machine is written; `{port}` is where it listens.
INSIDE = [
    "http://127.0.0.2:{port}/",
    "http://2130706434:{port}/",
    "http://0x7f000002:{port}/",
    "http://0x7f.0.0.2:{port}/",
    "http://0177.0.0.02:{port}/",
    "http://017700000002:{port}/",
    "http://127.2:{port}/",
    "http://127.0.0.2.:{port}/",
    "http://[::ffff:127.0.0.2]:{port}/",
    "http://[::ffff:7f00:2]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:0002]:{port}/",
    "http://[64:ff9b::7f00:2]:{port}/",
    "http://[64:ff9b:1::7f00:2]:{port}/",
    "http://[2002:7f00:2::]:{port}/",
    "http://[2001:0:7f00:2::]:{port}/",
    "http://[::127.0.0.2]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://\uff11\uff12\uff17.0.0.2:{port}/",
    "http://127\u30020\u30020\u30022:{port}/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2461:{port}/",
    "http://user:secret@127.0.0.2:{port}/",
    "http://127.0.0.1@127.0.0.2:{port}/",
    "http://127.0.0.1#@127.0.0.2:{port}/../",
    "http://127.0.0.1\\@127.0.0.2:{port}/",
    "//127.0.0.2:{port}/",
    "\\\\127.0.0.2:{port}\\",
    "http:\\\\127.0.0.2:{port}\\",
    "http:127.0.0.2:{port}/",
    "http:///127.0.0.2:{port}/",
    "HTTP://127.0.0.2:{port}/",
    " http://127.0.0.2:{port}/",
    "http://127.0.0.2:{port}",
    "http://sly.test:{port}/",
    "http://SLY.test.:{port}/",
    "http://xn--sly-.test:{port}/",
    "gopher://127.0.0.2:{port}/_GET",
    "ftp://127.0.0.2:{port}/",
    "file:///etc/passwd",
    "dict://127.0.0.2:{port}/",
    "jar:http://127.0.0.2:{port}/!/",
    "http://127.0.0.2:22/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_inside(plain_settings, status):
    """A site that is allowed sends us to one that is not, in every spelling: not a packet arrives there."""
    own = plain_settings.model_copy(
        update={"allowed_networks": [ip_network("127.0.0.1/32")], "fetch_timeout_seconds": 5}
    )

    def resolver(host):
        return ["127.0.0.2"] if "sly" in host.lower() else look_up(host)

    with WebServer() as web, WebServer(host="127.0.0.2") as inside:
        fetcher = Fetcher(own, resolver=resolver)
        for number, target in enumerate(INSIDE):
            location = target.format(port=inside.port)
            web.pages[f"/{number}"] = Page(
                "", status, {"Location": quote(location, safe=string.punctuation + " ")}
            )
            with suppress(FetchError):
                answer = fetcher.get(web.url(f"/{number}"))
                assert answer.final_url.startswith("http://127.0.0.1"), target  # a path of its own at most
        assert inside.requests == []


@pytest.mark.parametrize("target", INSIDE)
def test_no_item_and_no_feed_leads_inside(settings, engine, target):
    """What is added by hand, or followed, is judged alike; a name is judged by what it resolves to."""
    own = settings.model_copy(
        update={"host_delay_seconds": 0, "fetch_timeout_seconds": 5, "lease_seconds": 30}
    )
    with WebServer(host="127.0.0.2") as inside:
        url = target.format(port=inside.port)
        fetcher = Fetcher(own, resolver=lambda host: ["127.0.0.2"] if "sly" in host else look_up(host))
        with engine.begin() as conn:
            with suppress(InvalidUrl):
                items.add(conn, url, now=utc_now(), correlation_id="c")
            with suppress(InvalidUrl):
                subscribe(conn, url, now=utc_now(), interval_seconds=3600)
        poll_due(own, engine, fetcher, None)
        Worker(own, engine, fetcher, None, limits=Limits(once=True)).run()
        assert inside.requests == []
    with read(engine) as conn:
        assert conn.execute(sa.select(items_table.c.stage)).scalars().all() in ([], [777], [888])
