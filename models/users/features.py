"""The user features, declared in one place: what the dataflow computes and what training reads.

A declaration is data: a tuple of features, each with name, dtype, unit and meaning. Adding one is a
line in `declared_features`; the state layout, the kernel's tables, the digest that stands in every
recommendation and the columns of a training table all follow from it.

**Windows.** A window of length W with B sub-buckets has buckets of W / B. An event at time t (Unix
milliseconds) is in bucket `t // (W / B)`, so a bucket includes its start and excludes its end. With
T the newest event time of the user so far, the window holds the B buckets up to and including the
bucket of T: between W - W/B and W of the past. The event itself is counted before its features are
read. A bucket counts up to 65,535 events of a type of one user.

**Late events.** An event older than the user's newest is counted in its own bucket in every window
that still holds that bucket; its features are those of the user as of T. An event older than the
longest window before its partition's watermark is too late and goes to `errors`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_CELLS_MAX = 65_535  # a saved cell says its place in 16 bits

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS

EVENT_TYPES = ("view", "cart", "favorite", "purchase", "other")  # the order of schemas/clicks.avsc


class Measure(IntEnum):
    """What a session, and the gap before the event, tell; computed by the kernel for each event."""

    SESSION_CLICKS = 0
    SESSION_DISTINCT_ITEMS = 1
    SESSION_SECONDS = 2
    SESSION_CENTS = 3
    SECONDS_SINCE_LAST = 4
    PRICE_CENTS = 5


@dataclass(frozen=True, slots=True)
class WindowCount:
    """Events of some types over a window of event time."""

    name: str
    event_types: tuple[str, ...]
    window_ms: int
    buckets: int = 12
    unit: str = "events"
    meaning: str = ""
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class SessionMeasure:
    """One of the measures that the kernel takes of the session."""

    name: str
    measure: Measure
    unit: str
    meaning: str
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Ratio:
    """One declared feature divided by another; 0 where the divisor is 0."""

    name: str
    numerator: str
    denominator: str
    unit: str = "1"
    meaning: str = ""
    dtype: str = "float32"


Feature = WindowCount | SessionMeasure | Ratio


def counts_by_type(
    windows_ms: Sequence[tuple[str, int]],
    event_types: Sequence[str] = EVENT_TYPES[:4],
    buckets: int = 12,
) -> tuple[WindowCount, ...]:
    """One count for each event type over each named window.

    >>> [feature.name for feature in counts_by_type([("1m", MINUTE_MS)], ["view", "cart"])]
    ['count_view_1m', 'count_cart_1m']
    """
    return tuple(
        WindowCount(
            name=f"count_{event_type}_{label}",
            event_types=(event_type,),
            window_ms=window_ms,
            buckets=buckets,
            meaning=f"{event_type} events of the user in the last {label}, this one included",
        )
        for label, window_ms in windows_ms
        for event_type in event_types
    )


_LONGEST_MS = 3_660 * 24 * HOUR_MS
_UNITS_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": 24 * HOUR_MS}


def parse_windows(text: str) -> tuple[tuple[str, int], ...]:
    """Named windows in milliseconds. Raises ValueError that says what was expected.

    >>> parse_windows("1m, 24h")
    (('1m', 60000), ('24h', 86400000))
    """
    windows = []
    for label in (part.strip() for part in text.split(",")):
        if not label[:-1].isdigit() or label[-1:] not in _UNITS_MS or int(label[:-1]) < 1:
            raise ValueError(
                f"windows expected such as 1m,10m,1h with units s, m, h, d, got {label!r}"
            )
        windows.append((label, int(label[:-1]) * _UNITS_MS[label[-1]]))
        if windows[-1][1] > _LONGEST_MS:
            raise ValueError(f"windows expected at most 3660d, got {label!r}")
    if len(dict(windows)) != len(windows):
        raise ValueError(f"windows expected each once, got {text!r}")
    return tuple(windows)


DEFAULT_WINDOWS = parse_windows("1m,10m,1h")

SESSION_FEATURES: tuple[Feature, ...] = (
    SessionMeasure(
        "session_clicks",
        Measure.SESSION_CLICKS,
        "clicks",
        "clicks of the session, this one included",
    ),
    SessionMeasure(
        "session_distinct_items",
        Measure.SESSION_DISTINCT_ITEMS,
        "items",
        "clicks on an item not among the session's last kept items at that time, this one included",
    ),
    SessionMeasure(
        "session_seconds",
        Measure.SESSION_SECONDS,
        "s",
        "from the session's first event to its newest",
    ),
    SessionMeasure(
        "session_cents",
        Measure.SESSION_CENTS,
        "1/100 currency",
        "prices looked at in the session, summed; unknown prices count as 0",
    ),
    SessionMeasure(
        "seconds_since_last",
        Measure.SECONDS_SINCE_LAST,
        "s",
        "since the user's newest event before this; at most, and without one, the longest window",
    ),
)


def declared_features(
    windows_ms: Sequence[tuple[str, int]] = DEFAULT_WINDOWS,
) -> tuple[Feature, ...]:
    """The main job's: a count of each event type over each window, and what the session tells."""
    return (*counts_by_type(windows_ms), *SESSION_FEATURES)


