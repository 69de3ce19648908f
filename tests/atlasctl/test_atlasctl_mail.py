"""The machine's own mail: what is kept, what is tried again when, what is told. Sent by a stand-in."""

import json
import os
import time

import pytest

from atlasctl import cli
from atlasctl.mail import deliver, sendmail, spool
from atlasctl.mail.command import judge, metrics
from atlasctl.mail.settings import read
from atlasctl.paths import Paths

LIMITS = {"retry_seconds": 60, "warn_minutes": 15, "keep_days": 7, "max_messages": 10, "max_bytes": 100_000}


class Post:
    """A machine with mail, and a stand-in for msmtp that does as it is told."""

    def __init__(self, root):
        self.root = root
        self.spool = root / "var/spool/atlas-mail"
        for name in ("incoming", "queue", "refused"):
            (self.spool / name).mkdir(parents=True)
        self.configure(server="mail.example.org")

    def configure(self, **changed):
        file = self.root / "etc/atlas/mail.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        places = {"spool": "/var/spool/atlas-mail", "textfile_directory": "/metrics"}
        file.write_text(json.dumps({"owner": "owner@example.org", **places, **LIMITS, **changed}))
        self.settings = read(Paths(self.root))

    def put(self, to="root", message=b"Subject: x\n\nhello\n"):
        return spool.hand_in(self.spool, {"to": [to], "read_recipients": False}, message)

    def run(self, *, at_once=False):
        assert deliver.deliver(self.settings, at_once=at_once) == 0
        return deliver.read_state(self.settings)

    def server(self, **said):
        (self.root / "msmtp.json").write_text(json.dumps(said))

    def sent(self):
        file = self.root / "sent"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def names(self, directory):
        return sorted(path.name for path in (self.spool / directory).iterdir())


@pytest.fixture
def post(machine, tmp_path):
    return Post(tmp_path)


def test_it_is_sent_byte_by_byte(post):
    post.put(message=b"Subject: x\n\n\xff\xfe caf\xc3\xa9\r\n.\n")
    assert post.run()["sent"] == 1
    (sent,) = post.sent()
    assert sent[0] == ["--", "root"]
    assert sent[1].encode("latin-1") == b"Subject: x\n\n\xff\xfe caf\xc3\xa9\r\n.\n"
    assert post.names("queue") == post.names("incoming") == []


def test_a_server_that_is_away_stops_the_run_and_the_wait_grows(post, monkeypatch):
    post.server(**{"*": [75, "cannot connect to mail.example.org, port 587: Connection refused"]})
    for _ in range(3):
        post.put()
    state = post.run()
    assert state["failures"] == 1, "one was tried, not three"
    assert state["trouble"] == "cannot connect to mail.example.org, port 587: Connection refused"
    assert post.run()["failures"] == 1, "not before it is time"
    began = time.time()
    waits = []
    for _ in range(7):
        due = deliver.read_state(post.settings)["next_at"]
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda due=due: due)
            waits.append(post.run()["next_at"] - due)
    assert waits == [pytest.approx(one, abs=2) for one in (120, 240, 480, 600, 600, 600, 600)]
    assert deliver.read_state(post.settings)["trouble_since"] == pytest.approx(began, abs=60)
    post.server()
    state = post.run(at_once=True)
    assert (state["sent"], state["trouble"], state["next_at"], len(post.sent())) == (3, None, 0, 3)


def test_one_that_is_refused_waits_alone(post):
    post.server(**{"gone@example.org": [65, "recipient gone@example.org not accepted by the server"]})
    post.put(to="gone@example.org")
    post.put()
    state = post.run()
    assert (state["sent"], state["trouble"], len(post.names("queue"))) == (1, None, 1)
    (known,) = state["mails"].values()
    assert "not accepted" in known["trouble"]
    post.put()
    assert post.run()["sent"] == 2


def test_one_that_always_fails_like_a_server_does_holds_up_nobody(post):
    post.server(**{"odd@example.org": [75, "the server hung up"]})
    post.put(to="odd@example.org")
    post.run()
    post.put()
    assert post.run(at_once=True)["sent"] == 1
    assert len(post.names("queue")) == 1


def test_what_waited_too_long_is_given_up_and_kept(post, capfd):
    post.server(**{"*": [75, "away"]})
    post.put()
    post.run()
    (name,) = post.names("queue")
    old = f"{time.time() - 8 * 86400:.6f}-{name.rpartition('-')[2]}"
    (post.spool / "queue" / name).rename(post.spool / "queue" / old)
    assert post.run()["given_up"] == 1
    assert (post.names("queue"), post.names("refused")) == ([], [old])
    assert "given up after 7 days" in capfd.readouterr().err


