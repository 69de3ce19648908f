import bcrypt
import pytest
from ansible.errors import AnsibleFilterError
from htpasswd import htpasswd

USERS = [{"name": "owner", "password": "correct horse"}, {"name": "phone", "password": "battery staple"}]


def test_one_line_a_user_that_bcrypt_accepts():
    lines = htpasswd(USERS, "example.org").splitlines()
    for line, user in zip(lines, USERS, strict=True):
        name, _, hashed = line.partition(":")
        assert name == user["name"]
        assert bcrypt.checkpw(user["password"].encode(), hashed.encode())
        assert not bcrypt.checkpw(b"wrong", hashed.encode())


def test_the_same_from_run_to_run_and_different_everywhere_else():
    same = {htpasswd(USERS[:1], "example.org") for _ in range(2)}
    assert len(same) == 1
    others = [
        htpasswd(USERS[:1], "example.net"),
        htpasswd([{"name": "owner", "password": "correct horsE"}], "example.org"),
        htpasswd([{"name": "Owner", "password": "correct horse"}], "example.org"),
    ]
    salts = {text.split("$")[3][:22] for text in [*same, *others]}
    assert len(salts) == 4


@pytest.mark.parametrize(
    "user",
    [
        {"name": "a:b", "password": "x"},
        {"name": "", "password": "x"},
        {"name": "line\nbreak", "password": "x"},
        {"name": "owner", "password": ""},
        {"name": "owner", "password": "x" * 73},
    ],
)
def test_refuses_what_the_file_cannot_carry(user):
    with pytest.raises(AnsibleFilterError, match="htpasswd: "):
        htpasswd([user], "example.org")
