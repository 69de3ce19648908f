"""Care for the library: reading again, auditing, cleaning."""