def test_a_full_queue_loses_the_oldest_and_says_so(post, capfd):
    post.server(**{"*": [75, "away"]})
    for number in range(12):
        post.put(message=str(number).encode())
        post.run()
    assert deliver.read_state(post.settings)["dropped"] == 2
    assert "the queue is full" in capfd.readouterr().err
    post.server()
    post.run(at_once=True)
    assert sorted(int(message) for _, message in post.sent()) == list(range(2, 12))


def test_what_a_stranger_put_there_is_no_way_in(post, tmp_path, capfd):
    (tmp_path / "private").write_bytes(b'{"to": ["me@example.org"]}\nprivate')
    incoming = post.spool / "incoming"
    (incoming / "link").symlink_to(tmp_path / "private")
    os.link(tmp_path / "private", incoming / "hard")
    os.mkfifo(incoming / "fifo")
    (incoming / "directory").mkdir()
    (incoming / "rubbish").write_bytes(b"\xff")
    (incoming / "option").write_bytes(b'{"to": ["--file=/etc/x"]}\nx')
    (incoming / "nobody").write_bytes(b'{"to": []}\nx')
    (incoming / "large").write_bytes(b'{"to": ["root"]}\n' + b"x" * spool.MAX_BYTES * 2)
    (incoming / ".being-written").write_bytes(b"half")
    post.run()
    assert post.sent() == []
    assert post.names("incoming") == [".being-written"]
    assert (tmp_path / "private").exists()
    assert capfd.readouterr().err.count("thrown away") == 8


def test_a_name_from_outside_says_nothing_of_its_age(post):
    post.server(**{"*": [75, "away"]})
    (post.spool / "incoming" / "1.0-x").write_bytes(b'{"to": ["root"], "read_recipients": false}\nx')
    post.run()
    (mail,) = spool.waiting(post.spool / "queue")
    assert mail.at == pytest.approx(time.time(), abs=60)


def test_without_a_server_it_is_kept(post):
    post.configure(server="")
    post.put()
    state = post.run()
    assert (post.sent(), len(post.names("queue"))) == ([], 1)
    assert judge(post.settings, state) == (
        0,
        "off: no mail server is set (atlas_mail_server), 1 message kept",
    )
    assert "atlas_mail_configured 0\n" in metrics(post.settings, state)
    post.configure(server="mail.example.org")
    assert post.run()["sent"] == 1


def test_health_says_why_mail_does_not_get_out(post, capsys):
    assert judge(post.settings, post.run()) == (0, "nothing was sent yet")
    post.server(**{"*": [77, "authentication failed (method PLAIN)"]})
    post.put()
    post.run()
    assert cli.main(["mail", "check"]) == 0, "not in the first minutes"
    (name,) = post.names("queue")
    old = f"{time.time() - 3600:.6f}-{name.rpartition('-')[2]}"
    (post.spool / "queue" / name).rename(post.spool / "queue" / old)
    post.run(at_once=True)
    capsys.readouterr()
    assert cli.main(["mail", "check"]) == 1
    said = "1 message not delivered, the oldest for 60 minutes: authentication failed (method PLAIN)"
    assert capsys.readouterr().out.strip() == said
    assert cli.main(["mail"]) == 1
    assert "authentication failed" in capsys.readouterr().out
    assert cli.main(["mail", "metrics"]) == 0
    told = (post.root / "metrics/atlas_mail.prom").read_text()
    assert "atlas_mail_queue_length 1\n" in told
    assert "atlas_mail_failing 1\n" in told
    assert "atlas_mail_last_success_timestamp_seconds" not in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-i", "root"], (["root"], False)),
        (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], (["root"], False)),
        (["-t", "-oi"], ([], True)),
        (["-f", "me@example.org", "-F", "My Name", "a@b.c", "d@e.f"], (["a@b.c", "d@e.f"], False)),
        (["-bm", "--", "-odd"], (["-odd"], False)),
    ],
)
def test_words_that_programs_give_sendmail(words, expected):
    assert sendmail.arguments(words) == expected


@pytest.mark.parametrize("words", [["-bp"], ["-bs"], ["-f"]])
def test_what_sendmail_does_not_do_it_refuses(words, tmp_path, capsys):
    assert sendmail.main(words, tmp_path) == sendmail.USAGE
    assert capsys.readouterr().err.startswith("sendmail: ")


def test_a_spool_that_cannot_be_written_is_told_to_the_program(tmp_path, monkeypatch, capsys):
    message = tmp_path / "message"
    message.write_bytes(b"x")
    with message.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert sendmail.main(["root"], tmp_path / "nowhere") == sendmail.CANNOT_KEEP
    assert "Cannot keep the mail" in capsys.readouterr().err
