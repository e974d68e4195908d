"""How a dataflow logs: lines for people, or JSON for what gathers logs."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_OURS = "streamrec"


def configure_logs(level: str, style: str, place: str | None = None) -> None:
    """Log to standard error: `level` of LEVELS, `style` text or json, `place` which of several
    processes this is. A program that has set up logging of its own keeps it."""
    logging.getLogger(_OURS).setLevel(level)
    # One line for each of its questions, of which a lookup by POST reads like a registration.
    logging.getLogger("httpx").setLevel(level if level == "DEBUG" else "WARNING")
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(place) if style == "json" else _Text(place))
    root.addHandler(handler)
    # What others debug is theirs.
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))


class _Text(logging.Formatter):
    """`2026-11-27T01:53:42Z INFO message`, times in UTC."""

    def __init__(self, place: str | None) -> None:
        before = "" if place is None else f"{place}: "
        super().__init__(f"%(asctime)s %(levelname)s {before}%(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime


class _Json(logging.Formatter):
    """One object a line: time (ISO 8601, UTC), level, logger, message; process, error where there
    are."""

    def __init__(self, place: str | None) -> None:
        super().__init__()
        self._place = place

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._place is not None:
            found["process"] = self._place
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return json.dumps(found)
