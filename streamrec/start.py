"""Where the installed script begins: Ctrl-C while it imports ends it as it does afterwards."""

import sys

_INTERRUPTED = 130  # as shells have it


def main() -> None:
    """The command line. What is heavy is imported here, where a signal is no traceback."""
    try:
        from streamrec.program import app

        app(prog_name="streamrec")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
