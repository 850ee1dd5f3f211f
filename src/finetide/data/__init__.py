"""Rows: reading the user's files, checking them, and giving every row its side. Great Expectations' only door."""

import os

# Arrow's own allocators keep what is freed: a million rows then take a third more memory. Arrow reads this when it is
# loaded, and pandas loads it.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
