"""A to-do list: click for the command line, rich for the table, sqlite3 for the storage."""
