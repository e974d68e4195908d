"""`ByKey`: what is read follows from the records, memory is bounded, and state comes back."""

import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streamrec import ByKey
from streamrec.connectors.state_files import StateFiles
from streamrec.dataflows.job.kept import Keep, KeptShard


class Part(NamedTuple):
    """Some records of a shard: keys and event times."""

    shard: str
    records: list[tuple[str, int]]


def test_a_key_that_is_no_string_is_refused_before_it_could_become_another() -> None:
    with pytest.raises(TypeError, match="key expected a string, got 7"):
        ByKey().put(7, 1, time_ms=0)  # type: ignore[arg-type]  # what is to be found


class Counts(ByKey):
    """How often each key has come."""

    def update(self, parts: list[Part]) -> list[int]:
        found = []
        for part in parts:
            for key, time_ms in part.records:
                count = self.get(key, time_ms, 0) + 1
                self.put(key, count, time_ms)
                found.append(count)
        return found


def kept(folder: Path, **bounds: Any) -> Keep:
    return Keep(lambda: Counts(**bounds), folder)


def on(shard: KeptShard, *records: tuple[str, int]) -> list[int]:
    return shard.on_batch([Part("s", list(records))])


def test_values_expire_by_event_time_and_not_by_how_records_are_batched(tmp_path: Path) -> None:
    rng = random.Random(5)
    records = [
        (f"k{rng.randrange(20)}", 1_000 * n + rng.randrange(-5_000, 5_000)) for n in range(2_000)
    ]
    whole = on(kept(tmp_path / "a", expire_ms=8_000)("count", None), *records)
    shard = kept(tmp_path / "b", expire_ms=8_000)("count", None)
    parts: list[int] = []
    at = 0
    while at < len(records):
        size = rng.randrange(1, 50)
        parts += on(shard, *records[at : at + size])
        at += size
        if rng.random() < 0.3:
            shard.snapshot()
    assert parts == whole
    assert 1 in whole[100:], "some came back after they had expired"
    assert max(whole) > 1


def test_a_shard_that_stops_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    rng = random.Random(7)
    records = [(f"k{rng.randrange(50)}", 1_000 * n) for n in range(1_000)]
    whole = on(kept(tmp_path / "a", expire_ms=30_000, keys_max=30)("count", None), *records)
    keep = kept(tmp_path / "b", expire_ms=30_000, keys_max=30)
    shard, found = keep("count", None), []
    for first in range(0, len(records), 40):
        found += on(shard, *records[first : first + 40])
        shard = keep("count", shard.snapshot())
    assert found == whole


def ordinary(n: int, start_ms: int = 1_000_000) -> list[tuple[str, int]]:
    return [(f"k{i % 20}", start_ms + 1_000 * i) for i in range(n)]


@pytest.mark.parametrize("at", [0, 1, 50, 200])
def test_one_wrong_clock_makes_nobodys_values_old(tmp_path: Path, at: int) -> None:
    """And its own key begins anew, also where state was saved in between."""
    far_ms = 10**12
    expected = on(kept(tmp_path / "a", expire_ms=60_000)("count", None), *ordinary(300))
    keep = kept(tmp_path / "b", expire_ms=60_000)
    shard = keep("count", None)
    records = [*ordinary(300)[:at], ("wrong", far_ms), ("wrong", far_ms + 1), *ordinary(300)[at:]]
    found = []
    for record in [*records, ("wrong", 1_300_000)]:
        found += on(shard, record)
        if len(found) % 7 == 0:
            shard = keep("count", shard.snapshot())
    assert found[:at] + found[at + 2 : -1] == expected
    assert found[at : at + 2] + found[-1:] == [1, 2, 1]


def test_values_set_by_wrong_clocks_are_dropped(tmp_path: Path) -> None:
    counts = Counts(expire_ms=60_000)
    shard = KeptShard(counts, None)
    on(shard, *ordinary(100))
    on(shard, *((f"wrong{n}", 10**12) for n in range(9)))
    assert len(counts) == 29
    on(shard, *ordinary(100, start_ms=1_100_000))
    assert len(counts) == 20


def test_a_silence_longer_than_values_last_ends_them(tmp_path: Path) -> None:
    counts = Counts(expire_ms=60_000)
    on(KeptShard(counts, None), *ordinary(100), ("old", 1_099_000))
    assert counts.get("old", 1_099_000) == 1
    later = ordinary(40, start_ms=10**9)
    assert on(KeptShard(counts, None), *later) == [1] * 20 + [2] * 20
    assert counts.get("old", 1_099_000) is None, "the shard has seen that time of so many keys"


def test_newest_times_saved_before_there_were_doubts_hold(tmp_path: Path) -> None:
    counts = ByKey(expire_ms=1_000)
    counts.restore([], {"newest_ms": 50_000})
    counts.put("a", 1, time_ms=48_999)
    assert counts.get("a", 49_000) is None


def test_at_most_so_many_keys_are_held_and_the_longest_unset_goes_first() -> None:
    counts = Counts(keys_max=3)
    for key in ("a", "b", "c", "a", "d"):
        counts.put(key, key, time_ms=1)
    assert [counts.get(key, 1) for key in "abcd"] == ["a", None, "c", "d"]
    assert len(counts) == 3


def test_a_snapshot_holds_what_changed_and_removals_come_back_as_removals(tmp_path: Path) -> None:
    shard = kept(tmp_path)("count things", None)
    on(shard, *((f"k{n}", 1) for n in range(1_000)))
    first = shard.snapshot()
    on(shard, ("k7", 2))
    assert isinstance(shard.logic, Counts)
    shard.logic.remove("k8")
    second = shard.snapshot()

    assert first is not None and second is not None
    rows = [file[3] for file in second["reference"]["files"]]
    assert rows == [1_000, 2]
    assert (tmp_path / "count-things" / "s").is_dir()
    resumed = kept(tmp_path)("count things", second)
    assert on(resumed, ("k7", 3), ("k8", 3), ("k9", 3)) == [3, 1, 2]


def test_plain_values_come_back_as_they_were(tmp_path: Path) -> None:
    value = {"list": [1, 2.5, None, True], "text": "ü\u2028", "nested": {"a": []}}
    counts = Counts()
    counts.put("ü", value, time_ms=5)
    files = StateFiles(tmp_path / "s")
    table, facts = counts.changed(whole=True)
    reference = files.write(table, True, facts)
    again = Counts()
    again.restore(list(files.read(reference)), reference.facts)
    assert again.get("ü", 5) == value


def test_a_lower_bound_holds_after_a_restart() -> None:
    saved = ByKey(keys_max=10)
    for number in range(10):
        saved.put(f"k{number}", number, time_ms=number)
    table, facts = saved.changed(whole=True)
    resumed = ByKey(keys_max=3)
    resumed.restore([table], facts)
    resumed.put("new", 1, time_ms=20)
    assert [key for key in ("k7", "k8", "k9", "new") if resumed.get(key, 20) is not None] == [
        "k8",
        "k9",
        "new",
    ]


def test_a_value_that_json_cannot_hold_is_named() -> None:
    counts = ByKey()
    counts.put("u1", {1, 2}, time_ms=1)
    with pytest.raises(TypeError, match="value of key 'u1' expected numbers"):
        counts.changed(whole=True)
