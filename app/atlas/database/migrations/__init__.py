"""Alembic's migrations; `atlas.database.migrate` runs them."""
