"""The program that a model's process runs: `python -m … SOCKET PROGRESS PARENT`.

It loads the model, warms it, and answers batches until the other end of the socket closes. What
it imports is only what it needs: it starts in a fraction of a second. What the model prints goes
to the standard outputs, which are not the channel.
"""

import ctypes
import faulthandler
import gc
import os
import pickle
import signal
import socket
import sys
import threading
import time
from functools import partial
from io import TextIOWrapper
from typing import NoReturn

from streamrec.models.serving.apart.answering import answers_of
from streamrec.models.serving.apart.memory import CHEAP, resident_bytes
from streamrec.models.serving.apart.progress import Progress
from streamrec.models.serving.apart.settings import Plan
from streamrec.models.serving.apart.warming import examples_in
from streamrec.models.serving.apart.wire import (
    HEADER_BYTES,
    FirstMessage,
    Header,
    Unmade,
    Warm,
    packed_answers,
    plainly_packed,
    unpacked,
)
from streamrec.models.serving.contract import Predictor
from streamrec.user_code import told


class _Channel:
    """Blocking messages over the socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._file = self._socket.makefile("rb")

    def receive_header(self) -> Header | None:
        """None: the other end has closed."""
        data = self._file.read(HEADER_BYTES)
        return Header.unpacked(data) if len(data) == HEADER_BYTES else None

    def receive_body(self, length: int) -> bytes:
        return self._file.read(length)

    def send(self, number: int, body: bytes, took_us: int = 0, resident: int = 0) -> None:
        # Two writes would wake the other twice; a large body is not copied for that.
        header = Header(number, len(body), took_us, resident).packed()
        if len(body) < 1 << 16:
            self._socket.sendall(header + body)
        else:
            self._socket.sendall(header)
            self._socket.sendall(body)


def main(arguments: list[str]) -> int:
    descriptor, progress_descriptor, parent = map(int, arguments)
    for one in (descriptor, progress_descriptor):
        os.set_inheritable(one, False)  # what the model starts must not hold our channel open
    # A stop is asked of the flow, which then closes the channel when it wants no more answers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with(parent)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    faulthandler.enable()
    channel = _Channel(descriptor)
    header = channel.receive_header()
    if header is None:
        return 0
    start: FirstMessage = unpacked(channel.receive_body(header.length))
    predictor = _made_warm(start, channel)
    if predictor is None:
        return 1
    _answer(predictor, channel, Progress(progress_descriptor), start.memory_bytes)
    return 0


def _made_warm(start: FirstMessage, channel: _Channel) -> Predictor | None:
    sys.path[:] = start.path
    if start.folder is not None:
        sys.path.insert(0, start.folder)
    try:
        plan: Plan = pickle.loads(start.plan)
        predictor = plan.made()
        metadata = predictor.metadata
        warm = plainly_packed(Warm(metadata, _one_by_one(predictor)))
        if examples := examples_in(metadata.input_schema):
            answers_of(predictor, examples, False, lambda _: None)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # user code: the model cannot be had
        ours = type(error).__module__.startswith("streamrec.")
        message = str(error) if ours else told(error)
        channel.send(0, plainly_packed(Unmade(message)))
        return None
    gc.collect()
    channel.send(0, warm, resident=_resident())
    return predictor


def _one_by_one(predictor: Predictor) -> bool:
    return not getattr(predictor, "batched", True)


def _answer(
    predictor: Predictor, channel: _Channel, progress: Progress, memory_bytes: int | None
) -> None:
    one_by_one = _one_by_one(predictor)
    limit = None if memory_bytes is None or not CHEAP else _resident() + memory_bytes
    while (header := channel.receive_header()) is not None:
        number = header.number
        progress.begin(number)
        inputs = unpacked(channel.receive_body(header.length))
        began_s = time.perf_counter()
        answers = answers_of(predictor, inputs, one_by_one, partial(progress.call, number))
        took_us = round(1e6 * (time.perf_counter() - began_s))
        body = packed_answers(answers)
        del inputs, answers  # what the batch itself takes is not growth
        resident = 0 if limit is None else _at_rest(limit)
        progress.rest()
        channel.send(number, body, took_us, resident)


def _at_rest(limit: int) -> int:
    resident = _resident()
    if resident > limit:
        gc.collect()  # cycles are no leak
        resident = _resident()
    return resident


def _resident() -> int:
    return (resident_bytes(os.getpid()) or 0) if CHEAP else 0


def die_with(parent: int) -> None:
    """The kernel ends us with the parent, where it can, also in a call that never gives way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _watch(parent: int) -> NoReturn:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
