"""Oracle Cloud, asked by the machine itself: who it is, and a signed request.

Standard library and `openssl` only, as everything here: Oracle's SDK is on the operator's machine.
"""
