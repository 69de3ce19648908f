"""Who may use Atlas: users and their passwords, sessions, API tokens, and a record of what they did.

Secrets are kept as hashes only: passwords as argon2id, the random tokens of sessions and programs as SHA-256.
"""

from atlas.accounts.journal import audit
from atlas.accounts.logins import TooManyAttempts, login
from atlas.accounts.preferences import prefer, preferences
from atlas.accounts.sessions import (
    Session,
    SessionRow,
    digest,
    end_session,
    end_sessions,
    list_sessions,
    logout,
    session,
    touch,
)
from atlas.accounts.tokens import (
    TokenRow,
    TokenUse,
    check_token,
    create_token,
    list_tokens,
    revoke_token,
    touch_token,
)
from atlas.accounts.users import User, ensure_owner, find_user, has_users, set_password

__all__ = [
    "Session",
    "SessionRow",
    "TokenRow",
    "TokenUse",
    "TooManyAttempts",
    "User",
    "audit",
    "check_token",
    "create_token",
    "digest",
    "end_session",
    "end_sessions",
    "ensure_owner",
    "find_user",
    "has_users",
    "list_sessions",
    "list_tokens",
    "login",
    "logout",
    "prefer",
    "preferences",
    "revoke_token",
    "session",
    "set_password",
    "touch",
    "touch_token",
]
