"""Who gets in, who does not, and what is kept of it."""

import datetime as dt
import threading
import time

import argon2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from atlas import accounts
from atlas.accounts import TooManyAttempts, passwords
from atlas.accounts.logins import MAX_PER_ADDRESS, MAX_PER_NAME, WINDOW
from atlas.accounts.sessions import TOUCH_AFTER
from atlas.database.engine import read
from atlas.database.tables import audit, login_failures, sessions, tokens, users

HERE = "192.0.2.1"


@pytest.fixture
def owner(engine: Engine, clock) -> accounts.User:
    with engine.begin() as conn:
        return accounts.set_password(conn, "owner", "correct horse", clock.now, actor="test")


def log_in(engine, clock, password="correct horse", *, name="owner", address=HERE, **more):
    return accounts.login(
        engine, name, password, now=clock.now, days=7, address=address, agent="test", **more
    )


def session_of(engine, token, clock):
    with read(engine) as conn:
        return accounts.session(conn, token, clock.now)


def actions(engine) -> list[str]:
    with read(engine) as conn:
        return list(conn.execute(sa.select(audit.c.action).order_by(audit.c.id)).scalars())


def test_a_login_opens_a_session(engine, clock, owner) -> None:
    token = log_in(engine, clock)

    session = session_of(engine, token, clock)
    assert (session.user_id, session.user_name) == (owner.id, "owner")
    assert session.expires_at == clock.now + dt.timedelta(days=7)
    assert actions(engine) == ["user.create", "login"]


def test_nothing_that_opens_a_door_is_stored(engine, clock, owner) -> None:
    token = log_in(engine, clock)
    with engine.begin() as conn:
        plain = accounts.create_token(conn, owner, "phone", clock.now)
        everything = [
            str(value)
            for table in (users, sessions, tokens, audit, login_failures)
            for row in conn.execute(sa.select(table))
            for value in row
        ]
    assert plain.startswith("atl_")
    assert not any(secret in value for secret in ("correct horse", token, plain) for value in everything)


def test_hashes_are_argon2id_within_the_memory_of_a_small_machine(real_hasher, monkeypatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", real_hasher)
    parameters = argon2.extract_parameters(passwords.hash_password("correct horse"))
    assert parameters.type is argon2.Type.ID
    assert 19 * 1024 <= parameters.memory_cost <= 46 * 1024
    assert parameters.time_cost >= 2


@pytest.mark.parametrize("password", ["", "Correct horse", "x" * 2000, "\udc80", "\0"])
def test_a_wrong_password_opens_nothing(engine, clock, owner, password) -> None:
    assert log_in(engine, clock, password) is None
    assert actions(engine)[-1] == "login.failed"


def test_an_unknown_name_takes_as_long_as_a_known_one(engine, clock, owner, monkeypatch) -> None:
    verified = []
    monkeypatch.setattr(passwords, "_HASHER", Recorder(passwords._HASHER, verified))
    log_in(engine, clock, "wrong")
    log_in(engine, clock, "wrong", name="nobody")
    known, unknown = verified
    assert known != unknown
    assert argon2.extract_parameters(known) == argon2.extract_parameters(unknown)


class Recorder:
    def __init__(self, hasher, calls) -> None:
        self.hasher, self.calls = hasher, calls

    def verify(self, stored, password):
        self.calls.append(stored)
        return self.hasher.verify(stored, password)

    def __getattr__(self, name):
        return getattr(self.hasher, name)


def test_what_was_typed_as_an_unknown_name_is_not_kept(engine, clock, owner) -> None:
    log_in(engine, clock, "", name="my password, in the wrong field")
    with read(engine) as conn:
        detail = conn.execute(sa.select(audit.c.detail).order_by(audit.c.id.desc())).scalars().first()
    assert detail == {"user": None, "address": HERE}


def test_five_failures_close_a_name_to_an_address_for_a_while(engine, clock, owner) -> None:
    for _ in range(MAX_PER_NAME):
        assert log_in(engine, clock, "wrong") is None
        clock.advance(60)

    with pytest.raises(TooManyAttempts) as caught:
        log_in(engine, clock)
    assert caught.value.retry_after == (WINDOW - dt.timedelta(minutes=5)).total_seconds()
    assert "10 minutes" in str(caught.value)
    assert log_in(engine, clock, address="192.0.2.2"), "from elsewhere the owner still gets in"

    clock.advance(caught.value.retry_after)
    assert log_in(engine, clock)


def test_being_refused_does_not_make_it_longer(engine, clock, owner) -> None:
    for _ in range(MAX_PER_NAME):
        log_in(engine, clock, "wrong")
    for _ in range(10):
        with pytest.raises(TooManyAttempts):
            log_in(engine, clock, "wrong")
        clock.advance(60)
    clock.advance(WINDOW.total_seconds() - 600)
    assert log_in(engine, clock)


def test_trying_many_names_closes_the_address(engine, clock, owner) -> None:
    for number in range(MAX_PER_ADDRESS):
        assert (
            log_in(engine, clock, "wrong", name=f"user{number}", address=f"2001:db8::{number + 1:x}") is None
        )
    with pytest.raises(TooManyAttempts):
        log_in(engine, clock, address="2001:db8::ffff")
    assert log_in(engine, clock, address="2001:db8:0:1::1")


def test_a_success_forgets_typing_errors_but_not_attacks(engine, clock, owner) -> None:
    for number in range(10):
        log_in(engine, clock, "wrong", name=f"user{number}")
    for _ in range(MAX_PER_NAME - 1):
        log_in(engine, clock, "wrong")
    assert log_in(engine, clock)
    for _ in range(MAX_PER_NAME - 1):
        assert log_in(engine, clock, "wrong") is None
    with read(engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(login_failures)).scalar() > 10


def test_attempts_at_the_same_time_are_all_counted(engine, clock, owner) -> None:
    log_in(engine, clock)  # whatever is made at first use is made
    results = []

    def attempt() -> None:
        try:
            results.append(log_in(engine, clock, "wrong", name="victim"))
        except TooManyAttempts:
            results.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, results)) == ["None"] * MAX_PER_NAME + ["refused"] * (12 - MAX_PER_NAME)


