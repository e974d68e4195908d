"""Resident memory of a process."""

import subprocess
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
CHEAP = (_PROC / "self" / "statm").exists()  # else a program must be asked: some milliseconds
_PAGE_BYTES = 4096
if CHEAP:
    import resource

    _PAGE_BYTES = resource.getpagesize()


def resident_bytes(pid: int) -> int | None:
    """None where it cannot be had, as of a process that has ended."""
    if CHEAP:
        with suppress(OSError, IndexError):
            return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE_BYTES
        return None
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        found = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, timeout=5, check=False
        )
        return int(found.stdout) * 1024
    return None


__all__ = ["CHEAP", "resident_bytes"]
