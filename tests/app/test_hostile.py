"""What strangers may try against the whole app: made-up requests, paths, pages, redirects."""

from contextlib import suppress

import pytest
import requests
import schemathesis
import visitor
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from atlas.net.errors import FetchError
from atlas.net.guard import GuardedBackend


@pytest.fixture(autouse=True)
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
            @settings(
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
def test_no_request_of_the_description_breaks_anything(client):
    operations, sent = probe(client, examples=10)
    assert operations > 20
    assert sent > operations * 10


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_no_request_of_the_description_breaks_anything_for_long(client):
    operations, sent = probe(client, examples=100)
    assert sent > operations * 100
