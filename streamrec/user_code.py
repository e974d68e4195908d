"""What somebody else's code raised, in one line."""

import sys
import traceback
from pathlib import Path

_OURS = (str(Path(__file__).parent), sys.prefix, sys.base_prefix, "<frozen ")


def told(error: BaseException) -> str:
    """An error as `repr`, and the last place of the stack that is neither ours nor installed.

    >>> told(KeyError("i7"))
    "KeyError('i7')"
    """
    places = traceback.extract_tb(error.__traceback__)
    theirs = [place for place in places if not place.filename.startswith(_OURS)]
    if isinstance(error, SyntaxError) or not theirs:  # a syntax error names its own place
        return repr(error)
    return f"{error!r} at {theirs[-1].filename}:{theirs[-1].lineno}"
