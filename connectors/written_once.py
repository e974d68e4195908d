"""Small files of JSON that are written at the first start and hold for good, each with a copy."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from streamrec.connectors.state_files import StateFileError, write_durably

_logger = logging.getLogger(__name__)


def write_once(path: Path, content: Callable[[], bytes]) -> bytes:
    """What a file of JSON holds; the first who asks, of whatever process, writes it durably.

    Beside it stands a copy, from which a file that went missing or was garbled is made again, and
    the other way round. Raises StateFileError when both say nothing, or different things.
    """
    twin = path.with_name(f"{path.name}.copy")
    # The copy first: another process may write both meanwhile, the file before the copy.
    second, first = _read(twin), _read(path)
    if first is None and second is None:
        _link_once(path, content())
        first = _read(path)
    first, second = first or None, second or None  # garbled is as good as missing
    if first is None and second is None:
        raise StateFileError(
            f"{path} expected JSON, got something else, and its copy {twin.name} is no better; "
            "restore one of them from a backup, or start from a new recovery directory"
        )
    if first is not None and second is not None and first != second:
        raise StateFileError(
            f"{path} and its copy {twin.name} expected to be the same, got {first!r} and "
            f"{second!r}; remove the one that was altered"
        )
    found = first if first is not None else second
    assert found is not None
    for damaged, old in ((path, first), (twin, second)):
        if old is None:
            if second is not None:  # else the copy is new, or was never there
                _logger.warning("%s was missing or garbled: made again from its copy", damaged)
            own = damaged.with_name(f"{damaged.name}.{uuid4().hex}")
            write_durably(own, found)
            own.replace(damaged)
    return found


def _link_once(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_name(f"{path.name}.{uuid4().hex}")
    write_durably(own, content)
    with suppress(FileExistsError):  # another was first
        path.hardlink_to(own)
    own.unlink()


def _read(path: Path) -> bytes | None:
    """None: it is missing; empty: it is no JSON. Nobody sees a file that is half written, since it
    gets its name when it is whole."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"{path} expected to be readable, got {error}") from error
    try:
        json.loads(found)
    except ValueError:
        return b""
    return found
