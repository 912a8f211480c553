"""Starts itself again when a file changes, by werkzeug's reloader."""
