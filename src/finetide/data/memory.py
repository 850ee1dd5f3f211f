"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """glibc keeps what is freed in small pieces, for the next who asks; nobody asks for as much as a million rows'
    Python strings again. Elsewhere there is nothing to do."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
