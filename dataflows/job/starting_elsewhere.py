"""What happens to saved state when a dataflow is told to begin somewhere else.

A recovery directory remembers with which `STREAMREC_START_FROM` it began. A restart with the same
one, or with none, goes on where the last run stopped. With another one somebody wants a replay,
and `STREAMREC_REPLAY` must say what becomes of the state: `refuse` stops with an error, `reset`
puts the state aside and begins anew in the same directory, `fork` leaves it alone and begins anew
in a directory beside it. Either way all restarts after the first just go on.
"""

import fcntl
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from streamrec.connectors.written_once import write_once
from streamrec.dataflows.engine.flags import LOCK, recovery_directory, with_recovery_directory
from streamrec.dataflows.job.saved_state import state_directory
from streamrec.dataflows.job.settings import Settings, SettingsError

_logger = logging.getLogger(__name__)


def settle_replay(
    settings: Settings,
    hold: Callable[[], object] = lambda: None,
    inputs_change: bool = False,
) -> None:
    """Do as `STREAMREC_REPLAY` says, if this start is a replay. `hold` is called before saved state
    is moved. Raises SettingsError.

    Where inputs change, those of a directory may have begun in several ways, and which of them are
    read now is not known yet: it is no replay only where all of them began as this start says.
    """
    folder, state = recovery_directory(), state_directory(settings)
    wanted = settings.start_from
    if folder is None or state is None or wanted.kind == "committed":
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:  # the processes of a cluster start together
        fcntl.flock(lock, fcntl.LOCK_EX)
        inputs = sorted((state / "inputs").glob("*.json"))
        starts = [json.loads(write_once(path, lambda: b"{}")).get("start") for path in inputs]
        if not starts:
            return
        others = [start for start in starts if start != wanted.text()]
        if not others or (len(others) < len(starts) and not inputs_change):
            return
        began = others[0]
        if settings.replay == "refuse":
            raise SettingsError(
                f"STREAMREC_START_FROM expected {began!r}, with which the state in {folder} began, "
                f"got {wanted.text()!r}; unset it to go on, or set STREAMREC_REPLAY=reset to put "
                "that state aside and begin anew, or STREAMREC_REPLAY=fork to begin anew in a "
                "directory beside it"
            )
        if settings.replay == "reset":
            hold()
            put_aside(folder, state)
            return
    _begin_beside(folder, wanted.text())


def put_aside(folder: Path, state: Path) -> Path | None:
    """Move saved state into a folder of its own in the recovery directory, which the next start
    makes anew; returns that folder. None: there was none. Hold the directory first."""
    parts = list(folder.glob("part-*.sqlite3*"))
    if not parts and not state.exists():
        return None
    name = f"replaced-{time.strftime('%Y%m%dT%H%M%S')}"
    aside = folder / name
    aside.mkdir()
    # The state first: partitions without it are refused by name, it without them is not mended.
    if state.exists():
        is_near = state.stat().st_dev == folder.stat().st_dev
        state.rename(aside / state.name if is_near else state.with_name(f"{state.name}-{name}"))
    for path in parts:
        path.rename(aside / path.name)
    _logger.warning("saved state was put aside, to %s", aside)
    return aside


def _begin_beside(folder: Path, start: str) -> None:
    """Run this process again with another recovery directory; its name follows from the start, so
    that a restart finds it."""
    slug = re.sub("[^a-z0-9]+", "-", start.lower()).strip("-")
    beside = folder.with_name(f"{folder.name}-from-{slug}")
    _logger.warning("replay: beginning anew in %s", beside)
    arguments = [sys.executable, "-m", "bytewax.run", *with_recovery_directory(beside)]
    os.execv(sys.executable, arguments)
