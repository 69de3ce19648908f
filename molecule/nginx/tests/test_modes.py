"""The three ways of guarding the pages, each as people, programs and thieves meet it."""

import base64
import json
import shlex
from pathlib import Path

import httpx2
import pytest
from visiting import OURS, PAGE, csrf_of, ready, stopped
from ways import every_way, open_ways


@pytest.fixture(scope="module", params=["session", "basic", "both"])
def mode(request, play):
    done = play("--tags=nginx,atlas", f"--extra-vars=atlas_auth_mode={request.param}")
    assert done.succeeded, done.output
    return request.param


@pytest.fixture
def at_the_door(mode, login):
    """What somebody types where nginx asks."""
    return {} if mode == "session" else {"auth": login}


def enter(web: httpx2.Client, mode: str, login: tuple[str, str]) -> None:
    """Come in as a browser does: by the password nginx asks for, by the form of the app, or both."""
    door = {} if mode == "session" else {"auth": login}
    if mode != "basic":
        form = {
            "csrf": csrf_of(web.get("/login", headers=PAGE, **door)),
            "name": login[0],
            "password": login[1],
        }
        assert web.post("/login", data=form, headers=OURS, **door).status_code == 303
    assert web.get("/add", headers=PAGE, **door).status_code == 200


def leave(web: httpx2.Client, **door: object) -> httpx2.Response:
    csrf = csrf_of(web.get("/add", headers=PAGE, **door))
    return web.post("/logout", data={"csrf": csrf}, headers=OURS, **door)


def test_strangers_are_asked(web, mode, login):
    answer = web.get("/", headers=PAGE)
    if mode == "session":
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        return
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="Atlas"')
    answer = web.get("/", headers=PAGE, auth=login)
    if mode == "both":
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    else:
        assert answer.status_code == 200  # nginx's word is enough


def test_nobody_is_asked_twice(web, mode, login):
    """With both, a browser that has logged in is known to nginx: no password comes with its requests."""
    enter(web, mode, login)
    door = {"auth": login} if mode == "basic" else {}
    for path in ("/", "/settings", "/api/accounts/me", "/api/export/netscape"):
        assert web.get(path, headers=PAGE, **door).status_code == 200, path


def test_a_session_lasts_seven_days_and_through_restarts(host, web, mode, login, eventually):
    enter(web, mode, login)
    cookies = {cookie.name: cookie for cookie in web.cookies.jar}
    now = int(host.check_output("date +%s"))
    names = {"__Host-atlas", "__Host-atlas-door"} if mode == "both" else {"__Host-atlas"}
    assert set(cookies) == names
    assert all(7 * 86_400 - 60 < cookie.expires - now <= 7 * 86_400 + 5 for cookie in cookies.values())
    host.check_output("systemctl restart atlas-api nginx")
    eventually(lambda: ready(web))
    door = {"auth": login} if mode == "basic" else {}
    assert web.get("/add", headers=PAGE, **door).status_code == 200


@pytest.mark.usefixtures("mode")
def test_programs_bring_tokens_and_nothing_else(web, login, token):
    assert web.get("/api/items", headers=token).status_code == 200
    assert web.get("/api/items").status_code == 401
    assert web.get("/api/items", headers={"Authorization": "Bearer atl_wrong"}).status_code == 401
    assert web.get("/api/items", auth=login).status_code == 401
    assert web.get("/", headers={**PAGE, **token}).status_code in (303, 401)
    assert "error" in web.get("/api/items").json()


def test_feed_readers_bring_tokens_and_nothing_else(web, mode, login, token):
    bare = token["Authorization"].removeprefix("Bearer ")
    given = web.post("/accounts/ClientLogin", data={"Email": "owner", "Passwd": bare})
    assert (given.status_code, f"Auth={bare}" in given.text) == (200, True)
    google = {"Authorization": f"GoogleLogin auth={bare}"}
    assert web.get("/reader/api/0/user-info", headers=google).status_code == 200
    assert web.get("/api/greader.php/reader/api/0/user-info", headers=google).status_code == 200
    assert web.get("/wallabag/api/entries", headers=token).status_code == 200
    enter(web, mode, login)
    for path in ("/reader/api/0/user-info", "/wallabag/api/entries"):
        assert web.get(path, auth=login).status_code == 401, (
            "neither a session nor nginx's password is a token"
        )


