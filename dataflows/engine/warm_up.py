"""Compile the kernels of the main job ahead of its first start: `streamrec warm-up`.

What is compiled is kept on disk (`streamrec.compiling`), so this is done once for an environment.
Two processes share the work, since the kernels compile when their modules are imported.
"""

import subprocess
import sys
import time

_SHARES = (
    ("streamrec.models.sessions.recommender", "streamrec.models.rankers.trees"),
    (
        "streamrec.schemas.wire",
        "streamrec.schemas.hashing",
        "streamrec.models.users.state",
        "streamrec.dataflows.steps.decode",
    ),
)


class WarmUpError(Exception):
    """A module could not be imported; it has said why on standard error."""


def warm_up() -> float:
    """Import the modules in both processes and wait; returns how many seconds that took. Raises
    WarmUpError."""
    began_s = time.monotonic()
    running = [
        subprocess.Popen([sys.executable, "-c", "; ".join(f"import {name}" for name in share)])
        for share in _SHARES
    ]
    statuses = [process.wait() for process in running]  # both end before one is complained of
    if any(statuses):
        raise WarmUpError("a module could not be imported, see above")
    return time.monotonic() - began_s
