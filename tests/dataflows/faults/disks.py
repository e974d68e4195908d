"""Disks that are full."""

from pathlib import Path


def fill(disk: Path) -> Path:
    """Leave no room on a disk; the file that takes it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as handle:
        size = 65_536
        while size:
            try:
                handle.write(b"x" * size)
            except OSError:
                size //= 2
    return ballast
