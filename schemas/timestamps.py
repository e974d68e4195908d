"""Points in time as people write them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_ms(text: str) -> int:
    """Unix milliseconds of a time in ISO 8601, in UTC unless it says. Raises ValueError.

    >>> iso_ms("2026-01-01"), iso_ms("2026-01-01T01:00:00.277+01:00")
    (1767225600000, 1767225600277)
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # In whole numbers: of a float some thousandths would be cut off to the one before.
    return (moment - _EPOCH) // timedelta(milliseconds=1)
