"""How a program leaves that cannot go on: one line that says why, and status 1.

The engine would print the panic of each of its threads and a traceback with its own frames, and
Python another. So what a step, a source or a sink raises is told before the engine sees it, and the
process ends at once: as after a kill, the last snapshot is where the next start goes on.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, ParamSpec, TypeVar

from streamrec.connectors.log_settings import without_passwords
from streamrec.user_code import told

_logger = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_leaves = threading.RLock()
_is_program = False
_has_failed = False


def leave_with_one_line() -> None:
    """From now on this process is a program: what cannot be mended ends it with one line. Below
    the level DEBUG, with the traceback too."""
    global _is_program
    _is_program = True
    sys.excepthook = _tell


def has_failed() -> bool:
    """Whether the program ends because of an error."""
    return _has_failed


def leaving(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, for the engine to call: what it raises ends the program, if this is one."""

    def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except StopIteration:  # a source's end
            raise
        except Exception as error:
            if _is_program:
                leave_because(error)
            raise

    return called


def leave(status: int, message: str) -> NoReturn:
    """Say why and end this process at once, whatever its threads wait for."""
    _leaves.acquire()  # for good: of several threads that fail at once, the first tells
    (_logger.error if status else _logger.warning)("%s", message)
    _end(status)


def leave_because(error: BaseException) -> NoReturn:
    """The same for an error, with status 1."""
    _leaves.acquire()
    _tell(type(error), error, error.__traceback__)
    _end(1)


def _end(status: int) -> NoReturn:
    try:
        logging.shutdown()
        sys.stdout.flush()
    finally:  # whatever stdout says: it may be closed, or full
        os._exit(status)


def message_of(error: BaseException) -> str:
    """A line, or one for each of several mistakes: the first error of the chain that is one of
    ours, which are made to be read; else the last, with its place."""
    chain = [error]
    while (cause := chain[-1].__cause__ or _context(chain[-1])) is not None and cause not in chain:
        chain.append(cause)
    for each in chain:
        if type(each).__module__.partition(".")[0] == __name__.partition(".")[0]:
            return without_passwords(str(each) or repr(each))
    if type(error).__name__ == "PanicException":  # of the engine: it says where in itself
        return f"the engine gave up, since a worker or a peer has failed: {error}"
    return without_passwords(told(chain[-1])).replace("\n", " ")


def _context(error: BaseException) -> BaseException | None:
    return None if error.__suppress_context__ else error.__context__


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    global _has_failed
    _has_failed = True
    if not isinstance(error, Exception) and not kind.__module__.startswith("pyo3"):
        sys.__excepthook__(kind, error, trace)  # an interrupt
        return
    debug = _logger.isEnabledFor(logging.DEBUG)
    if logging.getLogger().handlers:
        for line in message_of(error).splitlines():
            _logger.error("%s", line)
        if debug:
            _logger.error("where it was raised", exc_info=(kind, error, trace))
    else:  # before the settings have said how to log
        sys.stderr.write(f"streamrec: {message_of(error)}\n")
        if debug or os.environ.get("STREAMREC_LOG_LEVEL", "").upper() == "DEBUG":
            sys.__excepthook__(kind, error, trace)
