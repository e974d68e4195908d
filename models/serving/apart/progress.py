"""What the process is at, in memory that both see: noting it costs no system call and no message.

The one that waits sees it also where the other hangs without ever giving way.
"""

import mmap
import os
import struct
import sys
import tempfile
import time
from typing import NamedTuple

_FIELDS = struct.Struct("<QQd")


class At(NamedTuple):
    number: int  # of the batch, 0: none
    place: int  # of the record in it; stays 0 where a call takes the whole batch
    since_s: float  # when the call began, by time.monotonic(); 0: the batch is still being read


class Progress:
    """Written by the process with the model, read by the other."""

    def __init__(self, descriptor: int | None = None) -> None:
        """A new one, or that of a descriptor, which becomes ours."""
        self.descriptor = _empty_file() if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, _FIELDS.size)

    def note(self, number: int, index: int, since_s: float) -> None:
        _FIELDS.pack_into(self._memory, 0, number, index, since_s)

    def begin(self, number: int) -> None:
        self.note(number, 0, 0.0)

    def call(self, number: int, index: int) -> None:
        self.note(number, index, time.monotonic())

    def rest(self) -> None:
        self.note(0, 0, 0.0)

    def read(self) -> At:
        """Two equal readings, since the other may be about to write."""
        before = _FIELDS.unpack_from(self._memory)
        for _ in range(100):
            found = _FIELDS.unpack_from(self._memory)
            if found == before:
                break
            before = found
        return At(*before)

    def close(self) -> None:
        self._memory.close()
        os.close(self.descriptor)


def _empty_file() -> int:
    if sys.platform == "linux":
        descriptor = os.memfd_create("progress")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _FIELDS.size)
    return descriptor


__all__ = ["At", "Progress"]
