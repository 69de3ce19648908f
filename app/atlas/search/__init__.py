"""Search in titles and texts: one language and one result for FTS5 and tsvector."""

from atlas.search.results import Hit, newest, rebuild, search

__all__ = ["Hit", "newest", "rebuild", "search"]
