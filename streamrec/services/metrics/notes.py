"""Which processes of this user run on this machine, and where each serves its metrics.

Each writes a note `PID.json` to a folder of the user's own. A process that is killed leaves its
note: whoever looks removes those whose process is gone.
"""

import json
import logging
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Note:
    """One process."""

    pid: int
    kind: str  # dataflow, ingress, api, ...
    name: str
    index: int  # of several that do the same
    address: str  # HOST:PORT
    started: float  # Unix seconds


def notes_folder() -> Path:
    """Of this user, by the XDG rules or in the temporary folder."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "streamrec"
    return Path(tempfile.gettempdir()) / f"streamrec-{os.getuid()}"


def write_note(note: Note, folder: Path | None = None) -> Path:
    """Raises OSError, also where the folder is another user's or open to others."""
    folder = folder or notes_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_own(folder)
    path = folder / f"{note.pid}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(asdict(note)), encoding="utf-8")
    unfinished.replace(path)
    return path


def read_notes(folder: Path | None = None) -> list[Note]:
    """Those of processes that run, oldest first; the others are removed. Raises OSError where the
    folder is not this user's own."""
    folder = folder or notes_folder()
    if not folder.exists():
        return []
    _check_own(folder)
    found = []
    for path in folder.glob("*.json"):
        note = _read(path)
        if note is not None and is_running(note.pid):
            found.append(note)
        else:
            with suppress(FileNotFoundError):
                path.unlink()
    return sorted(found, key=lambda note: (note.started, note.pid))


def is_running(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> Note | None:
    try:
        found = Note(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        _logger.debug("%s is no note of a process: %s", path, error)
        return None
    typed = isinstance(found.pid, int) and isinstance(found.address, str)
    return found if typed and found.pid > 0 else None


def _check_own(folder: Path) -> None:
    """What others can write to may send whoever looks anywhere."""
    found = folder.stat(follow_symlinks=False)
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or mode & 0o022:
        raise PermissionError(
            f"{folder} expected a folder of user {os.getuid()} that no other can write to, "
            f"got user {found.st_uid}, mode {mode:o}"
        )


__all__ = ["Note", "is_running", "notes_folder", "read_notes", "write_note"]
