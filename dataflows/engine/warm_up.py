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


def main() -> None:
    """Import the modules in both processes and wait. Raises SystemExit when one fails."""
    began_s = time.monotonic()
    running = [
        subprocess.Popen([sys.executable, "-c", "; ".join(f"import {name}" for name in share)])
        for share in _SHARES
    ]
    statuses = [process.wait() for process in running]  # both end before one is complained of
    if any(statuses):
        raise SystemExit("warm_up: a module could not be imported, see above")
    sys.stderr.write(f"kernels compiled in {time.monotonic() - began_s:.0f} s\n")


if __name__ == "__main__":
    main()
