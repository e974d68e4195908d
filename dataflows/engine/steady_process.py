"""Memory management for a process that streams: the defaults are made for short programs.

Each batch of messages allocates and frees the same hundreds of kilobytes and thousands of objects.
By default glibc hands such blocks back to the system each time, which then must map and clear them
anew, and CPython's collector looks through all long-lived objects (half a million, of the libraries
alone) again and again. Together they cost a fifth of the CPU of the scoring path at full speed,
and the collector stops it for 100 ms at a time.
"""

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MMAP_BYTES = 4 << 20  # larger blocks, as of state, are handed back at once
_TRIM_BYTES = 256 << 20  # free memory that is kept at most
# New objects, less those freed, before the youngest are looked through: some batches' worth.
_COLLECT_AFTER = (50_000, 20, 100)


def settle() -> None:
    """Keep freed memory for the next batch, and take what is loaded by now for long-lived.

    For the process as a whole, so call it once all is imported and built. Cyclic garbage made
    later is still collected. Where the C library is not glibc its part is left out.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
