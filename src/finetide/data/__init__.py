"""Rows: reading the user's files, checking them, and giving every row its side. Great Expectations' only door."""
