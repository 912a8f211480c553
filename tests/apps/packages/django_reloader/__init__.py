"""Starts itself again when a file changes, by Django's reloader."""