@pytest.mark.usefixtures("mode")
def test_an_exported_feed_may_have_its_token_in_the_address(host, web):
    token = host.check_output("atlas token create reader --scope read")
    assert web.get(f"/api/export/feed?token={token}").status_code == 200
    assert web.get("/api/export/feed?token=atl_wrong").status_code == 401
    assert web.get("/api/export/feed").status_code == 401


@pytest.mark.usefixtures("mode")
def test_nobody_says_himself_who_he_is(host, web):
    said = {**PAGE, "Remote-User": "owner", "Door-Key": "x" * 43, "Door-Named": "yes"}
    assert web.get("/add", headers=said).status_code in (303, 401)
    assert web.get("/offline", headers=said).status_code == 200
    assert "__Host-atlas" not in web.cookies
    # Nor does another program on the machine.
    status = host.check_output(
        "python3 -c \"import http.client as h; c = h.HTTPConnection('127.0.0.1', 7444);"
        " c.request('GET', '/add', headers={'Accept': 'text/html', 'Remote-User': 'owner'});"
        ' print(c.getresponse().status)"'
    )
    assert status == "303"


def test_what_a_phone_shares_arrives(web, mode, login):
    """The service worker turns it into a form's address, which may be long (static/sw.js)."""
    enter(web, mode, login)
    door = {"auth": login} if mode == "basic" else {}
    shared = {"title": "t" * 500, "text": "Ein längerer Text. " * 200, "url": "https://example.org/a"}
    page = web.get("/add", params=shared, headers=PAGE, **door)
    assert page.status_code == 200
    assert "https://example.org/a" in page.text
    assert web.get("/manifest.webmanifest").json()["share_target"]["action"] == "/share"
    assert web.get("/sw.js").status_code == 200


def test_a_stolen_session_dies_with_the_logout(web, mode, login, at_the_door):
    enter(web, mode, login)
    stolen = dict(web.cookies)
    answer = leave(web, **at_the_door)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login" if mode == "session" else "/logged-out",
    )
    assert not dict(web.cookies)
    # The thief has the cookies, and with `both` a browser that nginx knows; not the password.
    thief = {"Cookie": "; ".join(f"{name}={value}" for name, value in stolen.items())}
    for path in ("/add", "/api/items", "/settings"):
        assert web.get(path, headers={**PAGE, **thief}).status_code in (303, 401), path


def test_a_stolen_pass_dies_with_the_logout(host, web, mode, login):
    """Nor does it take the app to know that."""
    if mode != "both":
        return
    enter(web, mode, login)
    thief = {**PAGE, "Cookie": f"__Host-atlas-door={web.cookies['__Host-atlas-door']}"}
    web.cookies.delete("__Host-atlas-door")
    web.headers["Cookie"] = thief["Cookie"] + f"; __Host-atlas={web.cookies['__Host-atlas']}"
    stolen = web.get("/login", headers=thief)
    assert (stolen.status_code, 'name="password"' in stolen.text) == (200, True), "nginx's door, and no other"
    with stopped(host, "atlas-api"):
        assert web.get("/login", headers=thief).status_code == 503
    assert leave(web).status_code == 303
    assert web.get("/login", headers=thief).status_code == 401
    with stopped(host, "atlas-api"):
        assert web.get("/login", headers=thief).status_code == 401
        assert web.get("/status/public.html").status_code == 200


