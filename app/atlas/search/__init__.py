"""Search in titles and texts: one language and one result for FTS5 and tsvector."""

from atlas.search.search import Hit, matching_ids, rebuild, search

__all__ = ["Hit", "matching_ids", "rebuild", "search"]
