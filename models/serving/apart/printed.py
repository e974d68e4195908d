"""What a model's process prints: to our log, bounded, and the last of it kept for errors."""

import logging
import os
import time
from collections import deque

_logger = logging.getLogger(__name__)

_KEPT_LINES = 20
_LINE_BYTES = 2_000  # of a line; the rest is left out
_LOGGED_LINES = 50  # in each period
_PERIOD_S = 10.0
_CHUNKS = 4  # at a time
_PAUSE_S = 0.1  # after that many: who prints for ever waits, and our processor does not


class Printed:
    """Reads a pipe, which becomes ours, without waiting."""

    def __init__(self, name: str, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._name = name
        self._part = b""
        self._left_out = 0
        self._logged = 0
        self._period_began_s = 0.0
        self.ended = False
        self.paused_until_s = 0.0

    def read(self) -> None:
        for _ in range(_CHUNKS):
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.ended = True
                return
            *lines, part = (self._part + data).split(b"\n")
            self._part = part[:_LINE_BYTES]
            for line in lines:
                self._line(line[:_LINE_BYTES].decode(errors="backslashreplace"))
        self.paused_until_s = time.monotonic() + _PAUSE_S

    def close(self) -> None:
        self.read()
        if self._part:
            self._line(self._part.decode(errors="backslashreplace"))
        self._tell_left_out()
        os.close(self.descriptor)

    def _line(self, line: str) -> None:
        self.last.append(line)
        now_s = time.monotonic()
        if now_s - self._period_began_s > _PERIOD_S:
            self._tell_left_out()
            self._period_began_s, self._logged = now_s, 0
        if self._logged < _LOGGED_LINES:
            self._logged += 1
            _logger.info("model %r: %s", self._name, line)
        else:
            self._left_out += 1

    def _tell_left_out(self) -> None:
        if self._left_out:
            _logger.info("model %r: %d lines more", self._name, self._left_out)
        self._left_out = 0


__all__ = ["Printed"]