def test_what_the_command_line_ends_ends_at_the_door_too(host, web, mode, login, eventually):
    if mode != "both":
        return
    enter(web, mode, login)
    known = {**PAGE, "Cookie": f"__Host-atlas-door={web.cookies['__Host-atlas-door']}"}
    web.cookies.clear()
    assert web.get("/login", headers=known).status_code == 200
    host.check_output(f"printf %s {shlex.quote(login[1])} | atlas user set {login[0]} --role owner")
    eventually(lambda: web.get("/login", headers=known).status_code == 401)


def test_which_browsers_are_known_nobody_else_can_list(host, web, mode, login):
    if mode != "both":
        return
    enter(web, mode, login)
    assert host.run("runuser -u www-data -- ls /var/lib/atlas-door").rc != 0
    name = web.cookies["__Host-atlas-door"].split(".")[1]
    assert host.run(f"runuser -u www-data -- test -f /var/lib/atlas-door/{name}").rc == 0


@pytest.mark.timeout(120)
def test_whoever_comes_guesses_nginxs_password_no_faster(elsewhere, web, mode, login):
    """Also a browser that has logged in: with basic on all pages, with both where nginx still asks it."""
    if mode == "session":
        return
    enter(web, mode, login)
    known = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in web.cookies.items()),
        "Authorization": "Basic " + base64.b64encode(b"owner:wrong").decode(),
    }
    for path in ("/status/", "/settings") if mode == "basic" else ("/status/",):
        # /settings at the pace at which pages come, so that it is not their limit that is seen.
        pause = 0.05 if path == "/settings" else 0
        seen = elsewhere("198.51.100.7", path, headers=known, times=600, pause=pause)
        seconds = sum(one["seconds"] + pause for one in seen)
        # 120 at once and two a second (nginx_password_rate); pages come 100 at once and twenty a second.
        assert [one["status"] for one in seen].count(401) <= 130 + 2.5 * seconds


DROPPED = """location = /elsewhere {
    auth_basic $atlas_page_realm;
    alias /usr/share/atlas/unavailable.css;
}
"""


def test_another_role_asks_as_the_pages_do_and_never_lets_everybody_in(host, web, mode, login, eventually):
    """What stands in atlas.d may name who is asked, whatever guards the pages."""
    enter(web, mode, login)
    known = dict(web.cookies)
    web.cookies.clear()
    host.check_output(
        "printf %s %s > /etc/nginx/atlas.d/elsewhere.conf && systemctl reload nginx", "%s", DROPPED
    )
    try:
        eventually(lambda: web.get("/elsewhere", auth=login).status_code == 200)  # a reload takes a moment
        assert web.get("/elsewhere").status_code == 401
        cookies = "; ".join(f"{name}={value}" for name, value in known.items())
        assert web.get("/elsewhere", headers={"Cookie": cookies}).status_code == (
            200 if mode == "both" else 401
        )
    finally:
        host.check_output("rm /etc/nginx/atlas.d/elsewhere.conf && systemctl reload nginx")


def test_who_reads_is_not_taken_for_one_who_guesses(elsewhere, web, mode, login):
    """A browser sends nginx's password with the files of a page, too."""
    if mode == "session":
        return
    path = web.get("/login", headers=PAGE, auth=login, follow_redirects=True).text.partition(
        'href="/static/'
    )[2]
    right = {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()}
    seen = elsewhere("198.51.100.8", f"/static/{path.partition(chr(34))[0]}", headers=right, times=400)
    assert {one["status"] for one in seen} == {200}
    assert elsewhere("198.51.100.8", "/login", headers={**PAGE, **right})[0]["status"] in (200, 303)


FAILING = """
import http.client as h, json, sys
c = h.HTTPConnection("127.0.0.1", 7444)
form = {"Content-Type": "application/x-www-form-urlencoded", **json.loads(sys.argv[1])}
c.request("POST", "/accounts/ClientLogin", sys.argv[2], form)
c.getresponse()
"""


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("key", [{}, {"Door-Key": ""}, {"Door-Key": "x" * 43}])
def test_no_program_of_the_machine_says_where_somebody_comes_from(host, elsewhere, key):
    mark = host.check_output("date +%s.%N")
    tried = f"Email=quail{mark}&Passwd=wrong"  # five wrong passwords shut a name
    said = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", **key}
    host.check_output("python3 -c %s %s %s", FAILING, json.dumps(said), tried)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    elsewhere("198.51.100.8", "/accounts/ClientLogin", method="POST", headers=form, body=tried)
    lines = host.check_output(f"journalctl --since=@{mark} --unit=atlas-api --output=cat").splitlines()
    failed = [json.loads(line) for line in lines if '"login failed"' in line]
    assert [line["address"] for line in failed] == ["127.0.0.1", "198.51.100.8"]