def test_no_more_than_two_hashes_are_made_at_a_time(monkeypatch) -> None:
    running, most = set(), []

    class Slow:
        def verify(self, stored, password):
            running.add(threading.get_ident())
            most.append(len(running))
            time.sleep(0.02)
            running.discard(threading.get_ident())

    stored = passwords.hash_password("x")
    passwords.verify(stored, "x")
    monkeypatch.setattr(passwords, "_HASHER", Slow())
    threads = [threading.Thread(target=passwords.verify, args=(stored, "x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 2


def test_a_login_makes_the_token_one_came_with_worthless(engine, clock, owner) -> None:
    planted = log_in(engine, clock)
    token = log_in(engine, clock, replaces=planted)
    assert token != planted
    assert session_of(engine, planted, clock) is None
    assert session_of(engine, token, clock)


def test_a_session_slides_while_it_is_used_and_then_ends(engine, clock, owner) -> None:
    token = log_in(engine, clock)
    assert not session_of(engine, token, clock).is_due
    clock.advance(TOUCH_AFTER.total_seconds())
    session = session_of(engine, token, clock)
    assert session.is_due
    with engine.begin() as conn:
        accounts.touch(conn, session, now=clock.now, days=7)
    assert not session_of(engine, token, clock).is_due
    clock.advance(7 * 86_400 - 1)
    assert session_of(engine, token, clock)
    clock.advance(1)
    assert session_of(engine, token, clock) is None


def test_logout_and_a_new_password_end_sessions(engine, clock, owner) -> None:
    first, second, third = (log_in(engine, clock) for _ in range(3))
    with engine.begin() as conn:
        accounts.logout(conn, first, clock.now)
        accounts.logout(conn, "no such session", clock.now)
    assert session_of(engine, first, clock) is None
    assert session_of(engine, second, clock)
    with engine.begin() as conn:
        accounts.set_password(conn, "owner", "battery staple", clock.now, actor="test")
    assert session_of(engine, second, clock) is None
    assert session_of(engine, third, clock) is None
    assert log_in(engine, clock) is None
    assert log_in(engine, clock, "battery staple")
    assert actions(engine).count("logout") == 1


def test_the_owner_is_made_once_and_follows_the_settings(engine, clock) -> None:
    with engine.begin() as conn:
        assert accounts.ensure_owner(conn, "owner", "first", clock.now)
        assert not accounts.ensure_owner(conn, "owner", "first", clock.now)
    token = log_in(engine, clock, "first")
    with engine.begin() as conn:
        assert accounts.ensure_owner(conn, "owner", "second", clock.now)
    assert session_of(engine, token, clock) is None
    assert log_in(engine, clock, "second")


def test_an_outdated_hash_is_renewed_at_login(engine, clock, owner) -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=32, parallelism=1).hash("correct horse")
    with engine.begin() as conn:
        conn.execute(users.update().values(password_hash=weak))
    assert log_in(engine, clock)
    with read(engine) as conn:
        stored = conn.execute(sa.select(users.c.password_hash)).scalar_one()
    assert not passwords.is_outdated(stored)
    assert log_in(engine, clock)


@pytest.mark.parametrize("password", ["", "x" * 1001])
def test_a_useless_password_is_refused(engine, clock, password) -> None:
    with engine.begin() as conn, pytest.raises(ValueError, match="password"):
        accounts.set_password(conn, "owner", password, clock.now, actor="test")


def use(conn, plain, now):
    """Do what the API does with a token."""
    found = accounts.check_token(conn, plain, now)
    if found.is_due:
        accounts.touch_token(conn, found.token_id, now)
    return found.user


def test_a_token_works_until_it_is_revoked(engine, clock, owner) -> None:
    with engine.begin() as conn:
        plain = accounts.create_token(conn, owner, "phone", clock.now)
        other = accounts.create_token(conn, owner, "laptop", clock.now)
        assert use(conn, plain, clock.now) == owner
        assert accounts.check_token(conn, plain + "x", clock.now) is None
        assert accounts.check_token(conn, "", clock.now) is None
        newest, oldest = accounts.list_tokens(conn)
        assert (newest.name, newest.used_at, oldest.name, oldest.used_at) == (
            "laptop",
            None,
            "phone",
            clock.now,
        )
        assert accounts.revoke_token(conn, oldest.id, clock.now, actor="owner")
        assert not accounts.revoke_token(conn, oldest.id, clock.now, actor="owner")
        assert not accounts.revoke_token(conn, 2**70, clock.now, actor="owner")
        assert accounts.check_token(conn, plain, clock.now) is None
        assert accounts.check_token(conn, other, clock.now).user == owner
    assert actions(engine)[-3:] == ["token.create", "token.create", "token.revoke"]


def test_a_busy_token_does_not_write_each_time(engine, clock, owner) -> None:
    with engine.begin() as conn:
        plain = accounts.create_token(conn, owner, "phone", clock.now)
        use(conn, plain, clock.now)
    first = clock.now
    clock.advance(200)
    with read(engine) as conn:  # where writing would fail
        assert accounts.check_token(conn, plain, clock.now).user == owner
        assert accounts.list_tokens(conn)[0].used_at == first
    clock.advance(200)
    with engine.begin() as conn:
        use(conn, plain, clock.now)
        assert accounts.list_tokens(conn)[0].used_at == clock.now


def test_sessions_are_seen_and_ended_from_afar(engine, clock, owner) -> None:
    kept, lost = log_in(engine, clock), log_in(engine, clock)
    with engine.begin() as conn:
        rows = accounts.list_sessions(conn, owner.id, clock.now)
        assert {row.token_sha256 for row in rows} == {accounts.digest(kept), accounts.digest(lost)}
        assert (rows[0].address, rows[0].agent) == (HERE, "test")
        assert accounts.end_session(conn, owner.id, accounts.digest(lost), clock.now, actor="owner")
        assert not accounts.end_session(conn, owner.id, accounts.digest(lost), clock.now, actor="owner")
        assert not accounts.end_session(conn, owner.id + 1, accounts.digest(kept), clock.now, actor="owner")
    assert session_of(engine, lost, clock) is None
    assert session_of(engine, kept, clock)
