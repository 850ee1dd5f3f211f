"""What is in service, why, and since when: ledger, alias, store, window, approvals. Git is its only tool.

Where to look: `service` promotes, rolls back, excludes; `window` advances; `history` answers questions about the
ledger's entries; the rest is what these stand on.
"""