def test_a_name_is_logged_where_its_password_was_right_and_nowhere_else(host, web, mode, login):
    mark = host.check_output("date +%s.%N")
    for path in ("/offline", "/nothing", "/robots.txt", "/status/", "/api/nothing", "/logged-out"):
        web.get(path, headers=PAGE, auth=("mallory", "wrong"))
        web.get(path, headers=PAGE, auth=login)
        web.get(path, headers=PAGE)
    with stopped(host, "atlas-api"):
        web.get("/nothing", headers=PAGE, auth=login)
    host.check_output("sleep 0.5")
    lines = host.check_output(f"journalctl --since=@{mark} --identifier=nginx --output=cat").splitlines()
    seen: dict[str, set[str]] = {}
    for line in map(json.loads, lines):
        seen.setdefault(line["path"], set()).add(line["user"])
    asked = {"?", "owner", ""} if mode != "session" else {""}
    assert seen["/status/"] == {"?", "owner", ""}
    assert (seen["/nothing"], seen["/api/nothing"]) == (asked, asked)
    assert seen["/offline"] == seen["/robots.txt"] == {""}
    assert seen["/logged-out"] == {"?", ""}  # whatever is brought there is refused


def test_after_the_logout_the_browser_forgets_nginxs_password_too(web, mode, login):
    if mode == "session":
        return
    still = web.get("/logged-out", headers=PAGE, auth=login)
    assert (still.status_code, still.headers["www-authenticate"]) == (401, 'Basic realm="Atlas"')
    assert "You are logged out" in still.text
    gone = web.get("/logged-out", headers=PAGE)
    assert (gone.status_code, "You are logged out" in gone.text) == (200, True)
    assert "set-cookie" not in gone.headers


@pytest.mark.parametrize(
    "forged",
    [
        "{until}.{name}.{digest}",
        "9999999999.{name}.{digest}",
        "{until}.{name}.AAAAAAAAAAAAAAAAAAAAAA",
        "{old}.{name}.{digest}",
        "{until}.{nobody}.{digest}",
        "{until}..{digest}",
        "{until}.{digest}",
        "{until}.../../../etc/passwd.{digest}",
    ],
)
def test_a_browser_is_known_only_by_what_atlas_gave_it(web, mode, login, forged):
    if mode != "both":
        return
    enter(web, mode, login)
    given = web.cookies["__Host-atlas-door"]
    until, name, digest = given.split(".")
    old, nobody = str(int(until) - 900_000), "0" * 32
    cookie = forged.format(until=until, name=name, digest=digest, old=old, nobody=nobody)
    web.cookies.clear()
    answer = web.get("/login", headers={**PAGE, "Cookie": f"__Host-atlas-door={cookie}"})
    assert answer.status_code == (200 if cookie == given else 401)


def test_the_observatory_gives_the_best_grade_to_the_apps_own_pages(mode, observed):
    if mode == "session":
        report = observed()
        assert (report["status"], report["grade"]) == (200, "A+"), report


@pytest.mark.timeout(180)
def test_no_way_in_is_open_to_strangers(host, web, mode):
    with host.sudo():
        ways = every_way(host.check_output("nginx -T 2>/dev/null"))
    assert not Path("var").exists(), "the app's default directory, in the middle of the repository"
    form = {("GET", "/login"): 200, ("POST", "/login"): 415}  # what is not a form is not even looked at
    assert open_ways(web, ways) == (form if mode == "session" else {})
