"""Search in titles, texts and what their reader wrote: one language and one result for FTS5 and tsvector."""

from atlas.search.results import RANKED, Hit, check, rebuild, search

__all__ = ["RANKED", "Hit", "check", "rebuild", "search"]
