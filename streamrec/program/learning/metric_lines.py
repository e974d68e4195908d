"""Records of the topic of metrics as lines over time, one for each model, version or variant."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

By = Literal["model", "version", "variant"]


@dataclass(frozen=True, slots=True)
class Point:
    """One window of a line; times are Unix milliseconds, `end_ms` is not in it."""

    start_ms: int
    end_ms: int
    value: float
    low: float | None
    high: float | None
    count: int

    @property
    def middle_ms(self) -> int:
        """Where it is drawn."""
        return (self.start_ms + self.end_ms) // 2


Lines = dict[str, list[Point]]


def lines_of(
    records: Iterable[Mapping[str, Any]],
    metric: str,
    *,
    names: Collection[str] = (),
    by: By = "model",
    segment: str = "all",
) -> Lines:
    """The lines of one metric, each in the order of time. `names` are pipelines or models, in the
    order of the lines; none: all, by name. Of a window that is told twice, as a replay does, the
    later record holds."""
    found: dict[str, dict[tuple[int, int], Point]] = {name: {} for name in names}
    for each in records:
        if (each["metric"], each["segment"]) != (metric, segment) or _level(each) != by:
            continue
        called = _called(each)
        if names:
            known = [name for name in (called, each["pipeline"], each["model"]) if name in names]
            if not known:
                continue
            called = known[0]
        if by != "model":
            called = f"{called} {_short(each[by])}"
            if by == "version" and each["variant"]:
                called += f" ({each['variant']})"
        window = each["window_start"], each["window_end"]
        point = Point(*window, each["value"], each["low"], each["high"], each["count"])
        found.setdefault(called, {})[window] = point
    order = found if names and by == "model" else sorted(found)
    return {name: [p for _, p in sorted(found[name].items())] for name in order if found[name]}


def known_of(records: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """What values of a field there are, sorted."""
    return sorted({str(each[key]) for each in records})


def _called(record: Mapping[str, Any]) -> str:
    pipeline, model = record["pipeline"], record["model"]
    return str(pipeline) if pipeline == model else f"{pipeline}/{model}"


def _level(record: Mapping[str, Any]) -> By:
    """What a record tells of."""
    if record["version"]:
        return "version"
    return "variant" if record["variant"] else "model"


def _short(name: str) -> str:
    """A version as it is shown: the first digits of a digest, or whole."""
    return name[:8] if len(name) >= 16 else name


__all__ = ["By", "Lines", "Point", "known_of", "lines_of"]
