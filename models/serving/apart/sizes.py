"""How many records a batch may have, by what those before took."""

_BYTES = 16 << 20  # of a batch, about: what is in flight is in memory twice
_MOST = 4096
_NEW = 0.3  # weight of the last batch in what is expected of the next


class BatchSize:
    """Grows from one record by doubling until a batch takes what it is meant to take.

    >>> size = BatchSize(cut_s=0.1)
    >>> for _ in range(6):
    ...     size.answered(size.records, took_s=0.01 * size.records, sent_bytes=100)
    >>> size.records
    10
    """

    def __init__(self, cut_s: float) -> None:
        self._cut_s = cut_s
        self._record_s: float | None = None
        self._record_bytes = 1.0
        self.records = 1

    def answered(self, count: int, took_s: float, sent_bytes: int) -> None:
        each_s = max(took_s, 1e-6) / count
        before = each_s if self._record_s is None else self._record_s
        self._record_s = before + _NEW * (each_s - before)
        self._record_bytes += _NEW * (sent_bytes / count - self._record_bytes)
        # A full batch is worth twice as many, a batch of what there was says less.
        most = 2 * count if count >= self.records else self.records
        fitting = min(self._cut_s / self._record_s, _BYTES / self._record_bytes, most, _MOST)
        self.records = max(1, round(fitting))

    def killed(self) -> None:
        """A batch took too much: begin with small ones again, which are cheaper to try again."""
        self.records = max(1, self.records // 4)


__all__ = ["BatchSize"]
