"""Why a model's process ended, and what that makes of the record that did it."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from streamrec.models.serving.contract import Fault
from streamrec.schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class End:
    """`message` says what was expected of a call and what came."""

    reason: Reason
    message: str

    def fault(self, printed: Sequence[str]) -> Fault:
        """Of the record that was alone; what the process printed may hold a stack."""
        return Fault(self.reason, self.message, "", "\n".join(printed) or None)


def timed_out(timeout_s: float, took_s: float) -> End:
    return End(
        Reason.MODEL_TIMEOUT,
        f"model expected to answer within {timeout_s:g} s, got no answer in {took_s:.3g} s",
    )


def outgrown(limit_mb: float, growth_bytes: int) -> End:
    return End(
        Reason.MODEL_MEMORY,
        f"model expected to grow by at most {limit_mb:g} MB over its warm state, "
        f"got {growth_bytes / 1e6:.0f} MB",
    )


def crashed(status: int) -> End:
    """`status` is that of Popen: negative for a signal.

    >>> crashed(-11).message
    'process expected to answer, got its end by SIGSEGV'
    >>> crashed(3).message
    'process expected to answer, got its end with status 3'
    """
    if status >= 0:
        how = f"with status {status}"
    else:
        try:
            how = f"by {signal.Signals(-status).name}"
        except ValueError:  # a real-time signal
            how = f"by signal {-status}"
        if -status == signal.SIGKILL:
            how += " (for want of memory, or by somebody's hand)"
    return End(Reason.MODEL_CRASHED, f"process expected to answer, got its end {how}")


__all__ = ["End", "crashed", "outgrown", "timed_out"]
