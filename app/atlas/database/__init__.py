"""Engine, tables and migrations; `dialect` holds what differs between SQLite and PostgreSQL."""
