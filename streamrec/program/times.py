"""Points in time as a user writes them."""

import re
import time
from datetime import UTC, datetime

from streamrec.schemas.timestamps import iso_ms

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
FORMS = (
    "Unix milliseconds, ISO 8601 (2026-01-31T12:00, UTC unless it says), "
    "or an age (90s, 15m, 2h, 7d)"
)


def parse_time_ms(text: str) -> int:
    """Unix milliseconds. Raises ValueError, which says what was expected.

    >>> parse_time_ms("2026-01-01T00:00"), parse_time_ms("1767225600000")
    (1767225600000, 1767225600000)
    """
    if re.fullmatch(r"\d+", text):
        return int(text)
    if age := re.fullmatch(r"(\d+)([smhd])", text):
        return int(time.time() * 1000) - int(age[1]) * _UNITS_MS[age[2]]
    try:
        return iso_ms(text)
    except ValueError:
        raise ValueError(f"expected {FORMS}, got {text!r}") from None


def show_time_ms(timestamp_ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond.

    >>> show_time_ms(1767225600123)
    '2026-01-01T00:00:00.123Z'
    """
    moment = datetime.fromtimestamp(timestamp_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
