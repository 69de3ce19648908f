"""Atlas: a private content platform that fetches, checks, keeps and finds what one person wants to read."""

__version__ = "0.1.0"
