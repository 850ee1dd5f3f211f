"""Rows of questions about contexts: reading SQuAD's JSON and tables, checking answers against their contexts."""