DEFAULT_FEATURES: tuple[Feature, ...] = declared_features()


def declared(windows_ms: Sequence[tuple[str, int]] = DEFAULT_WINDOWS) -> "FeatureSet":
    """The main job's features over these windows, laid out."""
    return compile_features(declared_features(windows_ms))


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A declaration compiled to the tables that the kernel reads.

    Window counts lie first in a row of features, window after window, then measures, then ratios;
    `names` is that order.
    """

    features: tuple[Feature, ...]  # in the order of `names`
    windows: NDArray[
        np.int64
    ]  # (n_windows, 5): bucket ms, buckets, first count, counts, first cell
    inverses: NDArray[np.float64]  # (n_windows, 2): 1 / bucket ms, 1 / buckets
    masks: NDArray[np.int64]  # (n_counts,) bit k: event type k is counted
    measures: NDArray[np.int64]  # (n_measures,) Measure of each measured feature
    ratios: NDArray[np.int64]  # (n_ratios, 2) columns of numerator and denominator
    cells: int  # of a user: buckets of all windows, and running sums
    longest_ms: int
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def __len__(self) -> int:
        return len(self.features)


def compile_features(features: Sequence[Feature] = DEFAULT_FEATURES) -> FeatureSet:
    """Check a declaration and lay it out. Raises ValueError that names the feature at fault."""
    counts = sorted(
        (f for f in features if isinstance(f, WindowCount)), key=lambda f: (f.window_ms, f.buckets)
    )
    measured = [f for f in features if isinstance(f, SessionMeasure)]
    ratios = [f for f in features if isinstance(f, Ratio)]
    ordered: tuple[Feature, ...] = (*counts, *measured, *ratios)
    column = {feature.name: index for index, feature in enumerate(ordered)}
    if len(column) != len(ordered):
        names = [feature.name for feature in ordered]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"feature {twice!r} expected a name of its own, got it twice")
    for count in counts:
        _check_count(count)
    for ratio in ratios:
        for name in (ratio.numerator, ratio.denominator):
            if column.get(name, len(ordered)) >= len(counts) + len(measured):
                known = ", ".join(list(column)[: len(counts) + len(measured)])
                raise ValueError(
                    f"feature {ratio.name!r} expected the name of a count or measure, "
                    f"got {name!r}; there are {known}"
                )
    if not counts:
        raise ValueError("features expected at least one WindowCount, got none")

    windows: list[tuple[int, int, int, int, int]] = []
    cells = 0
    for key in dict.fromkeys((f.window_ms, f.buckets) for f in counts):
        members = [i for i, f in enumerate(counts) if (f.window_ms, f.buckets) == key]
        windows.append((key[0] // key[1], key[1], members[0], len(members), cells))
        cells += key[1] * len(members)
    if cells > _CELLS_MAX:
        raise ValueError(f"features expected at most {_CELLS_MAX} buckets in all, got {cells}")
    declaration = json.dumps([[type(f).__name__, asdict(f)] for f in ordered], sort_keys=True)
    return FeatureSet(
        features=ordered,
        windows=np.array(windows, np.int64).reshape(-1, 5),
        inverses=np.array([(1 / w[0], 1 / w[1]) for w in windows], np.float64).reshape(-1, 2),
        masks=np.array(
            [sum(1 << EVENT_TYPES.index(t) for t in f.event_types) for f in counts], np.int64
        ),
        measures=np.array([f.measure for f in measured], np.int64),
        ratios=np.array(
            [(column[f.numerator], column[f.denominator]) for f in ratios], np.int64
        ).reshape(-1, 2),
        cells=cells + len(counts),
        longest_ms=max(f.window_ms for f in counts),
        digest=hashlib.sha256(declaration.encode()).hexdigest()[:12],
    )


def _check_count(feature: WindowCount) -> None:
    for event_type in feature.event_types:
        if event_type not in EVENT_TYPES:
            raise ValueError(
                f"feature {feature.name!r} expected event types of {EVENT_TYPES}, "
                f"got {event_type!r}"
            )
    if feature.buckets < 1 or feature.window_ms < 1 or feature.window_ms % feature.buckets:
        raise ValueError(
            f"feature {feature.name!r} expected a window that its buckets divide, "
            f"got {feature.window_ms} ms in {feature.buckets} buckets"
        )
