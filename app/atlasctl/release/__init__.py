"""Releases of the app: built aside, switched to in one step, taken back when they do not become ready."""
