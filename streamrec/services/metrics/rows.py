"""From what a process served, now and a moment ago, to one row of `streamrec top`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from streamrec.services.metrics.looking import Looked
from streamrec.services.metrics.notes import Note

_IN = ("streamrec_records_read_total", "streamrec_http_requests_total")
_OUT = ("streamrec_records_written_total",)
_ERRORS = ("streamrec_record_errors_total",)
_WAITING = ("streamrec_waiting_records", "streamrec_storing_records", "streamrec_queue_records")
_TOOK = ("streamrec_source_to_sink_seconds", "streamrec_http_request_duration_seconds")


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process. None: it does not measure that, or nothing is known of it yet."""

    pid: int
    kind: str
    name: str
    state: str  # ready, or why it is not
    up_s: float
    in_per_s: float | None = None  # records read, or requests
    out_per_s: float | None = None  # records written
    errors: float | None = None  # in all
    errors_per_s: float | None = None
    lag: float | None = None  # records
    p99_s: float | None = None  # source to sink, or of a request
    waiting: float | None = None  # records in queues
    epoch_s: float | None = None  # how long one lasts, on average
    closing_s: float | None = None  # and to close it
    store_age_s: float | None = None
    model: str = ""
    model_age_s: float | None = None
    cpu: float | None = None  # seconds of processor a second
    rss_bytes: float | None = None


def row_of(
    note: Note, now: Looked | None, before: Looked | None, now_s: float | None = None
) -> ProcessRow:
    """`before` None: rates are those since the process started. `now_s` is Unix time."""
    now_s = time.time() if now_s is None else now_s
    name = note.name if not note.index else f"{note.name}/{note.index}"
    up_s = max(0.0, now_s - note.started)
    if now is None:
        return ProcessRow(note.pid, note.kind, name, "does not answer", up_s)
    state = "; ".join(now.reasons) or "ready"
    models = now.labels("streamrec_model_info")
    return ProcessRow(
        note.pid,
        note.kind,
        name,
        state,
        up_s,
        in_per_s=_rate(now, before, up_s, *_IN),
        out_per_s=_rate(now, before, up_s, *_OUT),
        errors=now.total(*_ERRORS),
        errors_per_s=_rate(now, before, up_s, *_ERRORS),
        lag=now.total("streamrec_lag_records"),
        p99_s=_p99(now, before),
        waiting=now.total(*_WAITING),
        epoch_s=_mean(now, before, "streamrec_epoch_duration_seconds"),
        closing_s=_mean(now, before, "streamrec_epoch_closing_seconds"),
        store_age_s=_age(now, "streamrec_store_newest_timestamp_seconds", now_s),
        model=", ".join(f"{m['model']} {m['version'][:8]}" for m in models),
        model_age_s=_age(now, "streamrec_model_made_timestamp_seconds", now_s),
        cpu=_rate(now, before, up_s, "process_cpu_seconds_total"),
        rss_bytes=now.total("process_resident_memory_bytes"),
    )


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """The value that so many are not above, taken to lie evenly between the bounds of its bucket,
    as Prometheus has it; of the last bucket the lower bound. None: there are no values.

    >>> quantile(0.5, {1.0: 0, 2.0: 10, float("inf"): 10})
    1.5
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / max(count - below, 1e-12)
        below, lower = count, bound
    return lower


def _rate(now: Looked, before: Looked | None, up_s: float, *names: str) -> float | None:
    total = now.total(*names)
    if total is None:
        return None
    if before is None:
        return total / max(up_s, 1e-3)
    return max(0.0, total - (before.total(*names) or 0.0)) / max(now.at_s - before.at_s, 1e-3)


def _p99(now: Looked, before: Looked | None) -> float | None:
    found = [
        p99 for name in _TOOK if (p99 := quantile(0.99, _since(now, before, name))) is not None
    ]
    return max(found, default=None)


def _since(now: Looked, before: Looked | None, name: str) -> dict[float, float]:
    """A histogram of what came since; of all, where nothing has."""
    buckets = now.buckets(name)
    if before is None:
        return buckets
    was = before.buckets(name)
    new = {bound: count - was.get(bound, 0.0) for bound, count in buckets.items()}
    return new if any(new.values()) else buckets


def _mean(now: Looked, before: Looked | None, name: str) -> float | None:
    count, total = now.total(f"{name}_count") or 0.0, now.total(f"{name}_sum") or 0.0
    if before is not None:
        new = count - (before.total(f"{name}_count") or 0.0)
        if new > 0:
            return (total - (before.total(f"{name}_sum") or 0.0)) / new
    return total / count if count else None


def _age(now: Looked, name: str, now_s: float) -> float | None:
    """Since the oldest of these times."""
    found = [value for _, value in now.series.get(name, ())]
    return max(0.0, now_s - min(found)) if found else None


__all__ = ["ProcessRow", "quantile", "row_of"]
