"""Models that do what their inputs say: {"do": ..., "n": ...} is answered by {"n": n}."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from streamrec.models.serving.contract import Answer, Fault, Input, Metadata
from streamrec.schemas.reasons import Reason

_MB = 1_000_000
_kept: list[bytes] = []


class Obedient:
    def __init__(self, batched: bool = True, schema: dict[str, Any] | None = None) -> None:
        self.batched = batched
        self.metadata = Metadata("obedient", "Obedient", "", 1, 0, schema, None)
        self.calls = 0

    def predict(self, inputs: Sequence[Input]) -> list[Answer | Fault]:
        self.calls += 1
        return [_answer(given, self.calls) for given in inputs]


def _answer(given: Any, calls: int) -> Any:
    match given["do"]:
        case "hang":
            time.sleep(600)
        case "spin":  # in C, where no other thread of the process ever gets its turn
            sum(range(10**15))
        case "sleep":
            time.sleep(given["s"])
        case "grow":
            for _ in range(1000):
                _kept.append(bytes(b"x" * _MB))
        case "keep":
            _kept.append(bytes(b"x" * _MB) * given["mb"])
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            sys.exit(3)
        case "os-exit":
            os._exit(4)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("no such flower")
        case "print":
            sys.stdout.write(f"petals {given['n']}\n")
            os.write(1, b"\x00\xff\n" * 2000)
            sys.stderr.write("sepals\n")
        case "object":
            return threading.Lock()
        case "subclasses":
            return OrderedDict(a=_Number(1.5), b=_Text("b"))
        case "fault":
            return Fault(Reason.INVALID_VALUE, "n expected a flower, got 1")
        case "calls":
            return calls
        case "where":
            return [os.getpid(), os.getpgid(0)]
        case "large":
            return {"n": given["n"], "text": given["text"]}
        case "deep":
            deep: list[Any] = []
            for _ in range(100_000):
                deep = [deep]
            return deep
    return {"n": given["n"]}


class _Number(float):
    pass


class _Text(str):
    pass


def refuses() -> Obedient:
    raise KeyError("no parameters here")


def dies_early() -> Obedient:
    sys.stdout.write("about to load\n")
    os._exit(7)


def prints_and_exits() -> Obedient:
    sys.exit("no licence")


def never_loads() -> Obedient:
    time.sleep(600)
    return Obedient()


def loads_once(marker: str) -> Obedient:
    """The first time only."""
    descriptor = os.open(marker, os.O_CREAT | os.O_EXCL)
    os.close(descriptor)
    return Obedient()
