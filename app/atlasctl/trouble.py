"""The one exception whose text is meant for a person."""


class Trouble(Exception):  # noqa: N818  (it is what the operator has)
    """Something the operator has to know; the text says what is wrong and what to do about it."""
