"""Backups: a set of all there is, kept by restic in several places, brought back, and proven."""
