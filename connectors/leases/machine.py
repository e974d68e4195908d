"""Is a folder on this machine alone?"""

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# All others, of a network or not known, may be shared, and not all of them hand locks on.
_LINUX = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "reiserfs", "xfs", "zfs"}
_IN_MEMORY = {"ramfs", "rootfs", "tmpfs"}
_LAYERS = {"aufs", "overlay"}
_FOREIGN = {"exfat", "ntfs", "ntfs3", "vfat"}
_OF_ONE_MACHINE = _LINUX | _IN_MEMORY | _LAYERS | _FOREIGN


def is_on_this_machine(folder: Path) -> bool:
    """Whether no other machine can see it, by the kind of its file system. Where the kernel does
    not list what is mounted (it is not Linux) it is taken to be so."""
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return True
    return file_system_of(folder.resolve(), mounts) in _OF_ONE_MACHINE


def file_system_of(folder: Path, mounts: str) -> str:
    """The kind of the file system that holds a folder, which need not be there yet; "": not known.

    >>> file_system_of(Path("/data/a b/c"), "1 0 8:1 / / rw - ext4 /dev/vda rw\\n"
    ...     "2 1 0:9 / /data/a\\\\040b rw shared:1 - nfs4 host:/ rw\\n")
    'nfs4'
    """
    longest, found = -1, ""
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        mounted = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place.split()[4]))
        if folder.is_relative_to(mounted) and len(mounted.parts) >= longest:  # the last is on top
            longest, found = len(mounted.parts), kind.split()[0]
    return found
