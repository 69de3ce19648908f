"""Filter that writes an htpasswd file with bcrypt hashes that stay the same from run to run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bcrypt
from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: htpasswd
short_description: Write an htpasswd file with bcrypt hashes that stay the same from run to run
description:
  - A random salt would make a new file, and a reload, of every run. So the salt is derived from user,
    password and O(site). It stands in the file for whoever steals it, so it must not be a shortcut to the
    password; it is derived by scrypt, which takes longer for each guess than bcrypt itself at the cost used
    here.
  - nginx computes the hash for each request, in the process that serves all others too. That is why the cost
    is low, and why the passwords should be long.
options:
  _input:
    description: The users, each with C(name) and C(password).
    type: list
    elements: dict
    required: true
  site:
    description: What sets this file apart from others, such as the domain.
    type: str
    required: true
  cost:
    description: Cost of bcrypt, the logarithm of its rounds. 5 takes about 2 ms.
    type: int
    default: 5
author: Atlas
"""

BCRYPT_BASE64 = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)


def htpasswd(users: Sequence[Mapping[str, str]], site: str, cost: int = 5) -> str:
    """Return the file's text, one line a user.

    Raises AnsibleFilterError for a name or password that htpasswd and bcrypt cannot carry.
    """
    return "".join(f"{_name(user)}:{_hash(user, site, cost)}\n" for user in users)


def _name(user: Mapping[str, str]) -> str:
    name = str(user["name"])
    if not name or not name.isprintable() or ":" in name:
        raise AnsibleFilterError(
            f"htpasswd: {name!r} is no user name; it must be printable and without a colon"
        )
    return name


def _hash(user: Mapping[str, str], site: str, cost: int) -> str:
    password = str(user["password"]).encode()
    if not password or len(password) > 72 or b"\0" in password:
        raise AnsibleFilterError(f"htpasswd: the password of {user['name']!r} must have 1 to 72 bytes")
    salt = hashlib.scrypt(
        password, salt=f"htpasswd {site} {user['name']}".encode(), n=2**15, r=8, p=1, maxmem=2**26, dklen=16
    )
    encoded = base64.b64encode(salt).decode().rstrip("=").translate(BCRYPT_BASE64)
    return bcrypt.hashpw(password, f"$2b${cost:02d}${encoded}".encode()).decode()


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"htpasswd": htpasswd}
