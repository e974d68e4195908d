"""Memory that a training has freed, given back to the system."""

import ctypes
import sys


def give_back() -> None:
    """Let the C library hand back what is free in the middle of its heap, which it keeps otherwise:
    between two large things, so that the second does not come on top of the first. Elsewhere than
    on glibc nothing is done."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


__all__ = ["give_back"]
