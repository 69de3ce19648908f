"""The APIs of other systems, so that existing clients work: Google Reader, Fever, wallabag.

What clients send is known from their code, and they cannot be changed: where their protocols are odd, so are
these modules. All of them take tokens, or the account's password where a client has nothing else; never the
session's cookie. `docs/clients.md` says what to type into which app.
"""
